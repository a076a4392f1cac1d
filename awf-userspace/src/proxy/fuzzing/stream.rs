//! A client, everything of the proxy but its sockets, and a server that keeps what it hears, in memory.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::BorrowedFd,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    runtime::{Builder, Runtime},
    sync::watch,
    time::timeout,
};

use super::reference::{self, Body};
use crate::{
    audit::{EventId, EventKind, ProcessInfo, Record, Recorder},
    policy::{Chosen, DomainName, Host, List, LivePolicy, Place as Written, Policy, Rule},
    proxy::{
        Limits, Origin, OriginalDst, Owner, Resolve, ResolveError,
        activity::Activity,
        connection::{self, Link},
        context::Context,
        entry::{Entry, Peer},
        exchange::Kept,
        flow::Flow,
        intercept::Place,
        judge::Mode,
        seat::Seat,
        tunnel::Leg,
        wire::Wire,
    },
    upstream_proxy::UpstreamProxies,
};

/// The only host that is allowed.
pub(super) const HOST: &str = "api.allowed.test";
/// Whoever takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(5);
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const SWITCHED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

static POLICY: LazyLock<Arc<LivePolicy>> = LazyLock::new(|| {
    let rule = Rule::parse(&format!("={HOST}"), List::Allow, Written::Flag("--allow-domains"));
    Arc::new(Policy::new(rule).into())
});

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
}

/// How the command came to speak HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Proxy,
    Dialling,
    Connect,
    Tls,
}

impl Side {
    pub(super) const ALL: [Self; 4] = [Self::Proxy, Self::Dialling, Self::Connect, Self::Tls];

    pub(super) fn scheme(self) -> &'static str {
        if self == Self::Tls { "https" } else { "http" }
    }

    fn port(self) -> u16 {
        if self == Self::Tls { 443 } else { 80 }
    }

    fn mode(self) -> Mode {
        let (host, port) = (host(), self.port());
        match self {
            Self::Proxy => Mode::Explicit,
            Self::Dialling => Mode::Transparent(SocketAddr::from((Ipv4Addr::new(198, 51, 100, 7), port))),
            Self::Connect => Mode::Connected(host, port),
            Self::Tls => Mode::Secure { place: Place { host, port, at: None }, refusal: None },
        }
    }
}

fn host() -> Host {
    Host::parse(HOST).expect("a host")
}

/// What came of a conversation.
pub(super) struct Heard {
    /// All that the server was sent.
    pub(super) server: Vec<u8>,
    pub(super) records: Vec<Record>,
}

/// Says `bytes`, and nothing more, through the proxy.
pub(super) fn converse(bytes: &[u8], side: Side) -> Heard {
    let log = Arc::new(Log::default());
    let server = RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let talk = timeout(PATIENCE, talk(bytes, side, &log)).await;
            talk.unwrap_or_else(|_| panic!("{side:?}: no end of {}", bytes.escape_ascii()))
        })
    });
    let records = std::mem::take(&mut *log.0.lock().unwrap_or_else(PoisonError::into_inner));
    Heard { server, records }
}

async fn talk(bytes: &[u8], side: Side, log: &Arc<Log>) -> Vec<u8> {
    // TCP may cut anywhere.
    let room = [1 << 16, 61, 7][bytes.iter().map(|b| usize::from(*b)).sum::<usize>() % 3];
    let (client, ours) = duplex(room);
    let (theirs, server) = duplex(1 << 16);
    let (_stop, stop) = watch::channel(false);
    let link = link(log, stop);
    let serving = async {
        let kept = Kept::on(&link, Wire::Memory(theirs.into()), host(), side.port()).await;
        let entry = Entry::new(&link.context, EventKind::Connection, link.peer);
        let client = Leg::new(Wire::Memory(ours.into()));
        let left = connection::http(&link, client, side.mode(), entry, kept.ok()).await;
        assert!(left.is_none(), "a tunnel out of memory");
    };
    let ((), (), heard) = tokio::join!(serving, say(client, bytes), listen(server));
    heard
}

fn link(log: &Arc<Log>, stop: watch::Receiver<bool>) -> Link {
    let limits = Limits { linger: Duration::from_millis(1), ..Limits::default() };
    let parts = (Arc::clone(&POLICY), Arc::new(Nowhere), Arc::new(Nowhere), Arc::clone(log));
    let proxies = UpstreamProxies::default();
    let context = Arc::new(Context::new(parts.0, parts.1, parts.2, parts.3, proxies, limits));
    let activity = Arc::new(Activity::new(context.limits.idle, context.limits.lifetime));
    let seat = Arc::new(Seat::new(context.sockets.clone()));
    let flow = Arc::new(Flow::new(&context.shares));
    Link { context, peer: Peer { owner: None, dst: None }, activity, stop, seat, flow, secure: None }
}

/// The client: whatever it is answered.
async fn say(client: DuplexStream, bytes: &[u8]) {
    let (mut reading, mut writing) = tokio::io::split(client);
    let mut answers = Vec::new();
    // It may be refused, and its connection closed, at any moment.
    let _ = tokio::join!(
        async {
            writing.write_all(bytes).await?;
            writing.shutdown().await
        },
        reading.read_to_end(&mut answers),
    );
}

/// The server: answers what it can read.
async fn listen(mut server: DuplexStream) -> Vec<u8> {
    let (mut heard, mut at, mut tunnel) = (Vec::new(), 0, false);
    while let Ok(1..) = server.read_buf(&mut heard).await {
        while !tunnel && let Ok(message) = reference::message(&heard[at..]) {
            at += message.len;
            tunnel = message.head.body == Body::Tunnel;
            if server.write_all(if tunnel { SWITCHED } else { OK }).await.is_err() {
                break;
            }
        }
    }
    heard
}

/// Keeps records.
#[derive(Default)]
struct Log(Mutex<Vec<Record>>);

impl Recorder for Log {
    fn next_id(&self) -> EventId {
        EventId::new("fuzz", 1)
    }

    fn record(&self, _: EventId, record: Record) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }
}

/// Nothing is dialled: only the server that is there already is reached.
struct Nowhere;

impl OriginalDst for Nowhere {
    fn origin(&self, _: BorrowedFd<'_>) -> Option<Origin> {
        None
    }

    fn process(&self, _: &Owner) -> ProcessInfo {
        ProcessInfo::default()
    }
}

impl Resolve for Nowhere {
    fn resolve(
        &self,
        name: &DomainName,
        _: Chosen<'_>,
    ) -> impl Future<Output = Result<Vec<IpAddr>, ResolveError>> + Send {
        std::future::ready(Err(ResolveError::NoSuchName(name.clone())))
    }
}
