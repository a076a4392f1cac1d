//! Answers that come before the request is whole, and requests that the server has not looked at.

use ::http::{Request, Response, StatusCode};
use bytes::Bytes;
use h2::{Reason as Code, server::SendResponse};

use super::*;
use crate::policy::Reason;

const EXPECTING: &str =
    "POST / HTTP/1.1\r\nHost: allowed.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
const REFUSED: &str = "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n";

#[tokio::test]
async fn a_body_is_asked_for_when_the_server_asks() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let mut client = lab.transparent(port).await;
    send(&mut client, EXPECTING).await;
    let mut upstream = accept(&server).await;
    assert!(head(&mut upstream).await.contains("expect: 100-continue"));
    send(&mut upstream, "HTTP/1.1 100 Continue\r\n\r\n").await;
    assert!(head(&mut client).await.starts_with("http/1.1 100 "));
    send(&mut client, "hello").await;
    expect(&mut upstream, b"hello").await;
}

#[tokio::test]
async fn a_body_that_the_server_refuses_is_not_asked_for() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let mut client = lab.transparent(port).await;
    send(&mut client, EXPECTING).await;
    let mut upstream = accept(&server).await;
    head(&mut upstream).await;
    send(&mut upstream, REFUSED).await;
    assert!(head(&mut client).await.starts_with("http/1.1 413 "));
    expect(&mut client, b"no\n").await;
    assert_eq!(lab.record().await.status, Some(413));
}

/// Not every server asks.
#[tokio::test]
async fn a_body_that_is_not_asked_for_is_sent_all_the_same() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let mut client = lab.transparent(port).await;
    send(&mut client, &format!("{EXPECTING}hello")).await;
    let mut upstream = accept(&server).await;
    head(&mut upstream).await;
    expect(&mut upstream, b"hello").await;
}

/// Serves one connection in HTTP/2; each request is given to `answer`.
async fn origin(listener: &TcpListener, answer: fn(SendResponse<Bytes>)) {
    let mut connection = h2::server::handshake(accept(listener).await).await.unwrap();
    tokio::spawn(async move {
        while let Some(Ok((_, respond))) = connection.accept().await {
            answer(respond);
        }
    });
}

/// A client of the proxy that has begun to send a body, and what it hears.
async fn begin(lab: &Lab, port: u16) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
    let (sender, connection) = h2::client::handshake(lab.transparent(port).await).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("http://allowed.test:{port}/")).body(()).unwrap();
    let (response, mut body) = sender.ready().await.unwrap().send_request(request, false).unwrap();
    body.send_data(Bytes::from_static(b"some of it"), false).unwrap();
    (response, body)
}

/// curl before 8 takes a reset for the failure of the whole stream, if it comes while it sends.
#[tokio::test]
async fn an_early_answer_is_not_followed_by_a_reset_at_once() {
    let (server, port) = listener().await;
    for rules in [&["http://allowed.test:$P"][..], &[]] {
        let lab = Lab::with(port, rules, &[], Limits { linger: PATIENCE / 2, ..Limits::default() }).await;
        let refuse = |mut respond: SendResponse<Bytes>| {
            let answer = Response::builder().status(StatusCode::FORBIDDEN).body(()).unwrap();
            respond.send_response(answer, true).unwrap();
        };
        let begun = begin(&lab, port);
        let (response, mut body) =
            if rules.is_empty() { begun.await } else { tokio::join!(begun, origin(&server, refuse)).0 };
        let response = timeout(PATIENCE, response).await.expect("an answer in time").unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        let mut said = response.into_body();
        while let Some(data) = said.data().await {
            data.unwrap();
        }
        let reset = timeout(PATIENCE / 8, std::future::poll_fn(|cx| body.poll_reset(cx))).await;
        assert!(reset.is_err(), "reset at once: {reset:?}");
    }
}

/// Whoever sent it knows whether it can be sent again.
#[tokio::test]
async fn a_request_that_the_server_has_not_looked_at_is_handed_back() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let refuse = |mut respond: SendResponse<Bytes>| respond.send_reset(Code::REFUSED_STREAM);
    let ((response, _body), ()) = tokio::join!(begin(&lab, port), origin(&server, refuse));
    let error = timeout(PATIENCE, response).await.expect("an end in time").unwrap_err();
    assert_eq!(error.reason(), Some(Code::REFUSED_STREAM), "{error}");
    assert_eq!(lab.record_of(Reason::ConnectFailed).await.status, None);
}

/// Before it has said how few it takes.
#[tokio::test]
async fn a_server_that_takes_few_streams_at_once_is_not_given_more() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let few = async {
        let stream = accept(&server).await;
        let mut connection =
            h2::server::Builder::new().max_concurrent_streams(2).handshake::<_, Bytes>(stream).await.unwrap();
        tokio::spawn(async move {
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                tokio::spawn(async move { respond.send_response(Response::new(()), true).unwrap() });
            }
        });
    };
    let many = async {
        let (mut sender, connection) = h2::client::handshake(lab.transparent(port).await).await.unwrap();
        tokio::spawn(connection);
        let mut answers = Vec::new();
        for _ in 0..20 {
            let request = Request::get(format!("http://allowed.test:{port}/")).body(()).unwrap();
            answers.push(sender.send_request(request, true).unwrap().0);
        }
        for answer in answers {
            let answer = timeout(PATIENCE, answer).await.expect("an answer in time").unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
        }
    };
    tokio::join!(few, many);
}
