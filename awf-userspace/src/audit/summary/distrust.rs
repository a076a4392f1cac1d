//! Programs that do not take the run's CA: one line for each of them and cause, however many hosts it is about.

use std::collections::{BTreeMap, BTreeSet};

use super::{NAME_MAX, printable, program, target_name, times};
use crate::{audit::Record, policy::Reason};

/// Most lines kept, and hosts of each.
const LINES_MAX: usize = 100;
const HOSTS_MAX: usize = 8;
/// Most lines printed.
const SHOWN_MAX: usize = 10;
/// Longest text of one.
const DETAIL_MAX: usize = 512;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Line {
    program: String,
    reason: Reason,
    how: &'static str,
    detail: String,
}

#[derive(Clone, Debug, Default)]
struct Times {
    count: u64,
    hosts: BTreeSet<String>,
    more: bool,
}

/// See the module's head.
#[derive(Clone, Debug, Default)]
pub(super) struct Distrust {
    lines: BTreeMap<Line, Times>,
    flags: BTreeSet<String>,
    /// Beyond [`LINES_MAX`].
    beyond: u64,
}

impl Distrust {
    /// Whether `record` is for here.
    pub(super) fn takes(record: &Record) -> bool {
        matches!(record.reason, Reason::TlsUntrusted | Reason::TlsPinned)
    }

    pub(super) fn add(&mut self, record: &Record) {
        let detail = record.detail.as_deref().unwrap_or_default();
        let line = Line {
            program: program(record).unwrap_or_else(|| "a program".to_owned()),
            reason: record.reason,
            how: record.tls_alert.unwrap_or("closed"),
            detail: detail.chars().take(DETAIL_MAX).collect(),
        };
        if self.lines.len() >= LINES_MAX && !self.lines.contains_key(&line) {
            self.beyond += 1;
            return;
        }
        if let Some(flag) = record.allow_with.as_ref().filter(|flag| flag.len() <= NAME_MAX) {
            self.flags.insert(flag.clone());
        }
        let times = self.lines.entry(line).or_default();
        times.count += 1;
        let host = target_name(record);
        if times.hosts.len() < HOSTS_MAX || times.hosts.contains(&host) {
            times.hosts.insert(host);
        } else {
            times.more = true;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) fn flags(&self) -> impl Iterator<Item = &str> {
        self.flags.iter().map(String::as_str)
    }

    pub(super) fn text(&self) -> Vec<String> {
        let mut rows: Vec<_> = self.lines.iter().collect();
        rows.sort_by_key(|(_, times)| std::cmp::Reverse(times.count));
        let hidden = rows.len().saturating_sub(SHOWN_MAX) as u64 + self.beyond;
        let mut lines: Vec<_> = rows.iter().take(SHOWN_MAX).map(|(line, times)| text(line, times)).collect();
        if hidden > 0 {
            lines.push(format!("  - and {hidden} more that do not trust it, see the audit record"));
        }
        lines
    }
}

fn text(line: &Line, Times { count, hosts, more }: &Times) -> String {
    let what = match line.reason {
        Reason::TlsPinned => "does not take this CA's certificate",
        _ => "does not trust the CA of this run",
    };
    let hosts = hosts.iter().cloned().collect::<Vec<_>>().join(", ");
    let (more, program, how) = (if *more { " and others" } else { "" }, &line.program, line.how);
    let detail =
        if line.detail.is_empty() { String::new() } else { format!(": {}", printable_all(&line.detail)) };
    format!("  - {program} {what} ({how}), {} at {hosts}{more}{detail}", times(*count))
}

/// As [`printable`], at its whole length: paths are the user's, but on the user's own terminal.
fn printable_all(text: &str) -> String {
    text.split(' ').map(printable).collect::<Vec<_>>().join(" ")
}
