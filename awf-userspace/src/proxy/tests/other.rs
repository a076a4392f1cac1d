//! Protocols that carry no name: by the name whose address the command was given.

use super::{super::sni::build::hello, *};
use crate::{audit::Decision, policy::Reason};

/// `ssh host`, without one setting.
#[tokio::test]
async fn a_dialled_address_stands_for_the_name_it_was_given_for() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["ssh.test:$P"]).await;
    lab.given(&["denied.test", "ssh.test"]);
    let mut client = lab.transparent(port).await;
    let mut upstream = accept(&server).await;
    send(&mut upstream, "SSH-2.0-server\r\n").await;
    expect(&mut client, b"SSH-2.0-server\r\n").await;
    send(&mut client, "SSH-2.0-client\r\n").await;
    expect(&mut upstream, b"SSH-2.0-client\r\n").await;
    drop((client, upstream));
    let record = lab.record().await;
    assert_eq!((record.decision, record.host.as_deref()), (Decision::Allow, Some("ssh.test")));
    assert_eq!(record.rule, Some(format!("ssh.test:{port}")));
    assert_eq!(lab.asked(), ["ssh.test"], "dialled by name");
}

#[tokio::test]
async fn a_name_that_was_given_must_be_allowed() {
    let (server, port) = listener().await;
    let lab =
        Lab::with(port, &["https://tls.test:$P", "ssh.test:22", "x.test:$P"], &["x.test"], quick()).await;
    lab.given(&["denied.test", "tls.test", "ssh.test", "x.test"]);
    let mut client = lab.transparent(port).await;
    send(&mut client, "HELLO\r\n").await;
    assert_reset(&mut client).await;
    assert_eq!(lab.record().await.decision, Decision::Deny);
    assert_eq!(lab.asked(), [""; 0]);
    untouched(&server).await;
}

/// The attack: TLS or HTTP that names another host, over the server that the address stands for.
#[tokio::test]
async fn a_name_on_the_wire_beats_the_one_that_was_given() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["any.test:$P", "six.test:$P"]).await;
    lab.given(&["any.test"]);
    let mut client = lab.transparent(port).await;
    let mut dialled = accept(&server).await;
    client.write_all(&hello(Some("denied.test"))).await.unwrap();
    assert_eq!(rest(&mut client).await[..6], [21, 3, 3, 0, 2, 2]);
    assert_eq!(rest(&mut dialled).await, b"");
    let mut client = lab.transparent(port).await;
    let mut dialled = accept(&server).await;
    send(&mut client, "GET / HTTP/1.1\r\nHost: denied.test\r\nConnection: close\r\n\r\n").await;
    refusal(&rest_text(&mut client).await, 403, "not_in_allowlist");
    assert_eq!(rest(&mut dialled).await, b"");

    // Another allowed name gets its own server.
    let six = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await.unwrap();
    let mut client = lab.transparent(port).await;
    let mut dialled = accept(&server).await;
    let hello = hello(Some("six.test"));
    client.write_all(&hello).await.unwrap();
    expect(&mut accept(&six).await, &hello).await;
    assert_eq!(rest(&mut dialled).await, b"");
}

#[tokio::test]
async fn the_server_that_was_dialled_early_is_used() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["any.test:$P"]).await;
    lab.given(&["any.test"]);
    for name in [Some("any.test"), None] {
        let mut client = lab.transparent(port).await;
        let mut upstream = accept(&server).await;
        let hello = hello(name);
        client.write_all(&hello).await.unwrap();
        expect(&mut upstream, &hello).await;
    }
    let mut client = lab.transparent(port).await;
    let mut upstream = accept(&server).await;
    send(&mut client, "GET /x HTTP/1.1\r\nHost: any.test\r\nConnection: close\r\n\r\n").await;
    assert!(head(&mut upstream).await.starts_with("get /x "));
    send(&mut upstream, "HTTP/1.1 204 No Content\r\n\r\n").await;
    assert!(rest_text(&mut client).await.starts_with("HTTP/1.1 204 "));
    untouched(&server).await;
}

/// `psql` to a host that is allowed for the web only: nothing it could say would help, so nobody waits for it.
#[tokio::test]
async fn a_port_that_no_rule_is_about_is_refused_at_once() {
    let (server, port) = listener().await;
    let day = Duration::from_secs(24 * 60 * 60);
    let limits = Limits { first_byte: day, keep_alive: day, ..Limits::default() };
    let lab = Lab::with(port, &["db.test"], &["tcp://any.test:5432"], limits).await;
    assert_reset(&mut lab.transparent(5432).await).await;
    let record = lab.record().await;
    assert_eq!((record.decision, record.reason), (Decision::Deny, Reason::AddressNotAllowed));
    assert_eq!((record.host, record.port), (Some(ELSEWHERE.to_string()), Some(5432)));
    assert_eq!(record.allow_with, Some(format!("--allow-ip {ELSEWHERE}:5432")));

    lab.given(&["db.test", "denied.test"]);
    assert_reset(&mut lab.transparent(5432).await).await;
    let record = lab.record_of(Reason::PortNotAllowed).await;
    assert_eq!((record.host.as_deref(), record.port), (Some("db.test"), Some(5432)));
    assert_eq!(record.allow_with.as_deref(), Some("--allow-domains db.test:5432"));
    untouched(&server).await;

    // A rule about the port, whosever, and the ports of the web: what is said there decides.
    for port in [port, 443] {
        let mut client = lab.transparent(port).await;
        client.write_all(&hello(Some("denied.test"))).await.unwrap();
        assert_eq!(rest(&mut client).await[..6], [21, 3, 3, 0, 2, 2]);
    }
}

#[tokio::test]
async fn a_server_that_is_down_resets_the_connection() {
    let (server, port) = listener().await;
    drop(server);
    let lab = Lab::new(port, &["any.test:$P"]).await;
    lab.given(&["any.test"]);
    assert_reset(&mut lab.transparent(port).await).await;
    let record = lab.record().await;
    assert_eq!((record.decision, record.reason), (Decision::Allow, Reason::ConnectFailed));
}
