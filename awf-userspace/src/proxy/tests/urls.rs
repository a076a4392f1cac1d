//! URL rules on clear-text HTTP: what is asked for is judged in one form, sent in that form, and nothing else is sent.

mod h2;
mod tls;

use super::{
    smuggling::{By, Origin, converse},
    *,
};
use crate::{audit::Decision, policy::Reason};

const OK_RULE: &str = "http://allowed.test:$P/ok/**";

async fn lab(port: u16, urls: &[&str]) -> Lab {
    let limits = Limits { linger: Duration::from_millis(100), ..Limits::default() };
    Lab::of_urls(port, &["allowed.test:$P"], urls, limits).await
}

/// A request for `target`, as written to whom it is sent.
fn request(by: By, method: &str, target: &str, port: u16, more: &str) -> String {
    let host = format!("allowed.test:{port}");
    let absolute =
        if by == By::Proxy && target.starts_with('/') { format!("http://{host}") } else { String::new() };
    format!("{method} {absolute}{target} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n")
}

/// The request lines that came to the origin.
fn lines(received: &[Vec<u8>]) -> Vec<String> {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    let is_line = |line: &&str| line.ends_with(" HTTP/1.1");
    received
        .iter()
        .map(text)
        .flat_map(|text| text.split("\r\n").filter(is_line).map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// Sends one request by each way; the status of the answer and the request lines that the origin got.
async fn each(rules: &[&str], method: &str, target: &str, more: &str, check: impl Fn(&str, Vec<String>)) {
    let origin = Origin::new().await;
    let lab = lab(origin.port, rules).await;
    for by in [By::Dialling, By::Proxy, By::Connect] {
        let answer =
            converse(&lab, by, origin.port, request(by, method, target, origin.port, more).as_bytes()).await;
        check(&answer, lines(&origin.take().await));
    }
}

/// The attack: what leads out of the allowed paths in this or that server's reading.
#[tokio::test]
async fn no_traversal_gets_to_the_server() {
    for target in [
        "/ok/../no",
        "/ok/%2e%2e/no",
        "/ok/%2E%2e%2fno",
        "/ok/..%2fno",
        "/ok/..%5cno",
        "/ok/..\\no",
        "/ok/%252e%252e/no",
        "/ok/%252e%252e%252fno",
        "/ok/..;/no",
        "/ok/..;x=y/no",
        "/ok/..%3b/no",
        "/ok/..%c0%afno",
        "/ok/%c0%ae%c0%ae/no",
        "/ok/..%ef%bc%8fno",
        "/ok/..%00/no",
        "/ok/%0d%0aHost:x",
        "/ok/%zz",
        "/no",
        "/",
        "/OK/a",
        "//ok/a/../../no",
        "/ok",
        "/ok%2f",
        "/no?/ok/",
        "/no%3f/ok/",
        "/no;/ok/a",
        "/ok/a#/../no",
        "/no#/ok/",
    ] {
        each(&[OK_RULE], "GET", target, "", |answer, lines| {
            let refused = answer.starts_with("HTTP/1.1 403 ") || answer.starts_with("HTTP/1.1 400 ");
            assert!(refused, "{target}: {answer}");
            assert_eq!(lines, [""; 0], "{target}");
        })
        .await;
    }
}

#[tokio::test]
async fn what_is_sent_is_what_was_judged() {
    for (target, sent) in [
        ("/ok/a", "/ok/a"),
        ("/ok/./b//c/../%7e?d=%61%2f&e", "/ok/b/~?d=a%2F&e"),
        ("/x/../ok/", "/ok/"),
        ("//ok//a", "/ok/a"),
        ("/ok/@scope%2fname", "/ok/@scope%2Fname"),
        ("/ok/a|b?c[]={d}", "/ok/a%7Cb?c%5B%5D=%7Bd%7D"),
        ("/ok/caf%c3%a9", "/ok/caf%C3%A9"),
    ] {
        each(&[OK_RULE], "GET", target, "", |answer, lines| {
            assert!(answer.starts_with("HTTP/1.1 200 "), "{target}: {answer}");
            assert_eq!(lines, [format!("GET {sent} HTTP/1.1")], "{target}");
        })
        .await;
    }
}

/// Where no URL rule is about the host, a target is nobody's business.
#[tokio::test]
async fn other_hosts_targets_are_not_touched() {
    for target in ["/a/../b", "/a//b", "/%7e?%61", "/..%2f;x"] {
        each(&["http://elsewhere.test/ok/**"], "GET", target, "", |answer, lines| {
            assert!(answer.starts_with("HTTP/1.1 200 "), "{target}: {answer}");
            assert_eq!(lines, [format!("GET {target} HTTP/1.1")]);
        })
        .await;
    }
}

/// The attack: an allowed request opens the connection, another one follows on it.
#[tokio::test]
async fn each_request_of_a_reused_connection_is_judged() {
    let origin = Origin::new().await;
    for by in [By::Dialling, By::Proxy, By::Connect] {
        let lab = lab(origin.port, &[OK_RULE, "POST:http://allowed.test:$P/post"]).await;
        let ask = |method, target, more| request(by, method, target, origin.port, more);
        let all = [
            ask("GET", "/ok/1", ""),
            ask("GET", "/no", ""),
            ask("POST", "/post", "Content-Length: 2\r\n") + "\r\n",
            ask("GET", "/post", ""),
            ask("GET", "/ok/../no", ""),
            ask("GET", "/ok/2", ""),
        ];
        let answer = converse(&lab, by, origin.port, all.concat().as_bytes()).await;
        let statuses: Vec<_> = answer.split("HTTP/1.1 ").skip(1).map(|rest| &rest[..3]).collect();
        assert_eq!(statuses, ["200", "403", "200", "403", "403", "200"], "{by:?}: {answer}");
        let expected = ["GET /ok/1 HTTP/1.1", "POST /post HTTP/1.1", "GET /ok/2 HTTP/1.1"];
        assert_eq!(lines(&origin.take().await), expected, "{by:?}");
        let records: Vec<_> =
            lab.log.take().into_iter().filter(|record| record.event == EventKind::Request).collect();
        let url = |path: &str| Some(format!("http://allowed.test:{}{path}", origin.port));
        let denied = &records[1];
        assert_eq!((denied.decision, denied.reason), (Decision::Deny, Reason::UrlNotAllowed));
        assert_eq!((denied.url.clone(), denied.method.as_deref()), (url("/no"), Some("GET")));
        assert_eq!(denied.allow_with, Some(format!("--allow-urls {}", url("/no").unwrap())));
        assert_eq!(records[0].rule, Some(OK_RULE.replace("$P", &origin.port.to_string())));
    }
}

/// The attack: headers by which servers replace the path or the method, under every name that CGI makes the same.
#[tokio::test]
async fn headers_that_name_another_path_or_method_are_refused() {
    for header in [
        "X-Original-URL: /no",
        "X-Rewrite-URL: /no",
        "x_original_url: /no",
        "X-HTTP-Method-Override: DELETE",
        "X-HTTP-Method: DELETE",
        "X-Method-Override: PUT",
        "X-Forwarded-Path: /no",
        "X-Forwarded-Prefix: /no",
        "Destination: http://allowed.test/no",
    ] {
        each(&[OK_RULE], "GET", "/ok/a", &format!("{header}\r\n"), |answer, lines| {
            assert!(answer.starts_with("HTTP/1.1 403 "), "{header}: {answer}");
            refusal(answer, 403, "url_not_allowed");
            assert_eq!(lines, [""; 0], "{header}");
        })
        .await;
    }
    // Elsewhere they are as good as others.
    each(&["http://elsewhere.test/a"], "GET", "/a", "X-Original-URL: /no\r\n", |answer, lines| {
        assert!(answer.starts_with("HTTP/1.1 200 ") && lines.len() == 1, "{answer}");
    })
    .await;
    // Folded, they are refused for that.
    each(&[OK_RULE], "GET", "/ok/a", "X-Other: 1\r\n X-Original-URL: /no\r\n", |answer, lines| {
        assert!(answer.starts_with("HTTP/1.1 400 ") && lines.is_empty(), "{answer}");
    })
    .await;
}

/// Trailers that a server would take for headers (RFC 9110 section 6.5.1 forbids it).
#[tokio::test]
async fn trailers_do_not_override_either() {
    let origin = Origin::new().await;
    let lab = lab(origin.port, &[OK_RULE]).await;
    let more = "Transfer-Encoding: chunked\r\nTrailer: X-HTTP-Method-Override, X-Sum\r\n";
    let head = request(By::Dialling, "POST", "/ok/a", origin.port, more);
    let body = "2\r\nhi\r\n0\r\nX-HTTP-Method-Override: DELETE\r\nX-Sum: 7\r\n\r\n";
    let answer = converse(&lab, By::Dialling, origin.port, (head + body).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let received = String::from_utf8(origin.take().await.concat()).unwrap().to_lowercase();
    let (_, trailers) = received.split_once("\r\n0\r\n").expect("trailers");
    assert!(!trailers.contains("override") && trailers.contains("x-sum: 7"), "{received}");
}

#[tokio::test]
async fn methods_and_asterisks_are_judged() {
    for (method, target, status) in [
        ("GET", "/ok/a", "200"),
        ("HEAD", "/ok/a", "403"),
        ("POST", "/ok/a", "403"),
        ("get", "/ok/a", "403"),
        ("OPTIONS", "*", "403"),
    ] {
        let origin = Origin::new().await;
        let lab = lab(origin.port, &["GET:http://allowed.test:$P/ok/**"]).await;
        for by in [By::Dialling, By::Connect] {
            let text = request(by, method, target, origin.port, "");
            let answer = converse(&lab, by, origin.port, text.as_bytes()).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {target}: {answer}");
            assert_eq!(lines(&origin.take().await).len(), usize::from(status == "200"), "{method} {target}");
        }
    }
}

/// The attack: one host in the target, another in the Host header, where only one of the two is filtered.
#[tokio::test]
async fn two_names_in_a_request_are_refused() {
    let origin = Origin::new().await;
    let port = origin.port;
    let lab = Lab::of_urls(port, &["allowed.test:$P", "open.test:$P"], &[OK_RULE], Limits::default()).await;
    for (target, host) in [
        (format!("http://open.test:{port}/no"), "allowed.test"),
        (format!("http://allowed.test:{port}/no"), "open.test"),
        (format!("http://open.test@allowed.test:{port}/no"), "open.test"),
    ] {
        let text = format!("GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
        for by in [By::Dialling, By::Proxy, By::Connect] {
            let answer = converse(&lab, by, port, text.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 40"), "{target}: {answer}");
            assert_eq!(origin.take().await.concat(), b"");
        }
    }
}

/// A WebSocket begins as a GET for a URL.
#[tokio::test]
async fn a_websocket_is_judged_by_its_url() {
    const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let (server, port) = listener().await;
    let lab = lab(port, &["GET:http://allowed.test:$P/ok/**"]).await;
    let mut client = lab.transparent(port).await;
    send(&mut client, &request(By::Dialling, "GET", "/ok/../no", port, UPGRADE)).await;
    refusal(&rest_text(&mut client).await, 403, "url_not_allowed");
    untouched(&server).await;
    let mut client = lab.transparent(port).await;
    send(&mut client, &request(By::Dialling, "GET", "/ok/./chat", port, UPGRADE)).await;
    let mut upstream = accept(&server).await;
    assert!(head(&mut upstream).await.starts_with("get /ok/chat http/1.1\r\n"));
    send(&mut upstream, "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    assert!(head(&mut client).await.starts_with("http/1.1 101 "));
    send(&mut client, "frame").await;
    expect(&mut upstream, b"frame").await;
}

/// The attack: a protocol that nobody judges, by a rule for any protocol, by a CONNECT, or by the address.
#[tokio::test]
async fn nothing_but_judged_requests_is_passed() {
    let (server, port) = listener().await;
    let lab = Lab::of_urls(port, &["tcp://allowed.test:$P"], &[OK_RULE], quick()).await;
    let target = format!("allowed.test:{port}");
    for bytes in [&b"SSH-2.0-x\r\n"[..], b"\x00\x01\x02\x03", &sni::build::hello(Some("allowed.test"))] {
        let mut client = lab.explicit().await;
        send(&mut client, &format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")).await;
        assert!(head(&mut client).await.starts_with("http/1.1 200 "));
        let mut upstream = accept(&server).await;
        client.write_all(bytes).await.unwrap();
        let _ = timeout(PATIENCE, client.read_to_end(&mut Vec::new())).await.expect("an end in time");
        assert_eq!(rest(&mut upstream).await, b"", "{bytes:?}");
    }
    // The command was given that address for the name, and any protocol may be spoken to the name.
    lab.given(&["allowed.test"]);
    let mut client = lab.transparent(port).await;
    send(&mut client, "SSH-2.0-x\r\n").await;
    let _ = timeout(PATIENCE, client.read_to_end(&mut Vec::new())).await.expect("an end in time");
    untouched(&server).await;
}

/// An address that is allowed as a whole does not lift what is said of a name that leads there.
#[tokio::test]
async fn an_address_rule_does_not_lift_the_filter() {
    let origin = Origin::new().await;
    let port = origin.port;
    let own = Ipv4Addr::LOCALHOST;
    let lab = Lab::of_urls(port, &["tcp://127.0.0.1:$P"], &[OK_RULE], Limits::default()).await;
    for (text, status) in [
        (format!("GET /no HTTP/1.1\r\nHost: allowed.test:{port}\r\n\r\n"), "403"),
        (format!("GET http://allowed.test:{port}/no HTTP/1.1\r\nHost: allowed.test:{port}\r\n\r\n"), "403"),
        (format!("GET /ok/a HTTP/1.1\r\nHost: allowed.test:{port}\r\n\r\n"), "200"),
        // As itself the address is its own rule's affair.
        (format!("GET /no HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"), "200"),
    ] {
        let mut client = lab.dial((own, port).into()).await;
        send(&mut client, &text).await;
        let answer = head(&mut client).await;
        assert!(answer.starts_with(&format!("http/1.1 {status} ")), "{text}: {answer}");
        drop(client);
    }
    assert_eq!(lines(&origin.take().await), ["GET /ok/a HTTP/1.1", "GET /no HTTP/1.1"]);
}

/// An upstream proxy is asked for the URL that was judged.
#[tokio::test]
async fn an_upstream_proxy_gets_the_judged_url() {
    let (proxy, port) = listener().await;
    let upstream = chain::through(&format!("http://127.0.0.1:{port}"), "");
    let policy = url_policy(1, &[], &["http://allowed.test/ok/**"]);
    let lab = Lab::of(listener().await.0, policy, upstream, Limits::default());
    let mut client = lab.transparent(80).await;
    send(&mut client, "GET /ok/x/..//%61 HTTP/1.1\r\nHost: allowed.test\r\n\r\n").await;
    let mut asked = accept(&proxy).await;
    assert!(head(&mut asked).await.starts_with("get http://allowed.test/ok/a http/1.1\r\n"));
    let mut client = lab.transparent(80).await;
    send(&mut client, "GET /ok/x/../../no HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n").await;
    refusal(&rest_text(&mut client).await, 403, "url_not_allowed");
    untouched(&proxy).await;
}

/// What a URL holds is a secret to the record and to the flag that is to be pasted.
#[tokio::test]
async fn secrets_are_in_no_refusal() {
    let (server, port) = listener().await;
    let lab = lab(port, &[OK_RULE, "http://allowed.test:$P/q?a=1"]).await;
    for target in ["/t/ghp_0123456789abcdefghij0123456789abcdef", "/q?token=hunter2"] {
        let mut client = lab.transparent(port).await;
        send(&mut client, &request(By::Dialling, "GET", target, port, "Connection: close\r\n")).await;
        let answer = rest_text(&mut client).await;
        let body = refusal(&answer, 403, "url_not_allowed");
        assert!(!answer.contains("0123456789") && !answer.contains("hunter2"), "{answer}");
        assert!(
            body["message"].as_str().unwrap().contains(&format!("GET http://allowed.test:{port}/")),
            "{answer}"
        );
    }
    for record in lab.records(2).await {
        let flag = record.allow_with.unwrap_or_default();
        assert!(!flag.contains("0123456789") && !flag.contains("token"), "{flag}");
    }
    untouched(&server).await;
}
