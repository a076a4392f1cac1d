//! Which records of an upstream answer the command gets. Pure.

use std::net::IpAddr;

use hickory_proto::{
    rr::{DNSClass, Name, RData, Record, RecordType},
    serialize::binary::BinEncodable as _,
};

/// A shorter time to live would have the command ask again for each connection, in seconds.
pub(super) const TTL_MIN: u32 = 5;
/// A longer one would outlive a change of the policy or of the name, in seconds.
pub(super) const TTL_MAX: u32 = 300;
/// The longest for "there is none", in seconds.
pub(super) const NEGATIVE_TTL_MAX: u32 = 60;

/// The longest CNAME chain followed, with the records at its end: 16 aliases, as many as resolvers follow (BIND 9).
const CHAIN_MAX: usize = 17;
/// Most records passed on.
const RECORDS_MAX: usize = 64;
/// Most bytes of their data; what is beyond is left out, record by record.
const BYTES_MAX: usize = 16 * 1024;

/// The CNAME chain from `name` to its records of type `kind`, in order, each with a bounded time to live.
/// Empty when the chain does not end in such records; what is not part of it (unasked-for records) is left
/// out.
///
/// The first owner is spelt as in `name`: clients that mix the case of their questions
/// (draft-vixie-dnsext-dns0x20) compare.
pub(super) fn chain(name: &Name, kind: RecordType, records: &[Record]) -> Vec<Record> {
    let mut kept = Vec::new();
    let mut owner = name;
    for _ in 0..CHAIN_MAX {
        let here = || records.iter().filter(|r| r.dns_class == DNSClass::IN && r.name == *owner);
        let found: Vec<_> = here()
            // Of a message that says it is an update (RFC 2136 section 2.4.1) there may be some without data.
            .filter(|r| r.record_type() == kind && !matches!(r.data, RData::Update0(_)))
            .take(RECORDS_MAX)
            .scan(BYTES_MAX, |left, r| Some(fits(r, left).then(|| bounded(r, owner))))
            .flatten()
            .collect();
        if !found.is_empty() {
            kept.extend(found);
            return kept;
        }
        let alias = here().find_map(|r| match &r.data {
            RData::CNAME(target) => Some((r, &target.0)),
            _ => None,
        });
        let Some((record, target)) = alias else { break };
        kept.push(bounded(record, owner));
        owner = target;
    }
    Vec::new()
}

/// The chain with its first owner spelt as in `asked`: clients that mix the case of their questions
/// (draft-vixie-dnsext-dns0x20) compare.
pub(super) fn spelt(mut chain: Vec<Record>, asked: &Name) -> Vec<Record> {
    for record in chain.iter_mut().filter(|record| record.name == *asked) {
        record.name = asked.clone();
    }
    chain
}

/// Takes out the addresses that must not be named; the number taken out.
pub(super) fn retain_addresses(records: &mut Vec<Record>, may: impl Fn(IpAddr) -> bool) -> usize {
    let before = records.len();
    records.retain(|record| record.data.ip_addr().is_none_or(&may));
    before - records.len()
}

/// The addresses among `records`.
pub(super) fn addresses(records: &[Record]) -> impl Iterator<Item = IpAddr> {
    records.iter().filter_map(|record| record.data.ip_addr())
}

/// The SOA of a negative answer, whose time to live and minimum are what a client may cache it for (RFC
/// 2308, 5).
pub(super) fn bounded_soa(mut soa: Record) -> Record {
    soa.ttl = soa.ttl.min(NEGATIVE_TTL_MAX);
    soa
}

fn fits(record: &Record, left: &mut usize) -> bool {
    let size = match &record.data {
        RData::A(_) | RData::AAAA(_) => 16,
        data => data.to_bytes().map_or(usize::MAX, |bytes| bytes.len()),
    };
    let fits = size <= *left;
    *left -= if fits { size } else { 0 };
    fits
}

fn bounded(record: &Record, owner: &Name) -> Record {
    let mut record = record.clone();
    record.name = owner.clone();
    record.ttl = record.ttl.clamp(TTL_MIN, TTL_MAX);
    record
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::rdata::{A, CNAME, TXT};

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn a(owner: &str, last: u8, ttl: u32) -> Record {
        Record::from_rdata(name(owner), ttl, RData::A(A::new(198, 51, 100, last)))
    }

    fn cname(owner: &str, target: &str) -> Record {
        Record::from_rdata(name(owner), 60, RData::CNAME(CNAME(name(target))))
    }

    fn kept(question: &str, records: &[Record]) -> Vec<String> {
        chain(&name(question), RecordType::A, records)
            .iter()
            .map(|r| format!("{} {}", r.name, r.data))
            .collect()
    }

    #[test]
    fn a_chain_is_kept_in_order_and_strangers_are_not() {
        let txt = Record::from_rdata(name("x.test."), 60, RData::TXT(TXT::new(vec!["secret".into()])));
        let records = [
            a("c.test.", 1, 60),
            a("stranger.test.", 9, 60),
            cname("b.test.", "c.test."),
            txt,
            cname("x.test.", "b.test."),
            a("c.test.", 2, 60),
        ];
        assert_eq!(
            kept("X.tEst.", &records),
            ["X.tEst. b.test.", "b.test. c.test.", "c.test. 198.51.100.1", "c.test. 198.51.100.2"]
        );
        assert!(kept("y.test.", &records).is_empty());
    }

    #[test]
    fn loops_and_long_chains_end() {
        let round = [cname("x.test.", "y.test."), cname("y.test.", "x.test.")];
        assert!(kept("x.test.", &round).is_empty());
        let mut long: Vec<_> =
            (0..20).map(|n| cname(&format!("n{n}.test."), &format!("n{}.test.", n + 1))).collect();
        long.push(a("n20.test.", 1, 60));
        assert!(kept("n0.test.", &long).is_empty());
        assert!(kept("n3.test.", &long).is_empty());
        assert_eq!(kept("n4.test.", &long).len(), 17);
    }

    #[test]
    fn times_to_live_are_bounded() {
        let records = [a("x.test.", 1, 0), a("x.test.", 2, 100), a("x.test.", 3, u32::MAX)];
        let ttls: Vec<_> = chain(&name("x.test."), RecordType::A, &records).iter().map(|r| r.ttl).collect();
        assert_eq!(ttls, [TTL_MIN, 100, TTL_MAX]);
    }

    #[test]
    fn many_addresses_are_cut() {
        let records: Vec<_> = (0..=255).map(|n| a("x.test.", n, 60)).collect();
        assert_eq!(kept("x.test.", &records).len(), RECORDS_MAX);
    }
}
