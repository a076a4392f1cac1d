//! Through an upstream proxy that behaves: what it is asked for, and what it is never asked for.

use super::{super::sni::build::hello, *};
use crate::{
    audit::Decision,
    policy::{Host, Reason},
    upstream_proxy::{Bypass, UpstreamProxy},
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const OPEN: &str = "HTTP/1.1 200 Connection established\r\n\r\n";
/// `Basic base64("us3r:hunter2")`
const BASIC: &str = "Basic dXMzcjpodW50ZXIy";

/// Both uses through `url`, but for `bypass`.
pub(super) fn through(url: &str, bypass: &str) -> UpstreamProxies {
    let proxy = Arc::new(UpstreamProxy::parse(url).unwrap());
    UpstreamProxies::new(Some(Arc::clone(&proxy)), Some(proxy), Bypass::parse(bypass).0)
}

/// A proxy's listener, and a lab whose way out it is. `$P` in a rule is a port that is nobody's.
pub(super) async fn behind(allow: &[&str], limits: Limits) -> (TcpListener, Lab) {
    let (proxy, port) = listener().await;
    let upstream = through(&format!("http://us3r:hunter2@127.0.0.1:{port}"), "direct.test");
    let own = listener().await.0;
    (proxy, Lab::behind(own, 1, (allow, &["blocked.test"]), upstream, limits))
}

/// A CONNECT of the command; its answer is not read.
pub(super) async fn connect(lab: &Lab, target: &str) -> TcpStream {
    let mut client = lab.explicit().await;
    send(&mut client, &format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")).await;
    client
}

#[tokio::test]
async fn tls_goes_through_a_tunnel_by_name() {
    let (proxy, lab) = behind(&["allowed.test"], Limits::default()).await;
    let mut client = lab.transparent(443).await;
    let hello = hello(Some("Allowed.test"));
    client.write_all(&hello).await.unwrap();
    let mut upstream = accept(&proxy).await;
    let asked = head(&mut upstream).await;
    let lines: Vec<_> = asked.trim_end().lines().collect();
    let basic = format!("proxy-authorization: {}", BASIC.to_lowercase());
    assert_eq!(lines, ["connect allowed.test:443 http/1.1", "host: allowed.test:443", &basic]);
    send(&mut upstream, OPEN).await;
    expect(&mut upstream, &hello).await;
    send(&mut upstream, "answer").await;
    expect(&mut client, b"answer").await;
    drop((client, upstream));
    let record = lab.record().await;
    assert_eq!((record.decision, record.host.as_deref()), (Decision::Allow, Some("allowed.test")));
    assert_eq!((record.bytes_up, record.bytes_down), (Some(hello.len() as u64), Some(6)));
    assert_eq!(record.via, Some(proxy.local_addr().unwrap().to_string()));
    assert_eq!(lab.asked(), [""; 0], "what only the proxy can resolve is not resolved here");
}

/// A server behind the proxy may speak first, and in the same packet as the proxy's answer.
#[tokio::test]
async fn bytes_behind_the_answer_belong_to_the_tunnel() {
    let (proxy, lab) =
        behind(&["tcp://allowed.test:2222", "tcp://[2001:db8::9]:22"], Limits::default()).await;
    lab.given(&["allowed.test"]);
    let mut client = lab.transparent(2222).await;
    let mut upstream = accept(&proxy).await;
    assert!(head(&mut upstream).await.starts_with("connect allowed.test:2222 "));
    send(
        &mut upstream,
        "HTTP/1.1 100 Wait\r\n\r\nHTTP/1.0 299 Fine\nContent-Length: 3\n\nSSH-2.0-server\r\n",
    )
    .await;
    expect(&mut client, b"SSH-2.0-server\r\n").await;
    send(&mut client, "SSH-2.0-client\r\n").await;
    expect(&mut upstream, b"SSH-2.0-client\r\n").await;

    let mut client = connect(&lab, "[2001:DB8:0::9]:22").await;
    let mut upstream = accept(&proxy).await;
    let asked = head(&mut upstream).await;
    assert!(asked.starts_with("connect [2001:db8::9]:22 http/1.1\r\nhost: [2001:db8::9]:22\r\n"), "{asked}");
    send(&mut upstream, OPEN).await;
    assert!(head(&mut client).await.starts_with("http/1.1 200 "));
}

#[tokio::test]
async fn clear_text_requests_go_in_absolute_form_over_one_connection() {
    let (proxy, lab) = behind(&["http://allowed.test", "http://other.test:8080"], Limits::default()).await;
    let mut client = lab.explicit().await;
    let mut upstream = None;
    for (line, host, expected) in [
        ("GET http://allowed.test/1?q HTTP/1.1", "allowed.test", "get http://allowed.test/1?q http/1.1"),
        ("GET http://Other.test:8080 HTTP/1.1", "other.test:8080", "get http://other.test:8080/ http/1.1"),
        ("GET http://allowed.test:80/3 HTTP/1.1", "allowed.test", "get http://allowed.test/3 http/1.1"),
    ] {
        let own = "Proxy-Authorization: Basic b3duOm93bg==\r\nProxy-Connection: keep-alive";
        send(&mut client, &format!("{line}\r\nHost: {host}\r\n{own}\r\n\r\n")).await;
        if upstream.is_none() {
            upstream = Some(accept(&proxy).await);
        }
        let upstream = upstream.as_mut().unwrap();
        let asked = head(upstream).await;
        assert!(asked.starts_with(&format!("{expected}\r\n")), "{asked}");
        assert!(asked.contains(&format!("host: {host}\r\n")), "{asked}");
        let authorized: Vec<_> = asked.lines().filter(|line| line.starts_with("proxy-")).collect();
        assert_eq!(authorized, [format!("proxy-authorization: {}", BASIC.to_lowercase())]);
        send(upstream, OK).await;
        head(&mut client).await;
        expect(&mut client, b"ok").await;
    }
    // Each request is judged, whatever the connection carried before.
    send(&mut client, "GET http://denied.test/ HTTP/1.1\r\nHost: denied.test\r\nConnection: close\r\n\r\n")
        .await;
    refusal(&rest_text(&mut client).await, 403, "not_in_allowlist");
    assert_eq!(rest(upstream.as_mut().unwrap()).await, b"", "nothing of the refused request came");
    let records = lab.records(4).await;
    assert_eq!(records[1].url.as_deref(), Some("http://other.test:8080/"));
    assert!(records[..3].iter().all(|record| record.via.is_some() && record.status == Some(200)));
    assert_eq!(records[3].via, None);
}

#[tokio::test]
async fn transparent_requests_are_made_absolute_by_us() {
    let (proxy, lab) = behind(&["http://allowed.test"], Limits::default()).await;
    let mut client = lab.transparent(80).await;
    send(&mut client, "POST /up HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 3\r\n\r\nabc").await;
    let mut upstream = accept(&proxy).await;
    assert!(head(&mut upstream).await.starts_with("post http://allowed.test/up http/1.1\r\n"));
    expect(&mut upstream, b"abc").await;
    send(&mut upstream, OK).await;
    assert!(head(&mut client).await.starts_with("http/1.1 200 "));
}

#[tokio::test]
async fn websocket_and_options_go_through_a_tunnel() {
    let (proxy, lab) = behind(&["http://allowed.test"], Limits::default()).await;
    let mut client = lab.explicit().await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    send(&mut client, &format!("GET http://allowed.test/ws HTTP/1.1\r\nHost: allowed.test\r\n{upgrade}"))
        .await;
    let mut upstream = accept(&proxy).await;
    assert!(head(&mut upstream).await.starts_with("connect allowed.test:80 "));
    send(&mut upstream, OPEN).await;
    let asked = head(&mut upstream).await;
    assert!(asked.starts_with("get /ws http/1.1\r\n") && !asked.contains("proxy-"), "{asked}");
    send(&mut upstream, &format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}frame")).await;
    assert!(head(&mut client).await.starts_with("http/1.1 101 "));
    expect(&mut client, b"frame").await;

    let mut client = lab.transparent(80).await;
    send(&mut client, "OPTIONS * HTTP/1.1\r\nHost: allowed.test\r\n\r\n").await;
    let mut upstream = accept(&proxy).await;
    assert!(head(&mut upstream).await.starts_with("connect allowed.test:80 "));
    send(&mut upstream, OPEN).await;
    assert!(head(&mut upstream).await.starts_with("options * http/1.1\r\n"));
}

/// As Node does with HTTP_PROXY: a tunnel to port 80, which the upstream proxy would refuse, and clear HTTP inside.
#[tokio::test]
async fn what_a_connect_to_port_80_needs_is_known_before_the_proxy_is_asked() {
    let (proxy, lab) = behind(&["allowed.test", "tcp://raw.test:80"], Limits::default()).await;
    let mut client = connect(&lab, "allowed.test:80").await;
    assert!(head(&mut client).await.starts_with("http/1.1 200 "));
    send(&mut client, "GET /1 HTTP/1.1\r\nHost: allowed.test\r\n\r\n").await;
    let mut upstream = accept(&proxy).await;
    assert!(head(&mut upstream).await.starts_with("get http://allowed.test/1 http/1.1\r\n"));
    send(&mut upstream, OK).await;
    assert!(head(&mut client).await.starts_with("http/1.1 200 "));
    expect(&mut client, b"ok").await;
    send(&mut client, "GET /2 HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n").await;
    assert!(head(&mut upstream).await.starts_with("get http://allowed.test/2 "));
    send(&mut upstream, "HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n").await;
    let body = refusal(&rest_text(&mut client).await, 502, "upstream_proxy_refused");
    assert!(body["message"].as_str().unwrap().contains("does not take awf-bpf's credentials"), "{body}");

    // TLS there still takes a tunnel, and is told when there is none.
    for (answer, last) in [(OPEN, None), ("HTTP/1.1 403 No\r\n\r\n", Some([21, 3, 3, 0, 2, 2, 80]))] {
        let mut client = connect(&lab, "allowed.test:80").await;
        let hello = hello(Some("allowed.test"));
        client.write_all(&hello).await.unwrap();
        assert!(head(&mut client).await.starts_with("http/1.1 200 "));
        let mut upstream = accept(&proxy).await;
        assert!(head(&mut upstream).await.starts_with("connect allowed.test:80 "));
        send(&mut upstream, answer).await;
        match last {
            None => expect(&mut upstream, &hello).await,
            Some(alert) => assert_eq!(rest(&mut client).await, alert),
        }
    }
    // Where the server may speak first it is dialled at once.
    let _client = connect(&lab, "raw.test:80").await;
    assert!(head(&mut accept(&proxy).await).await.starts_with("connect raw.test:80 "));
    // What is neither leaves no trace at the proxy.
    let mut client = connect(&lab, "allowed.test:80").await;
    head(&mut client).await;
    send(&mut client, "SSH-2.0-client\r\n").await;
    lab.record_of(Reason::ProtocolNotAllowed).await;
    untouched(&proxy).await;
}

#[tokio::test]
async fn what_needs_no_proxy_is_dialled_straight() {
    let (server, port) = listener().await;
    let (proxy, proxy_port) = listener().await;
    let upstream = through(&format!("http://127.0.0.1:{proxy_port}"), "direct.test:80,.corp.test");
    let rules = ["http://direct.test:$P", "http://a.corp.test:$P"];
    let own = listener().await.0;
    let lab = Lab::behind(own, port, (&rules, &[]), upstream, Limits::default());
    let mut client = lab.transparent(port).await;
    send(&mut client, &format!("GET /1 HTTP/1.1\r\nHost: a.corp.test:{port}\r\n\r\n")).await;
    let mut direct = accept(&server).await;
    assert!(head(&mut direct).await.starts_with("get /1 http/1.1\r\n"));
    send(&mut direct, OK).await;
    head(&mut client).await;
    expect(&mut client, b"ok").await;
    // The same name, but on another port than the list has: through the proxy, over a connection of its own.
    send(&mut client, &format!("GET /2 HTTP/1.1\r\nHost: direct.test:{port}\r\n\r\n")).await;
    let mut upstream = accept(&proxy).await;
    let asked = head(&mut upstream).await;
    assert!(asked.starts_with(&format!("get http://direct.test:{port}/2 http/1.1\r\n")), "{asked}");
    send(&mut upstream, OK).await;
    head(&mut client).await;
    expect(&mut client, b"ok").await;
    // And back.
    send(&mut client, &format!("GET /3 HTTP/1.1\r\nHost: a.corp.test:{port}\r\nConnection: close\r\n\r\n"))
        .await;
    let mut direct = accept(&server).await;
    assert!(head(&mut direct).await.starts_with("get /3 http/1.1\r\n"));
    send(&mut direct, OK).await;
    assert!(rest_text(&mut client).await.ends_with("ok"));
    let via: Vec<_> = lab.records(3).await.into_iter().map(|record| record.via.is_some()).collect();
    assert_eq!(via, [false, true, false]);
    assert_eq!(lab.asked(), ["a.corp.test", "a.corp.test"]);
}

/// The policy is applied first, always: of what it refuses the proxy never hears.
#[tokio::test]
async fn what_is_refused_never_reaches_the_proxy() {
    let addresses = ["10.0.0.1", "169.254.169.254", "198.51.100.9"];
    let (proxy, lab) = behind(&["allowed.test", "https://tls.test"], Limits::default()).await;
    for target in
        ["denied.test:443", "blocked.test:443", "allowed.test:22", "localhost:443", "LOCALHOST.:443"]
            .map(str::to_owned)
            .into_iter()
            .chain(addresses.map(|ip| format!("{ip}:443")))
    {
        let answer = rest_text(&mut connect(&lab, &target).await).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{target}: {answer}");
    }
    // Other spellings of addresses are no names.
    for target in
        ["127.1:443", "2130706433:443", "0x7f.1:443", "0177.0.0.1:443", "[::1%25lo]:443", "１２７.1:443"]
    {
        let answer = rest_text(&mut connect(&lab, target).await).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{target}: {answer}");
    }
    // The proxy itself is a target like any other.
    let own = proxy.local_addr().unwrap();
    let answer = rest_text(&mut connect(&lab, &own.to_string()).await).await;
    refusal(&answer, 403, "port_not_allowed");
    let mut client = lab.explicit().await;
    send(&mut client, &format!("GET http://{own}/ HTTP/1.1\r\nHost: {own}\r\n\r\n")).await;
    assert!(head(&mut client).await.starts_with("http/1.1 403 "));
    let mut client = lab.transparent(80).await;
    send(&mut client, "GET / HTTP/1.1\r\nHost: tls.test\r\n\r\n").await;
    assert!(head(&mut client).await.starts_with("http/1.1 403 "));
    untouched(&proxy).await;
}

/// An address that a rule names alone is still not asked of a proxy, if it is another host there.
#[tokio::test]
async fn what_is_local_is_dialled_here_even_if_a_rule_opens_it() {
    let (server, port) = listener().await;
    let (proxy, proxy_port) = listener().await;
    let upstream = through(&format!("http://127.0.0.1:{proxy_port}"), "");
    let own = listener().await.0;
    let lab = Lab::behind(own, port, (&["10.9.9.9:443"], &["10.0.0.0/8"]), upstream, Limits::default());
    let _client = connect(&lab, &format!("127.0.0.1:{port}")).await;
    accept(&server).await;
    // Allowed by a name's rule, forbidden as an address: refused before the proxy is asked.
    let route = Host::parse("10.9.9.9").unwrap();
    let context = context(&lab);
    let refused = upstream::may_ask(&context, &context.rules(None).policy, &route, 443).unwrap_err();
    assert_eq!(refused.denied.reason, Reason::Blocked);
    untouched(&proxy).await;
}

fn context(lab: &Lab) -> Arc<context::Context> {
    lab.proxy.context()
}

#[tokio::test]
async fn forged_names_are_refused_before_the_proxy_is_asked_again() {
    let (proxy, lab) = behind(&["https://allowed.test", "https://other.test"], Limits::default()).await;
    let mut client = connect(&lab, "allowed.test:443").await;
    let mut upstream = accept(&proxy).await;
    head(&mut upstream).await;
    send(&mut upstream, OPEN).await;
    head(&mut client).await;
    client.write_all(&hello(Some("other.test"))).await.unwrap();
    assert_eq!(rest(&mut client).await[..5], [21, 3, 3, 0, 2]);
    assert_eq!(rest(&mut upstream).await, b"", "not a byte of it");
    assert_eq!(lab.record().await.reason, Reason::NameMismatch);
}

#[tokio::test]
async fn the_name_of_the_proxy_is_resolved_and_one_that_is_not_is_said() {
    let (proxy, port) = listener().await;
    for (name, found) in [("proxy.corp.test", true), ("missing.corp.test", false)] {
        let upstream = through(&format!("http://{name}:{port}"), "");
        let own = listener().await.0;
        let lab = Lab::behind(own, 1, (&["https://allowed.test"], &[]), upstream, Limits::default());
        let mut client = connect(&lab, "allowed.test:443").await;
        if found {
            head(&mut accept(&proxy).await).await;
        } else {
            let body = refusal(&rest_text(&mut client).await, 502, "upstream_proxy_failed");
            let message = format!("the upstream proxy {name}:{port} failed: {name} does not exist");
            assert_eq!(body["message"], message);
        }
        assert_eq!(lab.asked(), [name]);
    }
}
