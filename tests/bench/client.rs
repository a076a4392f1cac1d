//! The load client, run behind the firewall and without it: measures what one program sees, prints numbers.
//!
//! ```text
//! load dial ADDR TAG                 one connect() without waiting, then exit: a process of a millisecond
//! load latency ADDR HOST COUNT [CA]  COUNT times connect, GET /, close; nanoseconds of each, one a line
//! load download ADDR HOST BYTES [CA] GET /bytes/BYTES; nanoseconds
//! load upload ADDR HOST BYTES [CA]   POST /upload; nanoseconds
//! load requests ADDR HOST COUNT [CA] 16 connections with COUNT times GET / each; nanoseconds of one request, over all
//! load handshakes ADDR HOST COUNT CA 8 threads with COUNT TLS handshakes each, HOST `*.x` with a new name each time; nanoseconds of
//!                                    one handshake, over all
//! ```
//! With CA (a PEM file) the connection is TLS. The address is given: DNS is not what is measured. With LOAD_PROXY=ADDR
//! connections go through a CONNECT to HOST.

use std::{
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use socket2::{Domain, Socket, Type};

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

struct Target {
    addr: SocketAddr,
    host: String,
    tls: Option<Arc<ClientConfig>>,
    proxy: Option<SocketAddr>,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["dial", addr, ..] => dial(addr.parse()?),
        ["latency", addr, host, count, ca @ ..] => latency(&Target::new(addr, host, ca)?, count.parse()?),
        ["download", addr, host, bytes, ca @ ..] => download(&Target::new(addr, host, ca)?, bytes.parse()?),
        ["upload", addr, host, bytes, ca @ ..] => upload(&Target::new(addr, host, ca)?, bytes.parse()?),
        ["requests", addr, host, count, ca @ ..] => requests(&Target::new(addr, host, ca)?, count.parse()?),
        ["handshakes", addr, host, count, ca] => handshakes(&Target::new(addr, host, &[ca])?, count.parse()?),
        _ => bail!("usage: load dial|latency|download|upload|requests|handshakes ADDR ..."),
    }
}

impl Target {
    fn new(addr: &str, host: &str, ca: &[&str]) -> Result<Self> {
        let tls = ca.first().map(|path| trust(path)).transpose()?;
        let proxy = std::env::var("LOAD_PROXY").ok().map(|addr| addr.parse()).transpose()?;
        Ok(Self { addr: addr.parse().context(addr.to_owned())?, host: host.to_owned(), tls, proxy })
    }

    fn connect(&self) -> Result<Box<dyn Stream>> {
        self.connect_as(&self.host)
    }

    fn connect_as(&self, host: &str) -> Result<Box<dyn Stream>> {
        let addr = self.proxy.unwrap_or(self.addr);
        let mut tcp = TcpStream::connect(addr).with_context(|| format!("connect to {addr}"))?;
        tcp.set_nodelay(true)?;
        if self.proxy.is_some() {
            let to = format!("{host}:{}", self.addr.port());
            tcp.write_all(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n").as_bytes())?;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                tcp.read_exact(&mut byte)?;
                head.push(byte[0]);
            }
            ensure!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
        }
        let Some(config) = &self.tls else { return Ok(Box::new(tcp)) };
        let name = ServerName::try_from(host.to_owned())?;
        let session = ClientConnection::new(Arc::clone(config), name)?;
        Ok(Box::new(StreamOwned::new(session, tcp)))
    }

    /// Reads one response to its end of file; the bytes of its body, which is thrown away.
    fn exchange(&self, head: &str, body: u64) -> Result<u64> {
        let mut stream = self.connect()?;
        write!(stream, "{head} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.host)?;
        if body > 0 {
            write!(stream, "Content-Length: {body}\r\n")?;
        }
        write!(stream, "\r\n")?;
        let piece = [7; 1 << 16];
        let mut left = body;
        while left > 0 {
            let len = left.min(piece.len() as u64);
            stream.write_all(&piece[..usize::try_from(len)?])?;
            left -= len;
        }
        stream.flush()?;
        read_response(&mut stream)
    }
}

fn trust(path: &str) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&fs::read(path)?)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    // Each connection makes the whole handshake.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

fn dial(addr: SocketAddr) -> Result<()> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), None)?;
    // EINPROGRESS or a refusal: what came of it is for the record to say.
    let _ = socket.connect(&addr.into());
    Ok(())
}

fn latency(target: &Target, count: u32) -> Result<()> {
    for _ in 0..count {
        let start = Instant::now();
        let len = target.exchange("GET /", 0)?;
        println!("{}", start.elapsed().as_nanos());
        ensure!(len > 0, "an empty answer");
    }
    Ok(())
}

fn download(target: &Target, bytes: u64) -> Result<()> {
    let start = Instant::now();
    let len = target.exchange(&format!("GET /bytes/{bytes}"), 0)?;
    println!("{}", start.elapsed().as_nanos());
    ensure!(len == bytes, "{len} bytes instead of {bytes}");
    Ok(())
}

fn upload(target: &Target, bytes: u64) -> Result<()> {
    let start = Instant::now();
    target.exchange("POST /upload", bytes)?;
    println!("{}", start.elapsed().as_nanos());
    Ok(())
}

const CONNECTIONS: u32 = 16;
const THREADS: u32 = 8;

/// `work` on so many threads at once; prints the time of each of all `pieces`.
fn together(threads: u32, pieces: u32, work: impl Fn(u32) -> Result<()> + Sync) -> Result<()> {
    let start = Instant::now();
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..threads).map(|number| scope.spawn(move || work(number))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    println!("{}", start.elapsed().as_nanos() / u128::from(pieces));
    Ok(())
}

fn requests(target: &Target, count: u32) -> Result<()> {
    together(CONNECTIONS, CONNECTIONS * count, |_| {
        let mut stream = target.connect()?;
        let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", target.host);
        for _ in 0..count {
            stream.write_all(request.as_bytes())?;
            stream.flush()?;
            read_one(&mut *stream)?;
        }
        Ok(())
    })
}

fn handshakes(target: &Target, count: u32) -> Result<()> {
    together(THREADS, THREADS * count, |thread| {
        for number in 0..count {
            let name = match target.host.strip_prefix("*.") {
                Some(zone) => format!("w{number}-{thread}-{}.{zone}", std::process::id()),
                None => target.host.clone(),
            };
            let mut stream = target.connect_as(&name)?;
            write!(stream, "GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n")?;
            stream.flush()?;
            // Of whatever status: the handshake is over then.
            ensure!(stream.read(&mut [0; 512])? > 0, "no answer");
        }
        Ok(())
    })
}

/// One response with a Content-Length.
fn read_one(stream: &mut dyn Read) -> Result<()> {
    let (mut buf, mut len) = ([0; 4096], 0);
    loop {
        let read = stream.read(&mut buf[len..])?;
        ensure!(read > 0, "the answer ended early");
        len += read;
        let Some(end) = buf[..len].windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&buf[..end])?.to_ascii_lowercase();
        ensure!(head.starts_with("http/1.1 200"), "{head}");
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).context("a length")?;
        if len >= end + 4 + length.parse::<usize>()? {
            return Ok(());
        }
    }
}

fn read_response(stream: &mut dyn Read) -> Result<u64> {
    let mut buf = vec![0; 1 << 16];
    let mut len = 0;
    let head = loop {
        let read = stream.read(&mut buf[len..])?;
        ensure!(read > 0, "the answer ended within its head");
        len += read;
        if let Some(end) = buf[..len].windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
    };
    ensure!(buf.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buf[..head]));
    let mut body = (len - head) as u64;
    loop {
        match stream.read(&mut buf) {
            Ok(0) => return Ok(body),
            Ok(read) => body += read as u64,
            // The origin need not say goodbye (close_notify); the caller knows how many bytes it wants.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(body),
            Err(e) => return Err(e.into()),
        }
    }
}
