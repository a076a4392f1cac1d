//! Clear-text HTTP/1: by Host, request by request.

use super::*;
use crate::{audit::Decision, policy::Reason};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn requests_of_one_connection_are_judged_one_by_one() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let mut client = lab.transparent(port).await;
    send(&mut client, &format!("GET /1 HTTP/1.1\r\nHost: Allowed.test:{port}\r\n\r\n")).await;
    let mut upstream = accept(&server).await;
    let first = head(&mut upstream).await;
    assert!(first.starts_with("get /1 http/1.1\r\n"), "{first}");
    assert!(first.contains(&format!("host: allowed.test:{port}\r\n")), "{first}");
    send(&mut upstream, OK).await;
    head(&mut client).await;
    expect(&mut client, b"ok").await;

    send(
        &mut client,
        &format!("POST /2 HTTP/1.1\r\nHost: denied.test:{port}\r\nContent-Length: 3\r\n\r\nabc"),
    )
    .await;
    let denied = head(&mut client).await;
    assert!(denied.starts_with("http/1.1 403 ") && !denied.contains("connection: close"), "{denied}");
    let length = denied.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    client.read_exact(&mut body).await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&body["error"], &body["host"]), (&"blocked_by_policy".into(), &"denied.test".into()));
    assert_eq!((&body["port"], &body["reason"]), (&port.into(), &"not_in_allowlist".into()));
    assert!(body["allow_with"].as_str().is_some_and(|flag| flag.contains("denied.test")), "{body}");

    // The same server connection serves the third.
    send(&mut client, "HEAD /3?q HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n").await;
    assert!(head(&mut upstream).await.starts_with("head /3?q http/1.1\r\n"));
    send(&mut upstream, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n").await;
    assert!(head(&mut client).await.contains("content-length: 99"));
    assert_eq!(rest(&mut client).await, b"");

    let records = lab.records(3).await;
    assert!(records.iter().all(|record| record.event == EventKind::Request));
    assert_eq!(records[0].url, Some(format!("http://allowed.test:{port}/1")));
    assert_eq!((records[0].status, records[0].bytes_down), (Some(200), Some(2)));
    assert_eq!((records[1].status, records[1].decision), (Some(403), Decision::Deny));
    assert_eq!(records[2].method.as_deref(), Some("HEAD"));
}

/// The second came while the first answer was still being written.
#[tokio::test]
async fn requests_that_were_sent_at_once_are_all_answered() {
    const LARGE: usize = 16 << 20;
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let mut client = lab.transparent(port).await;
    let get = "GET / HTTP/1.1\r\nHost: allowed.test\r\n\r\n";
    send(&mut client, &get.repeat(2)).await;
    let origin = async {
        let mut upstream = accept(&server).await;
        head(&mut upstream).await;
        send(&mut upstream, &format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n")).await;
        upstream.write_all(&vec![b'x'; LARGE]).await.unwrap();
        head(&mut upstream).await;
        send(&mut upstream, OK).await;
    };
    let reader = async {
        head(&mut client).await;
        let mut body = vec![0; LARGE];
        client.read_exact(&mut body).await.unwrap();
        head(&mut client).await;
        expect(&mut client, b"ok").await;
    };
    timeout(PATIENCE, async { tokio::join!(origin, reader) }).await.expect("both answers in time");
}

#[tokio::test]
async fn a_denied_head_request_has_no_body_and_a_large_upload_ends_the_connection() {
    let (_server, port) = listener().await;
    let lab = Lab::new(port, &[]).await;
    let mut client = lab.transparent(port).await;
    send(&mut client, "HEAD / HTTP/1.1\r\nHost: denied.test\r\nConnection: close\r\n\r\n").await;
    let text = rest_text(&mut client).await;
    assert!(text.starts_with("HTTP/1.1 403") && text.ends_with("\r\n\r\n"), "{text}");

    let mut client = lab.transparent(port).await;
    send(&mut client, "POST / HTTP/1.1\r\nHost: denied.test\r\nContent-Length: 1000000\r\n\r\n").await;
    client.write_all(&vec![b'x'; 1_000_000]).await.unwrap();
    let text = rest_text(&mut client).await;
    refusal(&text, 403, "not_in_allowlist");
    assert!(text.to_lowercase().contains("connection: close"), "{text}");

    let mut client = lab.transparent(port).await;
    let expecting =
        "POST / HTTP/1.1\r\nHost: denied.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    send(&mut client, expecting).await;
    refusal(&rest_text(&mut client).await, 403, "not_in_allowlist");
}

#[tokio::test]
async fn bodies_stream_both_ways() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let mut client = lab.transparent(port).await;
    let request =
        "POST / HTTP/1.1\r\nHost: allowed.test\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n";
    send(&mut client, request).await;
    let mut upstream = accept(&server).await;
    assert!(head(&mut upstream).await.contains("transfer-encoding: chunked"));
    send(&mut upstream, "HTTP/1.1 100 Continue\r\n\r\n").await;
    assert!(head(&mut client).await.starts_with("http/1.1 100 "));
    send(&mut client, "5\r\nhello\r\n").await;
    expect(&mut upstream, b"5\r\nhello\r\n").await;
    send(&mut client, "0\r\n\r\n").await;
    expect(&mut upstream, b"0\r\n\r\n").await;

    // Server-sent events: each piece arrives before the next one exists.
    send(&mut upstream, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await;
    assert!(head(&mut client).await.contains("text/event-stream"));
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        send(&mut upstream, event).await;
        expect(&mut client, format!("{:X}\r\n{event}\r\n", event.len()).as_bytes()).await;
    }
    drop(upstream);
    expect(&mut client, b"0\r\n\r\n").await;
    drop(client);
    let record = lab.record().await;
    assert_eq!((record.bytes_up, record.bytes_down), (Some(5), Some(18)));
}

/// As search engines are asked.
#[tokio::test]
async fn a_body_passes_whatever_the_method() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "REPORT"] {
        for (framing, body) in
            [("Content-Length: 3", "abc"), ("Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n")]
        {
            let mut client = lab.transparent(port).await;
            let request = format!("{method} / HTTP/1.1\r\nHost: allowed.test\r\n{framing}\r\n\r\n{body}");
            send(&mut client, &request).await;
            let mut upstream = accept(&server).await;
            let head = head(&mut upstream).await;
            assert!(head.contains(&framing.to_lowercase()), "{head}");
            expect(&mut upstream, body.as_bytes()).await;
        }
    }
}

#[tokio::test]
async fn trailers_pass() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let mut client = lab.transparent(port).await;
    send(
        &mut client,
        "GET / HTTP/1.1\r\nHost: allowed.test\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n",
    )
    .await;
    let mut upstream = accept(&server).await;
    assert!(head(&mut upstream).await.contains("te: trailers"));
    let response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n";
    send(&mut upstream, response).await;
    let text = rest_text(&mut client).await.to_lowercase();
    assert!(text.ends_with("0\r\nx-sum: 7\r\n\r\n"), "{text}");
}

#[tokio::test]
async fn a_websocket_becomes_a_tunnel() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let mut client = lab.transparent(port).await;
    send(
        &mut client,
        "GET /ws HTTP/1.1\r\nHost: allowed.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly",
    )
    .await;
    let mut upstream = accept(&server).await;
    let asked = head(&mut upstream).await;
    assert!(asked.contains("upgrade: websocket") && asked.contains("connection: upgrade"), "{asked}");
    send(
        &mut upstream,
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi",
    )
    .await;
    assert!(head(&mut client).await.starts_with("http/1.1 101 "));
    expect(&mut client, b"hi").await;
    expect(&mut upstream, b"early").await;
    send(&mut client, "more").await;
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut upstream).await, b"more");
    drop(upstream);
    assert_eq!(rest(&mut client).await, b"");
    let record = lab.record().await;
    assert_eq!((record.status, record.bytes_up, record.bytes_down), (Some(101), Some(9), Some(2)));
}

/// What Java's HttpClient sends with its first request: the upgrade is dropped, the connection goes on.
#[tokio::test]
async fn an_offer_of_h2c_is_not_taken_and_costs_nothing() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let mut client = lab.transparent(port).await;
    let offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n\r\n";
    send(&mut client, &format!("GET / HTTP/1.1\r\nHost: allowed.test\r\n{offer}")).await;
    let mut upstream = accept(&server).await;
    for _ in 0..2 {
        let asked = head(&mut upstream).await;
        assert!(!asked.contains("h2c") && !asked.contains("http2-settings"), "{asked}");
        send(&mut upstream, OK).await;
        assert!(!head(&mut client).await.contains("connection: close"));
        expect(&mut client, b"ok").await;
        send(&mut client, "GET / HTTP/1.1\r\nHost: allowed.test\r\n\r\n").await;
    }
}

/// `docker exec` and `kubectl exec` of old: behind such an upgrade anything could be said to anybody.
#[tokio::test]
async fn an_upgrade_to_anything_but_websocket_is_refused() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    for wanted in ["tcp", "SPDY/3.1", "websockets", "h2"] {
        let mut client = lab.transparent(port).await;
        let offer = format!("Connection: Upgrade, close\r\nUpgrade: {wanted}\r\n\r\n");
        send(&mut client, &format!("POST / HTTP/1.1\r\nHost: allowed.test\r\n{offer}")).await;
        refusal(&rest_text(&mut client).await, 403, "protocol_not_allowed");
    }
    untouched(&server).await;
}

#[tokio::test]
async fn an_idle_server_connection_that_closed_is_replaced() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let mut client = lab.transparent(port).await;
    for _ in 0..3 {
        send(&mut client, "GET / HTTP/1.1\r\nHost: allowed.test\r\n\r\n").await;
        let mut upstream = accept(&server).await;
        head(&mut upstream).await;
        send(&mut upstream, OK).await;
        drop(upstream);
        assert!(head(&mut client).await.starts_with("http/1.1 200 "));
        expect(&mut client, b"ok").await;
    }
    lab.records(3).await;
}

#[tokio::test]
async fn a_client_that_closes_its_side_still_gets_the_answer() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let mut client = lab.transparent(port).await;
    send(&mut client, "GET / HTTP/1.0\r\nHost: allowed.test\r\n\r\n").await;
    client.shutdown().await.unwrap();
    let mut upstream = accept(&server).await;
    head(&mut upstream).await;
    send(&mut upstream, OK).await;
    assert!(rest_text(&mut client).await.ends_with("\r\n\r\nok"));
}

#[tokio::test]
async fn an_old_server_does_not_cost_the_commands_connection() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let mut client = lab.transparent(port).await;
    for _ in 0..2 {
        send(&mut client, "GET / HTTP/1.1\r\nHost: allowed.test\r\n\r\n").await;
        let mut upstream = accept(&server).await;
        head(&mut upstream).await;
        send(&mut upstream, "HTTP/1.0 200 OK\r\n\r\nuntil the end").await;
        drop(upstream);
        let answer = head(&mut client).await;
        assert!(answer.starts_with("http/1.1 200 ") && !answer.contains("connection: close"), "{answer}");
        expect(&mut client, b"D\r\nuntil the end\r\n0\r\n\r\n").await;
    }
}

#[tokio::test]
async fn failures_of_the_server_are_told_from_denials() {
    let (server, port) = listener().await;
    let rules =
        ["http://down.test:$P", "http://missing.test:$P", "http://slow.test:$P", "http://inside.test:$P"];
    let limits = Limits { resolve: Duration::from_millis(100), ..quick() };
    let lab = Lab::with(port, &rules, &[], limits).await;
    drop(server);
    for (host, status, reason, error) in [
        ("down.test", 502, "connect_failed", "upstream_failed"),
        ("missing.test", 502, "resolve_failed", "upstream_failed"),
        ("slow.test", 504, "resolve_timeout", "upstream_failed"),
        ("inside.test", 403, "forbidden_address", "blocked_by_policy"),
    ] {
        let mut client = lab.transparent(port).await;
        send(&mut client, &format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        let body = refusal(&rest_text(&mut client).await, status, reason);
        assert_eq!((&body["error"], &body["host"]), (&error.into(), &host.into()));
    }
    let records = lab.records(4).await;
    let reasons: Vec<_> = records.iter().map(|record| (record.reason, record.decision)).collect();
    assert!(reasons.contains(&(Reason::ForbiddenAddress, Decision::Deny)), "{reasons:?}");
    assert!(reasons.contains(&(Reason::ConnectFailed, Decision::Allow)), "{reasons:?}");
}

#[tokio::test]
async fn a_server_that_answers_nonsense_is_a_502() {
    refusal(&odd::answered("SSH-2.0-x\r\n\r\n").await, 502, "connect_failed");
}

#[tokio::test]
async fn the_explicit_proxy_fetches_absolute_urls() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let mut client = lab.explicit().await;
    send(&mut client, &format!("GET http://Allowed.test:{port}/x?y HTTP/1.1\r\nHost: allowed.test:{port}\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic c2VjcmV0\r\nX-Kept: 1\r\n\r\n")).await;
    let mut upstream = accept(&server).await;
    let asked = head(&mut upstream).await;
    assert!(asked.starts_with("get /x?y http/1.1\r\n"), "{asked}");
    assert!(
        asked.contains(&format!("host: allowed.test:{port}\r\n")) && asked.contains("x-kept: 1"),
        "{asked}"
    );
    assert!(!asked.contains("proxy"), "{asked}");
    send(&mut upstream, OK).await;
    head(&mut client).await;
    expect(&mut client, b"ok").await;
    // The next request on the same connection may be for another place.
    send(&mut client, "GET http://denied.test/ HTTP/1.1\r\nHost: denied.test\r\nConnection: close\r\n\r\n")
        .await;
    let body = refusal(&rest_text(&mut client).await, 403, "not_in_allowlist");
    assert_eq!((&body["host"], &body["port"]), (&"denied.test".into(), &80.into()));
    lab.records(2).await;
}
