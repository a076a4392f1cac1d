//! A TLS server on the loopback of a network namespace of its own, with certificates of a run's CA.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::thread;

use awf_userspace::ca::{Authority, Leaves};
use awf_userspace::netns;
use awf_userspace::policy::Host;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::Cgroup;

/// Where it listens, on 127.0.0.1 and ::1.
pub(super) const PORT: u16 = netns::PROXY_PORT;

/// Answers every request; its threads end with the test's process.
pub(super) struct Server {
    pub(super) authority: Arc<Authority>,
    netns: OwnedFd,
    _cgroup: Cgroup,
}

impl Server {
    pub(super) fn start() -> Self {
        let authority = Arc::new(Authority::new("trust-test", None).unwrap());
        let cgroup = Cgroup::new();
        let network = netns::start(cgroup.fd(), true).unwrap().finish().unwrap();
        let netns = network.netns().unwrap().try_clone_to_owned().unwrap();
        let leaves = Arc::new(Leaves::new(Arc::clone(&authority)).unwrap());
        let (listeners, ..) = network.into_parts();
        for listener in listeners {
            listener.set_nonblocking(false).unwrap();
            let config = config(&leaves, &listener);
            thread::spawn(move || accept(&listener, &config));
        }
        Self { authority, netns, _cgroup: cgroup }
    }

    pub(super) fn netns(&self) -> OwnedFd {
        self.netns.as_fd().try_clone_to_owned().unwrap()
    }
}

fn config(leaves: &Arc<Leaves>, listener: &TcpListener) -> Arc<ServerConfig> {
    let ip = listener.local_addr().unwrap().ip();
    let by_name = ByName { leaves: Arc::clone(leaves), otherwise: Host::parse(&ip.to_string()).unwrap() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_no_client_auth().with_cert_resolver(Arc::new(by_name)))
}

/// The certificate of the name the client says, or else of the address it dialled.
#[derive(Debug)]
struct ByName {
    leaves: Arc<Leaves>,
    otherwise: Host,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let said = hello.server_name().and_then(|name| Host::parse(name).ok());
        self.leaves.get(&said.unwrap_or_else(|| self.otherwise.clone())).ok()
    }
}

fn accept(listener: &TcpListener, config: &Arc<ServerConfig>) {
    while let Ok((stream, _)) = listener.accept() {
        let config = Arc::clone(config);
        thread::spawn(move || {
            // Clients that do not trust us leave early.
            let _ = answer(stream, config);
        });
    }
}

/// What git takes for its references, pip and Go for an empty list, and npm for good.
fn answer(stream: TcpStream, config: Arc<ServerConfig>) -> std::io::Result<()> {
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && head.len() < 16 << 10 {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let git = head.windows(9).any(|window| window == b"info/refs");
    let body = if git { format!("{:040x}\trefs/heads/main\n", 1) } else { "{}\n".to_owned() };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    stream.conn.send_close_notify();
    stream.flush()
}
