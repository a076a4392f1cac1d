//! CONNECT: judged by its target, and again by what is spoken through it.

use super::{super::sni::build::hello, *};
use crate::{audit::Decision, policy::Reason};

/// Sends a CONNECT to `target` and reads the `200`.
async fn connect(lab: &Lab, target: &str) -> TcpStream {
    let mut client = lab.explicit().await;
    send(&mut client, &format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")).await;
    let answer = head(&mut client).await;
    assert!(answer.starts_with("http/1.1 200 "), "{answer}");
    assert!(!answer.contains("content-length") && !answer.contains("transfer-encoding"), "{answer}");
    client
}

#[tokio::test]
async fn tls_to_the_named_host_is_tunnelled() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["https://allowed.test:$P"]).await;
    let mut client = connect(&lab, &format!("Allowed.Test.:{port}")).await;
    let mut upstream = accept(&server).await;
    let hello = hello(Some("allowed.test"));
    client.write_all(&hello).await.unwrap();
    expect(&mut upstream, &hello).await;
    send(&mut upstream, "answer").await;
    expect(&mut client, b"answer").await;
    drop((client, upstream));
    let record = lab.record().await;
    assert_eq!((record.event, record.decision), (EventKind::Connection, Decision::Allow));
    assert_eq!((record.method.as_deref(), record.proto), (Some("CONNECT"), Some("connect")));
    assert_eq!((record.host.as_deref(), record.status), (Some("allowed.test"), Some(200)));
    assert_eq!((record.bytes_up, record.bytes_down), (Some(hello.len() as u64), Some(6)));
}

/// Some clients send their ClientHello without waiting for the `200`.
#[tokio::test]
async fn an_early_hello_is_kept() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["https://allowed.test:$P"]).await;
    let mut client = lab.explicit().await;
    let hello = hello(Some("allowed.test"));
    let request = format!("CONNECT allowed.test:{port} HTTP/1.1\r\nHost: allowed.test:{port}\r\n\r\n");
    client.write_all(&[request.as_bytes(), &hello].concat()).await.unwrap();
    head(&mut client).await;
    expect(&mut accept(&server).await, &hello).await;
}

#[tokio::test]
async fn a_denied_connect_is_refused_at_once() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["https://allowed.test"]).await;
    for (target, status, reason) in [
        ("denied.test:443", 403, "not_in_allowlist"),
        ("allowed.test:22", 403, "port_not_allowed"),
        ("203.0.113.9:443", 403, "address_not_allowed"),
        ("[2001:db8::9]:443", 403, "address_not_allowed"),
        ("user:secret@allowed.test:443", 400, "malformed"),
        ("allowed.test:0", 400, "malformed"),
        ("allowed.test", 400, "malformed"),
    ] {
        let mut client = lab.explicit().await;
        send(&mut client, &format!("CONNECT {target} HTTP/1.1\r\nHost: \r\n\r\nGET / HTTP/1.1\r\n\r\n"))
            .await;
        let response = rest_text(&mut client).await;
        refusal(&response, status, reason);
        assert!(!response.contains("secret"), "{response}");
    }
    assert!(lab.records(7).await.iter().all(|record| record.decision == Decision::Deny));
    assert_eq!(lab.asked(), [""; 0]);
    untouched(&server).await;
}

#[tokio::test]
async fn a_server_that_is_down_is_a_502_to_the_connect() {
    let (server, port) = listener().await;
    drop(server);
    let lab = Lab::new(port, &["https://down.test:$P"]).await;
    let mut client = lab.explicit().await;
    send(&mut client, &format!("CONNECT down.test:{port} HTTP/1.1\r\nHost: down.test:{port}\r\n\r\n")).await;
    refusal(&rest_text(&mut client).await, 502, "connect_failed");
    assert_eq!(lab.record().await.decision, Decision::Allow);
}

#[tokio::test]
async fn http_inside_is_judged_per_request() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P", "http://other.test:$P"]).await;
    let mut client = connect(&lab, &format!("allowed.test:{port}")).await;
    send(&mut client, &format!("GET /1 HTTP/1.1\r\nHost: allowed.test:{port}\r\n\r\n")).await;
    let mut upstream = accept(&server).await;
    assert!(head(&mut upstream).await.starts_with("get /1 "));
    send(&mut upstream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    head(&mut client).await;
    // Allowed by itself, but not what the CONNECT was for.
    send(&mut client, &format!("GET /2 HTTP/1.1\r\nHost: other.test:{port}\r\nConnection: close\r\n\r\n"))
        .await;
    refusal(&rest_text(&mut client).await, 403, "name_mismatch");
    let records = lab.records(2).await;
    assert!(records.iter().all(|record| record.event == EventKind::Request && record.proto == Some("http")));
    assert_eq!(records[1].reason, Reason::NameMismatch);
}

/// SSH, SMTP, MySQL: the server is the first to speak.
#[tokio::test]
async fn a_server_may_speak_first_where_any_protocol_may() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["tcp://allowed.test:$P"]).await;
    let mut client = connect(&lab, &format!("allowed.test:{port}")).await;
    let mut upstream = accept(&server).await;
    send(&mut upstream, "SSH-2.0-server\r\n").await;
    expect(&mut client, b"SSH-2.0-server\r\n").await;
    send(&mut client, "SSH-2.0-client\r\n").await;
    expect(&mut upstream, b"SSH-2.0-client\r\n").await;

    // The same without a proxy setting, to an address that a rule names.
    let mut client = lab.dial((Ipv4Addr::LOCALHOST, port).into()).await;
    let mut upstream = accept(&server).await;
    send(&mut upstream, "220 ready\r\n").await;
    expect(&mut client, b"220 ready\r\n").await;
}

#[tokio::test]
async fn silence_and_unknown_protocols_are_refused_elsewhere() {
    let (server, port) = listener().await;
    let lab = Lab::with(port, &["https://allowed.test:$P"], &[], quick()).await;
    let mut silent = connect(&lab, &format!("allowed.test:{port}")).await;
    let mut upstream = accept(&server).await;
    send(&mut upstream, "SSH-2.0-server\r\n").await;
    assert_reset(&mut silent).await;
    let mut ssh = connect(&lab, &format!("allowed.test:{port}")).await;
    send(&mut ssh, "BEGIN\r\n").await;
    assert_reset(&mut ssh).await;
    let records = lab.records(2).await;
    assert_eq!(records[0].reason, Reason::FirstByteTimeout);
    assert_eq!(records[1].reason, Reason::ProtocolNotAllowed);
    assert!(records.iter().all(|record| record.decision == Decision::Deny && record.bytes_down == Some(0)));
}

#[tokio::test]
async fn an_address_needs_a_rule_of_addresses() {
    let (server, port) = listener().await;
    let lab = Lab::with(port, &[], &["blocked.test"], Limits::default()).await;
    let target = format!("127.0.0.1:{port}");
    for name in [None, Some("127.0.0.1"), Some("any.test")] {
        let mut client = connect(&lab, &target).await;
        let hello = hello(name);
        client.write_all(&hello).await.unwrap();
        expect(&mut accept(&server).await, &hello).await;
    }
    for name in ["blocked.test", "127.0.0.2"] {
        let mut client = connect(&lab, &target).await;
        client.write_all(&hello(Some(name))).await.unwrap();
        assert_eq!(rest(&mut client).await[..5], [21, 3, 3, 0, 2], "{name}");
    }
}
