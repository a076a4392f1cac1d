//! A second ClientHello, after a HelloRetryRequest or unasked (RFC 8446 section 4.1.4), on every way that TLS takes.

use super::{
    super::sni::build::{RETRY, ech_hello, hello, records, server_hello},
    chain::{behind, connect},
    *,
};
use crate::{audit::Decision, policy::Reason};

const CCS: [u8; 6] = [20, 3, 3, 0, 1, 1];
/// A record of 0-RTT data, which a server that asks for another hello drops.
const EARLY_DATA: [u8; 8] = [23, 3, 3, 0, 3, 22, 3, 1];

/// What a server asks for another hello with.
fn retry() -> Vec<u8> {
    [&records(&server_hello(&RETRY), 9000)[..], &CCS].concat()
}

/// How TLS gets from the command to allowed.test.
struct Way {
    lab: Lab,
    /// Where the lab connects to: the server, or the upstream proxy.
    server: TcpListener,
    port: u16,
    explicit: bool,
    chained: bool,
}

impl Way {
    async fn all() -> Vec<Self> {
        let mut ways = Vec::new();
        for explicit in [false, true] {
            for rule in ["https://allowed.test:$P", "tcp://allowed.test:$P"] {
                let (server, port) = listener().await;
                let lab = Lab::new(port, &[rule]).await;
                lab.given(&["allowed.test"]);
                ways.push(Self { lab, server, port, explicit, chained: false });
            }
            let (server, lab) = behind(&["https://allowed.test"], Limits::default()).await;
            ways.push(Self { lab, server, port: 443, explicit, chained: true });
        }
        ways
    }

    /// Both ends of a tunnel to allowed.test, once the client has sent `first`.
    async fn tunnel(&self, first: &[u8]) -> (TcpStream, TcpStream) {
        let mut client = if self.explicit {
            connect(&self.lab, &format!("allowed.test:{}", self.port)).await
        } else {
            self.lab.transparent(self.port).await
        };
        client.write_all(first).await.unwrap();
        let mut upstream = accept(&self.server).await;
        if self.chained {
            head(&mut upstream).await;
            send(&mut upstream, "HTTP/1.1 200 Connection established\r\n\r\n").await;
        }
        if self.explicit {
            head(&mut client).await;
        }
        (client, upstream)
    }

    /// The one connection, refused: both ends are reset, and it is recorded.
    async fn refused(&self, mut client: TcpStream, mut upstream: TcpStream, reason: Reason) {
        assert_reset(&mut client).await;
        assert_reset(&mut upstream).await;
        let record = self.lab.record().await;
        assert_eq!((record.decision, record.reason), (Decision::Deny, reason));
        assert_eq!(record.host.as_deref(), Some("allowed.test"));
    }
}

#[tokio::test]
async fn a_retry_with_the_same_name_goes_on_byte_for_byte() {
    let first = hello(Some("allowed.test"));
    let again = [&CCS[..], &EARLY_DATA, &first].concat();
    let (retry, answer) = (retry(), records(&server_hello(&[7; 32]), 50));
    for way in Way::all().await {
        let (mut client, mut upstream) = way.tunnel(&first).await;
        expect(&mut upstream, &first).await;
        upstream.write_all(&retry).await.unwrap();
        expect(&mut client, &retry).await;
        for byte in &again {
            client.write_all(&[*byte]).await.unwrap();
        }
        expect(&mut upstream, &again).await;
        upstream.write_all(&answer).await.unwrap();
        expect(&mut client, &answer).await;
        // What comes now is encrypted, or would be: it is nobody's but the server's.
        client.write_all(b"anything").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(rest(&mut upstream).await, b"anything");
        drop(upstream);
        assert_eq!(rest(&mut client).await, b"");
        let record = way.lab.record().await;
        assert_eq!((record.decision, record.reason), (Decision::Allow, Reason::Allowed));
        assert_eq!(record.bytes_up, Some((first.len() + again.len() + 8) as u64));
        assert_eq!(record.bytes_down, Some((retry.len() + answer.len()) as u64));
    }
}

/// The attack: a server of many tenants asks for another hello, and goes by its name.
#[tokio::test]
async fn another_name_after_a_retry_is_refused() {
    for (second, reason) in [
        (hello(Some("denied.test")), Reason::NameMismatch),
        (hello(None), Reason::NameMismatch),
        (ech_hello(Some("allowed.test")), Reason::EchRefused),
    ] {
        for way in Way::all().await {
            let first = hello(Some("allowed.test"));
            let (mut client, mut upstream) = way.tunnel(&first).await;
            expect(&mut upstream, &first).await;
            upstream.write_all(&retry()).await.unwrap();
            expect(&mut client, &retry()).await;
            // All but its last byte is held back.
            let (most, last) = second.split_at(second.len() - 1);
            client.write_all(&[&CCS, most].concat()).await.unwrap();
            expect(&mut upstream, &CCS).await;
            client.write_all(last).await.unwrap();
            way.refused(client, upstream, reason).await;
        }
    }
}

/// The attack: both hellos at once, the second in the first one's record or behind 0-RTT data, long before the server
/// asks for it.
#[tokio::test]
async fn another_name_before_a_retry_is_refused() {
    let (first, denied) = (hello(Some("allowed.test")), hello(Some("denied.test")));
    let joined = records(&[&first[5..], &denied[5..]].concat(), 9000);
    for way in Way::all().await {
        let (client, upstream) = way.tunnel(&joined).await;
        way.refused(client, upstream, Reason::NameMismatch).await;
    }
    for way in Way::all().await {
        let (mut client, mut upstream) = way.tunnel(&first).await;
        expect(&mut upstream, &first).await;
        client.write_all(&[&EARLY_DATA, &denied[..9]].concat()).await.unwrap();
        expect(&mut upstream, &EARLY_DATA).await;
        // Its answer is on the way, and with it the end of all this, had the rest not begun already.
        upstream.write_all(&records(&server_hello(&[7; 32]), 50)).await.unwrap();
        expect(&mut client, &records(&server_hello(&[7; 32]), 50)).await;
        client.write_all(&denied[9..]).await.unwrap();
        way.refused(client, upstream, Reason::NameMismatch).await;
    }
}

/// A server may answer a hello in clear text, `400 Bad Request` for one.
#[tokio::test]
async fn a_server_without_tls_is_heard() {
    let first = hello(Some("allowed.test"));
    for way in Way::all().await {
        let (mut client, mut upstream) = way.tunnel(&first).await;
        expect(&mut upstream, &first).await;
        send(&mut upstream, "HTTP/1.1 400 Bad Request\r\n\r\n").await;
        assert!(head(&mut client).await.starts_with("http/1.1 400 "));
        send(&mut client, "thanks").await;
        expect(&mut upstream, b"thanks").await;
    }
}

/// Its beginning is looked at, the rest of it is spliced: many megabytes right behind the handshake.
#[tokio::test]
async fn bulk_data_follows_the_handshake() {
    let (first, answer) = (hello(Some("allowed.test")), records(&server_hello(&[7; 32]), 50));
    let (server, port) = listener().await;
    let lab = Lab::new(port, &["https://allowed.test:$P"]).await;
    let way = Way { lab, server, port, explicit: false, chained: false };
    let (mut client, mut upstream) = way.tunnel(&first).await;
    expect(&mut upstream, &first).await;
    let bulk: Vec<u8> = (0..8 << 20).map(|at: u32| (at / 251) as u8).collect();
    let sent = [answer, bulk].concat();
    let sending = tokio::spawn({
        let sent = sent.clone();
        async move { upstream.write_all(&sent).await.map(|()| drop(upstream)) }
    });
    assert!(rest(&mut client).await == sent);
    sending.await.unwrap().unwrap();
}
