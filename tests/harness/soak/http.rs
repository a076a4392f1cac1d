//! As much of HTTP/1 as the soak needs, on both of its sides.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::wire;

const MOST: usize = 8 * 1024;

/// Reads a head; `None` at the end of the stream. Byte by byte: nothing behind it is taken, and heads are short.
///
/// # Errors
/// When it breaks off or does not end.
pub async fn head<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<String>> {
    let mut bytes = Vec::with_capacity(256);
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 {
            return if bytes.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        bytes.push(byte[0]);
        if bytes.len() > MOST {
            return Err(io::Error::other("an endless head"));
        }
    }
    Ok(Some(String::from_utf8_lossy(&bytes).to_ascii_lowercase()))
}

/// The value of a header.
#[must_use]
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.split_once(':').filter(|(n, _)| *n == name)).map(|(_, v)| v.trim())
}

/// Sends a request without a body and reads the response; its head.
///
/// # Errors
/// When the exchange breaks off.
pub async fn get<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    host: &str,
    path: &str,
    lines: &str,
) -> io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n");
    stream.write_all(request.as_bytes()).await?;
    response(stream).await
}

/// Reads a response whose body has a length; its head.
///
/// # Errors
/// When it breaks off.
pub async fn response<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<String> {
    let head = head(stream).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let length = header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    wire::skip(stream, length).await?;
    Ok(head)
}

/// Answers requests until the connection ends or is upgraded. `hosts` gets every Host.
///
/// # Errors
/// When the other side breaks off.
pub async fn serve<S>(stream: &mut S, mut hosts: impl FnMut(&str)) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(head) = head(stream).await? {
        hosts(header(&head, "host").unwrap_or_default());
        if header(&head, "upgrade") == Some("websocket") {
            let switch =
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            stream.write_all(switch.as_bytes()).await?;
            return wire::obey(stream).await;
        }
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let length = header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        wire::skip(stream, length).await?;
        if path == "/events" {
            return events(stream).await;
        }
        let bytes: u64 = path.strip_prefix("/bytes/").and_then(|n| n.parse().ok()).unwrap_or(2);
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n");
        stream.write_all(answer.as_bytes()).await?;
        wire::fill(stream, bytes).await?;
    }
    Ok(())
}

/// Server-sent events, one a second, until the client leaves.
async fn events<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let mut tick = tokio::time::interval(std::time::Duration::from_secs(1));
    let mut end = [0];
    loop {
        tokio::select! {
            _ = tick.tick() => stream.write_all(b"c\r\ndata: tick\n\n\r\n").await?,
            _ = stream.read(&mut end) => return Ok(()),
        }
    }
}
