//! URL rules where TLS ends at the proxy, and where it does not.

use super::*;
use crate::proxy::tests::intercept::{Client, OK, Pki, connect, head_of, serve};

async fn lab(port: u16, domains: &[&str], urls: &[&str], pki: &Pki, scope: Option<Scope>) -> Lab {
    let interception = scope.map(|scope| pki.interception(scope));
    let policy = url_policy(port, domains, urls);
    Lab::intercepting(listener().await.0, policy, UpstreamProxies::default(), interception, quick())
}

async fn get(client: &mut Client, name: &str, port: u16, target: &str) -> String {
    let text = format!("GET {target} HTTP/1.1\r\nHost: {name}:{port}\r\n\r\n");
    client.write_all(text.as_bytes()).await.unwrap();
    head_of(client).await
}

/// Reads the JSON of a refusal on a connection that goes on.
async fn skip(client: &mut Client, head: &str) {
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    client.read_exact(&mut body).await.unwrap();
}

/// One connection, several requests; what the host's exclusion from interception says does not matter.
#[tokio::test]
async fn each_request_inside_is_judged_also_of_a_spared_host() {
    for name in ["allowed.test", "spared.test"] {
        let (pki, (server, port)) = (Pki::new(), listener().await);
        let rule = format!("https://{name}:$P/ok/**");
        let lab = lab(port, &[&format!("{name}:$P")], &[&rule], &pki, Some(Scope::All)).await;
        let command = async {
            let mut client = connect(lab.transparent(port).await, name, &[], &pki.run).await.unwrap();
            let mut statuses = Vec::new();
            for target in ["/ok/x/../1?q", "/no", "/ok/..%2fno", "/ok/2"] {
                let head = get(&mut client, name, port, target).await;
                skip(&mut client, &head).await;
                statuses.push(head.split(' ').nth(1).unwrap().to_owned());
            }
            statuses
        };
        let origin = async {
            let mut origin = serve(accept(&server).await, name, &[], &pki.servers).await.unwrap();
            let mut lines = Vec::new();
            for _ in 0..2 {
                lines.push(head_of(&mut origin).await.lines().next().unwrap().to_owned());
                origin.write_all(OK).await.unwrap();
            }
            lines
        };
        let (statuses, lines) = tokio::join!(command, origin);
        assert_eq!(statuses, ["200", "403", "403", "200"], "{name}");
        assert_eq!(lines, ["get /ok/1?q http/1.1", "get /ok/2 http/1.1"], "{name}");
    }
}

/// The attack: TLS that is not looked into, or not to the end. None of it reaches the server.
#[tokio::test]
async fn without_interception_nothing_is_passed() {
    for scope in [None, Some(Scope::Refused)] {
        let (pki, (server, port)) = (Pki::new(), listener().await);
        let domains = ["allowed.test:$P", "tcp://allowed.test:$P", "tcp://127.0.0.1:$P"];
        let lab = lab(port, &domains, &["https://allowed.test:$P/ok/**"], &pki, scope).await;
        lab.given(&["allowed.test"]);
        for stream in [lab.transparent(port).await, lab.dial((Ipv4Addr::LOCALHOST, port).into()).await] {
            let tls = connect(stream, "allowed.test", &[b"http/1.1"], &pki.run).await;
            // With its own CA it can say why.
            assert_eq!(tls.is_ok(), scope.is_some());
            if let Ok(mut client) = tls {
                let head = get(&mut client, "allowed.test", port, "/ok/a").await;
                assert!(head.starts_with("http/1.1 403 ") && head.contains("url_not_allowed"), "{head}");
            }
        }
        for outer in [Some("allowed.test"), Some("other.test"), None] {
            let mut client = lab.transparent(port).await;
            client.write_all(&sni::build::ech_hello(outer)).await.unwrap();
            let _ = timeout(PATIENCE, client.read_to_end(&mut Vec::new())).await.expect("an end in time");
        }
        // The address rule lets the server be dialled before anything is said; nothing may follow.
        while let Ok(Ok((mut stream, _))) = timeout(Duration::ZERO, server.accept()).await {
            let mut read = Vec::new();
            let _ = timeout(PATIENCE, stream.read_to_end(&mut read)).await.expect("an end in time");
            assert_eq!(read, b"");
        }
    }
}

/// The attack: a CONNECT to the address, which is allowed as a whole, with TLS for the filtered name inside.
#[tokio::test]
async fn a_connect_to_the_address_does_not_lift_the_filter() {
    for (scope, answer) in [(Some(Scope::All), Some("http/1.1 403 ")), (None, None)] {
        let (pki, (server, port)) = (Pki::new(), listener().await);
        let lab = lab(port, &[], &["https://allowed.test:$P/ok/**"], &pki, scope).await;
        let mut stream = lab.explicit().await;
        let target = format!("127.0.0.1:{port}");
        send(&mut stream, &format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")).await;
        assert!(head(&mut stream).await.starts_with("http/1.1 200 "));
        let mut upstream = accept(&server).await;
        let command = async {
            let mut client = connect(stream, "allowed.test", &[], &pki.run).await.ok()?;
            Some(get(&mut client, "allowed.test", port, "/no").await)
        };
        let origin = async {
            if scope.is_some() {
                let mut tls = serve(upstream, "allowed.test", &[], &pki.servers).await.unwrap();
                let mut read = Vec::new();
                let _ = timeout(PATIENCE, tls.read_to_end(&mut read)).await.expect("an end in time");
                return read;
            }
            rest(&mut upstream).await
        };
        let command = async {
            let said = command.await;
            assert_eq!(said.as_deref().map(|head| &head[..13]), answer, "{said:?}");
        };
        let ((), read) = tokio::join!(command, origin);
        assert_eq!(read, b"");
    }
}

/// The attack: the name in the TLS is filtered, the one in the request is not.
#[tokio::test]
async fn the_request_inside_cannot_name_another_host() {
    let (pki, (server, port)) = (Pki::new(), listener().await);
    let lab = lab(port, &["open.test:$P"], &["https://allowed.test:$P/ok/**"], &pki, Some(Scope::All)).await;
    let command = async {
        let mut client = connect(lab.transparent(port).await, "allowed.test", &[], &pki.run).await.unwrap();
        get(&mut client, "open.test", port, "/no").await
    };
    let origin = async {
        let mut origin = serve(accept(&server).await, "allowed.test", &[], &pki.servers).await.unwrap();
        let mut read = Vec::new();
        let _ = timeout(PATIENCE, origin.read_to_end(&mut read)).await.expect("an end in time");
        read
    };
    let command = async { assert!(command.await.contains("name_mismatch")) };
    let ((), read) = tokio::join!(command, origin);
    assert_eq!(read, b"");
}

/// Clear text to the port of an `https://` rule, and TLS without a name, are no way around it.
#[tokio::test]
async fn other_ways_to_speak_to_the_port_are_refused() {
    let (pki, (server, port)) = (Pki::new(), listener().await);
    let lab =
        lab(port, &["tcp://allowed.test:$P"], &["https://allowed.test:$P/ok/**"], &pki, Some(Scope::All))
            .await;
    lab.given(&["allowed.test"]);
    let mut client = lab.transparent(port).await;
    send(
        &mut client,
        &format!("GET /ok/a HTTP/1.1\r\nHost: allowed.test:{port}\r\nConnection: close\r\n\r\n"),
    )
    .await;
    refusal(&rest_text(&mut client).await, 403, "url_not_allowed");
    for bytes in [&b"SSH-2.0-x\r\n"[..], &sni::build::hello(None)] {
        let mut client = lab.transparent(port).await;
        client.write_all(bytes).await.unwrap();
        let _ = timeout(PATIENCE, client.read_to_end(&mut Vec::new())).await.expect("an end in time");
    }
    untouched(&server).await;
}

/// An extended CONNECT (RFC 8441) is the GET that it becomes.
#[tokio::test]
async fn a_websocket_of_a_stream_is_judged_by_its_url() {
    let (pki, (server, port)) = (Pki::new(), listener().await);
    let lab = lab(port, &[], &["GET:https://allowed.test:$P/ok/**"], &pki, Some(Scope::All)).await;
    let (mut sender, held) = websocket::speak(&lab, (&server, port), &pki).await;
    let url = |path: &str| format!("https://allowed.test:{port}{path}");
    for path in ["/no", "/ok/../no", "/ok/..%2fno", "/ok/%252e%252e/no"] {
        let (response, _up) = websocket::extended(&mut sender, &url(path), "websocket");
        let response = timeout(PATIENCE, response).await.expect("an answer in time").unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["x-awf-reason"]),
            (403, &"url_not_allowed".parse().unwrap()),
            "{path}"
        );
        untouched(&server).await;
    }
    let (_response, _up) = websocket::extended(&mut sender, &url("/ok/./chat"), "websocket");
    let mut origin =
        serve(accept(&server).await, "allowed.test", websocket::BOTH, &pki.servers).await.unwrap();
    let head = head_of(&mut origin).await;
    assert!(head.starts_with("get /ok/chat http/1.1\r\n"), "{head}");
    held.abort();
}
