//! Refusals in the words of the protocol that is refused, to who dialled and through CONNECT.

use super::{super::sni::build::hello, *};
use crate::{audit::Decision, policy::Reason};

const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const GSS_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";
const STARTUP: &[u8] = b"\0\0\0\x14\0\x03\0\0user\0me\0\0\0\0\0";

/// Connections on which nothing but TLS is allowed: dialled, and through a CONNECT.
async fn both(lab: &Lab, port: u16) -> [TcpStream; 2] {
    let dialled = lab.transparent(port).await;
    let mut explicit = lab.explicit().await;
    let target = format!("allowed.test:{port}");
    send(&mut explicit, &format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")).await;
    assert!(head(&mut explicit).await.starts_with("http/1.1 200"));
    [dialled, explicit]
}

#[tokio::test]
async fn who_speaks_first_is_answered_in_its_own_words() {
    let (_server, port) = listener().await;
    let lab = Lab::new(port, &["https://allowed.test:$P"]).await;
    for (says, starts) in [
        (&b"SSH-2.0-OpenSSH_9.6\r\n"[..], &b"SSH-2.0-awf-bpf\r\n\0\0"[..]),
        (b"*1\r\n$4\r\nPING\r\n", b"-ERR blocked by awf-bpf: "),
        (STARTUP, b"E\0\0"),
    ] {
        for mut client in both(&lab, port).await {
            client.write_all(says).await.unwrap();
            let told = rest(&mut client).await;
            assert!(told.starts_with(starts), "{}", String::from_utf8_lossy(&told));
            let text = String::from_utf8_lossy(&told).into_owned();
            assert!(text.contains("blocked by awf-bpf: ") && text.contains("--allow-"), "{text}");
        }
    }
    let records = lab.records(6).await;
    assert!(records.iter().all(|record| record.decision == Decision::Deny));
}

#[tokio::test]
async fn postgresql_is_declined_encryption_first() {
    let (_server, port) = listener().await;
    let lab = Lab::new(port, &["https://allowed.test:$P"]).await;
    for mut client in both(&lab, port).await {
        for request in [GSS_REQUEST, SSL_REQUEST] {
            // In two pieces: the rest of it is waited for.
            client.write_all(&request[..7]).await.unwrap();
            client.write_all(&request[7..]).await.unwrap();
            expect(&mut client, b"N").await;
        }
        client.write_all(STARTUP).await.unwrap();
        let told = rest(&mut client).await;
        assert!(told.starts_with(b"E\0\0") && told.windows(7).any(|w| w == b"C28000\0"), "{told:?}");
    }
    // Whoever asks on and on, or cancels, is cut off.
    let [mut asking, mut cancelling] = both(&lab, port).await;
    asking.write_all(&SSL_REQUEST.repeat(9)).await.unwrap();
    let mut told = Vec::new();
    let ended = timeout(PATIENCE, asking.read_to_end(&mut told)).await.expect("an end in time");
    assert!(ended.is_err() && told.len() <= 2, "{told:?}");
    cancelling.write_all(b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02").await.unwrap();
    assert_reset(&mut cancelling).await;
}

/// A rule about web names must not keep who waits for a greeting waiting.
#[tokio::test]
async fn who_waits_for_the_server_is_told_by_its_port() {
    let (_server, port) = listener().await;
    let lab = Lab::new(port, &["https://allowed.test:$P", "https://allowed.test:587"]).await;
    for (port, starts) in [
        (25, &b"554 blocked by awf-bpf: "[..]),
        (587, b"554 blocked by awf-bpf: "),
        (21, b"421 blocked by awf-bpf: "),
        (143, b"* BYE blocked by awf-bpf: "),
        (110, b"-ERR blocked by awf-bpf: "),
    ] {
        let mut client = lab.transparent(port).await;
        let told = rest_text(&mut client).await.into_bytes();
        assert!(told.starts_with(starts) && told.ends_with(b"\r\n"), "{told:?}");
        let record = lab.records_that(|_| true, 1).await.remove(0);
        assert_eq!((record.decision, record.port), (Decision::Deny, Some(port)));
        assert_ne!(record.reason, Reason::NothingSent);
        lab.log.records.send_modify(Vec::clear);
    }
    let mut client = lab.transparent(3306).await;
    let told = rest(&mut client).await;
    assert_eq!(
        (usize::from(told[0]) + 256 * usize::from(told[1]), &told[2..7]),
        (told.len() - 4, &b"\0\0\xff\x6a\x04"[..])
    );
}

/// On a port that no rule is about, TLS and HTTP are told as anywhere else, and silence is not waited for.
#[tokio::test]
async fn a_closed_port_is_told_in_the_words_of_the_client() {
    let (server, port) = listener().await;
    let day = Duration::from_secs(24 * 60 * 60);
    let limits = Limits { first_byte: day, keep_alive: day, ..Limits::default() };
    let lab = Lab::with(port, &["allowed.test"], &[], limits).await;
    lab.given(&["allowed.test"]);
    let mut tls = lab.transparent(8443).await;
    tls.write_all(&hello(Some("allowed.test"))).await.unwrap();
    assert_eq!(rest(&mut tls).await, [21, 3, 3, 0, 2, 2, 49]);
    let mut http = lab.transparent(8080).await;
    send(&mut http, "GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n").await;
    refusal(&rest_text(&mut http).await, 403, "port_not_allowed");
    for half in ["", "GET / HT", "\x16\x03"] {
        let mut client = lab.transparent(9999).await;
        send(&mut client, half).await;
        assert_reset(&mut client).await;
    }
    drop(lab.transparent(9999).await);
    for record in lab.records(6).await {
        assert_eq!((record.decision, record.reason), (Decision::Deny, Reason::PortNotAllowed));
        assert_eq!(record.host.as_deref(), Some("allowed.test"));
    }
    untouched(&server).await;
}

/// Allowed, but the server is down: said as well, and not as a denial.
#[tokio::test]
async fn an_unreachable_server_is_told_of() {
    let (server, port) = listener().await;
    drop(server);
    let lab = Lab::new(port, &["tcp://allowed.test:$P"]).await;
    lab.given(&["allowed.test"]);
    let mut ssh = lab.transparent(port).await;
    send(&mut ssh, "SSH-2.0-OpenSSH_9.6\r\n").await;
    let told = rest(&mut ssh).await;
    assert!(String::from_utf8_lossy(&told).contains("connect_failed"), "{told:?}");
    let mut tls = lab.transparent(port).await;
    tls.write_all(&hello(Some("allowed.test"))).await.unwrap();
    assert_eq!(rest(&mut tls).await, [21, 3, 3, 0, 2, 2, 80]);
    for record in lab.records(2).await {
        assert_eq!((record.decision, record.reason), (Decision::Allow, Reason::ConnectFailed));
    }
}

/// A client that never reads its refusal holds the connection no longer than `linger`.
#[tokio::test]
async fn who_does_not_listen_is_cut_off() {
    let (_server, port) = listener().await;
    let lab = Lab::with(port, &["https://allowed.test:$P"], &[], quick()).await;
    let [mut client, mut asking] = both(&lab, port).await;
    client.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await.unwrap();
    asking.write_all(SSL_REQUEST).await.unwrap();
    expect(&mut asking, b"N").await;
    assert_reset(&mut asking).await;
    lab.records(2).await;
}
