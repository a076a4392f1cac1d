//! The whole proxy over real sockets. What the session joins it to (kernel, resolver, log) is joined to small
//! stand-ins at the seams; servers and clients are sockets that send and record bytes.

mod attacks;
mod chain;
mod chain_hostile;
mod checked;
mod connect;
mod deadlines;
mod early;
mod ech;
mod foresight;
mod full;
mod h2c;
mod host_ports;
mod http;
mod inside;
mod intercept;
mod life;
mod live;
mod measured;
mod odd;
mod other;
mod parting;
mod recorded;
mod records;
mod retry;
mod smuggling;
mod tls;
mod urls;
mod websocket;

use std::{
    collections::HashMap,
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::BorrowedFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

use super::*;
use crate::{
    audit::{EventId, EventKind, ProcessInfo, Record, Recorder},
    policy::{Builder, Chosen, DomainName, List, LivePolicy, Place, Policy, Rule, UrlRule},
    upstream_proxy::UpstreamProxies,
};

/// A test that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Never dialled: what the command thinks it speaks to.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

/// Origins by the client's own address.
#[derive(Default)]
struct Origins(Mutex<HashMap<SocketAddr, SocketAddr>>);

impl OriginalDst for Origins {
    fn origin(&self, conn: BorrowedFd<'_>) -> Option<Origin> {
        let peer = socket2::SockRef::from(&conn).peer_addr().ok()?.as_socket()?;
        let dst = *self.0.lock().unwrap().get(&peer)?;
        Some(Origin {
            dst,
            owner: Owner { cookie: 1, tgid: 4711, uid: 1000, comm: *b"curl\0\0\0\0\0\0\0\0\0\0\0\0" },
        })
    }

    fn process(&self, owner: &Owner) -> ProcessInfo {
        ProcessInfo { pid: owner.tgid, comm: "curl".into(), ..ProcessInfo::default() }
    }

    fn started(&self, tgid: u32) -> Option<u64> {
        (tgid == 4711).then_some(100)
    }
}

/// Every name leads to this machine, but for those whose first label says otherwise.
#[derive(Default)]
struct Names {
    asked: Mutex<Vec<String>>,
    given: Mutex<HashMap<IpAddr, Vec<DomainName>>>,
}

impl Resolve for Names {
    fn resolve(
        &self,
        name: &DomainName,
        _: Chosen<'_>,
    ) -> impl Future<Output = Result<Vec<IpAddr>, ResolveError>> + Send {
        let again = self.asked.lock().unwrap().contains(&name.to_string());
        self.asked.lock().unwrap().push(name.to_string());
        let name = name.clone();
        async move {
            match name.as_str().split('.').next() {
                Some("missing") => Err(ResolveError::NoSuchName(name)),
                Some("slow") => std::future::pending().await,
                Some("six") => Ok(vec![Ipv6Addr::LOCALHOST.into()]),
                // Public at first, so to say, and inside for whoever asks again.
                Some("turning") if again => Ok(vec![[10, 0, 0, 1].into()]),
                Some("mixed") => Ok(vec![[10, 0, 0, 1].into(), Ipv4Addr::LOCALHOST.into(), [0; 4].into()]),
                Some("inside") => Ok(vec![[10, 0, 0, 1].into(), [169, 254, 169, 254].into()]),
                _ => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
            }
        }
    }

    fn names_of(&self, ip: IpAddr) -> Vec<DomainName> {
        self.given.lock().unwrap().get(&ip).cloned().unwrap_or_default()
    }
}

struct Log {
    records: watch::Sender<Vec<(EventId, Record)>>,
    next: AtomicU64,
    keeping: AtomicBool,
}

impl Default for Log {
    fn default() -> Self {
        Self { records: watch::Sender::default(), next: AtomicU64::default(), keeping: true.into() }
    }
}

impl Recorder for Log {
    fn next_id(&self) -> EventId {
        EventId::new("run", self.next.fetch_add(1, Relaxed))
    }

    fn record(&self, id: EventId, record: Record) {
        self.records.send_modify(|records| records.push((id, record)));
    }

    fn is_keeping(&self) -> bool {
        self.keeping.load(Relaxed)
    }
}

/// A proxy and what it is joined to.
struct Lab {
    address: SocketAddr,
    origins: Arc<Origins>,
    names: Arc<Names>,
    log: Arc<Log>,
    proxy: Arc<Proxy>,
    serving: JoinHandle<()>,
}

fn quick() -> Limits {
    Limits { first_byte: Duration::from_millis(300), linger: Duration::from_millis(300), ..Limits::default() }
}

impl Lab {
    /// `$P` in a rule is `port`. Loopback on that port may be dialled.
    async fn new(port: u16, rules: &[&str]) -> Self {
        Self::with(port, rules, &[], Limits::default()).await
    }

    async fn with(port: u16, allow: &[&str], block: &[&str], limits: Limits) -> Self {
        Self::on(listener().await.0, port, allow, block, limits)
    }

    fn on(listener: TcpListener, port: u16, allow: &[&str], block: &[&str], limits: Limits) -> Self {
        Self::behind(listener, port, (allow, block), UpstreamProxies::default(), limits)
    }

    /// With upstream proxies.
    fn behind(
        listener: TcpListener,
        port: u16,
        (allow, block): (&[&str], &[&str]),
        upstream: UpstreamProxies,
        limits: Limits,
    ) -> Self {
        let loopback = ["127.0.0.1:$P", "[::1]:$P"];
        let rule = |text: &str, list| {
            Rule::parse(&text.replace("$P", &port.to_string()), list, Place::Flag("--allow-domains")).unwrap()
        };
        let allow = allow.iter().chain(&loopback).map(|text| rule(text, List::Allow));
        let block = block.iter().map(|text| rule(text, List::Block));
        Self::of(listener, Policy::new(allow.chain(block).collect::<Vec<_>>()), upstream, limits)
    }

    /// With URL rules beside rules for hosts.
    async fn of_urls(port: u16, domains: &[&str], urls: &[&str], limits: Limits) -> Self {
        let policy = url_policy(port, domains, urls);
        Self::of(listener().await.0, policy, UpstreamProxies::default(), limits)
    }

    fn of(listener: TcpListener, policy: Policy, upstream: UpstreamProxies, limits: Limits) -> Self {
        Self::intercepting(listener, policy, upstream, None, limits)
    }

    fn intercepting(
        listener: TcpListener,
        policy: Policy,
        upstream: UpstreamProxies,
        interception: Option<Interception>,
        limits: Limits,
    ) -> Self {
        let policy = Arc::new(LivePolicy::new(policy));
        let (origins, names, log) = (Arc::default(), Arc::default(), Arc::default());
        let proxy = Arc::new(Proxy::new(
            policy,
            Arc::clone(&origins),
            Arc::clone(&names),
            Arc::clone(&log),
            upstream,
            interception,
            limits,
        ));
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(Arc::clone(&proxy).serve(listener));
        Self { address, origins, names, log, proxy, serving }
    }

    /// A connection of the command that dialled `dst`.
    async fn dial(&self, dst: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        self.origins.0.lock().unwrap().insert(socket.local_addr().unwrap(), dst);
        let stream = socket.connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// A connection to some address on `port`.
    async fn transparent(&self, port: u16) -> TcpStream {
        self.dial((ELSEWHERE, port).into()).await
    }

    /// A connection to the proxy as such.
    async fn explicit(&self) -> TcpStream {
        self.dial(self.address).await
    }

    /// The records that count in the summary, once there are `count`; there must not be more.
    async fn records(&self, count: usize) -> Vec<Record> {
        self.records_that(|record| record.requests.is_none(), count).await
    }

    /// The records of connections, once there are `count`; there must not be more.
    async fn connections(&self, count: usize) -> Vec<Record> {
        self.records_that(|record| record.event == EventKind::Connection, count).await
    }

    async fn records_that(&self, fit: fn(&Record) -> bool, count: usize) -> Vec<Record> {
        let fitting = |all: &Vec<(EventId, Record)>| -> Vec<Record> {
            all.iter().filter(|(_, record)| fit(record)).map(|(_, record)| record.clone()).collect()
        };
        let mut records = self.log.records.subscribe();
        let enough = records.wait_for(|all| fitting(all).len() >= count);
        let found = fitting(&timeout(PATIENCE, enough).await.expect("records in time").unwrap());
        assert_eq!(found.len(), count, "{found:#?}");
        found
    }

    async fn record(&self) -> Record {
        self.records(1).await.remove(0)
    }

    /// The first record with this reason, whenever it comes.
    async fn record_of(&self, reason: crate::policy::Reason) -> Record {
        let find = |all: &Vec<(EventId, Record)>| {
            all.iter().find(|(_, record)| record.reason == reason).map(|(_, record)| record.clone())
        };
        let mut records = self.log.records.subscribe();
        let found = timeout(PATIENCE, records.wait_for(|all| find(all).is_some())).await;
        find(&found.unwrap_or_else(|_| panic!("no record with {reason}")).unwrap()).unwrap()
    }

    /// The command was given [`ELSEWHERE`] as the address of these names.
    fn given(&self, names: &[&str]) {
        let names = names.iter().map(|name| DomainName::parse(name).unwrap()).collect();
        self.names.given.lock().unwrap().insert(ELSEWHERE.into(), names);
    }

    /// What the resolver was asked.
    fn asked(&self) -> Vec<String> {
        self.names.asked.lock().unwrap().clone()
    }
}

/// `$P` in a rule is `port`. Loopback on that port may be dialled.
fn url_policy(port: u16, domains: &[&str], urls: &[&str]) -> Policy {
    let own = |text: &&str| text.replace("$P", &port.to_string());
    let mut builder = Builder::default();
    for text in domains.iter().chain(&["127.0.0.1:$P", "[::1]:$P"]).map(own) {
        builder.rule(Rule::parse(&text, List::Allow, Place::Flag("--allow-domains")).unwrap());
    }
    for text in urls.iter().map(own) {
        builder.url(UrlRule::parse(&text, Place::Flag("--allow-urls")).unwrap());
    }
    builder.build()
}

/// A listener on a free loopback port.
async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A server that no connection must reach.
async fn untouched(listener: &TcpListener) {
    let reached = tokio::select! {
        biased;
        accepted = listener.accept() => Some(accepted),
        () = std::future::ready(()) => None,
    };
    assert!(reached.is_none(), "a refused connection reached the server: {reached:?}");
}

async fn accept(listener: &TcpListener) -> TcpStream {
    let stream = timeout(PATIENCE, listener.accept()).await.expect("a connection in time").unwrap().0;
    stream.set_nodelay(true).unwrap();
    stream
}

/// Reads exactly these bytes.
async fn expect(stream: &mut TcpStream, bytes: &[u8]) {
    let mut read = vec![0; bytes.len()];
    timeout(PATIENCE, stream.read_exact(&mut read)).await.expect("bytes in time").unwrap();
    assert_eq!(String::from_utf8_lossy(&read), String::from_utf8_lossy(bytes));
}

/// Reads to the end, which must come in order and not by a reset.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut read)).await.expect("the end in time").unwrap();
    read
}

async fn rest_text(stream: &mut TcpStream) -> String {
    String::from_utf8(rest(stream).await).unwrap()
}

/// The connection is reset without a byte.
async fn assert_reset(stream: &mut TcpStream) {
    let end = timeout(PATIENCE, stream.read(&mut [0; 16])).await.expect("a reset in time");
    assert_eq!(end.expect_err("a reset").kind(), std::io::ErrorKind::ConnectionReset);
}

/// Reads one HTTP head.
async fn head(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        let byte = timeout(PATIENCE, stream.read_u8()).await.expect("a head in time");
        read.push(byte.unwrap_or_else(|error| panic!("{error} after {:?}", String::from_utf8_lossy(&read))));
    }
    String::from_utf8(read).unwrap().to_lowercase()
}

async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// The JSON body of a refusal that ends the stream, checked for what all of them have.
fn refusal(response: &str, status: u16, reason: &str) -> serde_json::Value {
    let (head, body) = response.split_once("\r\n\r\n").expect("a response");
    let head = head.to_lowercase();
    assert!(head.starts_with(&format!("http/1.1 {status} ")), "{response}");
    for line in
        ["content-type: application/json", "cache-control: no-store", &format!("x-awf-reason: {reason}")]
    {
        assert!(head.contains(line), "no {line:?} in {head}");
    }
    let body: serde_json::Value =
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    assert_eq!(body["reason"], reason);
    assert!(body["event"].as_str().is_some_and(|event| event.starts_with("run-")), "{body}");
    assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    body
}
