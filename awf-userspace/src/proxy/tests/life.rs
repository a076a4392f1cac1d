//! Limits, shutdown, and connections that come to nothing.

use super::{super::sni::build::hello, *};
use crate::{audit::Decision, policy::Reason};

#[tokio::test]
async fn a_connection_that_is_not_the_commands_is_closed() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["https://allowed.test:$P"]).await;
    let mut stranger = TcpStream::connect(lab.address).await.unwrap();
    assert_reset(&mut stranger).await;
    let record = lab.record().await;
    assert_eq!((record.decision, record.reason), (Decision::Deny, Reason::NoOrigin));
    assert_eq!(record.process, None);
    untouched(&server).await;
}

/// Any user of a shared network can make them, and each record takes room on the disk.
#[tokio::test]
async fn a_flood_of_strangers_leaves_few_records() {
    let (_server, port) = listener().await;
    let lab = Lab::new(port, &[]).await;
    for _ in 0..9 {
        assert_reset(&mut TcpStream::connect(lab.address).await.unwrap()).await;
    }
    drop(lab.transparent(port).await);
    let reasons: Vec<_> = lab.records(5).await.iter().map(|record| record.reason).collect();
    assert_eq!(
        reasons,
        [Reason::NoOrigin, Reason::NoOrigin, Reason::NoOrigin, Reason::NoOrigin, Reason::NothingSent]
    );
}

#[tokio::test]
async fn nothing_sent_is_recorded_but_no_denial() {
    let (_server, port) = listener().await;
    let lab = Lab::new(port, &[]).await;
    drop(lab.transparent(port).await);
    let record = lab.record().await;
    assert_eq!((record.decision, record.reason), (Decision::Allow, Reason::NothingSent));
}

#[tokio::test]
async fn half_a_request_is_recorded() {
    let (_server, port) = listener().await;
    let lab = Lab::new(port, &[]).await;
    for half in ["GET / HT", "GET / HTTP/1.1\r\nHost: a"] {
        let mut client = lab.transparent(port).await;
        send(&mut client, half).await;
        client.shutdown().await.unwrap();
        let _ = timeout(PATIENCE, client.read(&mut [0; 8])).await.expect("an end in time");
    }
    let records = lab.records(2).await;
    assert!(
        records.iter().all(|r| (r.decision, r.reason) == (Decision::Deny, Reason::Malformed)),
        "{records:?}"
    );
}

#[tokio::test]
async fn who_says_nothing_is_refused_at_the_deadline() {
    let (server, port) = listener().await;
    let lab = Lab::with(port, &["https://allowed.test:$P"], &[], quick()).await;
    let mut silent = lab.transparent(port).await;
    let mut slow = lab.transparent(port).await;
    slow.write_all(&hello(Some("allowed.test"))[..20]).await.unwrap();
    assert_reset(&mut silent).await;
    assert_reset(&mut slow).await;
    assert!(lab.records(2).await.iter().all(|record| record.reason == Reason::FirstByteTimeout));
    untouched(&server).await;
}

/// Clients open connections in advance; where only they can speak first, that is no attempt at anything.
#[tokio::test]
async fn an_unused_connection_to_the_web_is_no_denial() {
    let (_server, port) = listener().await;
    let limits = Limits { keep_alive: Duration::from_millis(100), ..Limits::default() };
    let lab = Lab::with(port, &[], &[], limits).await;
    let (mut explicit, mut web) = (lab.explicit().await, lab.transparent(443).await);
    assert_reset(&mut explicit).await;
    assert_reset(&mut web).await;
    for record in lab.records(2).await {
        assert_eq!((record.decision, record.reason), (Decision::Allow, Reason::NothingSent));
    }
}

#[tokio::test]
async fn a_head_that_never_ends_is_a_408_and_one_too_long_a_431() {
    let (_server, port) = listener().await;
    let limits = Limits { head_time: Duration::from_millis(100), head: 4096, ..quick() };
    let lab = Lab::with(port, &[], &[], limits).await;
    let mut client = lab.transparent(port).await;
    send(&mut client, "GET / HTTP/1.1\r\nHost: a.test\r\n").await;
    refusal(&rest_text(&mut client).await, 408, "head_timeout");
    let mut client = lab.transparent(port).await;
    send(&mut client, &format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(5000))).await;
    refusal(&rest_text(&mut client).await, 431, "limit_exceeded");
}

#[tokio::test]
async fn connections_above_the_limit_are_reset() {
    let (server, port) = listener().await;
    let limits = Limits { connections: 1, ..Limits::default() };
    let lab = Lab::with(port, &["https://allowed.test:$P"], &[], limits).await;
    let mut first = lab.transparent(port).await;
    first.write_all(&hello(Some("allowed.test"))).await.unwrap();
    let upstream = accept(&server).await;
    assert_reset(&mut lab.transparent(port).await).await;
    assert_eq!(lab.record().await.reason, Reason::LimitExceeded);
    drop((first, upstream));
    lab.records(2).await;
}

#[tokio::test]
async fn nothing_is_allowed_that_cannot_be_recorded() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["https://allowed.test:$P", "http://allowed.test:$P"]).await;
    lab.log.keeping.store(false, Relaxed);
    let mut client = lab.transparent(port).await;
    client.write_all(&hello(Some("allowed.test"))).await.unwrap();
    assert_eq!(rest(&mut client).await.len(), 7);
    let mut client = lab.transparent(port).await;
    send(&mut client, "GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n").await;
    refusal(&rest_text(&mut client).await, 503, "audit_failed");
    untouched(&server).await;
}

#[tokio::test]
async fn stopping_closes_the_listener_and_records_every_connection() {
    let (server, port) = listener().await;
    let limits = Limits { drain: Duration::from_millis(100), ..Limits::default() };
    let lab = Lab::with(port, &["https://allowed.test:$P", "http://allowed.test:$P"], &[], limits).await;
    let mut tunnel = lab.transparent(port).await;
    tunnel.write_all(&hello(Some("allowed.test"))).await.unwrap();
    let mut upstream = accept(&server).await;
    expect(&mut upstream, &hello(Some("allowed.test"))).await;
    let mut undecided = lab.transparent(port).await;
    undecided.write_all(&[22]).await.unwrap();
    // Accepted in order: with this one answered, the others are being served.
    let mut kept = lab.transparent(port).await;
    send(&mut kept, "GET / HTTP/1.1\r\nHost: denied.test\r\n\r\n").await;
    head(&mut kept).await;
    let mut all = lab.log.records.subscribe();
    all.wait_for(|records| records.len() == 1).await.unwrap();

    lab.proxy.stop();
    timeout(PATIENCE, lab.serving).await.expect("an end in time").unwrap();
    assert_eq!(rest(&mut tunnel).await, b"");
    let refused = TcpStream::connect(lab.address).await;
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    let records: Vec<_> = all.borrow().iter().map(|(_, record)| (record.decision, record.reason)).collect();
    assert_eq!(records.len(), 4, "three connections and a request: {records:?}");
    assert!(records.contains(&(Decision::Allow, Reason::Allowed)), "{records:?}");
    assert!(records.contains(&(Decision::Deny, Reason::Shutdown)), "{records:?}");
}

/// The 40 ms that Nagle's algorithm and delayed acknowledgements cost together are 8 times this limit.
#[tokio::test]
async fn small_messages_are_never_held_back() {
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["https://allowed.test:$P"]).await;
    let mut client = lab.transparent(port).await;
    let hello = hello(Some("allowed.test"));
    client.write_all(&hello).await.unwrap();
    let mut upstream = accept(&server).await;
    expect(&mut upstream, &hello).await;
    // A client of TLS says nothing more before this.
    upstream.write_all(b"answer").await.unwrap();
    expect(&mut client, b"answer").await;
    let mut times = Vec::new();
    for _ in 0..50 {
        let start = std::time::Instant::now();
        // The second of each finds the first delivered, but not yet acknowledged.
        for part in [b"a", b"b"] {
            client.write_all(part).await.unwrap();
            expect(&mut upstream, part).await;
        }
        for part in [b"c", b"d"] {
            upstream.write_all(part).await.unwrap();
            expect(&mut client, part).await;
        }
        times.push(start.elapsed());
    }
    times.sort();
    assert!(times[25] < Duration::from_millis(5), "{times:?}");
}

/// Keeps the process's log lines; used only where a test has the process to itself.
pub(super) struct Lines(pub(super) std::sync::mpsc::Sender<String>);

impl log::Log for Lines {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let _ = self.0.send(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// Runs `test` again as a process of its own; false in that process.
pub(super) fn alone(test: &str) -> bool {
    const ALONE: &str = "AWF_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return false;
    }
    let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
    let ended = alone.args(["--exact", test]).env(ALONE, "1").output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
    true
}

/// In a process whose descriptors it may use up.
#[test]
fn running_out_of_descriptors_is_survived_without_spinning() {
    if alone("proxy::tests::life::running_out_of_descriptors_is_survived_without_spinning") {
        return;
    }
    let (lines, logged) = std::sync::mpsc::channel();
    log::set_boxed_logger(Box::new(Lines(lines))).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    // Two threads, since the test blocks one of them.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (server, port) = listener().await;
        let lab = Lab::new(port, &["https://allowed.test:$P"]).await;
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        lab.origins.0.lock().unwrap().insert(socket.local_addr().unwrap(), (ELSEWHERE, port).into());
        let limit = rustix::process::Rlimit { current: Some(256), maximum: Some(256) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        let mut used = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            used.push(file);
        }
        let start = std::time::Instant::now();
        let mut client = socket.connect(lab.address).await.unwrap();
        let told = (0..3).map(|_| logged.recv_timeout(PATIENCE).unwrap()).collect::<Vec<_>>();
        assert!(told.iter().all(|line| line.starts_with("accepting connections: ")), "{told:?}");
        assert!(start.elapsed() >= Duration::from_millis(100), "two pauses between three tries");
        drop(used);
        let hello = hello(Some("allowed.test"));
        client.write_all(&hello).await.unwrap();
        expect(&mut accept(&server).await, &hello).await;
    });
}
