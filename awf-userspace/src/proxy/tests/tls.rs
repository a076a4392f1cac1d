//! TLS to a dialled address: by SNI, byte for byte, or an alert.

use super::{super::sni::build::hello, *};
use crate::{audit::Decision, policy::Reason};

/// fatal(2), access_denied(49)
const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

#[tokio::test]
async fn an_allowed_name_is_tunnelled_byte_for_byte() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["https://allowed.test:$P"]).await;
    let mut client = lab.transparent(port).await;
    let hello = hello(Some("allowed.test"));
    client.write_all(&hello).await.unwrap();
    let mut upstream = accept(&server).await;
    expect(&mut upstream, &hello).await;
    upstream.write_all(b"server hello").await.unwrap();
    expect(&mut client, b"server hello").await;
    client.write_all(b"finished").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut upstream).await, b"finished", "half-close goes through");
    upstream.write_all(b"still going").await.unwrap();
    expect(&mut client, b"still going").await;
    drop(upstream);
    assert_eq!(rest(&mut client).await, b"");

    let record = lab.record().await;
    assert_eq!((record.decision, record.reason), (Decision::Allow, Reason::Allowed));
    assert_eq!(record.rule, Some(format!("https://allowed.test:{port}")));
    assert_eq!((record.host.as_deref(), record.port), (Some("allowed.test"), Some(port)));
    assert_eq!(record.ip, Some(Ipv4Addr::LOCALHOST.into()));
    assert_eq!((record.family, record.proto), (Some(4), Some("tls")));
    assert_eq!(record.bytes_up, Some(hello.len() as u64 + 8));
    assert_eq!(record.bytes_down, Some(12 + 11));
    assert_eq!(record.process.map(|process| process.pid), Some(4711));
    assert_eq!(lab.asked(), ["allowed.test"], "dialled by name");
}

#[tokio::test]
async fn a_hello_in_single_bytes_is_understood() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["https://allowed.test:$P"]).await;
    let mut client = lab.transparent(port).await;
    let hello = hello(Some("allowed.test"));
    for byte in &hello {
        client.write_all(&[*byte]).await.unwrap();
    }
    expect(&mut accept(&server).await, &hello).await;
}

#[tokio::test]
async fn a_denied_name_gets_an_alert_and_a_record() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["https://allowed.test:$P"]).await;
    let mut client = lab.transparent(port).await;
    client.write_all(&hello(Some("denied.test"))).await.unwrap();
    client.write_all(b"early data that nobody reads").await.unwrap();
    assert_eq!(rest(&mut client).await, ACCESS_DENIED);
    drop(client);
    let record = lab.record().await;
    assert_eq!((record.decision, record.reason), (Decision::Deny, Reason::NotInAllowlist));
    assert_eq!(record.host.as_deref(), Some("denied.test"));
    assert_eq!(record.ip, Some(ELSEWHERE.into()));
    assert!(record.allow_with.is_some());
    assert_eq!(lab.asked(), [""; 0], "nothing of a denied name leaves");
    untouched(&server).await;
}

#[tokio::test]
async fn the_port_and_the_protocol_count() {
    let (_server, port) = listener().await;
    let lab = Lab::new(port, &["https://allowed.test", "http://clear.test:$P"]).await;
    for (name, reason) in
        [("allowed.test", Reason::PortNotAllowed), ("clear.test", Reason::ProtocolNotAllowed)]
    {
        let mut client = lab.transparent(port).await;
        client.write_all(&hello(Some(name))).await.unwrap();
        assert_eq!(rest(&mut client).await, ACCESS_DENIED);
        drop(client);
        assert_eq!(lab.record_of(reason).await.decision, Decision::Deny);
    }
}

#[tokio::test]
async fn without_a_name_only_the_address_counts() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["https://allowed.test:$P"]).await;
    let mut client = lab.transparent(port).await;
    client.write_all(&hello(None)).await.unwrap();
    assert_eq!(rest(&mut client).await, ACCESS_DENIED);
    drop(client);
    assert_eq!(lab.record().await.reason, Reason::NoName);
    untouched(&server).await;

    let lab = Lab::new(port, &[]).await;
    for name in [None, Some("127.0.0.1")] {
        let mut client = lab.dial((Ipv4Addr::LOCALHOST, port).into()).await;
        let hello = hello(name);
        client.write_all(&hello).await.unwrap();
        expect(&mut accept(&server).await, &hello).await;
    }
    assert_eq!(lab.asked(), [""; 0]);
}

#[tokio::test]
async fn an_unreachable_server_ends_the_handshake() {
    let (server, port) = listener().await;
    drop(server);
    let lab = Lab::new(port, &["https://allowed.test:$P", "https://missing.test:$P"]).await;
    for (name, reason) in [("allowed.test", Reason::ConnectFailed), ("missing.test", Reason::ResolveFailed)] {
        let mut client = lab.transparent(port).await;
        client.write_all(&hello(Some(name))).await.unwrap();
        assert_eq!(rest(&mut client).await, [21, 3, 3, 0, 2, 2, 80], "internal_error");
        drop(client);
        assert_eq!(lab.record_of(reason).await.decision, Decision::Allow);
    }
}

#[tokio::test]
async fn an_ipv6_origin_is_reached_by_name() {
    let server = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.unwrap();
    let port = server.local_addr().unwrap().port();
    let lab = Lab::new(port, &["https://six.test:$P"]).await;
    let mut client = lab
        .dial(
            "[2001:db8::7]:0"
                .parse::<SocketAddr>()
                .map(|mut a| {
                    a.set_port(port);
                    a
                })
                .unwrap(),
        )
        .await;
    let hello = hello(Some("six.test"));
    client.write_all(&hello).await.unwrap();
    let mut upstream = accept(&server).await;
    expect(&mut upstream, &hello).await;
    drop((client, upstream));
    let record = lab.record().await;
    assert_eq!((record.family, record.ip), (Some(6), Some(Ipv6Addr::LOCALHOST.into())));
}

#[tokio::test]
async fn a_reset_of_either_side_goes_through() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["https://allowed.test:$P"]).await;
    for client_first in [true, false] {
        let mut client = lab.transparent(port).await;
        let hello = hello(Some("allowed.test"));
        client.write_all(&hello).await.unwrap();
        let mut upstream = accept(&server).await;
        expect(&mut upstream, &hello).await;
        let (ending, mut other) = if client_first { (client, upstream) } else { (upstream, client) };
        deny::reset(ending);
        assert_reset(&mut other).await;
    }
    lab.records(2).await;
}
