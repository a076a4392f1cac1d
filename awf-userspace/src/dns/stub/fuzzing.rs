//! What must hold of any query, and of any answer of a name server to it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::BorrowedFd,
    sync::{Arc, LazyLock},
};

use hickory_proto::{
    op::{Message, MessageType},
    rr::{
        Name, RData, Record as DnsRecord,
        rdata::{HTTPS, svcb::SvcParamValue},
    },
};

use super::{Ask, DnsStub, Peer, Step};
use crate::{
    audit::{EventId, ProcessInfo, Record, Recorder},
    dns::{
        QuerySource, Upstream,
        upstream::{AskError, read_answer},
        wire::Transport,
    },
    policy::{List, Place, Policy, RecordRule, Rule},
};

/// What stands before the query's bytes, as over TCP (RFC 1035, 4.2.2); behind them is the name server's answer.
const LENGTH: usize = 2;
/// What the policy is about: all below it is allowed, but for one name.
const ZONE: &str = "up.test";
const BLOCKED: &str = "blocked.up.test";

static POLICY: LazyLock<Arc<Policy>> = LazyLock::new(|| {
    let rule = |text, list| Rule::parse(text, list, Place::Flag("--allow-domains")).expect("a rule");
    let records = ["TXT+MX+SRV:up.test"].map(|text| RecordRule::parse(text, Place::Flag("--allow-dns")));
    let rules = [rule(ZONE, List::Allow), rule(BLOCKED, List::Block)];
    Arc::new(Policy::new(rules).with_records(records.map(|record| record.expect("a rule"))))
});

/// What is answered can be read, and repeats what was asked; a name that is not allowed has no answer and is asked
/// nowhere; an allowed one has no more than its own records, of the type asked for, without what a client must not
/// have. `bytes`: the length of the query in two bytes, the query, the answer that a name server would give.
pub fn message(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH>() else { return };
    let (query, answer) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
    for transport in [Transport::Udp, Transport::Tcp] {
        let asked = Message::from_vec(query).ok();
        match stub().judge(query, &Peer::new(transport, Ipv4Addr::LOCALHOST.into(), None)) {
            Step::Ignore => {}
            Step::Send(reply) => {
                let reply = check_reply(query, asked.as_ref(), transport, &reply);
                // Nobody was asked: what there is, is this machine's own.
                assert!(reply.answers.iter().all(is_local), "{reply:?}");
            }
            Step::Ask(ask) => {
                let name = ask.name.to_string();
                assert!(is_below(&name, ZONE) && !is_below(&name, BLOCKED), "{name} is asked for");
                let reply = check_reply(query, asked.as_ref(), transport, &answered(ask, answer));
                check_answers(&reply);
            }
        }
    }
}

fn answered(ask: Ask, answer: &[u8]) -> Vec<u8> {
    let query = ask.question.query.clone();
    let name = Name::from_labels(ask.name.labels().map(str::as_bytes)).expect("a name");
    let found = match Message::from_vec(answer) {
        Ok(message) => read_answer(&name, query.query_type(), &message).map_err(|code| code.to_string()),
        Err(error) => Err(error.to_string()),
    };
    stub().answer(ask, found.map_err(|why| AskError::Failed { why, silent: false }))
}

fn check_reply(query: &[u8], asked: Option<&Message>, transport: Transport, reply: &[u8]) -> Message {
    let read = Message::from_vec(reply).unwrap_or_else(|error| panic!("{error}: {reply:x?}"));
    assert_eq!(reply.get(..2), query.get(..2), "another transaction");
    assert_eq!(read.metadata.message_type, MessageType::Response);
    let most = match (transport, asked.and_then(|asked| asked.edns.as_ref())) {
        (Transport::Tcp, _) => usize::from(u16::MAX),
        (Transport::Udp, edns) => edns.map_or(512, |edns| usize::from(edns.max_payload()).clamp(512, 4096)),
    };
    assert!(reply.len() <= most, "{} bytes where {most} are taken", reply.len());
    // A query that is refused unread has no question in its answer.
    if let (Some(asked), [question]) = (asked, &read.queries[..]) {
        assert_eq!(asked.queries.len(), 1);
        // Upper and lower case too.
        assert!(
            asked.queries[0].name().iter().eq(question.name().iter()),
            "{question} is not what was asked"
        );
        assert_eq!(
            (asked.queries[0].query_type(), asked.queries[0].query_class()),
            (question.query_type(), question.query_class())
        );
    } else {
        assert!(read.queries.is_empty() && read.answers.is_empty(), "{read:?}");
    }
    read
}

/// The chain from the question to its records, each without what must not be there.
fn check_answers(reply: &Message) {
    let Some(question) = reply.queries.first() else { return };
    let mut owner = question.name().clone();
    for record in &reply.answers {
        assert_eq!(record.name, owner, "{reply:?}");
        assert!((5..=300).contains(&record.ttl), "{reply:?}");
        match &record.data {
            data if data.record_type() == question.query_type() => check_data(data),
            RData::CNAME(target) => owner = target.0.clone(),
            _ => panic!("{reply:?}"),
        }
    }
    assert!(reply.authorities.len() <= 1, "{reply:?}");
    assert!(reply.additionals.is_empty(), "{reply:?}");
    assert!(reply.authorities.iter().all(|soa| soa.ttl <= 60), "{reply:?}");
}

fn check_data(data: &RData) {
    assert!(data.ip_addr().is_none_or(is_global), "{data}");
    let (RData::SVCB(service) | RData::HTTPS(HTTPS(service))) = data else { return };
    for (_, value) in &service.svc_params {
        match value {
            SvcParamValue::EchConfigList(_) | SvcParamValue::Unknown(_) => panic!("{data}"),
            SvcParamValue::Alpn(names) => {
                assert!(!names.0.iter().any(|name| name.starts_with("h3")), "{data}")
            }
            SvcParamValue::Port(port) => assert!([80, 443].contains(port), "{data}"),
            SvcParamValue::Ipv4Hint(hints) => {
                assert!(hints.0.iter().all(|hint| is_global(hint.0.into())), "{data}");
            }
            SvcParamValue::Ipv6Hint(hints) => {
                assert!(hints.0.iter().all(|hint| is_global(hint.0.into())), "{data}");
            }
            _ => {}
        }
    }
}

/// As far as the standard library tells.
fn is_global(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let inside = ip.is_private() || ip.is_loopback() || ip.is_link_local();
            !(inside || ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast())
        }
        IpAddr::V6(ip) => {
            let inside = ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local();
            !(inside || ip.is_unspecified() || ip.is_multicast())
        }
    }
}

fn is_local(record: &DnsRecord) -> bool {
    let owner = record.name.to_ascii().to_ascii_lowercase();
    let owner = owner.trim_end_matches('.');
    match &record.data {
        RData::PTR(name) => name.0.to_ascii() == "localhost" || name.0.to_ascii() == "localhost.",
        data => is_below(owner, "localhost") && data.ip_addr().is_some_and(|ip| ip.is_loopback()),
    }
}

fn is_below(name: &str, zone: &str) -> bool {
    name == zone || name.ends_with(&format!(".{zone}"))
}

/// One that has answered nothing before.
fn stub() -> DnsStub<Nobody> {
    let upstream = Arc::new(Upstream::new(&[], &[]));
    DnsStub::new(Arc::new(Policy::clone(&POLICY).into()), upstream, Arc::new(Nobody), Arc::new(Nobody))
}

#[derive(Debug)]
struct Nobody;

impl Recorder for Nobody {
    fn next_id(&self) -> EventId {
        EventId::new("fuzz", 1)
    }

    fn record(&self, _: EventId, _: Record) {}
}

impl QuerySource for Nobody {
    fn of_datagram(&self, _: SocketAddr) -> Option<ProcessInfo> {
        None
    }

    fn of_connection(&self, _: BorrowedFd<'_>) -> Option<ProcessInfo> {
        None
    }
}
