//! The same over HTTP/2: what pseudo-headers may say, byte by byte, since no client library would send most of it.

use ::http::{HeaderMap, Request, Response};
use bytes::Bytes;

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// A literal header field without indexing and without Huffman (RFC 7541 section 6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| {
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("a short text");
        [&[length], text.as_bytes()].concat()
    };
    [vec![0], text(name), text(value)].concat()
}

const END_HEADERS: u8 = 4;
const END_STREAM: u8 = 1;

/// A HEADERS frame.
fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    let length = u32::try_from(block.len()).unwrap().to_be_bytes();
    [&length[1..], &[1, flags], &stream.to_be_bytes(), &block[..]].concat()
}

/// An origin that answers each request and keeps what it was asked for.
async fn origin(listener: TcpListener, seen: watch::Sender<Vec<String>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let seen = seen.clone();
        tokio::spawn(async move {
            let Ok(mut connection) = ::h2::server::handshake(stream).await else { return };
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let request: Request<_> = request;
                seen.send_modify(|seen| seen.push(format!("{} {}", request.method(), request.uri())));
                let _: Result<::h2::SendStream<Bytes>, _> = respond.send_response(Response::new(()), true);
            }
        });
    }
}

/// Reads frames until the stream, or the connection, is over.
async fn until_over(client: &mut TcpStream, stream: u32) {
    loop {
        let mut head = [0; 9];
        if timeout(PATIENCE, client.read_exact(&mut head)).await.expect("frames in time").is_err() {
            return;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        client.read_exact(&mut payload).await.unwrap();
        let of = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let (kind, flags) = (head[3], head[4]);
        let ended = of == stream && (kind == 3 || matches!(kind, 0 | 1) && flags & 1 != 0);
        if ended || kind == 7 {
            return;
        }
    }
}

/// Sends the fields as one request on a connection of its own; what the origin was asked for.
async fn ask(
    lab: &Lab,
    port: u16,
    seen: &watch::Sender<Vec<String>>,
    fields: &[(&str, &str)],
) -> Vec<String> {
    let mut client = lab.transparent(port).await;
    client
        .write_all(&[PREFACE, SETTINGS, &headers(1, END_HEADERS | END_STREAM, fields)].concat())
        .await
        .unwrap();
    until_over(&mut client, 1).await;
    seen.send_replace(Vec::new())
}

/// The attack: paths and pseudo-headers in forms that parsers read in several ways.
#[tokio::test]
async fn pseudo_headers_do_not_get_around_url_rules() {
    let (listener, port) = listener().await;
    let lab = lab(port, &["GET:http://allowed.test:$P/ok/**"]).await;
    let seen = watch::Sender::new(Vec::new());
    tokio::spawn(origin(listener, seen.clone()));
    let authority = format!("allowed.test:{port}");
    let full = format!("http://{authority}/no");
    let base = |method, path| {
        vec![(":method", method), (":scheme", "http"), (":authority", &*authority), (":path", path)]
    };
    for path in [
        "/no",
        "",
        "*",
        "ok/a",
        "no",
        &full,
        "/ok/../no",
        "/ok/%2e%2e/no",
        "/ok/..%2fno",
        "/ok/..;/no",
        "/ok/%252e%252e/no",
        "\\no",
        "?/ok/",
        "#/ok/",
        "/no#/ok/",
        "/no?/ok/",
        "/ok/\\..\\..\\no",
        "/ok/%00",
        "//allowed.test/ok/a/../../no",
        "/ok/a b",
        "/ok/a\tb",
        "/ok/\u{e9}",
    ] {
        let asked = ask(&lab, port, &seen, &base("GET", path)).await;
        assert!(asked.is_empty(), "{path:?}: {asked:?}");
    }
    for method in ["POST", "get", "", "CONNECT", "G T"] {
        let asked = ask(&lab, port, &seen, &base(method, "/ok/a")).await;
        assert!(asked.is_empty(), "{method:?}: {asked:?}");
    }
    for more in [
        (":path", "/no"),
        (":path", "/ok/b"),
        (":method", "GET"),
        (":scheme", "https"),
        (":protocol", "websocket"),
        ("x-original-url", "/no"),
        ("x-http-method-override", "DELETE"),
        ("host", "open.test"),
        ("host", "allowed.test"),
    ] {
        let fields = [base("GET", "/ok/a"), vec![more]].concat();
        let asked = ask(&lab, port, &seen, &fields).await;
        assert!(asked.is_empty(), "{more:?}: {asked:?}");
    }
    // That they arrive at all when they are allowed, in normal form.
    let sent = format!("GET http://{authority}/ok/b?c=d");
    assert_eq!(ask(&lab, port, &seen, &base("GET", "/x/..//ok/./%62?c=%64")).await, [sent]);
}

/// Streams of one connection, some allowed and some not.
#[tokio::test]
async fn each_stream_is_judged() {
    let (listener, port) = listener().await;
    let lab = lab(port, &[OK_RULE]).await;
    let seen = watch::Sender::new(Vec::new());
    tokio::spawn(origin(listener, seen.clone()));
    let (sender, connection) = ::h2::client::handshake(lab.transparent(port).await).await.unwrap();
    tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();
    for (path, status) in
        [("/ok/1", 200), ("/no", 403), ("/ok/%2e%2e/no", 403), ("/ok/..%2fno", 403), ("/ok/2", 200)]
    {
        let request = Request::get(format!("http://allowed.test:{port}{path}")).body(()).unwrap();
        let (response, _): (_, ::h2::SendStream<Bytes>) = sender.send_request(request, true).unwrap();
        let response = timeout(PATIENCE, response).await.expect("an answer in time").unwrap();
        assert_eq!(response.status(), status, "{path}");
        let reason = |headers: &HeaderMap| headers.get("x-awf-reason").cloned();
        assert_eq!(reason(response.headers()).is_some(), status == 403);
    }
    let url = |path| format!("GET http://allowed.test:{port}{path}");
    assert_eq!(seen.send_replace(Vec::new()), [url("/ok/1"), url("/ok/2")]);
}
