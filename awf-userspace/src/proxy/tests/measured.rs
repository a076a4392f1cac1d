//! What TLS holds of messages that do not end.

use rustls::{
    ClientConfig, ClientConnection, ServerConfig,
    pki_types::ServerName,
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS12,
};
use tokio_rustls::{TlsAcceptor, server};

use super::{
    intercept::{OK, Pki, connect, head_of, lab_with, roots, serve},
    *,
};
use crate::{
    ca::Leaves,
    policy::{Host, Reason},
};

/// A handshake message of `kind` that says it is as long as one may be, in records (RFC 8446 sections 4 and 5.1).
fn records(kind: u8, sent: usize) -> Vec<u8> {
    let message = [&[kind, 0, 0xff, 0xf0][..], &vec![0; sent]].concat();
    let record = |piece: &[u8]| {
        let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
        [&[22, 3, 3], &length[..], piece].concat()
    };
    message.chunks(16 * 1024).flat_map(record).collect()
}

/// A ClientHello of TLS 1.2, where what follows is in clear.
fn hello(pki: &Pki) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_root_certificates(roots(&pki.run))
        .with_no_client_auth();
    let mut client =
        ClientConnection::new(Arc::new(config), ServerName::try_from("allowed.test").unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

fn limits(long_heads: usize) -> Limits {
    Limits { long_heads, ..Limits::default() }
}

/// The attack: as many connections as there may be, each with most of the longest ClientKeyExchange.
#[tokio::test]
async fn a_long_handshake_message_of_the_command_takes_a_share() {
    const CLIENT_KEY_EXCHANGE: u8 = 16;
    let (pki, (server, port)) = (Pki::new(), listener().await);
    let tries = [
        (0, 40 * 1024, Reason::LimitExceeded),
        (1, 0xfff0, Reason::Malformed),
        (0, 8 * 1024, Reason::TlsUntrusted),
    ];
    for (shares, sent, reason) in tries {
        let lab = lab_with(port, &["https://allowed.test:$P"], &pki, Scope::All, limits(shares)).await;
        let mut client = lab.transparent(port).await;
        client.write_all(&hello(&pki)).await.unwrap();
        client.write_all(&records(CLIENT_KEY_EXCHANGE, sent)).await.unwrap();
        client.shutdown().await.unwrap();
        let origin = serve(accept(&server).await, "allowed.test", &[], &pki.servers).await;
        let _ = timeout(PATIENCE, client.read_to_end(&mut Vec::new())).await.expect("an end in time");
        drop(origin);
        assert_eq!(lab.record().await.reason, reason, "{sent} bytes, {shares} shares");
    }
}

/// The same from servers; those that mean it are served, and give the share back.
#[tokio::test]
async fn a_long_handshake_message_of_a_server_takes_a_share() {
    const SERVER_HELLO: u8 = 2;
    let (pki, (server, port)) = (Pki::new(), listener().await);
    let get = format!("GET / HTTP/1.1\r\nHost: allowed.test:{port}\r\n\r\n");
    for shares in [0, 1] {
        let lab = lab_with(port, &["https://allowed.test:$P"], &pki, Scope::All, limits(shares)).await;
        let ask = async || {
            let stream = lab.transparent(port).await;
            let mut client = connect(stream, "allowed.test", &[], &pki.run).await.unwrap();
            client.write_all(get.as_bytes()).await.unwrap();
            let head = head_of(&mut client).await;
            (client, head)
        };
        let endless = async {
            let mut origin = accept(&server).await;
            origin.write_all(&records(SERVER_HELLO, 40 * 1024)).await.unwrap();
            origin.shutdown().await.unwrap();
            origin
        };
        let ((_, head), _origin) = tokio::join!(ask(), endless);
        let (status, reason) = if shares == 0 { (502, "limit_exceeded") } else { (502, "connect_failed") };
        assert!(head.starts_with(&format!("http/1.1 {status} ")) && head.contains(reason), "{head}");

        // Twice, while the first is kept open.
        let mut kept = Vec::new();
        for _ in 0..2 {
            let honest = async {
                let mut origin = long_chain(accept(&server).await, &pki).await?;
                head_of(&mut origin).await;
                origin.write_all(OK).await?;
                std::io::Result::Ok(origin)
            };
            let ((client, head), origin) = tokio::join!(ask(), honest);
            let status = if shares == 0 { "502" } else { "200" };
            assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
            kept.push((client, origin));
        }
    }
}

/// Serves with 40 KiB of certificates.
async fn long_chain(stream: TcpStream, pki: &Pki) -> std::io::Result<server::TlsStream<TcpStream>> {
    let leaves = Leaves::new(Arc::clone(&pki.servers)).unwrap();
    let mut leaf: CertifiedKey =
        Arc::unwrap_or_clone(leaves.get(&Host::parse("allowed.test").unwrap()).unwrap());
    while leaf.cert.iter().map(|certificate| certificate.len()).sum::<usize>() < 40 * 1024 {
        leaf.cert.push(pki.run.certificate().clone());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(leaf)));
    timeout(PATIENCE, TlsAcceptor::from(Arc::new(config)).accept(stream)).await.expect("TLS in time")
}
