//! A policy that changes while connections are open, and policies of single processes.

use super::{super::sni::build::hello, *};
use crate::policy::{Reason, live::Process};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn set(lab: &Lab, port: u16, domains: &[&str]) {
    lab.proxy.context().live().set(url_policy(port, domains, &[]));
}

/// The command's side of a CONNECT that was answered, and the server's.
async fn connect(lab: &Lab, server: &TcpListener, target: &str) -> (TcpStream, TcpStream) {
    let mut client = chain::connect(lab, target).await;
    let upstream = accept(server).await;
    assert!(head(&mut client).await.starts_with("http/1.1 200 "));
    (client, upstream)
}

/// Sends a request; whether it came to `upstream`, which answers it.
async fn is_served(client: &mut TcpStream, upstream: &mut TcpStream, host: &str) -> bool {
    send(client, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
    let served = tokio::select! {
        answer = head(client) => Err(answer),
        request = head(upstream) => Ok(request),
    };
    match served {
        Ok(request) => {
            assert!(request.contains(&format!("host: {host}")), "{request}");
            send(upstream, OK).await;
            assert!(head(client).await.starts_with("http/1.1 200 "));
            expect(client, b"ok").await;
            true
        }
        Err(answer) => {
            assert!(answer.starts_with("http/1.1 403 "), "{answer}");
            let length = answer.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
            client.read_exact(&mut vec![0; length.parse().unwrap()]).await.unwrap();
            false
        }
    }
}

/// One connection to the proxy as such, and one inside a CONNECT.
#[tokio::test]
async fn each_request_of_a_kept_connection_is_judged_by_the_policy_of_now() {
    for through_connect in [false, true] {
        let (server, port) = listener().await;
        let rules = ["allowed.test:$P"];
        let lab = Lab::new(port, &rules).await;
        let host = format!("allowed.test:{port}");
        let (mut client, mut upstream) = match through_connect {
            true => connect(&lab, &server, &host).await,
            false => {
                let mut client = lab.transparent(port).await;
                // Nothing is dialled before the first request.
                send(&mut client, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
                let mut upstream = accept(&server).await;
                head(&mut upstream).await;
                send(&mut upstream, OK).await;
                head(&mut client).await;
                expect(&mut client, b"ok").await;
                (client, upstream)
            }
        };
        assert!(is_served(&mut client, &mut upstream, &host).await);
        set(&lab, port, &["other.test:$P"]);
        assert!(
            !is_served(&mut client, &mut upstream, &host).await,
            "the policy of before: {through_connect}"
        );
        set(&lab, port, &rules);
        assert!(is_served(&mut client, &mut upstream, &host).await, "the same server connection");
        lab.proxy.context().live().close();
        assert!(!is_served(&mut client, &mut upstream, &host).await);
    }
}

#[tokio::test]
async fn a_tunnel_that_runs_goes_on() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["https://allowed.test:$P"]).await;
    let hello = hello(Some("allowed.test"));
    let mut client = lab.transparent(port).await;
    client.write_all(&hello).await.unwrap();
    let mut upstream = accept(&server).await;
    upstream.read_exact(&mut vec![0; hello.len()]).await.unwrap();
    lab.proxy.context().live().close();
    for bytes in [&b"down"[..], b"stream"] {
        upstream.write_all(bytes).await.unwrap();
        expect(&mut client, bytes).await;
    }
    let mut later = lab.transparent(port).await;
    later.write_all(&hello).await.unwrap();
    assert_eq!(rest(&mut later).await[..6], [21, 3, 3, 0, 2, 2], "a new one");
    untouched(&server).await;
}

/// The attack: connections are opened in advance, and used once the policy is a narrower one.
#[tokio::test]
async fn a_connection_that_has_said_nothing_is_not_open() {
    let (server, port) = listener().await;
    for what in [&b"SSH-2.0-client\r\n"[..], &hello(None), &hello(Some("any.test"))] {
        let lab = Lab::new(port, &["any.test:$P"]).await;
        lab.given(&["any.test"]);
        let tunnel = connect(&lab, &server, &format!("any.test:{port}")).await;
        let dialling = lab.transparent(port).await;
        let dialling = (dialling, accept(&server).await);
        set(&lab, port, &["other.test:$P"]);
        for (mut client, mut server) in [tunnel, dialling] {
            client.write_all(what).await.unwrap();
            // It is told, in its own words, or cut off; and not a byte goes to the server.
            let mut heard = Vec::new();
            let _ = timeout(PATIENCE, server.read_to_end(&mut heard)).await.expect("an end in time");
            assert_eq!(heard, b"", "{}", what.escape_ascii());
        }
        let reasons: Vec<_> = lab.connections(2).await.iter().map(|record| record.reason).collect();
        assert!(reasons.iter().all(|reason| *reason != Reason::Allowed), "{reasons:?}");
    }
}

/// The lab's command is process 4711, which started at 100.
#[tokio::test]
async fn a_process_has_its_own_policy_and_its_successor_has_not() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://all.test:$P"]).await;
    let live = |started| {
        let policy = url_policy(port, &["http://own.test:$P"], &[]);
        lab.proxy.context().live().set_for_process(Process { tgid: 4711, started }, policy);
    };
    for (started, [own, all]) in [(100, [true, false]), (99, [false, true]), (101, [false, true])] {
        live(started);
        for (host, allowed) in [("own.test", own), ("all.test", all)] {
            let mut client = lab.transparent(port).await;
            send(&mut client, &format!("GET / HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n")).await;
            if allowed {
                let mut upstream = accept(&server).await;
                head(&mut upstream).await;
                send(&mut upstream, OK).await;
            }
            let status = if allowed { "http/1.1 200 " } else { "http/1.1 403 " };
            assert!(head(&mut client).await.starts_with(status), "{host} of the one started at {started}");
        }
    }
    untouched(&server).await;
}
