//! Through an upstream proxy that refuses, fails, floods or lies: a 502 with its reason, bounded memory, and nothing
//! of its own words or of our credentials for the command.

use super::{
    chain::{behind, connect, through},
    *,
};
use crate::{audit::Decision, policy::Reason};

fn impatient() -> Limits {
    Limits { connect: Duration::from_millis(300), ..Limits::default() }
}

/// What the command gets for a CONNECT that the proxy answers with `answer`.
async fn answered(answer: &[u8]) -> (String, Record) {
    let (proxy, lab) = behind(&["https://allowed.test"], impatient()).await;
    let mut client = connect(&lab, "allowed.test:443").await;
    let mut upstream = accept(&proxy).await;
    head(&mut upstream).await;
    // It hangs up on us in the middle of a flood.
    let _ = upstream.write_all(answer).await;
    let _ = upstream.shutdown().await;
    (rest_text(&mut client).await, lab.record().await)
}

fn assert_no_secret(text: &str) {
    for secret in ["us3r", "hunter2", "dXMzcjpodW50ZXIy", "proxy-authenticate", "realm", "evil"] {
        assert!(!text.to_lowercase().contains(&secret.to_lowercase()), "{secret} in {text}");
    }
}

#[tokio::test]
async fn an_answer_that_opens_nothing_is_a_502_with_its_status() {
    for (status, says) in [
        ("407 evil", "407 Proxy Authentication Required: it does not take awf-bpf's credentials"),
        ("403 evil", "403 Forbidden"),
        ("302 evil", "302 Found"),
        ("101 evil", "101 Switching Protocols"),
        ("503 evil", "503 Service Unavailable"),
        ("599 evil", "599 <unknown status code>"),
    ] {
        let headers =
            "Proxy-Authenticate: Basic realm=\"evil\"\r\nLocation: http://evil.test/\r\nContent-Length: 4";
        let answer = format!("HTTP/1.1 {status}\r\n{headers}\r\n\r\nevil");
        let (text, record) = answered(answer.as_bytes()).await;
        let body = refusal(&text, 502, "upstream_proxy_refused");
        let message = body["message"].as_str().unwrap();
        assert!(
            message.contains(" answered CONNECT allowed.test:443 with ") && message.contains(says),
            "{message}"
        );
        assert_eq!(body["error"], "upstream_failed");
        assert_no_secret(&text);
        assert_no_secret(&format!("{record:?}"));
        assert_eq!((record.decision, record.reason), (Decision::Allow, Reason::UpstreamProxyRefused));
        assert!(record.via.is_some(), "{record:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_none_is_a_502() {
    let long = [b"HTTP/1.1 200 OK\r\nA: ".as_slice(), &[b'x'; 1 << 20]].concat();
    let flood = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(50_000);
    let headers = [b"HTTP/1.1 200 OK\r\n".as_slice(), &b"A: b\r\n".repeat(100), b"\r\n"].concat();
    for (answer, says) in [
        (b"".as_slice(), "closed the connection before it had answered"),
        (b"HTTP/1.1 200 OK\r\nA:", "closed the connection before it had answered"),
        (b"HTTP/1.1 100 Wait\r\n\r\n", "closed the connection before it had answered"),
        (b"SSH-2.0-evil\r\n\r\n", "its answer is not HTTP"),
        (b"\x15\x03\x03\x00\x02\x02\x28\n\n", "its answer is not HTTP"),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", "its answer is not HTTP"),
        (&long, "its answer is longer than 16384 bytes"),
        (&flood, "its answer is longer than 16384 bytes"),
        (&headers, "its answer is not HTTP"),
    ] {
        let (text, record) = answered(answer).await;
        let body = refusal(&text, 502, "upstream_proxy_failed");
        assert!(body["message"].as_str().is_some_and(|message| message.contains(says)), "{says}: {body}");
        assert_no_secret(&text);
        assert_eq!((record.decision, record.reason), (Decision::Allow, Reason::UpstreamProxyFailed));
    }
}

/// Dial and CONNECT share one deadline, which a proxy that drips cannot stretch.
#[tokio::test]
async fn a_proxy_that_never_ends_its_answer_is_given_up() {
    let (proxy, lab) = behind(&["https://allowed.test", "http://allowed.test"], impatient()).await;
    for drips in [false, true] {
        let mut client = connect(&lab, "allowed.test:443").await;
        let mut upstream = accept(&proxy).await;
        head(&mut upstream).await;
        if drips {
            tokio::spawn(async move {
                let mut pace = tokio::time::interval(Duration::from_millis(20));
                while upstream.write_all(b"H").await.is_ok() {
                    pace.tick().await;
                }
            });
        }
        let body = refusal(&rest_text(&mut client).await, 502, "upstream_proxy_failed");
        assert!(body["message"].as_str().unwrap().contains("did not answer within 300ms"), "{body}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_down_harms_nobody_else() {
    let (gone, dead) = listener().await;
    drop(gone);
    let (server, port) = listener().await;
    let upstream = through(&format!("http://us3r:hunter2@127.0.0.1:{dead}"), "direct.test");
    let rules = ["https://allowed.test", "http://allowed.test", "http://direct.test:$P"];
    let lab = Lab::behind(listener().await.0, port, (&rules, &[]), upstream, Limits::default());
    let text = rest_text(&mut connect(&lab, "allowed.test:443").await).await;
    let body = refusal(&text, 502, "upstream_proxy_failed");
    let message = body["message"].as_str().unwrap();
    assert!(message.starts_with(&format!("the upstream proxy 127.0.0.1:{dead} failed: ")), "{message}");
    assert_no_secret(&text);
    let mut client = lab.explicit().await;
    let close = "Host: allowed.test\r\nConnection: close\r\n\r\n";
    send(&mut client, &format!("GET http://allowed.test/ HTTP/1.1\r\n{close}")).await;
    refusal(&rest_text(&mut client).await, 502, "upstream_proxy_failed");
    let mut client = lab.transparent(443).await;
    client.write_all(&sni::build::hello(Some("allowed.test"))).await.unwrap();
    assert_eq!(rest(&mut client).await, [21, 3, 3, 0, 2, 2, 80], "internal_error: not called policy");
    let mut client = lab.transparent(port).await;
    send(&mut client, &format!("GET / HTTP/1.1\r\nHost: direct.test:{port}\r\n\r\n")).await;
    assert!(head(&mut accept(&server).await).await.starts_with("get / "));
}

#[tokio::test]
async fn a_challenge_to_a_request_is_not_passed_on() {
    let (proxy, lab) = behind(&["http://allowed.test"], Limits::default()).await;
    let mut client = lab.explicit().await;
    send(&mut client, "GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n").await;
    let mut upstream = accept(&proxy).await;
    head(&mut upstream).await;
    let challenge = "Proxy-Authenticate: Basic realm=\"evil\"\r\nSet-Cookie: evil=1\r\nContent-Length: 4";
    send(&mut upstream, &format!("HTTP/1.1 407 evil\r\n{challenge}\r\n\r\nevil")).await;
    let text = rest_text(&mut client).await;
    refusal(&text, 502, "upstream_proxy_refused");
    assert_no_secret(&text);
    assert_eq!(lab.record().await.reason, Reason::UpstreamProxyRefused);
}

/// Idle connections of proxies are closed at any time.
#[tokio::test]
async fn a_request_goes_again_when_the_kept_connection_was_closed() {
    let (proxy, lab) = behind(&["http://allowed.test", "http://other.test"], Limits::default()).await;
    let mut client = lab.explicit().await;
    for host in ["allowed.test", "other.test", "allowed.test"] {
        send(&mut client, &format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        let mut upstream = accept(&proxy).await;
        let asked = head(&mut upstream).await;
        assert!(asked.starts_with(&format!("get http://{host}/ http/1.1\r\n")), "{asked}");
        assert_eq!(asked.matches("proxy-authorization").count(), 1, "{asked}");
        send(&mut upstream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        head(&mut client).await;
        expect(&mut client, b"ok").await;
    }
}

/// The end of a head that is longer than memory allows never comes; neither does a million interim answers' last.
#[tokio::test]
async fn an_endless_head_to_a_request_is_cut_off() {
    let (proxy, lab) = behind(&["http://allowed.test"], Limits::default()).await;
    let mut client = lab.explicit().await;
    send(&mut client, "GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n")
        .await;
    let mut upstream = accept(&proxy).await;
    head(&mut upstream).await;
    send(&mut upstream, "HTTP/1.1 200 OK\r\nA: ").await;
    let mut sent = 0;
    while let Ok(()) = timeout(PATIENCE, upstream.write_all(&[b'x'; 64 * 1024])).await.expect("never blocked")
    {
        sent += 64 * 1024;
        assert!(sent < 64 << 20, "it reads without end");
    }
    refusal(&rest_text(&mut client).await, 502, "upstream_proxy_failed");
}

/// The attack: an address that a rule allows, and the Host of somebody else whom only the proxy would find. What the
/// proxy is asked for is what the rule allows.
#[tokio::test]
async fn a_foreign_host_at_an_allowed_address_is_not_asked_for() {
    let (proxy, lab) = behind(&["198.51.100.7", "http://allowed.test"], Limits::default()).await;
    let mut client = lab.transparent(80).await;
    send(&mut client, "GET / HTTP/1.1\r\nHost: allowed.test\r\n\r\n").await;
    let mut kept = accept(&proxy).await;
    assert!(head(&mut kept).await.starts_with("get http://allowed.test/ http/1.1\r\n"));
    send(&mut kept, "HTTP/1.1 204 No Content\r\n\r\n").await;
    head(&mut client).await;

    let mut client = lab.dial("198.51.100.7:80".parse().unwrap()).await;
    send(&mut client, "GET /secret HTTP/1.1\r\nHost: denied.test\r\n\r\n").await;
    let mut upstream = accept(&proxy).await;
    let asked = head(&mut upstream).await;
    assert!(asked.starts_with("connect 198.51.100.7:80 http/1.1\r\nhost: 198.51.100.7:80\r\n"), "{asked}");
    send(&mut upstream, "HTTP/1.1 200 OK\r\n\r\n").await;
    let asked = head(&mut upstream).await;
    assert!(
        asked.starts_with("get /secret http/1.1\r\n") && asked.contains("host: denied.test\r\n"),
        "{asked}"
    );
    assert!(!asked.contains("proxy-"), "{asked}");

    // Without a Host the address is the name, in absolute form as ever.
    let mut client = lab.dial("198.51.100.7:80".parse().unwrap()).await;
    send(&mut client, "GET /plain HTTP/1.1\r\nHost: 198.51.100.7\r\n\r\n").await;
    let mut upstream = accept(&proxy).await;
    let asked = head(&mut upstream).await;
    assert!(asked.starts_with("get http://198.51.100.7/plain http/1.1\r\n"), "{asked}");
}
