//! Hundreds of requests that two parsers could read in two ways, through the whole proxy to an origin that keeps
//! what it gets: each request there was judged by itself, and none is for a name that is not allowed.

mod corpus;

use std::sync::Arc;

use super::{
    fuzzing::reference::{self, Body},
    *,
};
use crate::{audit::Decision, policy::Reason};

/// An origin that answers every request it can read, keeps all bytes it got, and closes behind what it cannot
/// read.
pub(super) struct Origin {
    pub(super) port: u16,
    received: Received,
}

/// What came by each connection, and whether more may come.
type Received = Arc<watch::Sender<Vec<(Vec<u8>, bool)>>>;

const LAST: &[u8] = b"GET /last HTTP/1.1\r\nHost: last.test\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

impl Origin {
    pub(super) async fn new() -> Self {
        let (listener, port) = listener().await;
        let received = Received::default();
        let all = Arc::clone(&received);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let at = all.borrow().len();
                all.send_modify(|all| all.push((Vec::new(), true)));
                let all = Arc::clone(&all);
                tokio::spawn(async move {
                    answer(stream, &all, at).await;
                    all.send_modify(|all| all[at].1 = false);
                });
            }
        });
        Self { port, received }
    }

    /// What came by each connection since the last call, once all of them have ended.
    pub(super) async fn take(&self) -> Vec<Vec<u8>> {
        // Accepted after all that the proxy has made.
        let mut last = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.unwrap();
        last.write_all(LAST).await.unwrap();
        expect(&mut last, ANSWER).await;
        drop(last);
        let mut received = self.received.subscribe();
        let ended = received.wait_for(|all| all.iter().all(|(_, open)| !open));
        drop(timeout(PATIENCE, ended).await.expect("the end of every connection to the origin").unwrap());
        let all = self.received.send_replace(Vec::new()).into_iter().map(|(bytes, _)| bytes);
        all.filter(|bytes| bytes != LAST).collect()
    }
}

async fn answer(mut stream: TcpStream, all: &Received, at: usize) {
    let (mut pending, mut buf) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = stream.read(&mut buf).await {
        all.send_modify(|all| all[at].0.extend_from_slice(&buf[..read]));
        pending.extend_from_slice(&buf[..read]);
        while let Ok(message) = reference::message(&pending) {
            pending.drain(..message.len);
            // To an upgrade, too: no tunnel is opened here.
            if stream.write_all(ANSWER).await.is_err() {
                return;
            }
        }
    }
}

/// How the command comes to speak to the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Dialling,
    Proxy,
    Connect,
}

impl Lab {
    pub(super) async fn speak(&self, by: By, port: u16) -> TcpStream {
        match by {
            By::Dialling => self.transparent(port).await,
            By::Proxy => self.explicit().await,
            By::Connect => {
                let mut client = self.explicit().await;
                let target = format!("allowed.test:{port}");
                send(&mut client, &format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")).await;
                assert!(head(&mut client).await.starts_with("http/1.1 200 "));
                client
            }
        }
    }
}

/// Sends `bytes` and nothing more, and waits for the end, which must come without a limit running out.
pub(super) async fn converse(lab: &Lab, by: By, port: u16, bytes: &[u8]) -> String {
    let mut client = lab.speak(by, port).await;
    let (mut reading, mut writing) = client.split();
    let mut answer = Vec::new();
    let (written, read) = tokio::join!(
        async {
            writing.write_all(bytes).await?;
            writing.shutdown().await
        },
        timeout(PATIENCE, reading.read_to_end(&mut answer)),
    );
    // A refused connection may be reset at any moment; only silence is wrong.
    let _ = (written, read.unwrap_or_else(|_| panic!("{by:?}: no end of {}", show(bytes))));
    String::from_utf8_lossy(&answer).into_owned()
}

fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).escape_debug().to_string()
}

/// The requests in what one connection brought to the origin, all but perhaps the last whole, each in a form that
/// everybody reads alike.
fn requests(mut bytes: &[u8], case: &str) -> Vec<reference::RequestHead> {
    let mut heads = Vec::new();
    while !bytes.is_empty() {
        // Nothing of a head that was not whole may come here: the proxy writes heads at once.
        let head = reference::head(bytes).unwrap_or_else(|why| panic!("{case}: {why}: {}", show(bytes)));
        let tunnel = head.body == Body::Tunnel;
        assert!(!tunnel || bytes.len() == head.len, "{case}: the upgrade was refused, but more came");
        let whole = reference::message(bytes);
        bytes = whole.as_ref().map_or(&[][..], |message| &bytes[message.len..]);
        heads.push(head);
    }
    heads
}

/// The URL of a request whose head was allowed, and what came of it: its body may have been refused.
fn judged(record: &Record) -> Option<(String, Reason)> {
    let allowed = record.decision == Decision::Allow || record.reason == Reason::Malformed;
    // An upgrade to something that cannot be judged is refused although its URL is allowed, and a URL may be
    // refused itself: neither must arrive.
    let refused = [Reason::ProtocolNotAllowed, Reason::UrlNotAllowed].contains(&record.reason);
    assert!(allowed || record.url.is_none() || refused, "{record:#?}");
    let url = record.url.clone().filter(|_| allowed && record.event == EventKind::Request);
    url.map(|url| (url, record.reason))
}

/// `whose`: of what is to be smuggled, another host's or a URL of the same host that no URL rule has.
async fn check(by: By, whose: Whose) {
    let origin = Origin::new().await;
    let limits = Limits { linger: Duration::from_millis(100), ..Limits::default() };
    let urls = ["http://allowed.test:$P/1**", "http://allowed.test:$P/good", "http://allowed.test:$P/last"];
    let urls = if whose == Whose::SameHost { &urls[..] } else { &[] };
    let lab = Lab::of_urls(origin.port, &["http://allowed.test:$P"], urls, limits).await;
    let (mut passed, mut refused) = (0, 0);
    let mut corpus = corpus::all(origin.port, by == By::Proxy);
    if whose == Whose::SameHost {
        let same = |bytes: &Vec<u8>| corpus::replace(bytes, b"denied.test", b"allowed.test");
        corpus = corpus.iter().map(same).collect();
    }
    assert!(corpus.len() >= 200, "only {} cases", corpus.len());
    for bytes in &corpus {
        let case = format!("{by:?}: {}", show(bytes));
        let mut served_any = false;
        let answer = converse(&lab, by, origin.port, bytes).await;
        let connections = lab.log.connection_ends().await;
        assert_eq!(connections, 1, "{case}");
        let records = lab.log.take();
        let mut judged: Vec<_> = records.iter().filter_map(judged).collect();
        for bytes in origin.take().await {
            for head in requests(&bytes, &case) {
                let host = head.host.unwrap_or_default();
                assert_eq!(host, format!("allowed.test:{}", origin.port), "{case}");
                let target: Vec<u8> = head.target.chars().map(|c| c as u8).collect();
                let served = format!("http://{host}{}", String::from_utf8_lossy(&target));
                assert!(!served.contains("evil"), "{case}: {served}");
                let at = judged.iter().position(|(url, _)| *url == served);
                judged.remove(at.unwrap_or_else(|| panic!("{case}: {served} was not judged: {records:#?}")));
                served_any = true;
            }
        }
        // What was judged and did not arrive must be on record as a failure.
        assert!(judged.iter().all(|(_, reason)| *reason != Reason::Allowed), "{case}: {judged:?}");
        assert!(answer.matches("HTTP/1.1 ").count() <= records.len(), "{case}: {answer}");
        *if served_any { &mut passed } else { &mut refused } += 1;
    }
    // Neither would mean anything without the other.
    assert!(passed > 20 && refused > 100, "{by:?}: {passed} passed, {refused} were refused");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    OtherHosts,
    SameHost,
}

impl Log {
    /// Waits for the record of a connection's end; how many there are.
    async fn connection_ends(&self) -> usize {
        let count = |all: &Vec<(EventId, Record)>| {
            all.iter().filter(|(_, record)| record.event == EventKind::Connection).count()
        };
        let mut records = self.records.subscribe();
        let found = timeout(PATIENCE, records.wait_for(|all| count(all) > 0)).await;
        count(&found.expect("a record in time").unwrap())
    }

    pub(super) fn take(&self) -> Vec<Record> {
        self.records.send_replace(Vec::new()).into_iter().map(|(_, record)| record).collect()
    }
}

#[tokio::test]
async fn nothing_is_smuggled_by_dialling() {
    check(By::Dialling, Whose::OtherHosts).await;
}

#[tokio::test]
async fn nothing_is_smuggled_through_the_proxy() {
    check(By::Proxy, Whose::OtherHosts).await;
}

#[tokio::test]
async fn nothing_is_smuggled_through_a_connect() {
    check(By::Connect, Whose::OtherHosts).await;
}

/// The attack on URL rules: a URL that is not allowed, behind or within requests for one that is.
#[tokio::test]
async fn no_url_is_smuggled_beside_an_allowed_one() {
    check(By::Dialling, Whose::SameHost).await;
}

#[tokio::test]
async fn no_url_is_smuggled_through_the_proxy() {
    check(By::Proxy, Whose::SameHost).await;
}
