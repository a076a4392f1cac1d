//! The host's loopback, and everything that would like to be taken for it.

use super::{super::sni::build::*, *};
use crate::{
    audit::Decision,
    policy::{
        Reason,
        host_ports::{Grant, parse_ports},
    },
};

const ALERT: [u8; 6] = [21, 3, 3, 0, 2, 2];

/// A proxy with host port `port` open, and these rules; `$P` in a rule is `port`.
async fn lab(port: u16, rules: &[&str]) -> Lab {
    lab_behind(UpstreamProxies::default(), port, rules).await
}

async fn lab_behind(upstream: UpstreamProxies, port: u16, rules: &[&str]) -> Lab {
    let rules = rules.iter().map(|text| {
        let text = text.replace("$P", &port.to_string());
        Rule::parse(&text, List::Allow, Place::Flag("--allow-domains")).unwrap()
    });
    let grant = Grant::by_flag("--allow-host-ports", parse_ports(&port.to_string()).unwrap());
    let policy = Policy::new(rules.collect::<Vec<_>>()).with_host_ports([grant]);
    Lab::of(listener().await.0, policy, upstream, quick())
}

#[tokio::test]
async fn a_server_that_speaks_first_is_reached_under_every_loopback_address() {
    let (server, port) = listener().await;
    let lab = lab(port, &[]).await;
    for dst in ["127.0.0.1", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1"] {
        let mut client = lab.dial((dst.parse::<IpAddr>().unwrap(), port).into()).await;
        let mut upstream = accept(&server).await;
        send(&mut upstream, "220 ready\r\n").await;
        expect(&mut client, b"220 ready\r\n").await;
        send(&mut client, "QUIT\r\n").await;
        expect(&mut upstream, b"QUIT\r\n").await;
    }
    for record in lab.records(5).await {
        assert_eq!(
            (record.decision, record.host.as_deref(), record.port),
            (Decision::Allow, Some("localhost"), Some(port))
        );
        assert_eq!(record.rule, Some(format!("--allow-host-ports {port}")));
        assert_eq!(record.ip, Some(Ipv4Addr::LOCALHOST.into()));
    }
}

#[tokio::test]
async fn the_proxy_is_asked_for_it_by_name() {
    let (server, port) = listener().await;
    // An upstream proxy has a loopback of its own: it is not asked. (Nobody listens where this one is said to be.)
    let lab = lab_behind(chain::through("http://127.0.0.1:1", ""), port, &[]).await;
    for name in ["localhost", "host.docker.internal", "app.localhost", "LOCALHOST.", "127.0.0.1", "[::1]"] {
        let mut client = lab.explicit().await;
        send(&mut client, &format!("CONNECT {name}:{port} HTTP/1.1\r\nHost: {name}:{port}\r\n\r\n")).await;
        assert!(head(&mut client).await.starts_with("http/1.1 200 "), "{name}");
        let mut upstream = accept(&server).await;
        send(&mut upstream, "+PONG\r\n").await;
        expect(&mut client, b"+PONG\r\n").await;
        drop(client);

        let mut client = lab.explicit().await;
        let get = format!(
            "GET http://{name}:{port}/x HTTP/1.1\r\nHost: {name}:{port}\r\nConnection: close\r\n\r\n"
        );
        send(&mut client, &get).await;
        let mut upstream = accept(&server).await;
        assert!(head(&mut upstream).await.starts_with("get /x "), "{name}");
        send(&mut upstream, "HTTP/1.1 204 No Content\r\n\r\n").await;
        assert!(rest_text(&mut client).await.starts_with("HTTP/1.1 204 "), "{name}");
    }
    assert_eq!(lab.asked(), [""; 0], "these names are asked of nobody");
    assert!(lab.records(12).await.iter().all(|record| record.host.as_deref() == Some("localhost")));
}

/// A development server with virtual hosts; the server dialled early is the one that is used.
#[tokio::test]
async fn what_is_said_to_a_host_port_is_the_commands_business() {
    let (server, port) = listener().await;
    let lab = lab(port, &["other.test"]).await;
    for host in ["localhost", "127.0.0.1", "shop.test", "other.test"] {
        let mut client = lab.dial((Ipv4Addr::LOCALHOST, port).into()).await;
        send(&mut client, &format!("GET / HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"))
            .await;
        let mut upstream = accept(&server).await;
        assert!(head(&mut upstream).await.contains(&format!("host: {host}:{port}\r\n")), "{host}");
        send(&mut upstream, "HTTP/1.1 204 No Content\r\n\r\n").await;
        assert!(rest_text(&mut client).await.starts_with("HTTP/1.1 204 "), "{host}");
    }
    for name in [Some("localhost"), Some("shop.test"), None] {
        let mut client = lab.dial((Ipv4Addr::LOCALHOST, port).into()).await;
        client.write_all(&hello(name)).await.unwrap();
        expect(&mut accept(&server).await, &hello(name)).await;
    }
    untouched(&server).await;
    assert_eq!(lab.asked(), [""; 0]);
}

/// A rule for one protocol of a host port lets only that through.
#[tokio::test]
async fn a_scheme_is_enforced_on_the_hosts_loopback_too() {
    let (server, port) = listener().await;
    let rule = Rule::parse(&format!("http://localhost:{port}"), List::Allow, Place::Flag("--allow-domains"));
    let lab = Lab::of(listener().await.0, Policy::new([rule.unwrap()]), UpstreamProxies::default(), quick());
    let dst: SocketAddr = (Ipv4Addr::LOCALHOST, port).into();
    let mut client = lab.dial(dst).await;
    send(&mut client, "*1\r\n$4\r\nPING\r\n").await;
    assert!(rest_text(&mut client).await.starts_with("-ERR blocked by awf-bpf: "));
    let mut client = lab.dial(dst).await;
    client.write_all(&hello(None)).await.unwrap();
    assert_eq!(rest(&mut client).await[..6], ALERT);
    untouched(&server).await;
    for record in lab.records(2).await {
        assert_eq!((record.decision, record.reason), (Decision::Deny, Reason::ProtocolNotAllowed));
    }
    let mut client = lab.dial(dst).await;
    send(&mut client, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(head(&mut accept(&server).await).await.starts_with("get / "));
}

/// The attack: a name whose DNS says 127.0.0.1, on a port that is open to `localhost`.
#[tokio::test]
async fn dns_rebinding_does_not_reach_a_host_port() {
    let (server, port) = listener().await;
    let lab = lab(port, &["evil.test:$P", "six.test:$P", "evil.test"]).await;
    let target = format!("evil.test:{port}");
    let mut client = lab.explicit().await;
    send(&mut client, &format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")).await;
    refusal(&rest_text(&mut client).await, 403, "forbidden_address");
    let mut client = lab.explicit().await;
    send(
        &mut client,
        &format!("GET http://{target}/ HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n"),
    )
    .await;
    refusal(&rest_text(&mut client).await, 403, "forbidden_address");
    for name in ["evil.test", "six.test"] {
        let mut client = lab.transparent(port).await;
        client.write_all(&hello(Some(name))).await.unwrap();
        assert_eq!(rest(&mut client).await[..6], ALERT);
    }
    lab.given(&["evil.test"]);
    assert_reset(&mut lab.transparent(port).await).await;
    untouched(&server).await;
    assert!(lab.records(5).await.iter().all(|record| record.reason == Reason::ForbiddenAddress));
}

/// The attack: an answer that changes between two connections, and one that mixes.
#[tokio::test]
async fn every_answer_is_judged_and_of_a_mixed_one_the_allowed_part_is_dialled() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["https://turning.test:$P", "https://mixed.test:$P"]).await;
    for name in ["turning.test", "mixed.test", "mixed.test"] {
        let mut client = lab.transparent(port).await;
        client.write_all(&hello(Some(name))).await.unwrap();
        expect(&mut accept(&server).await, &hello(Some(name))).await;
    }
    let mut client = lab.transparent(port).await;
    client.write_all(&hello(Some("turning.test"))).await.unwrap();
    assert_eq!(rest(&mut client).await[..6], ALERT);
    assert_eq!(lab.record_of(Reason::ForbiddenAddress).await.host.as_deref(), Some("turning.test"));
    untouched(&server).await;
}

/// Loopback, spelt as parsers of addresses elsewhere read it.
const SPELLINGS: [&str; 20] = [
    "127.1",
    "127.0.1",
    "0x7f.1",
    "0x7f000001",
    "0X7F.0.0.0x1",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "127.0.0.01",
    "127.0.0.2",
    "127.0.0.1.",
    "%31%32%37.0.0.1",
    "127%2e0%2e0%2e1",
    "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
    "127\u{3002}0\u{3002}0\u{3002}1",
    "\u{2460}27.0.0.1",
    "[::1%25lo]",
    "[::1%lo]",
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
];

/// The attack: the open host port under a spelling that only a careless parser takes for it. (Some would be right to:
/// what matters is that nobody is reached whom the policy did not name.)
#[tokio::test]
async fn odd_spellings_of_an_address_reach_nobody() {
    let (server, port) = listener().await;
    let lab = lab(port, &["evil.test:$P", "evil.test"]).await;
    for name in SPELLINGS {
        for head in [
            format!("CONNECT {name}:{port} HTTP/1.1\r\nHost: {name}:{port}\r\n\r\n"),
            format!("GET http://{name}:{port}/ HTTP/1.1\r\nHost: {name}:{port}\r\nConnection: close\r\n\r\n"),
        ] {
            let mut client = lab.explicit().await;
            send(&mut client, &head).await;
            let answer = rest_text(&mut client).await;
            assert!(answer.starts_with("HTTP/1.1 4"), "{head}{answer}");
        }
        let mut client = lab.transparent(port).await;
        send(&mut client, &format!("GET / HTTP/1.1\r\nHost: {name}:{port}\r\nConnection: close\r\n\r\n"))
            .await;
        let answer = rest_text(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "Host: {name}: {answer}");
        let mut client = lab.transparent(port).await;
        client.write_all(&hello(Some(name))).await.unwrap();
        // An alert, or a reset where it is no name at all.
        let mut answer = [0; 1];
        let read = timeout(PATIENCE, client.read(&mut answer)).await.expect("an end in time");
        assert!(read.is_err() || answer == [21], "SNI {name}: {answer:?}");
    }
    untouched(&server).await;
}

/// The attack: the proxy as a client of itself, or of the stub beside it.
#[tokio::test]
async fn our_own_listeners_are_no_host_services() {
    let (listening, port) = listener().await;
    let (stub, stub_port) = listener().await;
    let ports = [port, stub_port].map(|port| Grant::by_flag("--allow-host-ports", port..=port));
    let lab = Lab::of(listening, Policy::new([]).with_host_ports(ports), UpstreamProxies::default(), quick());
    lab.proxy.keep_from((Ipv4Addr::LOCALHOST, stub_port).into());
    lab.proxy.keep_from((Ipv6Addr::LOCALHOST, stub_port).into());
    lab.proxy.keep_from((Ipv6Addr::LOCALHOST, port).into());
    for target in ["localhost", "127.0.0.1", "[::1]", "0.0.0.0"]
        .iter()
        .flat_map(|host| [port, stub_port].map(|p| format!("{host}:{p}")))
    {
        let mut client = lab.explicit().await;
        send(&mut client, &format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")).await;
        refusal(&rest_text(&mut client).await, 403, "forbidden_address");
    }
    untouched(&stub).await;
}
