//! Answers kept for their time to live. Bounded; what is old goes first.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use hickory_proto::{
    rr::{RData, Record, RecordType},
    serialize::binary::BinEncodable as _,
};

use super::{super::answer, Found};
use crate::policy::DomainName;

/// Most weight kept: of small records (addresses, aliases) as many, an answer without records counting as one.
const WEIGHT_MAX: usize = 16_384;
/// Bytes of data from which a record weighs more than one: whoever runs an allowed domain chooses its size, up to the
/// 16 KiB of an answer.
const RECORD: usize = 64;
/// How long an answer may be given beyond its time, when asking again would cost too much (RFC 8767 has days).
const STALE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    all: HashMap<(DomainName, RecordType), Entry>,
    weight: usize,
}

#[derive(Debug)]
struct Entry {
    found: Found,
    /// See [`WEIGHT_MAX`].
    weight: usize,
    at: Instant,
    life: Duration,
}

/// What is known of a question.
#[derive(Debug)]
pub(super) enum Known {
    Fresh(Found),
    Stale(Found),
    Nothing,
}

impl Cache {
    pub(super) fn get(&self, name: &DomainName, kind: RecordType, now: Instant) -> Known {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = entries.all.get(&(name.clone(), kind)) else { return Known::Nothing };
        let age = now.saturating_duration_since(entry.at);
        if age < entry.life {
            return Known::Fresh(aged(&entry.found, age));
        }
        if age < entry.life + STALE { Known::Stale(aged(&entry.found, age)) } else { Known::Nothing }
    }

    pub(super) fn put(&self, name: &DomainName, kind: RecordType, found: &Found, now: Instant) {
        self.put_for(name, kind, found, now, life(found));
    }

    pub(super) fn put_for(
        &self,
        name: &DomainName,
        kind: RecordType,
        found: &Found,
        now: Instant,
        life: Duration,
    ) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = Entry { found: found.clone(), weight: weight_of(found), at: now, life };
        entries.weight += entry.weight;
        if let Some(old) = entries.all.insert((name.clone(), kind), entry) {
            entries.weight -= old.weight;
        }
        if entries.weight > WEIGHT_MAX {
            entries.make_room(now);
        }
    }
}

impl Entries {
    /// Forgets what is past its time and, where that is not enough, the older half: a full table is gone through
    /// once for thousands of answers, not for each.
    fn make_room(&mut self, now: Instant) {
        self.all.retain(|_, entry| now.saturating_duration_since(entry.at) < entry.life);
        let mut ages: Vec<_> = self.all.values().map(|entry| (entry.at, entry.weight)).collect();
        ages.sort_unstable_by_key(|(at, _)| std::cmp::Reverse(*at));
        let mut kept = 0;
        let within = |weight: &usize| {
            kept += weight;
            kept <= WEIGHT_MAX / 2
        };
        let many = ages.iter().map(|(_, weight)| *weight).take_while(within).count();
        let mut left = many;
        let oldest = many.checked_sub(1).and_then(|last| ages.get(last)).map(|(at, _)| *at);
        self.all.retain(|_, entry| {
            let keep = left > 0 && oldest.is_some_and(|oldest| entry.at >= oldest);
            left -= usize::from(keep);
            keep
        });
        self.weight = self.all.values().map(|entry| entry.weight).sum();
    }
}

fn weight_of(found: &Found) -> usize {
    match found {
        Found::Records(records) => records.iter().map(weight).sum::<usize>().max(1),
        Found::NoData { .. } | Found::NoSuchName { .. } => 1,
    }
}

fn weight(record: &Record) -> usize {
    match &record.data {
        RData::A(_) | RData::AAAA(_) | RData::CNAME(_) => 1,
        data => 1 + data.to_bytes().map_or(WEIGHT_MAX, |bytes| bytes.len() / RECORD),
    }
}

/// How long an answer is true: of a negative one what RFC 2308, 5 says; without SOA it should not be kept at all, and
/// is for the least time, so that a flood is not passed on.
fn life(found: &Found) -> Duration {
    let seconds = match found {
        Found::Records(records) => records.iter().map(|record| record.ttl).min(),
        Found::NoData { soa } | Found::NoSuchName { soa } => soa.as_ref().map(negative_ttl),
    };
    let seconds = seconds.unwrap_or(answer::TTL_MIN).clamp(answer::TTL_MIN, answer::TTL_MAX);
    Duration::from_secs(seconds.into())
}

fn negative_ttl(soa: &Record) -> u32 {
    let minimum = match &soa.data {
        RData::SOA(soa) => soa.minimum,
        _ => 0,
    };
    soa.ttl.min(minimum).min(answer::NEGATIVE_TTL_MAX)
}

/// The same answer after a while.
fn aged(found: &Found, age: Duration) -> Found {
    let passed = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
    let mut found = found.clone();
    let records = match &mut found {
        Found::Records(records) => records.as_mut_slice(),
        Found::NoData { soa } | Found::NoSuchName { soa } => soa.as_mut_slice(),
    };
    for record in records {
        record.ttl = record.ttl.saturating_sub(passed).max(1);
    }
    found
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::{
        Name,
        rdata::{A, TXT},
    };

    use super::*;

    fn name(number: usize) -> DomainName {
        DomainName::parse(&format!("n{number}.test")).unwrap()
    }

    fn addresses(ttl: u32, many: usize) -> Found {
        let owner = Name::from_ascii("n.test.").unwrap();
        let one = |_| Record::from_rdata(owner.clone(), ttl, RData::A(A::new(198, 51, 100, 1)));
        Found::Records((0..many).map(one).collect())
    }

    #[test]
    fn an_answer_ages_ends_and_is_stale_for_a_while() {
        let (cache, start) = (Cache::default(), Instant::now());
        cache.put(&name(1), RecordType::A, &addresses(30, 1), start);
        let after = |seconds| cache.get(&name(1), RecordType::A, start + Duration::from_secs(seconds));
        assert!(matches!(after(10), Known::Fresh(Found::Records(records)) if records[0].ttl == 20));
        assert!(matches!(after(30), Known::Stale(Found::Records(records)) if records[0].ttl == 1));
        assert!(matches!(after(90), Known::Nothing));
        assert!(matches!(cache.get(&name(1), RecordType::AAAA, start), Known::Nothing));
        cache.put(&name(2), RecordType::A, &Found::NoSuchName { soa: None }, start);
        assert!(matches!(cache.get(&name(2), RecordType::A, start), Known::Fresh(Found::NoSuchName { .. })));
    }

    #[test]
    fn memory_is_bounded_and_the_latest_stay() {
        for (many, step) in [(1, 0), (1, 1), (64, 1)] {
            let (cache, mut now) = (Cache::default(), Instant::now());
            for number in 0..40_000 {
                now += Duration::from_micros(step);
                cache.put(&name(number), RecordType::A, &addresses(300, many), now);
            }
            let entries = cache.0.lock().unwrap();
            let weight: usize = entries.all.values().map(|entry| entry.weight).sum();
            assert_eq!(weight, entries.weight);
            assert!((WEIGHT_MAX / 4..=WEIGHT_MAX).contains(&weight), "{weight}");
            assert!(step == 0 || entries.all.contains_key(&(name(39_999), RecordType::A)));
        }
    }

    /// The attack: an allowed domain whose records are as large as an answer may be.
    #[test]
    fn large_records_are_bounded_by_their_bytes() {
        let (cache, now) = (Cache::default(), Instant::now());
        let text = TXT::new(vec!["x".repeat(250); 60]);
        let record = Record::from_rdata(Name::from_ascii("n.test.").unwrap(), 300, RData::TXT(text));
        let found = Found::Records(vec![record]);
        for number in 0..1000 {
            cache.put(&name(number), RecordType::TXT, &found, now);
        }
        let kept = cache.0.lock().unwrap().all.len();
        assert!((1..=WEIGHT_MAX * RECORD / 15_000).contains(&kept), "{kept} records of 15 kB");
    }
}
