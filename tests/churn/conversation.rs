//! Conversations that must work to their last byte.

use std::{future::Future, io, rc::Rc, time::Duration};

use harness::soak::{
    http::{self, get, response},
    http2, is_serverless,
    wire::{self, ALLOWED, DENIED, HTTP_PORT, HTTP2_PORT, TLS_PORT},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep_until, timeout, timeout_at},
};

use crate::World;

/// A step that takes longer has failed. Generous: the machine has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// Less than awf-bpf waits for the first byte where only a client can begin.
const SILENCE: Duration = Duration::from_secs(90);

/// A connection that speaks the commands of [`wire`].
pub(crate) type Held = TcpStream;

/// The kinds that a slot goes through, by their share.
const KINDS: [&str; 16] = [
    "tls, idle",
    "tls, idle",
    "tls, idle",
    "tls, idle",
    "tls, idle",
    "tls, active",
    "tls, active",
    "tls, active",
    "connect",
    "connect",
    "http, kept alive",
    "http, kept alive",
    "websocket",
    "websocket",
    "events",
    "bulk",
];
/// Those of a slot that needs no server.
const SERVERLESS: [&str; 3] = ["nothing said", "nothing said", "http, refused and kept alive"];

/// What a slot holds, always: awf-bpf has room for so many connections because some need no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Serverless,
    /// Of HTTP/2 connections there may be 128 at once.
    Http2,
    Served,
}

impl Slot {
    fn of(number: usize) -> Self {
        match number {
            _ if is_serverless(number) => Self::Serverless,
            _ if number.is_multiple_of(125) => Self::Http2,
            _ => Self::Served,
        }
    }

    fn kind(self, number: usize) -> &'static str {
        match self {
            Self::Serverless => SERVERLESS[number % SERVERLESS.len()],
            Self::Http2 => "http/2",
            Self::Served => KINDS[number % KINDS.len()],
        }
    }
}

/// Numbers that are the same in each run (Marsaglia, "Xorshift RNGs").
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: usize) -> Self {
        Self((seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// One of `from..to`.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        from + self.0 % (to - from).max(1)
    }
}

pub(crate) async fn patiently<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, step).await.unwrap_or_else(|_| Err(io::Error::other("nothing happened for a minute")))
}

/// Keeps one connection at a time until the time is over, beginning with `held`.
pub(crate) async fn slot(world: Rc<World>, held: Held, number: usize, time: Duration) {
    let mut random = Random::new(number);
    let (least, most) = (time.as_millis() as u64 / 20, time.as_millis() as u64 / 4);
    let mut until = || {
        let until = Instant::now() + Duration::from_millis(random.between(least, most));
        until.min(world.end.get())
    };
    let slot = Slot::of(number);
    if slot == Slot::Serverless {
        world.tally.note("nothing said from the start", keep_silent(held, until()).await);
    } else {
        world.tally.note("tls, held from the start", hold(held, until(), number, false).await);
    }
    for turn in 1.. {
        if Instant::now() >= world.end.get() {
            return;
        }
        let kind = slot.kind(number + turn * 7);
        let ended = converse(&world, kind, until(), number + turn).await;
        world.tally.note(kind, ended);
    }
}

async fn converse(world: &World, kind: &str, until: Instant, number: usize) -> io::Result<()> {
    match kind {
        "tls, idle" => hold(open_tls(world, number).await?, until, number, false).await,
        "tls, active" => hold(open_tls(world, number).await?, until, number, true).await,
        "connect" => hold(open_connect(world).await?, until, number, false).await,
        "http, kept alive" => keep_alive(world, until, number).await,
        "websocket" => hold(open_websocket(world, number).await?, until, number, true).await,
        "events" => events(world, until, number).await,
        "http/2" => http2(world, until, number).await,
        "nothing said" => keep_silent(dial(world, world.patient(number)).await?, until).await,
        "http, refused and kept alive" => keep_refused(world, until, number).await,
        _ => bulk(world, until, number).await,
    }
}

/// Every tenth tunnel goes by a CONNECT.
pub(crate) async fn open_first(world: &World, number: usize) -> io::Result<Held> {
    if is_serverless(number) {
        return dial(world, world.patient(number)).await;
    }
    if number % 10 == 9 { open_connect(world).await } else { open_tls(world, number).await }
}

pub(crate) async fn dial(world: &World, to: std::net::SocketAddr) -> io::Result<TcpStream> {
    world.tally.connection();
    let stream = patiently(TcpStream::connect(to)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn open_tls(world: &World, number: usize) -> io::Result<Held> {
    greet(dial(world, world.tls(number)).await?).await
}

async fn open_connect(world: &World) -> io::Result<Held> {
    let mut stream = dial(world, world.proxy).await?;
    let target = format!("{ALLOWED}:{TLS_PORT}");
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let head = patiently(http::head(&mut stream)).await?.unwrap_or_default();
    expect(&head, "http/1.1 200 ")?;
    greet(stream).await
}

async fn greet(mut stream: TcpStream) -> io::Result<Held> {
    patiently(wire::greet(&mut stream)).await?;
    patiently(wire::echo(&mut stream, b"hello")).await?;
    Ok(stream)
}

async fn open_websocket(world: &World, number: usize) -> io::Result<Held> {
    let mut stream = dial(world, world.http(number)).await?;
    let lines = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let head = patiently(get(&mut stream, &host(), "/chat", lines)).await?;
    expect(&head, "http/1.1 101 ")?;
    Ok(stream)
}

pub(crate) fn host() -> String {
    format!("{ALLOWED}:{HTTP_PORT}")
}

pub(crate) fn expect(head: &str, beginning: &str) -> io::Result<()> {
    if head.starts_with(beginning) {
        Ok(())
    } else {
        Err(io::Error::other(format!("{beginning:?} was due, not {head:?}")))
    }
}

/// Keeps a tunnel, in silence or with some bytes now and then, then closes our half and waits for the other.
async fn hold(mut stream: Held, until: Instant, number: usize, active: bool) -> io::Result<()> {
    let mut random = Random::new(number);
    let mut next = Instant::now() + Duration::from_millis(random.between(1000, 8000));
    while active && next < until {
        sleep_until(next).await;
        let message = vec![number as u8; random.between(16, 4096) as usize];
        patiently(wire::echo(&mut stream, &message)).await?;
        next = Instant::now() + Duration::from_millis(random.between(1000, 8000));
    }
    sleep_until(until).await;
    patiently(wire::echo(&mut stream, b"still there?")).await?;
    stream.shutdown().await?;
    match patiently(stream.read(&mut [0])).await? {
        0 => Ok(()),
        _ => Err(io::Error::other("bytes that nobody sent")),
    }
}

async fn keep_alive(world: &World, until: Instant, number: usize) -> io::Result<()> {
    let mut stream = dial(world, world.http(number)).await?;
    let mut random = Random::new(number);
    while Instant::now() < until {
        let head = patiently(get(&mut stream, &host(), "/bytes/1000", "")).await?;
        expect(&head, "http/1.1 200 ")?;
        let body = random.between(1, 3000);
        let request = format!("POST /upload HTTP/1.1\r\nHost: {}\r\nContent-Length: {body}\r\n\r\n", host());
        stream.write_all(request.as_bytes()).await?;
        wire::fill(&mut stream, body).await?;
        expect(&patiently(response(&mut stream)).await?, "http/1.1 200 ")?;
        sleep_until(until.min(Instant::now() + Duration::from_millis(random.between(500, 4000)))).await;
    }
    Ok(())
}

async fn events(world: &World, until: Instant, number: usize) -> io::Result<()> {
    let mut stream = dial(world, world.http(number)).await?;
    let head = patiently(get(&mut stream, &host(), "/events", "")).await?;
    expect(&head, "http/1.1 200 ")?;
    let mut buf = [0; 256];
    while Instant::now() < until {
        if patiently(stream.read(&mut buf)).await? == 0 {
            return Err(io::Error::other("the events ended"));
        }
    }
    Ok(())
}

async fn http2(world: &World, until: Instant, number: usize) -> io::Result<()> {
    let mut sender = patiently(http2::connect(dial(world, world.http2(number)).await?)).await?;
    let (mut random, host) = (Random::new(number), format!("{ALLOWED}:{HTTP2_PORT}"));
    while Instant::now() < until {
        patiently(http2::get(&mut sender, &host)).await?;
        sleep_until(until.min(Instant::now() + Duration::from_millis(random.between(500, 4000)))).await;
    }
    Ok(())
}

/// Asks for what is refused, again and again on one connection, for which nothing is dialled.
async fn keep_refused(world: &World, until: Instant, number: usize) -> io::Result<()> {
    let mut stream = dial(world, world.http(number)).await?;
    let (mut random, host) = (Random::new(number), format!("{DENIED}:{HTTP_PORT}"));
    while Instant::now() < until {
        let head = patiently(get(&mut stream, &host, "/", "")).await?;
        expect(&head, "http/1.1 403 ")?;
        sleep_until(until.min(Instant::now() + Duration::from_millis(random.between(1000, 8000)))).await;
    }
    Ok(())
}

/// Says nothing, for as long as awf-bpf bears that, and must not be cut off.
async fn keep_silent(mut stream: TcpStream, until: Instant) -> io::Result<()> {
    let until = until.min(Instant::now() + SILENCE);
    match timeout_at(until, stream.read(&mut [0])).await {
        Err(_) => Ok(()),
        Ok(Ok(_)) => Err(io::Error::other("it was closed")),
        Ok(Err(error)) => Err(error),
    }
}

/// Downloads and an upload of some megabytes, one connection after the other, and then silence.
async fn bulk(world: &World, until: Instant, number: usize) -> io::Result<()> {
    let bytes = Random::new(number).between(1, 4) << 20;
    let mut clear = dial(world, world.http(number)).await?;
    let path = format!("/bytes/{bytes}");
    let lines = "Connection: close\r\n";
    expect(&patiently(get(&mut clear, &host(), &path, lines)).await?, "http/1.1 200 ")?;
    drop(clear);
    let mut stream = open_tls(world, number).await?;
    wire::download(&mut stream, bytes).await?;
    wire::upload(&mut stream, bytes).await?;
    hold(stream, until, number, false).await
}
