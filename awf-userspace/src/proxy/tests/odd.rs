//! Messages at the edge of what HTTP/1 allows: what servers of other ages say, and what is very long.

use super::{
    intercept::{Pki, ask, connect, lab, lab_with, serve},
    *,
};

/// What the command gets of `response`.
pub(super) async fn answered(response: &str) -> String {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let mut client = lab.transparent(port).await;
    send(&mut client, "GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n").await;
    let mut upstream = accept(&server).await;
    head(&mut upstream).await;
    send(&mut upstream, response).await;
    drop(upstream);
    rest_text(&mut client).await
}

/// RFC 9112 section 6.3: the coding overrides the length, by which the body would be cut.
#[tokio::test]
async fn a_length_beside_chunked_coding_cuts_no_body() {
    let both = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n";
    let text = answered(&format!("{both}4\r\nbody\r\n0\r\n\r\n")).await;
    assert!(text.ends_with("\r\n\r\n4\r\nbody\r\n0\r\n\r\n"), "{text}");
    assert!(!text.to_lowercase().contains("content-length"), "{text}");
}

#[tokio::test]
async fn headers_as_old_servers_write_them_are_read() {
    let folded = "HTTP/1.1 200 OK\r\nX-Old: a\r\n b\r\nX-Server : c\r\nContent-Length : 2\r\n\r\nok";
    let text = answered(folded).await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\nok"), "{text}");
    let lines: Vec<_> = text.lines().collect();
    assert!(lines.contains(&"X-Server: c"), "{text}");
    assert!(lines.iter().any(|line| line.starts_with("X-Old: a") && line.ends_with('b')), "{text}");
}

#[tokio::test]
async fn a_long_target_passes_and_a_longer_one_is_told_so() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let get = |length| format!("GET /{} HTTP/1.1\r\nHost: allowed.test\r\n\r\n", "a".repeat(length));
    let mut client = lab.transparent(port).await;
    send(&mut client, &get(60_000)).await;
    let mut upstream = accept(&server).await;
    assert_eq!(head(&mut upstream).await.lines().next().map(str::len), Some(60_000 + "GET / HTTP/1.1".len()));
    let mut client = lab.transparent(port).await;
    send(&mut client, &get(70_000)).await;
    refusal(&rest_text(&mut client).await, 431, "limit_exceeded");
}

/// Both offered, but no more HTTP/2 at once: HTTP/1 it is, instead of nothing.
#[tokio::test]
async fn beyond_the_bound_of_http2_connections_http1_is_spoken() {
    let (pki, (server, port)) = (Pki::new(), listener().await);
    let both = [&b"h2"[..], b"http/1.1"];
    for (http2, spoken) in [(1, &b"h2"[..]), (0, b"http/1.1")] {
        let limits = Limits { http2, ..quick() };
        let lab = lab_with(port, &["https://allowed.test:$P"], &pki, Scope::All, limits).await;
        let command =
            async { connect(lab.transparent(port).await, "allowed.test", &both, &pki.run).await.unwrap() };
        let origin =
            async { serve(accept(&server).await, "allowed.test", &both, &pki.servers).await.unwrap() };
        let (client, _origin) = tokio::join!(command, origin);
        assert_eq!(client.get_ref().1.alpn_protocol(), Some(spoken));
    }
}

/// As `curl -0` does.
#[tokio::test]
async fn a_client_that_offers_http_1_0_is_served() {
    let (pki, (_server, port)) = (Pki::new(), listener().await);
    let lab = lab(port, &[], &pki, Scope::Refused).await;
    let mut client =
        connect(lab.transparent(port).await, "denied.test", &[b"http/1.0"], &pki.run).await.unwrap();
    let text = ask(&mut client, "GET / HTTP/1.0\r\nHost: denied.test\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.0 403 "), "{text}");
}
