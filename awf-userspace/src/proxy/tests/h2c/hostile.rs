//! HTTP/2 clients that mean harm, or mean nothing.

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A SETTINGS frame without settings.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Reads to the end, however it comes: a connection with unread bytes is reset.
async fn until_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("an end in time");
    all
}

/// "Rapid reset" (CVE-2023-44487): streams opened and reset at once.
#[tokio::test]
async fn a_flood_of_resets_ends_the_connection_with_its_reason() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let mut client = lab.transparent(port).await;
    // :method GET, :scheme http, :path / (indexed), :authority denied.test (literal).
    let head = [&[0x82, 0x86, 0x84, 0x01, 11], &b"denied.test"[..]].concat();
    let mut flood = [PREFACE, SETTINGS].concat();
    for number in 0..2000_u32 {
        let stream = 2 * number + 1;
        flood.extend(frame(1, 0x5, stream, &head));
        flood.extend(frame(3, 0, stream, &[0, 0, 0, 8]));
    }
    let _ = client.write_all(&flood).await;
    until_end(&mut client).await;
    drop(client);
    let connection = lab.connections(1).await.remove(0);
    assert_eq!((connection.decision, connection.reason), (Decision::Deny, Reason::LimitExceeded));
    untouched(&server).await;
}

#[tokio::test]
async fn heads_are_bounded_in_size_and_number() {
    let (server, port) = listener().await;
    let limits = Limits { head: 16 * 1024, ..Limits::default() };
    let lab = Lab::with(port, &["http://allowed.test:$P"], &[], limits).await;
    let mut sender = speak(lab.transparent(port).await).await;
    let uri = format!("http://allowed.test:{port}/");
    let long = Request::get(&uri).header("x", "x".repeat(20_000)).body(()).unwrap();
    refused(&mut sender, long, 431, "limit_exceeded").await;
    let mut many = get(&uri);
    for number in 0..200 {
        let name: ::http::HeaderName = format!("x-{number}").parse().unwrap();
        many.headers_mut().insert(name, HeaderValue::from_static("1"));
    }
    refused(&mut sender, many, 431, "limit_exceeded").await;
    untouched(&server).await;
    assert!(lab.records(2).await.iter().all(|record| record.decision == Decision::Deny));
}

/// A head in CONTINUATION frames that never ends (CVE-2024-27316): bounded bytes, then the end.
#[tokio::test]
async fn an_endless_head_is_cut_off() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let mut client = lab.transparent(port).await;
    client.write_all(&[PREFACE, SETTINGS, &frame(1, 0, 1, &[0x82])].concat()).await.unwrap();
    // A literal header without indexing, its name and value of 5 bytes.
    let header = b"\x00\x05aaaaa\x05bbbbb".repeat(1000);
    let more = frame(9, 0, 1, &header);
    let mut sent = 0;
    let flooding = async {
        while client.write_all(&more).await.is_ok() {
            sent += more.len();
            assert!(sent < 64 << 20, "it takes any number of bytes");
        }
    };
    timeout(PATIENCE, flooding).await.expect("an end in time");
    drop(client);
    let record = lab.connections(1).await.remove(0);
    assert_eq!(record.decision, Decision::Deny, "{record:?}");
    untouched(&server).await;
}

#[tokio::test]
async fn what_is_no_http2_behind_the_preface_is_malformed() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    for garbage in
        [&b"GET / HTTP/1.1\r\nHost: allowed.test\r\n\r\n"[..], &frame(0, 0, 0, b"data on no stream")]
    {
        let mut client = lab.transparent(port).await;
        client.write_all(&[PREFACE, SETTINGS, garbage].concat()).await.unwrap();
        until_end(&mut client).await;
        drop(client);
        let record = lab.connections(1).await.remove(0);
        assert_eq!((record.decision, record.reason), (Decision::Deny, Reason::Malformed));
        lab.log.records.send_modify(Vec::clear);
    }
    untouched(&server).await;
}

/// Slow-loris: nothing, or half a head, for as long as a connection without a request may last.
#[tokio::test]
async fn a_connection_that_asks_nothing_is_closed() {
    let (server, port) = listener().await;
    let limits = Limits { keep_alive: Duration::from_millis(200), ..Limits::default() };
    let lab = Lab::with(port, &["http://allowed.test:$P"], &[], limits).await;
    for half in [vec![], frame(1, 0, 1, &[0x82, 0x86])] {
        let mut client = lab.transparent(port).await;
        client.write_all(&[PREFACE, SETTINGS, &half].concat()).await.unwrap();
        until_end(&mut client).await;
        drop(client);
        let record = lab.connections(1).await.remove(0);
        assert_eq!(record.reason, Reason::NothingSent, "{record:?}");
        lab.log.records.send_modify(Vec::clear);
    }
    untouched(&server).await;
}

/// A client that takes its time with an answer is no client that asks nothing.
#[tokio::test]
async fn a_long_answer_outlives_the_wait_for_requests() {
    let (server, port) = listener().await;
    let limits =
        Limits { keep_alive: Duration::from_millis(50), idle: Duration::from_secs(1), ..Limits::default() };
    let lab = Lab::with(port, &["http://allowed.test:$P"], &[], limits).await;
    let mut sender = speak(lab.transparent(port).await).await;
    let (response, _) = sender.send_request(get(&format!("http://allowed.test:{port}/")), true).unwrap();
    let stream = accept(&server).await;
    let mut connection: Connection<_, Bytes> = h2::server::handshake(stream).await.unwrap();
    let (_asked, _respond) = timeout(PATIENCE, connection.accept()).await.unwrap().unwrap().unwrap();
    let response = timeout(PATIENCE, response).await.expect("an answer in time").unwrap();
    assert_eq!(response.status(), 504);
    assert_eq!(response.headers()["x-awf-reason"], "idle_timeout");
}

/// Each may have many servers, and buffers for each of them.
#[tokio::test]
async fn connections_are_bounded_in_number() {
    let (server, port) = listener().await;
    let limits = Limits { http2: 2, ..Limits::default() };
    let lab = Lab::with(port, &["http://allowed.test:$P"], &[], limits).await;
    let mut first = speak(lab.transparent(port).await).await;
    let mut second = speak(lab.explicit().await).await;
    let uri = format!("http://denied.test:{port}/");
    refused(&mut first, get(&uri), 403, "not_in_allowlist").await;
    refused(&mut second, get(&uri), 403, "not_in_allowlist").await;
    let mut third = lab.transparent(port).await;
    third.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
    assert_eq!(until_end(&mut third).await, b"");
    let record = lab.connections(1).await.remove(0);
    assert_eq!((record.decision, record.reason), (Decision::Deny, Reason::LimitExceeded));

    // Those that are there go on, and one that has ended makes room.
    refused(&mut second, get(&uri), 403, "not_in_allowlist").await;
    drop(first);
    lab.connections(2).await;
    let mut fourth = speak(lab.transparent(port).await).await;
    refused(&mut fourth, get(&uri), 403, "not_in_allowlist").await;
    untouched(&server).await;
}
