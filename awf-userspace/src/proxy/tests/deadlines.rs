//! Who is slow, deaf or without end, on either side: each wait and each head has its bound, and its reason.

use super::{super::sni::build::hello, *};
use crate::{audit::Decision, policy::Reason};

const SHORT: Duration = Duration::from_millis(150);

/// Limits in which nothing but this ends a connection, and its reason.
fn times() -> [(Limits, Reason); 2] {
    let limits = Limits { linger: SHORT, ..Limits::default() };
    [
        (Limits { idle: SHORT, ..limits.clone() }, Reason::IdleTimeout),
        (Limits { lifetime: SHORT, ..limits }, Reason::LifetimeExceeded),
    ]
}

/// Reset and not closed: what is cut off must not look complete.
#[tokio::test]
async fn idle_tunnels_and_old_ones_are_reset() {
    let (server, port) = listener().await;
    for (limits, reason) in times() {
        let lab = Lab::with(port, &["https://allowed.test:$P"], &[], limits).await;
        let mut client = lab.transparent(port).await;
        let hello = hello(Some("allowed.test"));
        client.write_all(&hello).await.unwrap();
        let mut upstream = accept(&server).await;
        expect(&mut upstream, &hello).await;
        assert_reset(&mut client).await;
        assert_reset(&mut upstream).await;
        let record = lab.record().await;
        assert_eq!((record.decision, record.reason), (Decision::Allow, reason));
        assert_eq!(record.bytes_up, Some(hello.len() as u64));
    }
}

/// Bytes keep a tunnel from being idle, not from growing old.
#[tokio::test]
async fn a_busy_tunnel_lives_as_long_as_it_may() {
    let (server, port) = listener().await;
    let limits = Limits { idle: SHORT, lifetime: 4 * SHORT, ..Limits::default() };
    let lab = Lab::with(port, &["https://allowed.test:$P"], &[], limits).await;
    let mut client = lab.transparent(port).await;
    client.write_all(&hello(Some("allowed.test"))).await.unwrap();
    let mut upstream = accept(&server).await;
    let beating = async {
        let mut beat = tokio::time::interval(SHORT / 5);
        while upstream.write_all(b".").await.is_ok() {
            beat.tick().await;
        }
    };
    timeout(PATIENCE, beating).await.expect("an end in time");
    assert_eq!(lab.record().await.reason, Reason::LifetimeExceeded);
}

#[tokio::test]
async fn who_waits_for_an_answer_is_told_that_time_ran_out() {
    let (server, port) = listener().await;
    for (limits, reason) in times() {
        let lab = Lab::with(port, &["http://allowed.test:$P"], &[], limits).await;
        let mut client = lab.transparent(port).await;
        send(&mut client, "GET /slow HTTP/1.1\r\nHost: allowed.test\r\n\r\n").await;
        let mut upstream = accept(&server).await;
        head(&mut upstream).await;
        refusal(&rest_text(&mut client).await, 504, reason.as_str());
        assert_eq!(rest(&mut upstream).await, b"", "nobody waits for it any more");
        let [request, connection] = &lab.records_that(|_| true, 2).await[..] else { panic!() };
        assert_eq!((request.decision, request.reason, request.status), (Decision::Allow, reason, Some(504)));
        assert_eq!((connection.decision, connection.reason), (Decision::Allow, reason));
    }
}

/// A server that answers a byte at a time, or reads nothing of an upload: neither keeps a connection alive.
#[tokio::test]
async fn a_server_that_never_gets_there_is_given_up() {
    let (server, port) = listener().await;
    let limits = Limits { idle: Duration::from_millis(500), ..Limits::default() };
    let lab = Lab::with(port, &["http://allowed.test:$P"], &[], limits).await;
    let mut client = lab.transparent(port).await;
    send(&mut client, "GET / HTTP/1.1\r\nHost: allowed.test\r\n\r\n").await;
    let mut upstream = accept(&server).await;
    let dribbling = async {
        let mut beat = tokio::time::interval(Duration::from_millis(20));
        send(&mut upstream, "HTTP/1.1 200 OK\r\nX: ").await;
        while upstream.write_all(b"x").await.is_ok() {
            beat.tick().await;
        }
    };
    let (text, ()) = tokio::join!(rest_text(&mut client), async {
        timeout(PATIENCE, dribbling).await.expect("an end in time");
    });
    refusal(&text, 504, "idle_timeout");

    let mut client = lab.transparent(port).await;
    send(&mut client, "POST / HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 100000000\r\n\r\n").await;
    let deaf = accept(&server).await;
    let (mut from, mut to) = client.split();
    let uploading = async {
        let block = vec![b'x'; 1 << 16];
        while to.write_all(&block).await.is_ok() {}
    };
    let mut text = String::new();
    let telling = async {
        // The rest of the upload is not read: after the answer comes a reset.
        let mut block = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut block).await {
            text.push_str(&String::from_utf8_lossy(&block[..read]));
        }
    };
    timeout(PATIENCE, async { tokio::join!(uploading, telling) }).await.expect("an end in time");
    refusal(&text, 504, "idle_timeout");
    drop(deaf);
}

/// The head of an answer is bounded like that of a request.
#[tokio::test]
async fn an_answer_without_an_end_to_its_head_is_a_502() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    for line in ["X: y\r\n".repeat(300), format!("X: {}", "y".repeat(1 << 16))] {
        let mut client = lab.transparent(port).await;
        send(&mut client, "GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n").await;
        let mut upstream = accept(&server).await;
        send(&mut upstream, "HTTP/1.1 200 OK\r\n").await;
        let mut sent = 0;
        let flooding = async {
            while upstream.write_all(line.as_bytes()).await.is_ok() {
                sent += line.len();
                assert!(sent < 64 << 20, "it takes any number of bytes");
            }
        };
        let (text, ()) = tokio::join!(rest_text(&mut client), async {
            timeout(PATIENCE, flooding).await.expect("an end in time");
        });
        refusal(&text, 502, "limit_exceeded");
    }
}

/// A million headers, and a head of a mebibyte: the first 64 KiB of either decide.
#[tokio::test]
async fn a_million_headers_are_refused_at_the_first_too_many() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    for flood in ["X: 1\r\n".repeat(1_000_000), format!("X: {}", "x".repeat(1 << 20))] {
        let mut client = lab.transparent(port).await;
        let (mut from, mut to) = client.split();
        let flooding = async {
            let head = format!("GET / HTTP/1.1\r\nHost: allowed.test\r\n{flood}\r\n\r\n");
            let _ = to.write_all(head.as_bytes()).await;
        };
        let mut text = Vec::new();
        let telling = async {
            let mut block = [0; 4096];
            while let Ok(read @ 1..) = from.read(&mut block).await {
                text.extend_from_slice(&block[..read]);
            }
        };
        timeout(PATIENCE, async { tokio::join!(flooding, telling) }).await.expect("an end in time");
        refusal(&String::from_utf8(text).unwrap(), 431, "limit_exceeded");
    }
    untouched(&server).await;
}

/// A client that asks and never reads: the server is held back, others are served, and it ends by its idle time.
#[tokio::test]
async fn a_client_that_never_reads_holds_up_nobody_else() {
    let (server, port) = listener().await;
    let limits = Limits { idle: Duration::from_secs(1), linger: SHORT, ..Limits::default() };
    let lab = Lab::with(port, &["http://allowed.test:$P"], &[], limits).await;
    let mut deaf = lab.transparent(port).await;
    send(&mut deaf, "GET /endless HTTP/1.1\r\nHost: allowed.test\r\n\r\n").await;
    let mut upstream = accept(&server).await;
    head(&mut upstream).await;
    send(&mut upstream, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
    let flooding = tokio::spawn(async move {
        let (block, mut sent) = (vec![0; 1 << 16], 0);
        while upstream.write_all(&block).await.is_ok() {
            sent += block.len();
        }
        sent
    });
    let mut client = lab.transparent(port).await;
    send(&mut client, "GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n").await;
    let mut other = accept(&server).await;
    head(&mut other).await;
    send(&mut other, "HTTP/1.1 204 No Content\r\n\r\n").await;
    assert!(rest_text(&mut client).await.starts_with("HTTP/1.1 204 "));
    let sent = timeout(PATIENCE, flooding).await.expect("an end in time").unwrap();
    assert!(sent < 64 << 20, "{sent} bytes were taken for who reads none");
    assert_eq!(lab.record_of(Reason::IdleTimeout).await.decision, Decision::Allow);
}

/// In the middle of a body nothing can be said any more; its end must not look like one.
#[tokio::test]
async fn a_body_that_stalls_is_cut_off_and_recorded() {
    let (server, port) = listener().await;
    for (limits, reason) in times() {
        let lab = Lab::with(port, &["http://allowed.test:$P"], &[], limits).await;
        let mut client = lab.transparent(port).await;
        send(&mut client, "GET /slow HTTP/1.1\r\nHost: allowed.test\r\n\r\n").await;
        let mut upstream = accept(&server).await;
        head(&mut upstream).await;
        send(&mut upstream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
        let text = rest_text(&mut client).await;
        assert!(text.ends_with("3\r\nabc\r\n"), "{text}");
        let [request, connection] = &lab.records_that(|_| true, 2).await[..] else { panic!() };
        assert_eq!((request.decision, request.reason, request.status), (Decision::Allow, reason, Some(200)));
        assert_eq!((connection.decision, connection.reason), (Decision::Allow, reason));
    }
}
