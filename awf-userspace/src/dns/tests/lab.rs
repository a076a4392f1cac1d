//! A name server that remembers what it was asked, a stub in front of it, and a client.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::BorrowedFd,
    sync::{Arc, Mutex},
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, Query, ResponseCode},
    rr::{
        Name, RData, Record as DnsRecord, RecordType,
        rdata::{
            A, AAAA, CNAME, HTTPS, MX, SOA, SRV, SVCB, TXT,
            svcb::{Alpn, EchConfigList, IpHint, SvcParamKey, SvcParamValue},
        },
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{oneshot, watch},
    time::timeout,
};

use super::super::*;
use crate::{
    audit::{EventId, ProcessInfo, Record, Recorder},
    policy::{Chosen, DomainName, List, Place, Policy, RecordRule, Rule},
    resolve::{NameServer, ResolveError},
};

/// Every wait in these tests; reached only by a failing test.
const PATIENCE: Duration = Duration::from_secs(20);

/// The name server of the test: what it was asked, in order.
pub(super) struct Server {
    pub(super) addr: SocketAddr,
    asked: watch::Receiver<Vec<String>>,
}

impl Server {
    pub(super) async fn start() -> Self {
        let (udp, tcp, addr) = loop {
            // The same port for both: another test may have taken the one of them.
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = tcp.local_addr().unwrap();
            if let Ok(udp) = UdpSocket::bind(addr).await {
                break (udp, tcp, addr);
            }
        };
        let (note, asked) = watch::channel(Vec::new());
        let note = Arc::new(note);
        tokio::spawn(serve_udp(udp, Arc::clone(&note)));
        tokio::spawn(serve_tcp(tcp, note));
        Self { addr, asked }
    }

    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }

    /// Waits until `question` has arrived.
    pub(super) async fn hears(&self, question: &str) {
        let mut asked = self.asked.clone();
        let heard = asked.wait_for(|all| all.iter().any(|one| one == question));
        timeout(PATIENCE, heard).await.unwrap().unwrap();
    }
}

async fn serve_udp(socket: UdpSocket, note: Arc<watch::Sender<Vec<String>>>) {
    let mut buffer = vec![0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let Some(answer) = zone(&buffer[..length], &note) else { continue };
        let bytes = answer.to_vec().unwrap();
        let cut = if bytes.len() > 1232 { answer.truncate().to_vec().unwrap() } else { bytes };
        let _ = socket.send_to(&cut, from).await;
    }
}

async fn serve_tcp(listener: TcpListener, note: Arc<watch::Sender<Vec<String>>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let note = Arc::clone(&note);
        tokio::spawn(async move {
            while let Ok(length) = stream.read_u16().await {
                let mut query = vec![0; length.into()];
                stream.read_exact(&mut query).await.unwrap();
                let Some(answer) = zone(&query, &note) else { continue };
                let bytes = answer.to_vec().unwrap();
                stream.write_u16(u16::try_from(bytes.len()).unwrap()).await.unwrap();
                stream.write_all(&bytes).await.unwrap();
            }
        });
    }
}

/// What the servers of a test note questions in.
pub(super) type Note = Arc<watch::Sender<Vec<String>>>;

/// The answers of the test's world; `None` is silence.
pub(super) fn zone(query: &[u8], note: &watch::Sender<Vec<String>>) -> Option<Message> {
    let query = Message::from_vec(query).unwrap();
    let question = query.queries[0].clone();
    let (name, kind) = (question.name().to_ascii().to_ascii_lowercase(), question.query_type());
    note.send_modify(|all| all.push(format!("{name} {kind}")));
    let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
    answer.metadata.recursion_available = true;
    answer.add_query(question.clone());
    let owner = question.name().clone();
    let a = |last: u8| DnsRecord::from_rdata(owner.clone(), 3600, RData::A(A::new(198, 51, 100, last)));
    let inner = |last: u8| DnsRecord::from_rdata(owner.clone(), 60, RData::A(A::new(10, 0, 0, last)));
    let six = |last: u16| {
        DnsRecord::from_rdata(owner.clone(), 60, RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)))
    };
    let records = match (name.as_str(), kind) {
        ("ok.up.test.", RecordType::A) => vec![a(1), a(2)],
        ("ok.up.test.", RecordType::AAAA) => vec![six(1), six(2), six(3)],
        ("ok.up.test.", RecordType::TXT) => vec![text(&owner, "v=spf1 -all"), a(9), cname(&owner, "x.test.")],
        ("ok.up.test.", RecordType::MX) => vec![mail(&owner)],
        ("_imap._tcp.up.test.", RecordType::SRV) => vec![service(&owner)],
        ("big.up.test.", RecordType::TXT) => (0..100).map(|_| text(&owner, &"x".repeat(250))).collect(),
        ("ok.up.test.", RecordType::HTTPS) => https(&owner),
        ("h3.up.test.", RecordType::HTTPS) => https(&owner).split_off(1),
        ("four.up.test.", RecordType::A) | ("deaf6.up.test.", RecordType::A) => vec![a(4)],
        ("four.up.test." | "none.up.test.", _) => vec![],
        ("alias.up.test.", kind) => {
            let target = Name::from_ascii("edge.cdn.test.").unwrap();
            let end = DnsRecord::from_rdata(target, 60, RData::A(A::new(198, 51, 100, 5)));
            let alias = cname(&owner, "edge.cdn.test.");
            if kind == RecordType::A { vec![alias, end] } else { vec![alias] }
        }
        // A server that leaves the rest to its asker.
        ("lazy.up.test.", _) => vec![cname(&owner, "edge.cdn.test.")],
        ("edge.cdn.test.", RecordType::A) => vec![a(5)],
        ("edge.cdn.test.", _) => vec![],
        ("big.up.test.", RecordType::A) => (0..100).map(a).collect(),
        ("inner.up.test.", RecordType::A) => vec![inner(1)],
        ("mixed.up.test.", RecordType::A) => vec![inner(2), a(6)],
        ("loop.up.test.", RecordType::A) => {
            vec![DnsRecord::from_rdata(owner.clone(), 60, RData::A(A::new(127, 0, 0, 1)))]
        }
        ("broken.up.test.", _) | ("broken6.up.test.", RecordType::AAAA) => {
            answer.metadata.response_code = ResponseCode::ServFail;
            return Some(answer);
        }
        ("broken6.up.test.", RecordType::A) => vec![a(7)],
        ("silent.up.test." | "deaf6.up.test.", _) => return None,
        _ => {
            answer.metadata.response_code = ResponseCode::NXDomain;
            vec![]
        }
    };
    if records.is_empty() {
        let zone = Name::from_ascii("test.").unwrap();
        let soa = SOA::new(zone.clone(), zone.clone(), 1, 2, 3, 4, 86_400);
        answer.add_authority(DnsRecord::from_rdata(zone, 86_400, RData::SOA(soa)));
    }
    answer.add_answers(records);
    Some(answer)
}

fn text(owner: &Name, text: &str) -> DnsRecord {
    DnsRecord::from_rdata(owner.clone(), 60, RData::TXT(TXT::new(vec![text.to_owned()])))
}

fn mail(owner: &Name) -> DnsRecord {
    let exchange = Name::from_ascii("mail.elsewhere.test.").unwrap();
    DnsRecord::from_rdata(owner.clone(), 60, RData::MX(MX::new(10, exchange)))
}

fn service(owner: &Name) -> DnsRecord {
    let target = Name::from_ascii("imap.elsewhere.test.").unwrap();
    DnsRecord::from_rdata(owner.clone(), 60, RData::SRV(SRV::new(1, 1, 993, target)))
}

/// One record for HTTP/2 with all that must be taken out, one for HTTP/3 only, one for a stranger.
fn https(owner: &Name) -> Vec<DnsRecord> {
    let alpn = |names: &[&str]| {
        (SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(names.iter().map(ToString::to_string).collect())))
    };
    let hints = IpHint(vec![A::new(10, 0, 0, 1), A::new(198, 51, 100, 8)]);
    let hints = (SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(hints));
    let ech = (SvcParamKey::EchConfigList, SvcParamValue::EchConfigList(EchConfigList(vec![0, 2, 7, 7])));
    let only = (SvcParamKey::NoDefaultAlpn, SvcParamValue::NoDefaultAlpn);
    let stranger = Name::from_ascii("evil.test.").unwrap();
    [
        SVCB::new(1, Name::root(), vec![alpn(&["h3", "h2"]), hints, ech]),
        SVCB::new(2, Name::root(), vec![alpn(&["h3"]), only]),
        SVCB::new(3, stranger, vec![]),
    ]
    .map(|data| DnsRecord::from_rdata(owner.clone(), 60, RData::HTTPS(HTTPS(data))))
    .into()
}

fn cname(owner: &Name, target: &str) -> DnsRecord {
    DnsRecord::from_rdata(owner.clone(), 60, RData::CNAME(CNAME(Name::from_ascii(target).unwrap())))
}

/// Keeps records in memory; `keeping` is what it says of itself.
#[derive(Debug)]
pub(super) struct Notes {
    pub(super) all: Mutex<Vec<Record>>,
    pub(super) keeping: bool,
}

impl Recorder for Notes {
    fn next_id(&self) -> EventId {
        EventId::new("test", 1)
    }

    fn record(&self, _: EventId, record: Record) {
        self.all.lock().unwrap().push(record);
    }

    fn is_keeping(&self) -> bool {
        self.keeping
    }
}

/// Knows every query to be of one process, but no connection while it is told so.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) pid: u32,
    pub(super) knows_connections: bool,
}

impl Asker {
    fn process(&self, comm: &str) -> ProcessInfo {
        ProcessInfo { pid: self.pid, comm: comm.to_owned(), ..ProcessInfo::default() }
    }
}

impl QuerySource for Asker {
    fn of_datagram(&self, source: SocketAddr) -> Option<ProcessInfo> {
        Some(self.process(if source.is_ipv4() { "udp4" } else { "udp6" }))
    }

    fn of_connection(&self, _: BorrowedFd<'_>) -> Option<ProcessInfo> {
        self.knows_connections.then(|| self.process("tcp"))
    }

    fn started(&self, tgid: u32) -> Option<u64> {
        (tgid == self.pid).then_some(100)
    }
}

/// A stub that allows `up.test` and what is below it, serving on loopback, with the server it asks.
pub(super) struct Lab {
    pub(super) server: Server,
    pub(super) notes: Arc<Notes>,
    pub(super) stub: Arc<DnsStub<Notes>>,
    pub(super) udp: [SocketAddr; 2],
    pub(super) tcp: SocketAddr,
    pub(super) stop: oneshot::Sender<()>,
    pub(super) ended: tokio::task::JoinHandle<Result<(), DnsError>>,
}

pub(super) fn asking(servers: &[SocketAddr]) -> Upstream {
    let servers: Vec<_> = servers.iter().copied().map(NameServer::Plain).collect();
    Upstream::new(&servers, &[])
}

/// Resolves a name as one that a rule writes out.
pub(super) async fn resolve(upstream: &Upstream, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
    let name = DomainName::parse(name).unwrap();
    upstream.resolve(&name, Chosen { part: "", owner: name.as_str(), zone: None }).await
}

/// Rules for domains, and for records (`TXT:x.test`).
pub(super) fn policy_of(rules: &[&str]) -> Policy {
    let is_record = |text: &&&str| {
        text.split_once(':')
            .is_some_and(|(kind, _)| kind.bytes().all(|b| b.is_ascii_uppercase() || b == b'+'))
    };
    let rule = |text: &&str| Rule::parse(text, List::Allow, Place::Flag("--allow-domains")).unwrap();
    let record = |text: &&str| RecordRule::parse(text, Place::Flag("--allow-dns")).unwrap();
    let domains = rules.iter().filter(|text| !is_record(text)).map(rule);
    Policy::new(domains).with_records(rules.iter().filter(is_record).map(record))
}

impl Lab {
    pub(super) async fn start() -> Self {
        Self::with(&["up.test"], true, Limits::default()).await
    }

    pub(super) async fn with(allow: &[&str], keeping: bool, limits: Limits) -> Self {
        Self::asked_by(Asker { pid: 7, knows_connections: true }, allow, keeping, limits).await
    }

    pub(super) async fn asked_by(asker: Asker, allow: &[&str], keeping: bool, limits: Limits) -> Self {
        let server = Server::start().await;
        let upstream = asking(&[server.addr]);
        Self::before(server, upstream, asker, allow, keeping, limits)
    }

    /// A stub in front of `upstream`; `server` is there to be looked at.
    pub(super) fn before(
        server: Server,
        upstream: Upstream,
        asker: Asker,
        allow: &[&str],
        keeping: bool,
        limits: Limits,
    ) -> Self {
        let upstream = Arc::new(upstream);
        let notes = Arc::new(Notes { all: Mutex::new(Vec::new()), keeping });
        let asker = Arc::new(asker);
        let policy = Arc::new(policy_of(allow).into());
        let stub = DnsStub::with_limits(policy, upstream, Arc::clone(&notes), asker, limits);
        let stub = Arc::new(stub);
        let sockets = ["127.0.0.1:0", "[::1]:0"].map(|addr| std::net::UdpSocket::bind(addr).unwrap());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = [0, 1].map(|n: usize| sockets[n].local_addr().unwrap());
        let tcp = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let ended = tokio::spawn(Arc::clone(&stub).serve(sockets.into(), vec![listener], shutdown));
        Self { server, notes, stub, udp, tcp, stop, ended }
    }

    /// Asks over UDP and IPv4, with EDNS.
    pub(super) async fn ask(&self, name: &str, kind: RecordType) -> Message {
        Message::from_vec(&self.send(self.udp[0], &question(name, kind, Some(1232))).await).unwrap()
    }

    pub(super) async fn send(&self, to: SocketAddr, query: &[u8]) -> Vec<u8> {
        let socket = UdpSocket::bind(if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }).await.unwrap();
        socket.connect(to).await.unwrap();
        socket.send(query).await.unwrap();
        let mut buffer = vec![0; 65_536];
        let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.unwrap().unwrap();
        buffer.truncate(length);
        buffer
    }

    pub(super) async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.tcp).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// How many queries the records up to now stand for.
    pub(super) fn counted(&self) -> u64 {
        self.notes.all.lock().unwrap().iter().map(|record| record.count.unwrap_or(1)).sum()
    }

    /// The reasons recorded up to now.
    pub(super) fn reasons(&self) -> Vec<&'static str> {
        self.notes.all.lock().unwrap().iter().map(|record| record.reason.as_str()).collect()
    }
}

/// Sends `query` in two pieces, so that the length and the message are read across segments.
pub(super) async fn ask_tcp(stream: &mut TcpStream, query: &[u8]) -> Option<Vec<u8>> {
    let framed = [&u16::try_from(query.len()).unwrap().to_be_bytes(), query].concat();
    stream.write_all(&framed[..1]).await.ok()?;
    stream.flush().await.ok()?;
    stream.write_all(&framed[1..]).await.ok()?;
    let length = timeout(PATIENCE, stream.read_u16()).await.unwrap().ok()?;
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await.ok()?;
    Some(answer)
}

pub(super) fn question(name: &str, kind: RecordType, payload: Option<u16>) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(wire_name(name), kind));
    if let Some(payload) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        message.set_edns(edns);
    }
    message.to_vec().unwrap()
}

/// Any label at all; `|` stands for a dot within a label.
fn wire_name(text: &str) -> Name {
    let labels = text.split('.').filter(|label| !label.is_empty());
    let labels: Vec<_> = labels.map(|label| label.replace('|', ".")).collect();
    Name::from_labels(labels.iter().map(String::as_bytes)).unwrap()
}

/// The data of the answers, as text.
pub(super) fn data(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

pub(super) fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}
