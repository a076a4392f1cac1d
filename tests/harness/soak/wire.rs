//! What client and origin of the soak say to each other: cheap enough that two processors can keep ten thousand
//! conversations going. Behind a ClientHello (or an upgrade to WebSocket) come commands: a letter and a length.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Where the origin wants a ClientHello first.
pub const TLS_PORT: u16 = 9443;
/// Where it speaks HTTP/1 in clear text.
pub const HTTP_PORT: u16 = 9080;
/// Where it speaks HTTP/2 in clear text.
pub const HTTP2_PORT: u16 = 9081;
/// What the policy allows.
pub const ALLOWED: &str = "allowed.test";
/// What it does not.
pub const DENIED: &str = "denied.test";

const ECHO: u8 = b'E';
const DOWN: u8 = b'D';
const UP: u8 = b'U';
/// Longer transfers are no part of any soak.
const MOST: u64 = 1 << 30;
const PIECE: usize = 64 * 1024;

/// How the origin answers a ClientHello: the beginning of a ServerHello of TLS 1.3 (RFC 8446 section 4.1.3), in one
/// record; nothing of TLS comes behind it.
pub const ANSWER: [u8; 43] = {
    let mut answer = [7; 43];
    let head = [22, 3, 3, 0, 38, 2, 0, 0, 34, 3, 3];
    let mut at = 0;
    while at < head.len() {
        answer[at] = head[at];
        at += 1;
    }
    answer
};

/// A ClientHello that names `name` (RFC 8446 section 4.1.2), in one record.
#[must_use]
pub fn hello(name: &str) -> Vec<u8> {
    let vec16 = |data: &[u8]| [&u16::try_from(data.len()).expect("short").to_be_bytes(), data].concat();
    let list = [&[0][..], &vec16(name.as_bytes())].concat();
    let extension = [&[0, 0][..], &vec16(&vec16(&list))].concat();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    body.extend(vec16(&extension));
    let length = u32::try_from(body.len()).expect("short").to_be_bytes();
    let message = [&[1], &length[1..], &body].concat();
    [&[22, 3, 1][..], &vec16(&message)].concat()
}

/// Reads the ClientHello of [`hello`]; all of its record.
///
/// # Errors
/// When something else, or nothing, comes.
pub async fn read_hello(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut header = [0; 5];
    stream.read_exact(&mut header).await?;
    if header[..2] != [22, 3] {
        return Err(io::Error::other(format!("no ClientHello: {header:?}")));
    }
    let mut record = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    stream.read_exact(&mut record).await?;
    Ok(record)
}

/// Sends the ClientHello that is allowed, and reads [`ANSWER`].
///
/// # Errors
/// When something else, or nothing, comes.
pub async fn greet<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    stream.write_all(&hello(ALLOWED)).await?;
    let mut answer = [0; ANSWER.len()];
    stream.read_exact(&mut answer).await?;
    if answer == ANSWER { Ok(()) } else { Err(io::Error::other("another answer to the ClientHello")) }
}

/// Sends `bytes` and reads them back.
///
/// # Errors
/// When they do not come back as they were.
pub async fn echo<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> io::Result<()> {
    command(stream, ECHO, bytes.len() as u64).await?;
    stream.write_all(bytes).await?;
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).await?;
    if back == bytes { Ok(()) } else { Err(io::Error::other("other bytes came back")) }
}

/// Asks for `length` bytes and reads them.
///
/// # Errors
/// When they do not come.
pub async fn download<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, length: u64) -> io::Result<()> {
    command(stream, DOWN, length).await?;
    skip(stream, length).await
}

/// Sends `length` bytes and waits for the word that they arrived.
///
/// # Errors
/// When that does not come.
pub async fn upload<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, length: u64) -> io::Result<()> {
    command(stream, UP, length).await?;
    fill(stream, length).await?;
    if stream.read_u8().await? == UP { Ok(()) } else { Err(io::Error::other("no word of the upload")) }
}

async fn command<S: AsyncWrite + Unpin>(stream: &mut S, letter: u8, length: u64) -> io::Result<()> {
    let mut bytes = [letter; 9];
    bytes[1..].copy_from_slice(&length.to_be_bytes());
    stream.write_all(&bytes).await
}

/// Obeys until the other side closes.
///
/// # Errors
/// When it breaks off within a command.
pub async fn obey<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    loop {
        let mut letter = [0];
        if stream.read(&mut letter).await? == 0 {
            return stream.shutdown().await;
        }
        let length = stream.read_u64().await?.min(MOST);
        match letter[0] {
            ECHO => {
                let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
                stream.read_exact(&mut bytes).await?;
                stream.write_all(&bytes).await?;
            }
            DOWN => fill(stream, length).await?,
            UP => {
                skip(stream, length).await?;
                stream.write_all(&[UP]).await?;
            }
            other => return Err(io::Error::other(format!("command {other:#x}"))),
        }
    }
}

/// Writes `left` bytes.
///
/// # Errors
/// As writing fails.
pub async fn fill<S: AsyncWrite + Unpin>(stream: &mut S, mut left: u64) -> io::Result<()> {
    static BYTES: [u8; PIECE] = [b'x'; PIECE];
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        stream.write_all(&BYTES[..now]).await?;
        left -= now as u64;
    }
    Ok(())
}

/// Reads `left` bytes.
///
/// # Errors
/// When fewer come.
pub async fn skip<S: AsyncRead + Unpin>(stream: &mut S, mut left: u64) -> io::Result<()> {
    let mut buf = vec![0; usize::try_from(left).unwrap_or(PIECE).min(PIECE)];
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(buf.len()).min(buf.len());
        let read = stream.read(&mut buf[..now]).await?;
        if read == 0 {
            return Err(io::Error::other(format!("the end, {left} bytes early")));
        }
        left -= read as u64;
    }
    Ok(())
}
