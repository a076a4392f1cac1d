//! Keeps a flood of equal queries from filling the audit file: the first of its kind is recorded at once, those that
//! follow are counted and recorded together. Nothing is lost but who asked the later ones and how.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    audit::{Decision, ProcessInfo, Record},
    policy::Reason,
};

/// How long equal queries are counted before their number is recorded, and how long one is remembered.
pub(super) const INTERVAL: Duration = Duration::from_secs(10);
/// Most kinds told apart.
const KINDS: usize = 4096;
/// Most records at once, and how many a second after that. What is above is counted by reason alone: 10 records a
/// second stay below the audit's limit of 1 GiB for a day.
const BURST: f64 = 2048.0;
const PER_SECOND: f64 = 10.0;

/// What makes queries equal. Of a query that is one too many, only the last two are told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    asked: Option<Asked>,
    decision: Decision,
    reason: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    host: Option<String>,
    method: Option<String>,
    family: Option<u8>,
    process: Option<(u32, String)>,
}

#[derive(Debug)]
struct Row {
    /// The latest, without what the first has told of its process.
    record: Record,
    waiting: u64,
    /// When a record of this kind was written last.
    written: Instant,
}

/// The queries that were recorded lately.
#[derive(Debug)]
pub(super) struct Repeats(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    rows: HashMap<Kind, Row>,
    left: f64,
    refilled: Instant,
}

impl Repeats {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(Inner { rows: HashMap::new(), left: BURST, refilled: now }))
    }

    /// `record`, if it is to be written now; else it is counted.
    pub(super) fn take(&self, record: Record, now: Instant) -> Option<Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(record, now)
    }

    /// What has waited long enough; all that waits at the `end`.
    pub(super) fn due(&self, now: Instant, end: bool) -> Vec<Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).due(now, end)
    }
}

impl Inner {
    fn take(&mut self, record: Record, now: Instant) -> Option<Record> {
        let asked = Asked {
            host: record.host.clone(),
            method: record.method.clone(),
            family: record.family,
            process: record.process.as_ref().map(|process| (process.pid, process.comm.clone())),
        };
        let kind = Kind { asked: Some(asked), decision: record.decision, reason: record.reason };
        if let Some(row) = self.rows.get_mut(&kind) {
            row.waiting += 1;
            row.record = brief(record);
            return None;
        }
        if self.rows.len() < KINDS && self.spend(now) {
            self.rows.insert(kind, Row { record: brief(record.clone()), waiting: 0, written: now });
            return Some(record);
        }
        let row = self.rows.entry(Kind { asked: None, ..kind }).or_insert_with(|| Row {
            record: Record {
                proto: record.proto,
                ..Record::new(record.event, record.decision, record.reason)
            },
            waiting: 0,
            written: now,
        });
        row.waiting += 1;
        None
    }

    fn due(&mut self, now: Instant, end: bool) -> Vec<Record> {
        let mut due = Vec::new();
        let mut kinds: Vec<_> =
            self.rows.iter().filter(|(_, row)| end || row.is_old(now)).map(|(k, _)| k.clone()).collect();
        // Those that stand for many kinds first: they are few, and must not wait for the others.
        kinds.sort_by_key(|kind| kind.asked.is_some());
        for kind in kinds {
            let waits = self.rows.get(&kind).is_some_and(|row| row.waiting > 0);
            if waits && !end && kind.asked.is_some() && !self.spend(now) {
                continue;
            }
            let Some(row) = self.rows.remove(&kind) else { continue };
            if waits {
                due.push(Record { count: (row.waiting > 1).then_some(row.waiting), ..row.record.clone() });
                // It may go on: then it waits again, and is not written at once.
                self.rows.insert(kind, Row { waiting: 0, written: now, ..row });
            }
        }
        due
    }

    fn spend(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.left = (self.left + passed * PER_SECOND).min(BURST);
        self.refilled = now;
        let enough = self.left >= 1.0;
        self.left -= if enough { 1.0 } else { 0.0 };
        enough
    }
}

impl Row {
    fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.written) >= INTERVAL
    }
}

fn brief(record: Record) -> Record {
    let process = record.process.map(|process| ProcessInfo { argv: None, ancestors: Vec::new(), ..process });
    Record { process, ms: None, ..record }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::EventKind;

    fn refusal(host: &str) -> Record {
        Record {
            host: Some(host.to_owned()),
            ..Record::new(EventKind::Dns, Decision::Deny, Reason::NotInAllowlist)
        }
    }

    fn counts(records: &[Record]) -> u64 {
        records.iter().map(|record| record.count.unwrap_or(1)).sum()
    }

    #[test]
    fn the_first_is_written_at_once_and_the_rest_together() {
        let start = Instant::now();
        let repeats = Repeats::new(start);
        assert!(repeats.take(refusal("a.test"), start).is_some());
        assert!(repeats.take(refusal("b.test"), start).is_some());
        for _ in 0..500 {
            assert!(repeats.take(refusal("a.test"), start).is_none());
        }
        assert!(repeats.due(start, false).is_empty());
        let due = repeats.due(start + INTERVAL, false);
        assert_eq!((due.len(), due[0].count, due[0].host.as_deref()), (1, Some(500), Some("a.test")));
        // One who goes on is told of at intervals, one who stopped begins anew.
        assert!(repeats.take(refusal("a.test"), start + INTERVAL).is_none());
        assert!(repeats.take(refusal("b.test"), start + INTERVAL).is_some());
        let due = repeats.due(start + 2 * INTERVAL, false);
        assert_eq!((due.len(), due[0].count), (1, None));
        assert!(repeats.due(start + 3 * INTERVAL, true).is_empty());
    }

    #[test]
    fn distinct_names_are_bounded_in_memory_and_in_records_and_all_are_counted() {
        let start = Instant::now();
        let repeats = Repeats::new(start);
        let (mut written, mut now) = (Vec::new(), start);
        for number in 0..100_000_u32 {
            now += Duration::from_micros(100);
            written.extend(repeats.take(refusal(&format!("n{number}.test")), now));
            if number % 1000 == 0 {
                written.extend(repeats.due(now, false));
            }
        }
        assert!(repeats.0.lock().unwrap().rows.len() <= KINDS + 16);
        assert!(written.len() <= 2300, "10 s of flood: {}", written.len());
        written.extend(repeats.due(now, true));
        assert_eq!(counts(&written), 100_000);
    }
}
