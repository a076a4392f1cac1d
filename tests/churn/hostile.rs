//! Conversations that must be refused, and such as end badly in every phase.

use std::{io, net::SocketAddr, rc::Rc, time::Duration};

use harness::soak::{
    http,
    wire::{self, ALLOWED, DENIED, HTTP_PORT, TLS_PORT, hello},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::{Instant, sleep},
};

use crate::{
    World,
    conversation::{dial, expect, host, patiently},
};

/// How long awf-bpf waits until it knows who is spoken to.
const FIRST_BYTE: Duration = Duration::from_secs(10);

/// In turn.
const KINDS: [&str; 20] = [
    "denied: SNI",
    "denied: Host",
    "denied: CONNECT",
    "denied: port",
    "denied: name",
    "allowed: name",
    "denied: fronting",
    "denied: smuggling",
    "reset: at once",
    "reset: within the hello",
    "reset: in the tunnel",
    "reset: within the head",
    "reset: within the upload",
    "reset: within the download",
    "half-closed at once",
    "half-closed request",
    "slow head",
    "slow hello",
    "nothing is read",
    "garbage",
];

pub(crate) async fn one(world: Rc<World>, number: usize) {
    let kind = KINDS[number % KINDS.len()];
    world.tally.note(kind, converse(&world, kind, number).await);
}

async fn converse(world: &World, kind: &str, number: usize) -> io::Result<()> {
    match kind {
        "denied: SNI" => refused_tls(dial(world, world.tls(number)).await?).await,
        "denied: Host" => {
            let denied = format!("{DENIED}:{HTTP_PORT}");
            let head =
                patiently(http::get(&mut dial(world, world.http(number)).await?, &denied, "/", "")).await?;
            expect(&head, "http/1.1 403 ")
        }
        "denied: CONNECT" => connect(world, DENIED, "http/1.1 403 ").await.map(drop),
        "denied: port" => unanswered(dial(world, (world.addrs[number % 2], 9999).into()).await, b"x").await,
        "denied: name" => lookup(world, DENIED, 3).await,
        "allowed: name" => lookup(world, ALLOWED, 0).await,
        "denied: fronting" => refused_tls(connect(world, ALLOWED, "http/1.1 200 ").await?).await,
        "denied: smuggling" => smuggling(world, number).await,
        "garbage" => unanswered(dial(world, world.tls(number)).await, &[0x80; 4000]).await,
        _ if kind.starts_with("reset") => reset(world, kind, number).await,
        "half-closed at once" => {
            let mut stream = dial(world, world.tls(number)).await?;
            stream.shutdown().await?;
            ended(&mut stream).await
        }
        "half-closed request" => {
            let mut stream = dial(world, world.http(number)).await?;
            let request = format!("GET /bytes/70000 HTTP/1.1\r\nHost: {}\r\n\r\n", host());
            stream.write_all(request.as_bytes()).await?;
            stream.shutdown().await?;
            expect(&patiently(http::response(&mut stream)).await?, "http/1.1 200 ")
        }
        "slow head" => slowly(world, world.http(number), b"GET / HTTP/1.1\r\nHost: a").await,
        "slow hello" => slowly(world, world.tls(number), &hello(ALLOWED)).await,
        _ => {
            let mut stream = dial(world, world.http(number)).await?;
            let request = format!("GET /bytes/30000000 HTTP/1.1\r\nHost: {}\r\n\r\n", host());
            stream.write_all(request.as_bytes()).await?;
            sleep(Duration::from_secs(2)).await;
            Ok(())
        }
    }
}

async fn connect(world: &World, name: &str, answer: &str) -> io::Result<TcpStream> {
    let mut stream = dial(world, world.proxy).await?;
    let request = format!("CONNECT {name}:{TLS_PORT} HTTP/1.1\r\nHost: {name}:{TLS_PORT}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    expect(&patiently(http::head(&mut stream)).await?.unwrap_or_default(), answer)?;
    Ok(stream)
}

/// A hello for the denied name gets a fatal alert.
async fn refused_tls(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(&hello(DENIED)).await?;
    let mut answer = [0; 7];
    patiently(stream.read_exact(&mut answer)).await?;
    if answer[..6] == [21, 3, 3, 0, 2, 2] {
        ended(&mut stream).await
    } else {
        Err(io::Error::other("no alert"))
    }
}

/// Nothing comes back for `bytes`, however the connection ends.
async fn unanswered(stream: io::Result<TcpStream>, bytes: &[u8]) -> io::Result<()> {
    let Ok(mut stream) = stream else { return Ok(()) };
    let _ = stream.write_all(bytes).await;
    ended(&mut stream).await
}

/// The end comes, or a reset, and no byte before it.
async fn ended(stream: &mut TcpStream) -> io::Result<()> {
    match patiently(stream.read(&mut [0; 16])).await {
        Ok(0) => Ok(()),
        Ok(_) => Err(io::Error::other("bytes where there should be none")),
        Err(error) if error.kind() == io::ErrorKind::Other => Err(error),
        Err(_) => Ok(()),
    }
}

async fn smuggling(world: &World, number: usize) -> io::Result<()> {
    let mut stream = dial(world, world.http(number)).await?;
    let lines = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let evil = format!("GET /evil HTTP/1.1\r\nHost: {DENIED}\r\n\r\n");
    let request = format!("POST / HTTP/1.1\r\nHost: {}\r\n{lines}{evil}", host());
    stream.write_all(request.as_bytes()).await?;
    expect(&patiently(http::response(&mut stream)).await?, "http/1.1 400 ")?;
    ended(&mut stream).await
}

/// Gets so far and then resets.
async fn reset(world: &World, kind: &str, number: usize) -> io::Result<()> {
    let at =
        if kind.contains("load") || kind.contains("head") { world.http(number) } else { world.tls(number) };
    let mut stream = dial(world, at).await?;
    let request = |line: &str| format!("{line} HTTP/1.1\r\nHost: {}\r\n", host()).into_bytes();
    match kind {
        "reset: within the hello" => stream.write_all(&hello(ALLOWED)[..20]).await?,
        "reset: in the tunnel" => {
            patiently(wire::greet(&mut stream)).await?;
            patiently(wire::echo(&mut stream, &[1; 1000])).await?;
        }
        "reset: within the head" => stream.write_all(&request("GET /")).await?,
        "reset: within the upload" => {
            let head = [&request("POST /upload")[..], b"Content-Length: 9000000\r\n\r\n"].concat();
            stream.write_all(&head).await?;
            wire::fill(&mut stream, 300_000).await?;
        }
        "reset: within the download" => {
            stream.write_all(&[&request("GET /bytes/9000000")[..], b"\r\n"].concat()).await?;
            patiently(wire::skip(&mut stream, 300_000)).await?;
        }
        _ => {}
    }
    stream.set_zero_linger()
}

/// A byte at a time, and then no more. Who is slower than that, on a machine with other things to do, is refused.
async fn slowly(world: &World, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
    let begun = Instant::now();
    let mut stream = dial(world, to).await?;
    for byte in bytes.iter().take(12) {
        match stream.write_all(&[*byte]).await {
            Err(_) if begun.elapsed() > FIRST_BYTE => return Ok(()),
            written => written?,
        }
        sleep(Duration::from_millis(250)).await;
    }
    Ok(())
}

/// Asks for the name's address; the answer must have this code (RFC 1035 section 4.1.1).
async fn lookup(world: &World, name: &str, code: u8) -> io::Result<()> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(label.len() as u8);
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind("0.0.0.0:0").await?;
    socket.send_to(&query, world.dns).await?;
    let mut answer = [0; 512];
    let (length, _) = patiently(socket.recv_from(&mut answer)).await?;
    if length > 12 && answer[..2] == query[..2] && answer[3] & 15 == code {
        return Ok(());
    }
    Err(io::Error::other(format!("code {code} was due for {name}, not {}", answer[3] & 15)))
}
