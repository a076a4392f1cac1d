//! One record a connection, whatever became of it, behind those of its requests.

use super::{super::sni::build::hello, *};
use crate::{audit::Decision, policy::Reason};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// The command sends `request`, the server answers [`OK`].
async fn exchange(client: &mut TcpStream, upstream: &mut TcpStream, request: &str) {
    send(client, request).await;
    head(upstream).await;
    send(upstream, OK).await;
    head(client).await;
    expect(client, b"ok").await;
}

#[tokio::test]
async fn a_kept_alive_connection_sums_up_its_requests() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P", "http://other.test:$P"]).await;
    let mut client = lab.transparent(port).await;
    send(&mut client, "GET /1 HTTP/1.1\r\nHost: allowed.test\r\n\r\n").await;
    let mut upstream = accept(&server).await;
    head(&mut upstream).await;
    send(&mut upstream, OK).await;
    head(&mut client).await;
    expect(&mut client, b"ok").await;
    exchange(&mut client, &mut upstream, "GET /2 HTTP/1.1\r\nHost: allowed.test\r\n\r\n").await;
    assert!(lab.records_that(|record| record.event == EventKind::Connection, 0).await.is_empty());
    drop(client);
    let record = lab.connections(1).await.remove(0);
    assert_eq!((record.decision, record.reason), (Decision::Allow, Reason::Allowed));
    assert_eq!((record.host.as_deref(), record.port), (Some("allowed.test"), Some(port)));
    assert_eq!(record.rule, Some(format!("http://allowed.test:{port}")));
    assert_eq!((record.ip, record.family), (Some(Ipv4Addr::LOCALHOST.into()), Some(4)));
    assert_eq!((record.proto, record.requests, record.bytes_down), (Some("http"), Some(2), Some(4)));
    assert_eq!((record.method, record.url, record.status), (None, None, None));
    assert_eq!(record.process.map(|process| process.pid), Some(4711));
    let all = lab.log.records.borrow().clone();
    assert_eq!(all.last().map(|(_, last)| last.event), Some(EventKind::Connection), "behind its requests");
}

#[tokio::test]
async fn one_refused_request_refuses_the_connection_on_record() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let mut client = lab.transparent(port).await;
    send(&mut client, "GET / HTTP/1.1\r\nHost: denied.test\r\n\r\n").await;
    let refused = head(&mut client).await;
    let length = refused.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
    client.read_exact(&mut vec![0; length.parse().unwrap()]).await.unwrap();
    send(&mut client, "GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n").await;
    let mut upstream = accept(&server).await;
    head(&mut upstream).await;
    send(&mut upstream, OK).await;
    rest(&mut client).await;
    drop(client);
    let record = lab.connections(1).await.remove(0);
    assert_eq!((record.decision, record.reason), (Decision::Deny, Reason::NotInAllowlist));
    assert_eq!((record.host.as_deref(), record.requests), (Some("denied.test"), Some(2)));
    assert!(record.allow_with.is_some());
}

#[tokio::test]
async fn http_inside_a_connect_is_one_connection() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let mut client = lab.explicit().await;
    let target = format!("allowed.test:{port}");
    send(&mut client, &format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")).await;
    head(&mut client).await;
    let mut upstream = accept(&server).await;
    let get = format!("GET / HTTP/1.1\r\nHost: {target}\r\n\r\n");
    exchange(&mut client, &mut upstream, &get).await;
    drop(client);
    let record = lab.connections(1).await.remove(0);
    assert_eq!((record.decision, record.requests), (Decision::Allow, Some(1)));
    assert_eq!((record.proto, record.method, record.status), (Some("http"), None, None));
    lab.records(1).await;
}

/// A proxy connection that fetched in clear text first: the CONNECT is judged, and counted, by itself.
#[tokio::test]
async fn a_connect_behind_requests_counts_itself() {
    for (host, decision) in [("denied.test", Decision::Deny), ("allowed.test", Decision::Allow)] {
        let (server, port) = listener().await;
        let lab = Lab::new(port, &["allowed.test:$P"]).await;
        let mut client = lab.explicit().await;
        send(
            &mut client,
            &format!("GET http://allowed.test:{port}/ HTTP/1.1\r\nHost: allowed.test:{port}\r\n\r\n"),
        )
        .await;
        let mut upstream = accept(&server).await;
        head(&mut upstream).await;
        send(&mut upstream, OK).await;
        head(&mut client).await;
        expect(&mut client, b"ok").await;
        send(&mut client, &format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n")).await;
        head(&mut client).await;
        drop(client);
        let record = lab.connections(1).await.remove(0);
        assert_eq!((record.host.as_deref(), record.method.as_deref()), (Some(host), Some("CONNECT")));
        assert_eq!(record.requests, None, "counted by itself");
        assert_eq!(record.decision, decision);
        lab.records(2).await;
    }
}

#[tokio::test]
async fn a_websocket_ends_with_its_connection() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let mut client = lab.transparent(port).await;
    let lines = "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    send(&mut client, &format!("GET /ws HTTP/1.1\r\nHost: allowed.test\r\n{lines}")).await;
    let mut upstream = accept(&server).await;
    head(&mut upstream).await;
    send(&mut upstream, &format!("HTTP/1.1 101 Switching Protocols\r\n{lines}hi")).await;
    head(&mut client).await;
    expect(&mut client, b"hi").await;
    send(&mut client, "more").await;
    expect(&mut upstream, b"more").await;
    assert!(lab.log.records.borrow().is_empty(), "written when it ends");
    drop((client, upstream));
    let record = lab.connections(1).await.remove(0);
    assert_eq!((record.requests, record.bytes_up, record.bytes_down), (Some(1), Some(4), Some(2)));
    assert_eq!(lab.records(1).await[0].event, EventKind::Request);
}

#[tokio::test]
async fn each_way_to_end_has_one_connection_record() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["https://allowed.test:$P"]).await;
    drop(lab.transparent(port).await);
    let mut refused = lab.transparent(port).await;
    refused.write_all(&hello(Some("denied.test"))).await.unwrap();
    rest(&mut refused).await;
    let mut broken = lab.transparent(port).await;
    send(&mut broken, "GET / HTTP/1.1\r\nX\r\n\r\n").await;
    refusal(&rest_text(&mut broken).await, 400, "malformed");
    let mut half = lab.transparent(port).await;
    send(&mut half, "GET / HTTP/1.1\r\nHost: a").await;
    half.shutdown().await.unwrap();
    let mut tunnel = lab.transparent(port).await;
    tunnel.write_all(&hello(Some("allowed.test"))).await.unwrap();
    drop((refused, broken, tunnel, accept(&server).await));
    let records = lab.connections(5).await;
    let mut reasons: Vec<_> = records.iter().map(|record| record.reason.as_str()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["allowed", "malformed", "malformed", "not_in_allowlist", "nothing_sent"]);
    // The broken head alone was a request; its refusal is counted with it.
    lab.records(5).await;
}

/// Connected, and gone with the command, before anybody came to accept it: on a busy machine that is usual.
#[tokio::test]
async fn connections_that_wait_at_the_end_are_recorded() {
    let lab = Lab::new(1, &[]).await;
    for _ in 0..16 {
        // Without a pause in which the proxy could accept.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        lab.origins.0.lock().unwrap().insert(socket.local_addr().unwrap(), (ELSEWHERE, 443).into());
        drop(socket2::SockRef::from(&socket).connect(&lab.address.into()));
    }
    lab.proxy.stop();
    assert_eq!(lab.connections(16).await.len(), 16);
}
