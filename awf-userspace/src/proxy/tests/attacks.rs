//! Ways out that somebody would try. None of them may reach a server with more than what was allowed.

use super::{super::sni::build::*, *};
use crate::{audit::Decision, policy::Reason};

const ALERT: [u8; 6] = [21, 3, 3, 0, 2, 2];

/// Defect D1 of gh-aw-firewall: CONNECT to an allowed name, TLS to another.
#[tokio::test]
async fn domain_fronting_by_connect_and_sni() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["https://allowed.test:$P", "https://other.test:$P"]).await;
    for name in [Some("denied.test"), Some("other.test"), Some("allowed.test.denied.test"), None] {
        let mut client = lab.explicit().await;
        let target = format!("allowed.test:{port}");
        send(&mut client, &format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")).await;
        head(&mut client).await;
        let mut upstream = accept(&server).await;
        client.write_all(&hello(name)).await.unwrap();
        assert_eq!(rest(&mut client).await[..6], ALERT, "{name:?}");
        drop(client);
        assert_eq!(rest(&mut upstream).await, b"", "not a byte of it reaches the server");
    }
    let records = lab.records(4).await;
    assert!(records.iter().all(|record| record.decision == Decision::Deny));
    assert_eq!(records[0].reason, Reason::NameMismatch);
    assert_eq!(records[3].reason, Reason::NoName);
}

/// Defects D2 and D3: clear text, or anything, through a CONNECT that is allowed for TLS only.
#[tokio::test]
async fn clear_text_through_a_connect_for_tls() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["https://allowed.test:$P"]).await;
    let target = format!("allowed.test:{port}");
    let connect = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    let mut client = lab.explicit().await;
    send(&mut client, &connect).await;
    head(&mut client).await;
    send(&mut client, &format!("GET / HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n")).await;
    refusal(&rest_text(&mut client).await, 403, "protocol_not_allowed");
    drop(client);
    assert_eq!(rest(&mut accept(&server).await).await, b"");

    let mut client = lab.explicit().await;
    send(&mut client, &connect).await;
    head(&mut client).await;
    client.write_all(b"\x00\x01whatever").await.unwrap();
    assert_reset(&mut client).await;
    assert_eq!(rest(&mut accept(&server).await).await, b"");
}

/// A forged name leads to that name's real server, not to the address that was dialled.
#[tokio::test]
async fn an_allowed_name_for_somebody_elses_address() {
    let (evil, port) = listener().await;
    let good = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await.unwrap();
    let lab = Lab::with(port, &["https://six.test:$P"], &[], Limits::default()).await;
    let mut client = lab.transparent(port).await;
    let hello = hello(Some("six.test"));
    client.write_all(&hello).await.unwrap();
    expect(&mut accept(&good).await, &hello).await;
    untouched(&evil).await;
}

/// An allowed name whose DNS is the attacker's: no way to the metadata service or the internal network.
#[tokio::test]
async fn a_name_that_leads_inside() {
    let (_server, port) = listener().await;
    let lab = Lab::new(port, &["inside.test"]).await;
    let mut client = lab.transparent(443).await;
    client.write_all(&hello(Some("inside.test"))).await.unwrap();
    assert_eq!(rest(&mut client).await[..6], ALERT);
    drop(client);
    assert_eq!(lab.record().await.reason, Reason::ForbiddenAddress);
}

#[tokio::test]
async fn a_hello_that_can_be_read_in_two_ways() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["https://allowed.test:$P"]).await;
    let two = [names(&[(0, b"allowed.test")]), names(&[(0, b"denied.test")])].concat();
    let both = names(&[(0, b"allowed.test"), (0, b"denied.test")]);
    let nul = names(&[(0, b"allowed.test\0.denied.test")]);
    for extensions in [two, both, nul] {
        let mut client = lab.transparent(port).await;
        client.write_all(&records(&message(Some(&extensions)), 50)).await.unwrap();
        assert_reset(&mut client).await;
    }
    assert!(lab.records(3).await.iter().all(|record| record.reason == Reason::Malformed));
    untouched(&server).await;
}

/// Every raw head that two parsers could read in two ways is answered 400 and reaches nobody, also behind a good
/// request on the same connection.
#[tokio::test]
async fn request_smuggling() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let smuggled = "GET /evil HTTP/1.1\r\nHost: denied.test\r\n\r\n";
    for lines in [
        "Host: denied.test\r\n".to_owned(),
        format!("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("Content-Length: 0\r\nContent-Length: {}\r\n\r\n{smuggled}", smuggled.len()),
        format!("Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{smuggled}"),
        "X: 1\n Host: denied.test\r\n".to_owned(),
        "X: 1\nHost: denied.test\r\n".to_owned(),
        "X: 1\r\n\tHost: denied.test\r\n".to_owned(),
        "Host : denied.test\r\n".to_owned(),
        format!("Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 3\r\n\r\nabc{smuggled}"),
    ] {
        let mut client = lab.transparent(port).await;
        send(&mut client, &format!("GET / HTTP/1.1\r\nHost: allowed.test\r\n{lines}\r\n")).await;
        let response = rest_text(&mut client).await;
        refusal(&response, 400, "malformed");
        assert_eq!(response.matches("HTTP/1.1 ").count(), 1, "{response}");
    }
    let records = lab.records(10).await;
    assert!(
        records.iter().all(|record| record.status == Some(400) && record.host == Some(ELSEWHERE.to_string()))
    );
    untouched(&server).await;
}

#[tokio::test]
async fn a_broken_chunk_cuts_the_upload_off() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let mut client = lab.transparent(port).await;
    let request = "POST / HTTP/1.1\r\nHost: allowed.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    send(&mut client, request).await;
    let mut upstream = accept(&server).await;
    head(&mut upstream).await;
    expect(&mut upstream, b"3\r\nabc\r\n").await;
    send(&mut client, "2 \nGET /evil HTTP/1.1\r\n\r\n").await;
    let passed = rest_text(&mut upstream).await;
    assert_eq!(passed, "", "neither the rest nor a proper end");
    let record = lab.record().await;
    assert_eq!((record.decision, record.reason), (Decision::Deny, Reason::Malformed));
}

/// The name that was judged is the name that the server sees, whatever else the client calls it.
#[tokio::test]
async fn host_and_target_disagree() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    for (target, host, reason) in [
        (format!("http://allowed.test:{port}/"), "denied.test".to_owned(), "name_mismatch"),
        (format!("http://denied.test:{port}/"), format!("allowed.test:{port}"), "name_mismatch"),
        ("/".to_owned(), "allowed.test:22".to_owned(), "name_mismatch"),
        ("http://allowed.test/".to_owned(), "allowed.test".to_owned(), "name_mismatch"),
        ("https://allowed.test/".to_owned(), "allowed.test".to_owned(), "protocol_not_allowed"),
    ] {
        let mut client = lab.transparent(port).await;
        send(&mut client, &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
            .await;
        refusal(&rest_text(&mut client).await, 403, reason);
    }
    untouched(&server).await;
    // `Connection: Host` must not strip the judged name.
    let mut client = lab.transparent(port).await;
    send(&mut client, "GET / HTTP/1.1\r\nHost: ALLOWED.test.\r\nConnection: Host, close\r\n\r\n").await;
    assert!(head(&mut accept(&server).await).await.contains(&format!("host: allowed.test:{port}\r\n")));
}

/// Behind an upgrade to HTTP/2 requests could name any host.
#[tokio::test]
async fn upgrades_other_than_websocket() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    for upgrade in ["h2c", "websocket, h2c", "TLS/1.0"] {
        let mut client = lab.transparent(port).await;
        let lines = format!("Connection: Upgrade, close\r\nUpgrade: {upgrade}\r\n");
        send(&mut client, &format!("GET / HTTP/1.1\r\nHost: allowed.test\r\n{lines}\r\n")).await;
        let mut upstream = accept(&server).await;
        assert!(!head(&mut upstream).await.contains("upgrade"));
        let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
        send(&mut upstream, switch).await;
        refusal(&rest_text(&mut client).await, 502, "connect_failed");
    }
    // A server that answers WebSocket with something else.
    let mut client = lab.transparent(port).await;
    send(
        &mut client,
        "GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    )
    .await;
    let mut upstream = accept(&server).await;
    head(&mut upstream).await;
    send(&mut upstream, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        .await;
    refusal(&rest_text(&mut client).await, 502, "connect_failed");
}

/// What follows a refused upgrade or CONNECT is not served as a request.
#[tokio::test]
async fn requests_behind_a_refused_tunnel() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let mut client = lab.transparent(port).await;
    let upgrade =
        "GET /1 HTTP/1.1\r\nHost: allowed.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    send(&mut client, &format!("{upgrade}GET /2 HTTP/1.1\r\nHost: allowed.test\r\n\r\n")).await;
    let mut upstream = accept(&server).await;
    assert!(head(&mut upstream).await.starts_with("get /1 "));
    send(&mut upstream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(rest_text(&mut client).await.matches("HTTP/1.1 ").count(), 1);
    drop(client);
    assert_eq!(rest(&mut upstream).await, b"");
}

#[tokio::test]
async fn protocols_that_cannot_be_judged() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["https://allowed.test:$P", "http://allowed.test:$P"]).await;
    for (bytes, reason) in [
        (b"EHLO a.test\r\n".as_slice(), Reason::NoName),
        (b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10", Reason::NoName),
        (b"GET /\r\n", Reason::NoName),
    ] {
        let mut client = lab.transparent(port).await;
        client.write_all(bytes).await.unwrap();
        assert_reset(&mut client).await;
        lab.record_of(reason).await;
        lab.log.records.send_modify(Vec::clear);
    }
    untouched(&server).await;
}

/// The proxy must not be led back to itself, nor be taken for a web server.
#[tokio::test]
async fn the_proxy_itself_as_destination() {
    let (_server, port) = listener().await;
    let lab = Lab::new(port, &[]).await;
    let own = lab.address;
    let request = |line: &str| format!("{line} HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\n\r\n");
    for (line, status, reason) in [
        ("GET /".to_owned(), 400, "no_name"),
        (format!("GET http://{own}/"), 403, "port_not_allowed"),
        (format!("CONNECT {own}"), 403, "port_not_allowed"),
    ] {
        let mut client = lab.explicit().await;
        send(&mut client, &request(&line)).await;
        refusal(&rest_text(&mut client).await, status, reason);
    }
    let mut client = lab.explicit().await;
    client.write_all(&hello(Some("allowed.test"))).await.unwrap();
    assert_eq!(rest(&mut client).await[..6], ALERT);

    // Even where a rule allows its address.
    let (listener, port) = listener().await;
    let lab = Lab::on(listener, port, &["127.0.0.0/8:$P", "tcp://loop.test:$P"], &[], Limits::default());
    for host in ["127.0.0.1", "loop.test", "[::ffff:127.0.0.1]"] {
        let mut client = lab.explicit().await;
        send(
            &mut client,
            &request(&format!("CONNECT {host}:{port}")).replace(&format!("Host: {own}"), "Host: "),
        )
        .await;
        refusal(&rest_text(&mut client).await, 403, "forbidden_address");
    }
}

#[tokio::test]
async fn connect_where_it_does_not_belong() {
    let (_server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let connect = format!("CONNECT allowed.test:{port} HTTP/1.1\r\nHost: allowed.test:{port}\r\n\r\n");
    let mut client = lab.transparent(port).await;
    send(&mut client, &connect).await;
    refusal(&rest_text(&mut client).await, 403, "protocol_not_allowed");
    let mut client = lab.explicit().await;
    send(&mut client, &connect).await;
    head(&mut client).await;
    send(&mut client, &connect).await;
    refusal(&rest_text(&mut client).await, 403, "protocol_not_allowed");
}

#[tokio::test]
async fn block_beats_allow_and_addresses() {
    let (server, port) = listener().await;
    let lab = Lab::with(port, &["tcp://x.test:$P"], &["blocked.x.test"], Limits::default()).await;
    for dst in [(ELSEWHERE, port), (Ipv4Addr::LOCALHOST, port)] {
        let mut client = lab.dial(dst.into()).await;
        client.write_all(&hello(Some("blocked.x.test"))).await.unwrap();
        assert_eq!(rest(&mut client).await[..6], ALERT);
        let mut client = lab.dial(dst.into()).await;
        send(&mut client, "GET / HTTP/1.1\r\nHost: blocked.x.test\r\nConnection: close\r\n\r\n").await;
        refusal(&rest_text(&mut client).await, 403, "blocked");
    }
    // The address itself was allowed and dialled, but nothing was said.
    for _ in 0..2 {
        assert_eq!(rest(&mut accept(&server).await).await, b"");
    }
}
