//! HTTP/2 in clear text by prior knowledge: stream by stream, as HTTP/1 request by request.

use ::http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use bytes::Bytes;
use h2::{RecvStream, client::SendRequest, server::Connection};

use super::*;
use crate::{audit::Decision, policy::Reason};

/// HTTP/2 on `stream`, driven until it ends.
async fn speak(stream: TcpStream) -> SendRequest<Bytes> {
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
    });
    sender.ready().await.unwrap()
}

/// A server's side of the next connection, which answers each request with its `:authority` and path.
async fn origin(listener: &TcpListener) {
    let stream = accept(listener).await;
    let mut connection: Connection<_, Bytes> =
        timeout(PATIENCE, h2::server::handshake(stream)).await.expect("a preface in time").unwrap();
    tokio::spawn(async move {
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            assert!(!request.headers().contains_key("host"));
            let text = format!("{} {}", request.uri(), request.headers().contains_key("te"));
            let mut body = respond.send_response(Response::new(()), false).unwrap();
            body.send_data(Bytes::from(text), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("7"));
            body.send_trailers(trailers).unwrap();
        }
    });
}

fn get(uri: &str) -> Request<()> {
    Request::get(uri).body(()).unwrap()
}

/// The answer's head, body and trailers.
async fn ask(
    sender: &mut SendRequest<Bytes>,
    request: Request<()>,
) -> (Response<()>, String, Option<HeaderMap>) {
    let (response, _) = sender.send_request(request, true).unwrap();
    let response = timeout(PATIENCE, response).await.expect("an answer in time").unwrap();
    let (head, mut body) = response.into_parts();
    let text = read(&mut body).await;
    let trailers = body.trailers().await.unwrap();
    (Response::from_parts(head, ()), text, trailers)
}

async fn read(body: &mut RecvStream) -> String {
    let mut text = Vec::new();
    while let Some(data) = timeout(PATIENCE, body.data()).await.expect("a body in time") {
        text.extend_from_slice(&data.unwrap());
    }
    String::from_utf8(text).unwrap()
}

/// The refusal of `request`, checked.
async fn refused(sender: &mut SendRequest<Bytes>, request: Request<()>, status: u16, reason: &str) {
    let (response, text, _) = ask(sender, request).await;
    assert_eq!(response.status(), status, "{text}");
    assert_eq!(response.headers()["x-awf-reason"], reason);
    assert_eq!(response.headers()["content-type"], "application/json");
    let body: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body["reason"], reason);
}

#[tokio::test]
async fn requests_of_one_connection_are_judged_one_by_one() {
    let (server, port) = listener().await;
    let six = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await.unwrap();
    let lab = Lab::new(port, &["http://allowed.test:$P", "http://six.test:$P", "https://tls.test:$P"]).await;
    let mut sender = speak(lab.transparent(port).await).await;
    let at = |name: &str, path: &str| format!("http://{name}:{port}{path}");
    let serving = origin(&server);
    let mut request = get(&at("allowed.test", "/1?q"));
    request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
    let ((), (response, text, trailers)) = tokio::join!(serving, ask(&mut sender, request));
    assert_eq!((response.status(), text), (StatusCode::OK, format!("{} true", at("allowed.test", "/1?q"))));
    assert_eq!(trailers.unwrap()["x-sum"], "7");

    refused(&mut sender, get(&at("denied.test", "/")), 403, "not_in_allowlist").await;
    refused(&mut sender, get(&at("tls.test", "/")), 403, "protocol_not_allowed").await;
    // Another allowed name has its own server; the first one's connection serves on.
    let ((), (response, ..)) = tokio::join!(origin(&six), ask(&mut sender, get(&at("six.test", "/"))));
    assert_eq!(response.status(), StatusCode::OK);
    let (_, text, _) = ask(&mut sender, get(&at("allowed.test", "/3"))).await;
    assert_eq!(text, format!("{} false", at("allowed.test", "/3")));
    untouched(&server).await;
    drop(sender);

    let records = lab.records_that(|_| true, 6).await;
    let (connection, requests) = records.split_last().unwrap();
    let decisions: Vec<_> = requests.iter().map(|r| (r.decision == Decision::Allow, r.status)).collect();
    let (yes, no) = ((true, Some(200)), (false, Some(403)));
    assert_eq!(decisions, [yes, no, no, yes, yes]);
    assert_eq!(requests[0].url, Some(at("allowed.test", "/1?q")));
    assert!(requests.iter().all(|request| request.event == EventKind::Request));
    assert_eq!((connection.event, connection.requests), (EventKind::Connection, Some(5)));
    assert_eq!((connection.decision, connection.reason), (Decision::Deny, Reason::ProtocolNotAllowed));
    assert!(lab.asked().iter().all(|name| name == "allowed.test" || name == "six.test"));
}

/// The attack: two names in one request, another scheme, a tunnel inside.
#[tokio::test]
async fn a_request_with_two_names_or_of_another_kind_is_refused() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P", "tcp://allowed.test:22"]).await;
    let mut sender = speak(lab.transparent(port).await).await;
    let uri = format!("http://allowed.test:{port}/");
    for host in ["denied.test", "allowed.test"] {
        // Without a port the Host header means 80.
        let request = Request::get(&uri).header("host", host).body(()).unwrap();
        refused(&mut sender, request, 403, "name_mismatch").await;
    }
    refused(&mut sender, get(&format!("https://allowed.test:{port}/")), 403, "protocol_not_allowed").await;
    refused(&mut sender, get("http://allowed.test:81/"), 403, "name_mismatch").await;
    refused(&mut sender, get("http://user:secret@allowed.test/"), 400, "malformed").await;
    let connect = Request::connect("allowed.test:22").body(()).unwrap();
    refused(&mut sender, connect, 403, "protocol_not_allowed").await;
    untouched(&server).await;
    assert!(lab.records(6).await.iter().all(|record| record.decision == Decision::Deny));
}

#[tokio::test]
async fn inside_a_connect_only_its_own_name_counts() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P", "http://other.test:$P"]).await;
    let mut client = lab.explicit().await;
    let target = format!("allowed.test:{port}");
    send(&mut client, &format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")).await;
    head(&mut client).await;
    let mut sender = speak(client).await;
    refused(&mut sender, get(&format!("http://other.test:{port}/")), 403, "name_mismatch").await;
    let ((), (response, ..)) =
        tokio::join!(origin(&server), ask(&mut sender, get(&format!("http://{target}/"))));
    assert_eq!(response.status(), StatusCode::OK);
    untouched(&server).await;
}

/// A rule for any protocol dials early; what names another host is judged all the same.
#[tokio::test]
async fn the_server_dialled_early_serves_its_own_name_only() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["tcp://any.test:$P"]).await;
    lab.given(&["any.test"]);
    let mut sender = speak(lab.transparent(port).await).await;
    refused(&mut sender, get(&format!("http://denied.test:{port}/")), 403, "not_in_allowlist").await;
    // It was dialled before anything was said, and is spoken to now.
    let allowed = get(&format!("http://any.test:{port}/"));
    let ((), (response, ..)) = tokio::join!(origin(&server), ask(&mut sender, allowed));
    assert_eq!(response.status(), StatusCode::OK);
    untouched(&server).await;
}

#[tokio::test]
async fn grpc_is_told_in_its_own_words() {
    let (_server, port) = listener().await;
    let lab = Lab::new(port, &[]).await;
    let mut sender = speak(lab.transparent(port).await).await;
    let uri = format!("http://denied.test:{port}/pkg.Service/Method");
    let request = Request::post(uri).header("content-type", "application/grpc+proto").body(()).unwrap();
    let (response, text, _) = ask(&mut sender, request).await;
    assert_eq!((response.status(), text.as_str()), (StatusCode::OK, ""));
    assert_eq!(response.headers()["grpc-status"], "7");
    let said = response.headers()["grpc-message"].to_str().unwrap();
    assert!(said.contains("blocked by awf-bpf: denied.test is not allowed"), "{said}");
    drop(sender);
    let record = lab.record().await;
    assert_eq!((record.decision, record.reason), (Decision::Deny, Reason::NotInAllowlist));
}

/// Each direction while the other goes on: nothing is held back until an end.
#[tokio::test]
async fn streams_flow_both_ways_at_once() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let mut sender = speak(lab.transparent(port).await).await;
    let request = Request::post(format!("http://allowed.test:{port}/")).body(()).unwrap();
    let (response, mut up) = sender.send_request(request, false).unwrap();
    let stream = accept(&server).await;
    let mut connection: Connection<_, Bytes> = h2::server::handshake(stream).await.unwrap();
    let (asked, mut respond) = timeout(PATIENCE, connection.accept()).await.unwrap().unwrap().unwrap();
    tokio::spawn(async move { while connection.accept().await.is_some() {} });
    let (mut asked, mut down) = (asked.into_body(), respond.send_response(Response::new(()), false).unwrap());
    let mut answer = timeout(PATIENCE, response).await.unwrap().unwrap().into_body();
    for piece in ["one", "two", "three"] {
        up.send_data(Bytes::from(piece), false).unwrap();
        assert_eq!(timeout(PATIENCE, asked.data()).await.unwrap().unwrap().unwrap(), piece);
        down.send_data(Bytes::from(piece), false).unwrap();
        assert_eq!(timeout(PATIENCE, answer.data()).await.unwrap().unwrap().unwrap(), piece);
    }
    // A half-closed stream, with trailers from the client's side.
    let mut trailers = HeaderMap::new();
    trailers.insert("x-up", HeaderValue::from_static("1"));
    up.send_trailers(trailers).unwrap();
    assert!(timeout(PATIENCE, asked.data()).await.unwrap().is_none());
    assert_eq!(asked.trailers().await.unwrap().unwrap()["x-up"], "1");
    down.send_data(Bytes::new(), true).unwrap();
    assert_eq!(read(&mut answer).await, "");
    let record = lab.records_that(|record| record.event == EventKind::Request, 1).await.remove(0);
    assert_eq!((record.bytes_up, record.bytes_down), (Some(11), Some(11)));
}

#[tokio::test]
async fn a_server_without_http2_is_a_502() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let mut sender = speak(lab.transparent(port).await).await;
    let answering = async {
        let mut upstream = accept(&server).await;
        let mut preface = [0; 24];
        upstream.read_exact(&mut preface).await.unwrap();
        send(&mut upstream, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        upstream
    };
    let request = refused(&mut sender, get(&format!("http://allowed.test:{port}/")), 502, "connect_failed");
    let _upstream = tokio::join!(answering, request);
    assert_eq!(lab.records_that(|_| true, 1).await[0].decision, Decision::Allow);
}

mod hostile;
