//! DNS over TLS and over HTTPS against real servers: right, wrong, cut, and clear text.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::watch,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    super::{Limits, upstream::Roots},
    lab::*,
    *,
};
use crate::{
    policy::Chosen,
    resolve::{At, CertificateName, NameServer},
};

/// What the server speaks once the handshake is done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Dns,
    Https,
    /// DNS, but each connection ends after its first answer.
    Once,
    /// HTTPS, but a page instead of an answer.
    Pages,
    /// HTTPS, but an answer without an end.
    Floods,
    /// Reads a question and hangs up.
    Nothing,
    /// DNS over TCP, without any TLS.
    Clear,
}

impl Speaks {
    fn is_https(self) -> bool {
        matches!(self, Self::Https | Self::Pages | Self::Floods)
    }
}

/// An encrypted name server on loopback.
struct Encrypted {
    addr: SocketAddr,
    roots: RootCertStore,
    asked: watch::Receiver<Vec<String>>,
    /// Names of ClientHellos, and bytes that came in clear.
    heard: watch::Receiver<Vec<String>>,
    /// The same port over UDP: what arrives there was sent in clear.
    udp: UdpSocket,
}

impl Encrypted {
    async fn start(speaks: Speaks) -> Self {
        Self::start_at(speaks, "127.0.0.1:0").await
    }

    async fn start_at(speaks: Speaks, at: &str) -> Self {
        let (acceptor, roots) = certificate(speaks);
        let (listener, udp) = loop {
            let listener = TcpListener::bind(at).await.unwrap();
            if let Ok(udp) = UdpSocket::bind(listener.local_addr().unwrap()).await {
                break (listener, udp);
            }
        };
        let addr = listener.local_addr().unwrap();
        let (note, asked) = watch::channel(Vec::new());
        let (hear, heard) = watch::channel(Vec::new());
        let (note, hear) = (Arc::new(note), Arc::new(hear));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(
                    stream,
                    acceptor.clone(),
                    speaks,
                    Arc::clone(&note),
                    Arc::clone(&hear),
                ));
            }
        });
        Self { addr, roots, asked, heard, udp }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }

    fn tls(&self, certificate: &str) -> NameServer {
        let certificate = CertificateName::Name(DomainName::parse(certificate).unwrap());
        NameServer::Tls { at: At::Address(self.addr.ip()), port: self.addr.port(), certificate }
    }

    fn https(&self, certificate: &str) -> NameServer {
        let certificate = CertificateName::Name(DomainName::parse(certificate).unwrap());
        let path = "/dns-query".to_owned();
        NameServer::Https { at: At::Address(self.addr.ip()), port: self.addr.port(), certificate, path }
    }

    /// A stub in front of this server.
    async fn lab(&self, server: NameServer, roots: &RootCertStore) -> Lab {
        let plain = Server::start().await;
        let roots = Roots::Given(roots.clone());
        let upstream = Upstream::with_roots(&[server], &[plain.addr], &roots);
        let asker = Asker { pid: 7, knows_connections: true };
        Lab::before(plain, upstream, asker, &["up.test"], true, Limits::default())
    }

    /// Nothing of a question was readable on the way.
    fn assert_nothing_in_clear(&self, lab: &Lab) {
        // As in a question (RFC 1035 section 3.1), or as text; two letters alone are in many a ClientHello's random bytes.
        let names = ["up\u{4}test", "up.test"];
        let told = |text: &String| names.iter().any(|name| text.to_ascii_lowercase().contains(name));
        assert!(!self.heard.borrow().iter().any(told), "{:?}", self.heard.borrow());
        let waiting = self.udp.try_recv(&mut [0; 1]).map_err(|e| e.kind());
        assert_eq!(waiting, Err(std::io::ErrorKind::WouldBlock), "a datagram came in clear text");
        assert_eq!(lab.server.asked(), [""; 0], "a plain server was asked instead");
    }
}

/// For dns.test, 127.0.0.1 and ::1, by a CA of its own.
fn certificate(speaks: Speaks) -> (TlsAcceptor, RootCertStore) {
    let ca = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = params.self_signed(&ca).unwrap();
    let issuer = Issuer::new(params, ca);
    let key = KeyPair::generate().unwrap();
    let names = ["dns.test", "loop.up.test", "127.0.0.1", "::1"].map(String::from);
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    if speaks.is_https() {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    let mut roots = RootCertStore::empty();
    roots.add(root.der().clone()).unwrap();
    (TlsAcceptor::from(Arc::new(config)), roots)
}

async fn converse(mut stream: TcpStream, acceptor: TlsAcceptor, speaks: Speaks, note: Note, hear: Note) {
    if speaks == Speaks::Clear {
        let mut bytes = vec![0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut bytes).await {
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            hear.send_modify(|all| all.push(text));
            let nobody = watch::channel(Vec::new()).0;
            let answer = zone(&question("ok.up.test.", RecordType::A, None), &nobody).unwrap();
            let answer = answer.to_vec().unwrap();
            let _ = stream.write_all(&[&[0, 60][..], &answer].concat()).await;
        }
        return;
    }
    let Ok(stream) = acceptor.accept(stream).await else { return };
    if let Some(name) = stream.get_ref().1.server_name() {
        hear.send_modify(|all| all.push(name.to_owned()));
    }
    if speaks.is_https() {
        let service = service_fn(|request| respond(request, speaks, Arc::clone(&note)));
        let builder = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        return;
    }
    let _ = dns(stream, speaks, &note).await;
}

async fn dns(mut stream: TlsStream<TcpStream>, speaks: Speaks, note: &Note) -> std::io::Result<()> {
    loop {
        let mut query = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut query).await?;
        if speaks == Speaks::Nothing {
            return Ok(());
        }
        let answer = zone(&query, note).unwrap().to_vec().unwrap();
        stream.write_u16(u16::try_from(answer.len()).unwrap()).await?;
        stream.write_all(&answer).await?;
        stream.flush().await?;
        if speaks == Speaks::Once {
            return stream.shutdown().await;
        }
    }
}

async fn respond(
    request: Request<Incoming>,
    speaks: Speaks,
    note: Note,
) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let host = request.uri().host().unwrap().to_owned();
    assert!(["dns.test", "127.0.0.1", "[::1]"].contains(&host.as_str()), "{host}");
    let query = request.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(path, "/dns-query");
    let answer = zone(&query, &note).unwrap().to_vec().unwrap();
    let (media, answer) = match speaks {
        Speaks::Pages => ("text/html", b"<html>".to_vec()),
        Speaks::Floods => ("application/dns-message", answer.repeat(65_536 / answer.len() + 1)),
        _ => ("application/dns-message", answer),
    };
    Ok(Response::builder().header("content-type", media).body(Full::new(answer.into())).unwrap())
}

#[tokio::test]
async fn names_are_asked_for_over_tls_and_over_https() {
    for speaks in [Speaks::Dns, Speaks::Https, Speaks::Once] {
        let server = Encrypted::start(speaks).await;
        let at = if speaks == Speaks::Https { server.https("dns.test") } else { server.tls("dns.test") };
        let lab = server.lab(at, &server.roots).await;
        assert_eq!(data(&lab.ask("ok.up.test.", RecordType::A).await), ["198.51.100.1", "198.51.100.2"]);
        assert_eq!(data(&lab.ask("four.up.test.", RecordType::A).await), ["198.51.100.4"]);
        let none = lab.ask("missing.up.test.", RecordType::A).await;
        assert_eq!(none.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(server.asked(), ["ok.up.test. A", "four.up.test. A", "missing.up.test. A"]);
        assert!(server.heard.borrow().iter().all(|name| name == "dns.test"), "the server is named");
        assert!(!server.heard.borrow().is_empty());
        assert_eq!(lab.server.asked(), [""; 0]);
    }
}

#[tokio::test]
async fn a_certificate_may_be_for_an_address() {
    let server = Encrypted::start(Speaks::Dns).await;
    let ip = server.addr.ip();
    let certificate = CertificateName::Address(ip);
    let at = NameServer::Tls { at: At::Address(ip), port: server.addr.port(), certificate };
    let lab = server.lab(at, &server.roots).await;
    assert_eq!(data(&lab.ask("four.up.test.", RecordType::A).await), ["198.51.100.4"]);
}

/// The URL has an address for its host, of either family.
#[tokio::test]
async fn a_url_may_be_of_an_address() {
    for at in ["127.0.0.1:0", "[::1]:0"] {
        let server = Encrypted::start_at(Speaks::Https, at).await;
        let url = |ip: std::net::IpAddr| NameServer::Https {
            at: At::Address(server.addr.ip()),
            port: server.addr.port(),
            certificate: CertificateName::Address(ip),
            path: "/dns-query".to_owned(),
        };
        let lab = server.lab(url(server.addr.ip()), &server.roots).await;
        assert_eq!(
            data(&lab.ask("ok.up.test.", RecordType::A).await),
            ["198.51.100.1", "198.51.100.2"],
            "{at}"
        );
        assert_eq!(data(&lab.ask("four.up.test.", RecordType::A).await), ["198.51.100.4"]);
        let none = lab.ask("missing.up.test.", RecordType::A).await;
        assert_eq!(none.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(server.asked(), ["ok.up.test. A", "four.up.test. A", "missing.up.test. A"]);
        // The certificate is for this address, not for another one; and only of a CA that is trusted.
        let other = Encrypted::start(Speaks::Https).await;
        for (ip, roots) in [("2001:db8::1", &server.roots), ("::1", &other.roots)] {
            let lab = server.lab(url(ip.parse().unwrap()), roots).await;
            let answer = lab.ask("ok.up.test.", RecordType::A).await;
            assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::ServFail, 0));
            assert_eq!(server.asked().len(), 3);
            server.assert_nothing_in_clear(&lab);
        }
    }
}

/// What the server says is bounded, and believed only as a DNS message.
#[tokio::test]
async fn a_server_of_an_address_may_say_anything() {
    for speaks in [Speaks::Pages, Speaks::Floods, Speaks::Dns, Speaks::Clear, Speaks::Nothing] {
        let server = Encrypted::start_at(speaks, "[::1]:0").await;
        let certificate = CertificateName::Address(server.addr.ip());
        let (at, port) = (At::Address(server.addr.ip()), server.addr.port());
        let at = NameServer::Https { at, port, certificate, path: "/dns-query".to_owned() };
        let lab = server.lab(at, &server.roots).await;
        let answer = lab.ask("ok.up.test.", RecordType::A).await;
        assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::ServFail, 0));
        assert_eq!(lab.reasons(), ["resolve_failed"]);
    }
}

#[tokio::test]
async fn the_name_of_a_server_is_looked_up_once_where_the_host_looks() {
    let server = Encrypted::start(Speaks::Dns).await;
    let name = DomainName::parse("loop.up.test").unwrap();
    let at = At::Name(name.clone());
    let at = NameServer::Tls { at, port: server.addr.port(), certificate: CertificateName::Name(name) };
    let lab = server.lab(at.clone(), &server.roots).await;
    for (name, expected) in [("four.up.test.", "198.51.100.4"), ("alias.up.test.", "edge.cdn.test.")] {
        assert_eq!(data(&lab.ask(name, RecordType::A).await)[0], expected);
    }
    assert_eq!(server.asked(), ["four.up.test. A", "alias.up.test. A"]);
    let mut looked_up = lab.server.asked();
    looked_up.sort();
    assert_eq!(looked_up, ["loop.up.test. A", "loop.up.test. AAAA"]);
    // Without one to ask, no name is found, and that is said of each.
    let blind = Upstream::with_roots(std::slice::from_ref(&at), &[], &Roots::Given(server.roots.clone()));
    let error = resolve(&blind, "four.up.test").await.unwrap_err().to_string();
    assert!(error.contains("there is none to look up its own name"), "{error}");
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn a_server_that_cannot_prove_itself_gets_no_question_and_clear_text_is_not_tried() {
    let other = Encrypted::start(Speaks::Dns).await;
    for (speaks, certificate, trusted) in [
        (Speaks::Dns, "other.test", true),
        (Speaks::Dns, "dns.test", false),
        (Speaks::Https, "other.test", true),
        (Speaks::Https, "dns.test", false),
        (Speaks::Clear, "dns.test", true),
        (Speaks::Nothing, "dns.test", true),
    ] {
        let server = Encrypted::start(speaks).await;
        let at = if speaks == Speaks::Https { server.https(certificate) } else { server.tls(certificate) };
        let lab = server.lab(at, if trusted { &server.roots } else { &other.roots }).await;
        let answer = lab.ask("ok.up.test.", RecordType::A).await;
        assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::ServFail, 0));
        assert_eq!(lab.reasons(), ["resolve_failed"]);
        let name = DomainName::parse("ok.up.test").unwrap();
        assert!(lab.stub.resolve(&name, Chosen::nothing(&name)).await.is_err());
        assert_eq!(server.asked(), [""; 0]);
        server.assert_nothing_in_clear(&lab);
    }
}
