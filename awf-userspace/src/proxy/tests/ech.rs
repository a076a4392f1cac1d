//! TLS that hides its server name: Encrypted Client Hello (RFC 9849), or GREASE that looks like it.

use super::{super::sni::build::*, *};
use crate::{audit::Decision, policy::Reason};

/// fatal(2), access_denied(49)
const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

/// CONNECT to allowed.test.
async fn connect(lab: &Lab, port: u16) -> TcpStream {
    let mut client = lab.explicit().await;
    let target = format!("allowed.test:{port}");
    send(&mut client, &format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")).await;
    assert!(head(&mut client).await.starts_with("http/1.1 200"));
    client
}

/// The attack: an allowed name outside, for a server of many tenants, and another one inside.
#[tokio::test]
async fn an_allowed_name_outside_allows_nothing() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["https://allowed.test:$P", "allowed.test:443"]).await;
    lab.given(&["allowed.test"]);
    for outer in [Some("allowed.test"), None] {
        let mut client = lab.transparent(port).await;
        client.write_all(&ech_hello(outer)).await.unwrap();
        assert_eq!(rest(&mut client).await, ACCESS_DENIED);
    }
    untouched(&server).await;
    let mut client = connect(&lab, port).await;
    let mut upstream = accept(&server).await;
    client.write_all(&ech_hello(Some("allowed.test"))).await.unwrap();
    assert_eq!(rest(&mut client).await, ACCESS_DENIED);
    drop(client);
    assert_eq!(rest(&mut upstream).await, b"", "not a byte of it reaches the server");
    for record in lab.records(3).await {
        assert_eq!((record.decision, record.reason), (Decision::Deny, Reason::EchRefused));
        assert_eq!(record.host.as_deref(), Some("allowed.test"));
        let with = record.allow_with.unwrap();
        assert_eq!(with, format!("--allow-domains allowed.test:{port}"));
    }
}

#[tokio::test]
async fn it_passes_where_any_protocol_may_be_spoken() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["tcp://allowed.test:$P"]).await;
    lab.given(&["allowed.test"]);
    for outer in [Some("allowed.test"), Some("public.test"), None] {
        let hello = ech_hello(outer);
        for explicit in [false, true] {
            let mut client = if explicit { connect(&lab, port).await } else { lab.transparent(port).await };
            let mut upstream = accept(&server).await;
            client.write_all(&hello).await.unwrap();
            expect(&mut upstream, &hello).await;
        }
    }
    for record in lab.records(6).await {
        assert_eq!((record.decision, record.reason), (Decision::Allow, Reason::Allowed));
        assert_eq!(record.host.as_deref(), Some("allowed.test"));
    }
    assert!(lab.asked().iter().all(|name| name == "allowed.test"), "the name outside is never dialled");
}

#[tokio::test]
async fn a_blocked_name_outside_is_refused_there_too() {
    let (server, port) = listener().await;
    let lab = Lab::with(port, &["tcp://allowed.test:$P"], &["denied.test"], Limits::default()).await;
    lab.given(&["allowed.test"]);
    for explicit in [false, true] {
        let mut client = if explicit { connect(&lab, port).await } else { lab.transparent(port).await };
        let mut upstream = accept(&server).await;
        client.write_all(&ech_hello(Some("denied.test"))).await.unwrap();
        assert_eq!(rest(&mut client).await, ACCESS_DENIED);
        assert_eq!(rest(&mut upstream).await, b"");
    }
    assert!(lab.records(2).await.iter().all(|record| record.reason == Reason::Blocked));
}

/// Without a rule that any protocol may be spoken there, the remedy is for what was dialled.
#[tokio::test]
async fn the_remedy_names_what_was_dialled() {
    let (_server, port) = listener().await;
    let lab = Lab::new(port, &["allowed.test"]).await;
    let mut client = lab.transparent(443).await;
    client.write_all(&ech_hello(Some("public.test"))).await.unwrap();
    assert_eq!(rest(&mut client).await, ACCESS_DENIED);
    lab.given(&["allowed.test"]);
    let mut client = lab.transparent(443).await;
    client.write_all(&ech_hello(Some("public.test"))).await.unwrap();
    assert_eq!(rest(&mut client).await, ACCESS_DENIED);
    let with: Vec<_> = lab.records(2).await.into_iter().filter_map(|record| record.allow_with).collect();
    let address = format!("--allow-ip tcp://{ELSEWHERE}:443");
    assert_eq!(with, [&address, "--allow-domains tcp://allowed.test:443"]);
}
