//! The server that clients fetch from: TLS on the loopback of a network of our own, with certificates of a CA that awf-bpf
//! alone is told of.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::thread::UnshareFlags;
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::DoctorError;
use crate::{
    ca::{Authority, Leaves},
    policy::Host,
    sys::{loopback, namespace},
};

/// The longest head that is read.
const HEAD: usize = 64 << 10;
/// The longest that a client may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// Listens until the process ends.
pub(super) struct Origin {
    pub(super) port: u16,
    pub(super) authority: Arc<Authority>,
}

impl Origin {
    /// Moves this thread, and what it starts from now on, into a network with nothing but loopback, and serves there.
    pub(super) fn start() -> Result<Self, DoctorError> {
        namespace::unshare(UnshareFlags::NEWNET).map_err(DoctorError::Network)?;
        loopback::up().map_err(|e| DoctorError::Network(e.into()))?;
        let authority = Arc::new(Authority::new("doctor", None)?);
        let leaves = Arc::new(Leaves::new(Arc::clone(&authority))?);
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(DoctorError::Listen)?;
        let port = v4.local_addr().map_err(DoctorError::Listen)?.port();
        let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).map_err(DoctorError::Listen)?;
        for listener in [v4, v6] {
            let config = config(&leaves, &listener)?;
            let serve = move || accept(&listener, &config);
            thread::Builder::new().name("doctor".into()).spawn(serve).map_err(DoctorError::Listen)?;
        }
        Ok(Self { port, authority })
    }
}

fn config(leaves: &Arc<Leaves>, listener: &TcpListener) -> Result<Arc<ServerConfig>, DoctorError> {
    let otherwise = Host::from(listener.local_addr().map_err(DoctorError::Listen)?.ip());
    let by_name = ByName { leaves: Arc::clone(leaves), otherwise };
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(DoctorError::Tls)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(by_name));
    Ok(Arc::new(config))
}

/// The certificate of the name that is asked for, or else of the address.
#[derive(Debug)]
struct ByName {
    leaves: Arc<Leaves>,
    otherwise: Host,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let said = hello.server_name().and_then(|name| Host::parse(name).ok());
        self.leaves.get(said.as_ref().unwrap_or(&self.otherwise)).ok()
    }
}

fn accept(listener: &TcpListener, config: &Arc<ServerConfig>) {
    while let Ok((stream, _)) = listener.accept() {
        let config = Arc::clone(config);
        // The proxy connects before it knows whether its client stays.
        let _ = thread::Builder::new().name("doctor".into()).spawn(move || answer(stream, config));
    }
}

fn answer(stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let body = body(&String::from_utf8_lossy(&head));
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// What git takes for its references, cargo for an index, and the others for good or for nothing.
fn body(head: &str) -> String {
    let path = head.split(' ').nth(1).unwrap_or_default();
    let host =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("host:").map(str::to_owned));
    let host = host.as_deref().map_or("", str::trim);
    match path {
        _ if path.contains("/info/refs") => format!("{:040x}\trefs/heads/main\n", 1),
        "/config.json" => format!(r#"{{"dl":"https://{host}","api":"https://{host}"}}"#),
        _ if path.starts_with("/api/v1/crates") => r#"{"crates":[],"meta":{"total":0}}"#.to_owned(),
        _ => "{}\n".to_owned(),
    }
}
