//! WebSocket inside TLS that ends at the proxy, on HTTP/1.1 and on a stream of HTTP/2 (RFC 8441).

use ::http::{HeaderValue, Method, Request, StatusCode};
use bytes::Bytes;
use h2::{SendStream, client::SendRequest, ext::Protocol};

use super::{
    intercept::{Pki, connect, exact_head_of, head_of, lab, serve},
    *,
};
use crate::{policy::Reason, proxy::websocket::acceptance};

pub(super) const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];
const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\n\r\nhi";

/// The same as an answer to this head of a request, whose key had `more`.
fn switch(head: &str, more: &str) -> String {
    let key = head
        .lines()
        .find_map(|line| line.to_lowercase().starts_with("sec-websocket-key: ").then(|| &line[19..]));
    let key = HeaderValue::from_str(&format!("{}{more}", key.unwrap())).unwrap();
    String::from_utf8(SWITCH.to_vec()).unwrap().replace("Accept: x", &format!("Accept: {}", acceptance(&key)))
}

#[tokio::test]
async fn on_http1_it_is_joined_behind_its_head() {
    let (pki, (server, port)) = (Pki::new(), listener().await);
    let lab = lab(port, &["https://allowed.test:$P"], &pki, Scope::All).await;
    let command = async {
        let mut client = connect(lab.transparent(port).await, "allowed.test", &[], &pki.run).await.unwrap();
        let head = format!(
            "GET /ws HTTP/1.1\r\nHost: allowed.test:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly"
        );
        client.write_all(head.as_bytes()).await.unwrap();
        let answer = head_of(&mut client).await;
        let mut read = [0; 2];
        client.read_exact(&mut read).await.unwrap();
        client.write_all(b"more").await.unwrap();
        client.shutdown().await.unwrap();
        (answer, read, client.read(&mut [0; 16]).await.unwrap())
    };
    let origin = async {
        let mut origin = serve(accept(&server).await, "allowed.test", &[], &pki.servers).await.unwrap();
        let head = head_of(&mut origin).await;
        origin.write_all(SWITCH).await.unwrap();
        let mut read = Vec::new();
        origin.read_to_end(&mut read).await.unwrap();
        origin.shutdown().await.unwrap();
        (head, read)
    };
    let ((answer, read, end), (head, said)) = tokio::join!(command, origin);
    assert!(answer.starts_with("http/1.1 101 ") && answer.contains("sec-websocket-accept: x"), "{answer}");
    assert!(head.contains("upgrade: websocket"), "{head}");
    assert_eq!((&read, end, &said[..]), (b"hi", 0, &b"earlymore"[..]));
    let record = lab.record().await;
    assert_eq!((record.status, record.bytes_up, record.bytes_down), (Some(101), Some(9), Some(2)));
}

/// A command that speaks HTTP/2, and the server that the proxy reached for it.
pub(super) async fn speak(
    lab: &Lab,
    (server, port): (&TcpListener, u16),
    pki: &Pki,
) -> (SendRequest<Bytes>, JoinHandle<()>) {
    let command =
        async { connect(lab.transparent(port).await, "allowed.test", BOTH, &pki.run).await.unwrap() };
    let origin = async { serve(accept(server).await, "allowed.test", BOTH, &pki.servers).await.unwrap() };
    let (client, origin) = tokio::join!(command, origin);
    // It waits for a request that is none of its own.
    let origin = tokio::spawn(async move {
        let _held = origin;
        std::future::pending().await
    });
    let (sender, connection) = h2::client::handshake(client).await.unwrap();
    tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    // What the server can do comes with its first frame.
    let request = Request::get("https://other.test/").body(()).unwrap();
    let refused = sender.send_request(request, true).unwrap().0;
    assert_eq!(timeout(PATIENCE, refused).await.unwrap().unwrap().status(), StatusCode::FORBIDDEN);
    assert!(sender.is_extended_connect_protocol_enabled());
    (sender, origin)
}

pub(super) fn extended(
    sender: &mut SendRequest<Bytes>,
    url: &str,
    protocol: &'static str,
) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
    let request = Request::builder().method(Method::CONNECT).uri(url);
    let request = request.header("sec-websocket-version", "13").header("sec-websocket-protocol", "chat");
    sender.send_request(request.extension(Protocol::from_static(protocol)).body(()).unwrap(), false).unwrap()
}

#[tokio::test]
async fn on_http2_it_is_a_stream_of_its_own() {
    let (pki, (server, port)) = (Pki::new(), listener().await);
    let lab = lab(port, &["https://allowed.test:$P"], &pki, Scope::All).await;
    let (mut sender, held) = speak(&lab, (&server, port), &pki).await;
    let (response, mut up) =
        extended(&mut sender, &format!("https://allowed.test:{port}/ws?a=1"), "websocket");
    let command = async {
        let response = timeout(PATIENCE, response).await.expect("an answer in time").unwrap();
        assert_eq!(
            (response.status(), &response.headers()["sec-websocket-protocol"]),
            (StatusCode::OK, &"chat".parse().unwrap())
        );
        assert!(!response.headers().contains_key("sec-websocket-accept"));
        up.send_data(Bytes::from_static(b"hello"), true).unwrap();
        let mut down = response.into_body();
        let mut read = Vec::new();
        while let Some(data) = timeout(PATIENCE, down.data()).await.expect("data in time") {
            let data = data.unwrap();
            down.flow_control().release_capacity(data.len()).unwrap();
            read.extend_from_slice(&data);
        }
        read
    };
    let origin = async {
        let mut origin = serve(accept(&server).await, "allowed.test", BOTH, &pki.servers).await.unwrap();
        assert_eq!(origin.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let head = exact_head_of(&mut origin).await;
        origin.write_all(switch(&head, "").as_bytes()).await.unwrap();
        let head = head.to_lowercase();
        let mut said = Vec::new();
        origin.read_to_end(&mut said).await.unwrap();
        origin.write_all(b" and goodbye").await.unwrap();
        origin.shutdown().await.unwrap();
        (head, said)
    };
    let (read, (head, said)) = tokio::join!(command, origin);
    assert_eq!((&read[..], &said[..]), (&b"hi and goodbye"[..], &b"hello"[..]));
    assert!(head.starts_with("get /ws?a=1 http/1.1\r\n"), "{head}");
    for line in [
        &format!("host: allowed.test:{port}\r\n"),
        "upgrade: websocket\r\n",
        "sec-websocket-key: ",
        "sec-websocket-version: 13\r\n",
    ] {
        assert!(head.contains(line), "{line} in {head}");
    }
    held.abort();
    let record = lab.record_of(Reason::Allowed).await;
    assert_eq!((record.method.as_deref(), record.status), (Some("GET"), Some(200)));
    assert_eq!((record.bytes_up, record.bytes_down), (Some(5), Some(14)));
}

#[tokio::test]
async fn on_http2_it_is_judged_like_any_request() {
    let (pki, (server, port)) = (Pki::new(), listener().await);
    let lab = lab(port, &["https://allowed.test:$P"], &pki, Scope::All).await;
    let (mut sender, _held) = speak(&lab, (&server, port), &pki).await;
    for (url, protocol, reason) in [
        (format!("https://denied.test:{port}/"), "websocket", "name_mismatch"),
        (format!("https://allowed.test:{port}/"), "connect-udp", "protocol_not_allowed"),
        (format!("https://allowed.test:{port}/"), "WebSocket", "protocol_not_allowed"),
        (format!("http://allowed.test:{port}/"), "websocket", "name_mismatch"),
    ] {
        let (response, _up) = extended(&mut sender, &url, protocol);
        let response = timeout(PATIENCE, response).await.expect("an answer in time").unwrap();
        assert_eq!(response.headers()["x-awf-reason"], reason, "{url} {protocol}");
        assert!(!response.status().is_success());
    }
    untouched(&server).await;
}

/// A success that is no WebSocket would be taken for one.
#[tokio::test]
async fn a_server_that_does_not_switch_is_no_success() {
    // What is no answer of its own is that of a server which understood another key.
    for (answer, status) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 502),
        ("HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\nwho?", 401),
        ("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 502),
        ("", 502),
    ] {
        let (pki, (server, port)) = (Pki::new(), listener().await);
        let lab = lab(port, &["https://allowed.test:$P"], &pki, Scope::All).await;
        let (mut sender, _held) = speak(&lab, (&server, port), &pki).await;
        let (response, _up) = extended(&mut sender, &format!("https://allowed.test:{port}/"), "websocket");
        let origin = async {
            let mut origin = serve(accept(&server).await, "allowed.test", BOTH, &pki.servers).await.unwrap();
            let head = exact_head_of(&mut origin).await;
            let answer = if answer.is_empty() { switch(&head, "x") } else { answer.to_owned() };
            origin.write_all(answer.as_bytes()).await.unwrap();
            origin
        };
        let (response, _origin) = tokio::join!(timeout(PATIENCE, response), origin);
        assert_eq!(response.expect("an answer in time").unwrap().status(), status);
    }
}
