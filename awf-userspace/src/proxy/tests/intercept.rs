//! TLS that ends at the proxy: real handshakes on both sides, and whom each of them trusts.

use ::http::{Request, Response};
use bytes::Bytes;
use rustls::{ClientConfig, RootCertStore, ServerConfig, pki_types::ServerName, sign::SingleCertAndKey};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::*;
use crate::{
    audit::Decision,
    ca::{Authority, Leaves},
    policy::{Host, Reason},
};

/// Who vouches for whom: the CA of the run to the command, another one of servers to the proxy.
pub(super) struct Pki {
    pub(super) run: Arc<Authority>,
    pub(super) servers: Arc<Authority>,
}

impl Pki {
    pub(super) fn new() -> Self {
        let [run, servers] = ["run", "servers"].map(|name| Arc::new(Authority::new(name, None).unwrap()));
        Self { run, servers }
    }

    pub(super) fn interception(&self, scope: Scope) -> Interception {
        let leaves = Arc::new(Leaves::new(Arc::clone(&self.run)).unwrap());
        let secure = Secure::new([self.servers.certificate().clone()]).unwrap();
        let spared = |host: &Host, _port| ["spared.test", "spared.localhost"].contains(&&*host.to_string());
        Interception::new(scope, leaves, Arc::new(secure), spared).unwrap()
    }
}

pub(super) fn roots(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone()).unwrap();
    roots
}

pub(super) async fn lab(port: u16, rules: &[&str], pki: &Pki, scope: Scope) -> Lab {
    lab_with(port, rules, pki, scope, quick()).await
}

pub(super) async fn lab_with(port: u16, rules: &[&str], pki: &Pki, scope: Scope, limits: Limits) -> Lab {
    let rule = |text: &&str| {
        let text = text.replace("$P", &port.to_string());
        Rule::parse(&text, List::Allow, Place::Flag("--allow-domains")).unwrap()
    };
    let rules = rules.iter().chain(&["127.0.0.1:$P", "[::1]:$P"]).map(rule).collect::<Vec<_>>();
    let interception = Some(pki.interception(scope));
    let listener = listener().await.0;
    Lab::intercepting(listener, Policy::new(rules), UpstreamProxies::default(), interception, limits)
}

pub(super) type Client = client::TlsStream<TcpStream>;

/// The command's side of TLS to `name`, as somebody who trusts `authority`.
pub(super) async fn connect(
    stream: TcpStream,
    name: &str,
    alpn: &[&[u8]],
    authority: &Authority,
) -> std::io::Result<Client> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(authority))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await.expect("TLS in time")
}

/// A server's side, with a certificate of `authority` for `name`.
pub(super) async fn serve(
    stream: TcpStream,
    name: &str,
    alpn: &[&[u8]],
    authority: &Arc<Authority>,
) -> std::io::Result<server::TlsStream<TcpStream>> {
    let leaf = Leaves::new(Arc::clone(authority)).unwrap().get(&Host::parse(name).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::unwrap_or_clone(leaf))));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    timeout(PATIENCE, TlsAcceptor::from(Arc::new(config)).accept(stream)).await.expect("TLS in time")
}

pub(super) async fn ask(client: &mut Client, request: &str) -> String {
    client.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    timeout(PATIENCE, client.read_to_end(&mut read)).await.expect("an answer in time").unwrap();
    String::from_utf8(read).unwrap()
}

pub(super) async fn head_of(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    exact_head_of(stream).await.to_lowercase()
}

/// The same as it was written.
pub(super) async fn exact_head_of(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(timeout(PATIENCE, stream.read_u8()).await.expect("a head in time").unwrap());
    }
    String::from_utf8(read).unwrap()
}

const GET: &str = "GET /secret?x=1 HTTP/1.1\r\nHost: allowed.test:$P\r\nConnection: close\r\n\r\n";
pub(super) const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

fn get(port: u16) -> String {
    GET.replace("$P", &port.to_string())
}

#[tokio::test]
async fn a_request_is_judged_and_recorded_inside() {
    let (pki, (server, port)) = (Pki::new(), listener().await);
    let lab = lab(port, &["https://allowed.test:$P"], &pki, Scope::All).await;
    let command = async {
        let stream = lab.transparent(port).await;
        let mut client = connect(stream, "allowed.test", &[], &pki.run).await.unwrap();
        ask(&mut client, &get(port)).await
    };
    let origin = async {
        let mut origin = serve(accept(&server).await, "allowed.test", &[], &pki.servers).await.unwrap();
        let head = head_of(&mut origin).await;
        origin.write_all(OK).await.unwrap();
        head
    };
    let (answer, head) = tokio::join!(command, origin);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhi"), "{answer}");
    assert!(head.starts_with("get /secret?x=1 http/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: allowed.test:{port}\r\n")), "{head}");
    let record = lab.record().await;
    assert_eq!((record.decision, record.reason), (Decision::Allow, Reason::Allowed));
    assert_eq!(record.url, Some(format!("https://allowed.test:{port}/secret?x=1")));
    assert_eq!((record.proto, record.status), (Some("https"), Some(200)));
}

/// Whether all is intercepted, or only what is refused.
#[tokio::test]
async fn a_refused_name_is_answered_in_http() {
    for (scope, alpn) in [(Scope::All, &[][..]), (Scope::Refused, &[&b"http/1.1"[..]])] {
        let (pki, (server, port)) = (Pki::new(), listener().await);
        let lab = lab(port, &["https://allowed.test:$P"], &pki, scope).await;
        let stream = lab.transparent(port).await;
        let mut client = connect(stream, "denied.test", alpn, &pki.run).await.unwrap();
        let request = get(port).replace("allowed", "denied");
        let answer = ask(&mut client, &request).await;
        let body = refusal(&answer, 403, "not_in_allowlist");
        assert_eq!(body["host"], "denied.test");
        let record = lab.record().await;
        assert_eq!(record.reason, Reason::NotInAllowlist);
        // What was asked for is on record, too.
        assert_eq!((record.method.as_deref(), record.status), (Some("GET"), Some(403)));
        assert_eq!(record.url, Some(format!("https://denied.test:{port}/secret?x=1")));
        untouched(&server).await;
    }
}

#[tokio::test]
async fn what_is_allowed_or_spared_is_passed_through_untouched() {
    for (name, scope) in [("allowed.test", Scope::Refused), ("spared.test", Scope::All)] {
        let (pki, (server, port)) = (Pki::new(), listener().await);
        let rules = ["https://allowed.test:$P", "https://spared.test:$P"];
        let lab = lab(port, &rules, &pki, scope).await;
        let stream = lab.transparent(port).await;
        let origin = async { serve(accept(&server).await, name, &[], &pki.servers).await };
        // It is the server's own certificate that is seen.
        let (client, origin) = tokio::join!(connect(stream, name, &[], &pki.servers), origin);
        client.unwrap();
        origin.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_cannot_prove_who_it_is_gets_no_request() {
    let stranger = Arc::new(Authority::new("stranger", None).unwrap());
    for (name, other) in [("allowed.test", true), ("other.test", false)] {
        let (pki, (server, port)) = (Pki::new(), listener().await);
        let lab = lab(port, &["https://allowed.test:$P"], &pki, Scope::All).await;
        let authority = if other { &stranger } else { &pki.servers };
        let command = async {
            let stream = lab.transparent(port).await;
            let mut client = connect(stream, "allowed.test", &[], &pki.run).await.unwrap();
            ask(&mut client, &get(port)).await
        };
        let origin = async { serve(accept(&server).await, name, &[], authority).await };
        let (answer, origin) = tokio::join!(command, origin);
        let body = refusal(&answer, 502, "upstream_certificate");
        let why = if other { "signed by nobody" } else { "is for another name" };
        assert!(body["message"].as_str().unwrap().contains(why), "{body}");
        // With TLS 1.3 a server may be done before it is refused.
        if let Ok(mut origin) = origin {
            let read = timeout(PATIENCE, origin.read(&mut [0; 16])).await.expect("an end in time");
            assert!(!matches!(read, Ok(1..)), "a request went to a stranger");
        }
        assert_eq!(lab.record().await.reason, Reason::UpstreamCertificate);
    }
}

#[tokio::test]
async fn a_client_that_does_not_trust_us_is_recorded() {
    let (pki, (server, port)) = (Pki::new(), listener().await);
    let lab = lab(port, &["https://allowed.test:$P"], &pki, Scope::All).await;
    let command = async {
        let stream = lab.transparent(port).await;
        connect(stream, "allowed.test", &[], &pki.servers).await
    };
    let origin = async { serve(accept(&server).await, "allowed.test", &[], &pki.servers).await };
    let (client, _origin) = tokio::join!(command, origin);
    client.unwrap_err();
    let record = lab.record().await;
    assert_eq!((record.decision, record.reason), (Decision::Deny, Reason::TlsUntrusted));
    assert_eq!(record.tls_alert, Some("unknown_ca"));
}

/// A whole handshake, and no word: perhaps it looked at the certificate then.
#[tokio::test]
async fn a_client_that_leaves_before_its_first_word_is_told_apart() {
    for (alpn, host) in [(&[][..], "allowed.test"), (&[&b"h2"[..]], "allowed.test"), (&[], "denied.test")] {
        let (pki, (server, port)) = (Pki::new(), listener().await);
        let lab = lab(port, &["https://allowed.test:$P"], &pki, Scope::All).await;
        let stream = lab.transparent(port).await;
        let command = async { drop(connect(stream, host, alpn, &pki.run).await.unwrap()) };
        let origin = async {
            match host {
                "allowed.test" => drop(serve(accept(&server).await, host, alpn, &pki.servers).await),
                _ => untouched(&server).await,
            }
        };
        tokio::join!(command, origin);
        let record = lab.record().await;
        let want = match host {
            "allowed.test" => (Decision::Allow, Reason::TlsUntrusted),
            _ => (Decision::Deny, Reason::NotInAllowlist),
        };
        assert_eq!((record.decision, record.reason, record.tls_alert), (want.0, want.1, Some("closed")));
    }
}

/// The run ends with the program that left: what it left unread is read.
#[tokio::test]
async fn a_client_that_leaves_with_the_run_is_told_apart() {
    for round in 0..20 {
        let alpn: &[&[u8]] = if round % 2 == 0 { &[] } else { &[b"h2"] };
        let (pki, (server, port)) = (Pki::new(), listener().await);
        let lab = lab(port, &["https://allowed.test:$P"], &pki, Scope::All).await;
        let stream = lab.transparent(port).await;
        let command = connect(stream, "allowed.test", alpn, &pki.run);
        let origin = async { serve(accept(&server).await, "allowed.test", alpn, &pki.servers).await };
        let (client, _origin) = tokio::join!(command, origin);
        drop(client.unwrap());
        lab.proxy.stop();
        assert_eq!(lab.record().await.tls_alert, Some("closed"), "round {round}");
    }
}

#[tokio::test]
async fn the_request_inside_names_whom_the_tls_is_for() {
    for request in [
        "GET / HTTP/1.1\r\nHost: other.test:$P\r\nConnection: close\r\n\r\n",
        "GET https://other.test:$P/ HTTP/1.1\r\nHost: other.test:$P\r\nConnection: close\r\n\r\n",
        "GET http://allowed.test:$P/ HTTP/1.1\r\nHost: allowed.test:$P\r\nConnection: close\r\n\r\n",
    ] {
        let (pki, (server, port)) = (Pki::new(), listener().await);
        let lab = lab(port, &["https://allowed.test:$P", "https://other.test:$P"], &pki, Scope::All).await;
        let command = async {
            let stream = lab.transparent(port).await;
            let mut client = connect(stream, "allowed.test", &[], &pki.run).await.unwrap();
            ask(&mut client, &request.replace("$P", &port.to_string())).await
        };
        let origin = async { serve(accept(&server).await, "allowed.test", &[], &pki.servers).await.unwrap() };
        let (answer, mut origin) = tokio::join!(command, origin);
        refusal(&answer, 403, "name_mismatch");
        let read = timeout(PATIENCE, origin.read(&mut [0; 16])).await.expect("an end in time");
        assert!(!matches!(read, Ok(1..)), "{request}");
    }
}

#[tokio::test]
async fn http2_is_spoken_with_both_where_both_can() {
    const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];
    let (pki, (server, port)) = (Pki::new(), listener().await);
    let lab = lab(port, &["https://allowed.test:$P"], &pki, Scope::All).await;
    let authority = format!("allowed.test:{port}");
    let command = async {
        let stream = lab.transparent(port).await;
        let client = connect(stream, "allowed.test", BOTH, &pki.run).await.unwrap();
        assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) = h2::client::handshake(client).await.unwrap();
        tokio::spawn(connection);
        let mut sender = sender.ready().await.unwrap();
        let ask = |sender: &mut h2::client::SendRequest<Bytes>, host: &str| {
            let request = Request::get(format!("https://{host}/x")).body(()).unwrap();
            sender.send_request(request, true).unwrap().0
        };
        let good = ask(&mut sender, &authority);
        let bad = ask(&mut sender, &format!("other.test:{port}"));
        let (good, bad) = tokio::join!(timeout(PATIENCE, good), timeout(PATIENCE, bad));
        (good.unwrap().unwrap().status(), bad.unwrap().unwrap().status())
    };
    let origin = async {
        let stream = serve(accept(&server).await, "allowed.test", BOTH, &pki.servers).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut connection: h2::server::Connection<_, Bytes> = h2::server::handshake(stream).await.unwrap();
        let mut seen = Vec::new();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            seen.push(request.uri().to_string());
            respond.send_response(Response::new(()), true).unwrap();
        }
        seen
    };
    let (statuses, seen) = tokio::join!(command, origin);
    assert_eq!(statuses, (::http::StatusCode::OK, ::http::StatusCode::FORBIDDEN));
    assert_eq!(seen, [format!("https://{authority}/x")]);
}

/// A certificate for what is dialled, if that is an address.
#[tokio::test]
async fn an_address_is_intercepted_as_one() {
    let (pki, (server, port)) = (Pki::new(), listener().await);
    let lab = lab(port, &[], &pki, Scope::All).await;
    let command = async {
        let stream = lab.dial((Ipv4Addr::LOCALHOST, port).into()).await;
        let mut client = connect(stream, "127.0.0.1", &[], &pki.run).await.unwrap();
        ask(&mut client, &get(port).replace("allowed.test", "127.0.0.1")).await
    };
    let origin = async {
        let mut origin = serve(accept(&server).await, "127.0.0.1", &[], &pki.servers).await.unwrap();
        head_of(&mut origin).await;
        origin.write_all(OK).await.unwrap();
    };
    let (answer, ()) = tokio::join!(command, origin);
    assert!(answer.ends_with("\r\n\r\nhi"), "{answer}");
}

/// Through a CONNECT, as most clients come where a proxy is named to them.
#[tokio::test]
async fn tls_inside_a_connect_is_intercepted() {
    let (pki, (server, port)) = (Pki::new(), listener().await);
    let lab = lab(port, &["https://allowed.test:$P"], &pki, Scope::All).await;
    let command = async {
        let mut stream = lab.explicit().await;
        send(
            &mut stream,
            &format!("CONNECT allowed.test:{port} HTTP/1.1\r\nHost: allowed.test:{port}\r\n\r\n"),
        )
        .await;
        assert!(head(&mut stream).await.starts_with("http/1.1 200 "));
        let mut client = connect(stream, "allowed.test", &[], &pki.run).await.unwrap();
        ask(&mut client, &get(port)).await
    };
    let origin = async {
        let mut origin = serve(accept(&server).await, "allowed.test", &[], &pki.servers).await.unwrap();
        head_of(&mut origin).await;
        origin.write_all(OK).await.unwrap();
    };
    let (answer, ()) = tokio::join!(command, origin);
    assert!(answer.ends_with("\r\n\r\nhi"), "{answer}");
}
