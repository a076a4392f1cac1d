//! That the command does not wait for a server whose protocol is known, and what it reads when that was wrong.

use super::{
    intercept::{OK, Pki, connect, head_of, lab, serve},
    *,
};

const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];

/// A handshake with the command that is over before the server has begun with its own.
#[tokio::test]
async fn what_the_server_speaks_is_known_from_the_time_before() {
    let (pki, (server, port)) = (Pki::new(), listener().await);
    let lab = lab(port, &["https://allowed.test:$P"], &pki, Scope::All).await;
    let get = format!("GET / HTTP/1.1\r\nHost: allowed.test:{port}\r\n\r\n");
    for (offered, waits) in [(BOTH, true), (BOTH, false), (&[], false), (&[&b"http/1.1"[..]], false)] {
        let client = connect(lab.transparent(port).await, "allowed.test", offered, &pki.run);
        let origin =
            async || serve(accept(&server).await, "allowed.test", &[b"http/1.1"], &pki.servers).await;
        let (mut client, mut origin) = if waits {
            let (client, origin) = tokio::join!(client, origin());
            (client.unwrap(), origin.unwrap())
        } else {
            (client.await.unwrap(), origin().await.unwrap())
        };
        client.write_all(get.as_bytes()).await.unwrap();
        head_of(&mut origin).await;
        origin.write_all(OK).await.unwrap();
        assert!(head_of(&mut client).await.starts_with("http/1.1 200 "), "{offered:?}");
    }
}

/// It is told so once; then the server is asked again.
#[tokio::test]
async fn a_server_that_speaks_http2_no_more_is_asked_again() {
    let (pki, (server, port)) = (Pki::new(), listener().await);
    let lab = lab(port, &["https://allowed.test:$P"], &pki, Scope::All).await;
    let mut seen = Vec::new();
    for speaks in [BOTH, &[b"http/1.1"], &[b"http/1.1"]] {
        let client = connect(lab.transparent(port).await, "allowed.test", BOTH, &pki.run);
        let origin = async { serve(accept(&server).await, "allowed.test", speaks, &pki.servers).await };
        let (client, origin) = tokio::join!(client, origin);
        let client = client.unwrap();
        let told = client.get_ref().1.alpn_protocol().unwrap().to_vec();
        seen.push((String::from_utf8(told).unwrap(), origin.is_ok()));
        if seen.len() == 2 {
            let (mut sender, connection) = h2::client::handshake(client).await.unwrap();
            let connection = tokio::spawn(connection);
            let url = format!("https://allowed.test:{port}/");
            let request = ::http::Request::get(url).body(()).unwrap();
            let (answer, _) = sender.send_request(request, true).unwrap();
            assert_eq!(timeout(PATIENCE, answer).await.unwrap().unwrap().status(), 502);
            connection.abort();
        }
    }
    let told: Vec<_> = seen.iter().map(|(told, _)| &**told).collect();
    assert_eq!(told, ["h2", "h2", "http/1.1"]);
    assert!(seen[0].1 && !seen[1].1 && seen[2].1, "{seen:?}");
}
