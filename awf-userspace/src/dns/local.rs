//! The names that are answered here and never asked upstream, whatever the policy says (RFC 6761). Pure.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::{
    Name, RData, Record, RecordType,
    rdata::{A, AAAA, PTR},
};

use crate::policy::{DomainName, host_ports};

/// Seconds; they never change.
const TTL: u32 = 3600;

/// The reverse names of `::1` and of everything in 127.0.0.0/8 (suffix).
const LOOPBACK_V6: &str = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa";
const LOOPBACK_V4: &str = "127.in-addr.arpa";

/// Where a name stands outside of the policy.
pub(super) enum Place {
    /// `localhost`, or `host.docker.internal`, or its address: the records to answer with, none meaning that there are none of this
    /// type.
    Loopback(Vec<Record>),
    /// A name made of an address. Asked upstream it would tell which addresses the command deals with.
    Reverse,
    /// Any other: the policy decides.
    Elsewhere,
}

/// `question` is the name as it was asked, `name` the same in normal form. `host`: whether some port of the host's
/// loopback is open, which then has its names.
pub(super) fn place(question: &Name, name: &DomainName, kind: RecordType, host: bool) -> Place {
    let local = host && host_ports::is_local_name(name);
    let name = name.as_str();
    let data = if local || in_zone(name, "localhost") {
        match kind {
            RecordType::A => Some(RData::A(A(Ipv4Addr::LOCALHOST))),
            RecordType::AAAA => Some(RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))),
            _ => None,
        }
    } else if in_zone(name, LOOPBACK_V4) || name == LOOPBACK_V6 {
        let localhost = Name::from_labels(["localhost".as_bytes()]).ok().filter(|_| kind == RecordType::PTR);
        localhost.map(|name| RData::PTR(PTR(name)))
    } else if in_zone(name, "in-addr.arpa") || in_zone(name, "ip6.arpa") {
        return Place::Reverse;
    } else {
        return Place::Elsewhere;
    };
    Place::Loopback(data.map(|data| Record::from_rdata(question.clone(), TTL, data)).into_iter().collect())
}

/// Names that no server knows (RFC 6761, RFC 7686). No rule allows one; this is the second lock.
pub(super) fn is_never_asked(name: &DomainName) -> bool {
    ["localhost", "invalid", "onion"].iter().any(|zone| in_zone(name.as_str(), zone))
}

fn in_zone(name: &str, zone: &str) -> bool {
    name.strip_suffix(zone).is_some_and(|head| head.is_empty() || head.ends_with('.'))
}
