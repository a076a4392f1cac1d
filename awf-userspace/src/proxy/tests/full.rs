//! When everything is taken: who comes next is refused with its reason, and nobody else feels it.

use std::sync::mpsc;

use super::{
    super::{
        activity::Activity,
        body::Passing,
        connection::Link,
        entry::{Entry, Peer},
        exchange::{self, Kept},
        flow::{Flow, SHORT_HEAD},
        seat::Seat,
        sni::build::hello,
    },
    life::{Lines, alone},
    *,
};
use crate::{audit::Decision, policy::Reason};

/// Sockets that the proxy may have.
const SOCKETS: usize = 60;

/// Waits until the proxy has so many sockets open.
async fn used(lab: &Lab, sockets: usize) {
    let context = lab.proxy.context();
    let reached = async {
        while context.sockets.used() != sockets {
            tokio::task::yield_now().await;
        }
    };
    let reached = timeout(PATIENCE, reached).await;
    assert!(reached.is_ok(), "{} sockets in use, not {sockets}", context.sockets.used());
}

fn descriptors() -> u64 {
    std::fs::read_dir("/proc/self/fd").unwrap().count() as u64
}

/// In a process of its own, which has not one descriptor more than it needs.
#[test]
fn when_all_sockets_are_taken_the_next_is_refused_and_the_others_go_on() {
    if alone("proxy::tests::full::when_all_sockets_are_taken_the_next_is_refused_and_the_others_go_on") {
        return;
    }
    let (lines, logged) = mpsc::channel();
    log::set_boxed_logger(Box::new(Lines(lines))).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(filled_and_emptied());
    assert_eq!(logged.try_iter().collect::<Vec<_>>(), Vec::<String>::new());
}

async fn filled_and_emptied() {
    let (server, port) = listener().await;
    let limits = Limits { sockets: SOCKETS, attempts: 2, ..Limits::default() };
    let lab = Lab::with(port, &["https://allowed.test:$P", "http://allowed.test:$P"], &[], limits).await;
    // Ours and the server's end of each, and some that come and go.
    let all = descriptors() + 2 * SOCKETS as u64 + 12;
    let limit = rustix::process::Rlimit { current: Some(all), maximum: Some(all) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();

    let greeting = hello(Some("allowed.test"));
    let mut tunnels = Vec::new();
    for _ in 0..SOCKETS / 2 - 1 {
        let mut client = lab.transparent(port).await;
        client.write_all(&greeting).await.unwrap();
        let mut upstream = accept(&server).await;
        expect(&mut upstream, &greeting).await;
        tunnels.push((client, upstream));
    }
    let (mut asking, mut waiting) = (lab.explicit().await, lab.transparent(port).await);
    used(&lab, SOCKETS).await;
    for _ in 0..200 {
        // The reset may come as early as the connection.
        if let Ok(mut late) = TcpStream::connect(lab.address).await {
            assert_reset(&mut late).await;
        }
    }
    let refused = lab.records(200).await;
    assert!(refused.iter().all(|r| (r.decision, r.reason) == (Decision::Deny, Reason::LimitExceeded)));

    // There, but nothing can be dialled for them: by HTTP, by CONNECT, by TLS.
    send(
        &mut asking,
        &format!("GET http://allowed.test:{port}/ HTTP/1.1\r\nHost: allowed.test:{port}\r\n\r\n"),
    )
    .await;
    assert!(head(&mut asking).await.starts_with("http/1.1 503 "));
    waiting.write_all(&greeting).await.unwrap();
    assert_eq!(rest(&mut waiting).await.len(), 7, "an alert");
    drop(asking);
    used(&lab, SOCKETS - 2).await;
    untouched(&server).await;
    let (mut connecting, filler) = (lab.explicit().await, lab.explicit().await);
    used(&lab, SOCKETS).await;
    send(
        &mut connecting,
        &format!("CONNECT allowed.test:{port} HTTP/1.1\r\nHost: allowed.test:{port}\r\n\r\n"),
    )
    .await;
    refusal(&rest_text(&mut connecting).await, 503, "limit_exceeded");

    for (client, upstream) in &mut tunnels {
        upstream.write_all(b"pong").await.unwrap();
        expect(client, b"pong").await;
        client.write_all(b"ping").await.unwrap();
        expect(upstream, b"ping").await;
    }
    drop((tunnels, connecting, filler));
    used(&lab, 0).await;
    let mut client = lab.transparent(port).await;
    client.write_all(&greeting).await.unwrap();
    expect(&mut accept(&server).await, &greeting).await;
}

/// Bytes that no kernel buffers hold.
const UNREAD: usize = 64 << 20;

/// A kept connection to a server that has answered and not read the body, and that server's side of it.
async fn answered_early(lab: &Lab, server: &TcpListener, port: u16) -> (Kept, TcpStream) {
    let context = lab.proxy.context();
    let host = crate::policy::Host::Name(DomainName::parse("allowed.test").unwrap());
    let route = context.rules(None).decide_any(&host, port).unwrap();
    let link = Link {
        context: Arc::clone(&context),
        peer: Peer { owner: None, dst: None },
        activity: Arc::new(Activity::new(PATIENCE, PATIENCE)),
        stop: watch::Sender::new(false).subscribe(),
        seat: Arc::new(Seat::new(context.sockets.clone())),
        flow: Arc::new(Flow::new(&context.shares)),
        secure: None,
    };
    let mut entry = Entry::new(&context, EventKind::Request, link.peer);
    let body = Passing::own(vec![b'x'; UNREAD].into());
    let request = ::http::Request::post("/").header("host", "allowed.test").body(body).unwrap();
    let mut kept = None;
    let (answer, upstream) =
        tokio::join!(exchange::send(&link, &mut kept, &route, request, &mut entry), async {
            let mut upstream = accept(server).await;
            head(&mut upstream).await;
            send(&mut upstream, "HTTP/1.1 204 No Content\r\n\r\n").await;
            upstream
        });
    assert_eq!(answer.unwrap().status(), 204);
    (kept.expect("it is kept"), upstream)
}

async fn rest_bytes(mut stream: TcpStream) -> usize {
    let mut got = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut got)).await.expect("an end in time");
    got.len()
}

/// The attack: a server that answers before it has read what it is sent, again and again. Each would keep a socket of
/// ours open, which nothing counts.
#[tokio::test]
async fn a_server_that_is_given_up_is_let_go_whatever_it_has_not_read() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    for way in 0..3 {
        let (kept, upstream) = answered_early(&lab, &server, port).await;
        match way {
            0 => drop(kept),
            1 => kept.close().await,
            _ => kept.end(Duration::ZERO).await,
        }
        assert!(rest_bytes(upstream).await < UNREAD, "all of it was still sent");
    }
}

#[tokio::test]
async fn a_server_that_answers_early_still_gets_the_rest_of_the_request() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["http://allowed.test:$P"]).await;
    let (kept, upstream) = answered_early(&lab, &server, port).await;
    let ((), got) = tokio::join!(kept.end(PATIENCE), rest_bytes(upstream));
    assert!(got >= UNREAD, "{got} of {UNREAD} bytes");
}

/// The attack: heads as long as they may be, as many as there are connections, and no answer to any.
#[tokio::test]
async fn long_heads_are_bounded_in_number() {
    let (server, port) = listener().await;
    let limits = Limits { long_heads: 2, ..Limits::default() };
    let lab = Lab::with(port, &["http://allowed.test:$P", "https://allowed.test:$P"], &[], limits).await;
    let long = format!(
        "GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\nX: {}\r\n\r\n",
        "x".repeat(2 * SHORT_HEAD)
    );
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = lab.transparent(port).await;
        send(&mut client, &long).await;
        let mut upstream = accept(&server).await;
        head(&mut upstream).await;
        held.push((client, upstream));
    }
    let mut third = lab.transparent(port).await;
    send(&mut third, &long).await;
    refusal(&rest_text(&mut third).await, 503, "limit_exceeded");
    // Half a hello that claims to be long.
    let mut tls = lab.transparent(port).await;
    let hello = [&[22, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb, 3, 3][..], &[0; 2 * SHORT_HEAD - 32]].concat();
    tls.write_all(&hello).await.unwrap();
    let mut end = Vec::new();
    let _ = timeout(PATIENCE, tls.read_to_end(&mut end)).await.expect("an end in time");
    assert_eq!(lab.connections(2).await[1].reason, Reason::LimitExceeded);

    // Others are served; but for the long head of an answer there is no room either.
    let short = "GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n";
    let answer =
        |size: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: {}\r\n\r\n", "y".repeat(size));
    for (size, status) in [(100, "200"), (2 * SHORT_HEAD, "503")] {
        let mut client = lab.transparent(port).await;
        send(&mut client, short).await;
        let mut upstream = accept(&server).await;
        head(&mut upstream).await;
        send(&mut upstream, &answer(size)).await;
        let text = rest_text(&mut client).await;
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
    }
    // One that ends makes room.
    let (mut client, mut upstream) = held.pop().unwrap();
    send(&mut upstream, &answer(2 * SHORT_HEAD)).await;
    assert!(rest_text(&mut client).await.starts_with("HTTP/1.1 200 "));
    lab.connections(5).await;
    let mut again = lab.transparent(port).await;
    send(&mut again, &long).await;
    head(&mut accept(&server).await).await;
}
