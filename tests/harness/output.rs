//! What a run left behind: exit status, streams, audit records; each check panics with all of it.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    fs::File,
    io::{BufRead as _, BufReader},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    time::Duration,
};

use serde_json::Value;

use crate::{patience::stretch, process::Ended};

/// A denial must come sooner than this; a guard against hangs, not a measurement.
pub const FAST: Duration = Duration::from_secs(5);

/// A finished run.
#[derive(Clone, Debug)]
pub struct Output {
    ended: Ended,
    audit: PathBuf,
    flags: Vec<OsString>,
}

impl Output {
    pub(crate) fn new(ended: Ended, audit: PathBuf, flags: &[OsString]) -> Self {
        Self { ended, audit, flags: flags.to_vec() }
    }

    /// The exit code, 128+N if it died of signal N.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        let signal = self.ended.status.signal().map(|signal| 128 + signal);
        self.ended.status.code().or(signal).unwrap_or(-1)
    }

    #[must_use]
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.ended.stdout).into_owned()
    }

    #[must_use]
    pub fn stdout_bytes(&self) -> &[u8] {
        &self.ended.stdout
    }

    #[must_use]
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.ended.stderr).into_owned()
    }

    /// From start to end of the process.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.ended.elapsed
    }

    #[track_caller]
    pub fn ok(&self) -> &Self {
        self.code(0)
    }

    #[track_caller]
    pub fn code(&self, wanted: i32) -> &Self {
        self.check(self.exit_code() == wanted, || format!("exit code {wanted}"))
    }

    #[track_caller]
    pub fn fails(&self) -> &Self {
        self.check(self.exit_code() != 0, || "a failure".into())
    }

    /// It ended sooner than [`FAST`].
    #[track_caller]
    pub fn fast(&self) -> &Self {
        let fast = stretch(FAST);
        self.check(self.elapsed() < fast, || format!("an end in less than {fast:?}"))
    }

    #[track_caller]
    pub fn stdout_is(&self, wanted: &str) -> &Self {
        self.check(self.stdout() == wanted, || format!("stdout {wanted:?}"))
    }

    #[track_caller]
    pub fn stdout_contains(&self, wanted: &str) -> &Self {
        self.check(self.stdout().contains(wanted), || format!("{wanted:?} on stdout"))
    }

    #[track_caller]
    pub fn stderr_contains(&self, wanted: &str) -> &Self {
        self.check(self.stderr().contains(wanted), || format!("{wanted:?} on stderr"))
    }

    #[track_caller]
    pub fn stderr_lacks(&self, unwanted: &str) -> &Self {
        self.check(!self.stderr().contains(unwanted), || format!("no {unwanted:?} on stderr"))
    }

    /// The audit records, in order.
    #[must_use]
    #[track_caller]
    pub fn audit(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}\n{self}"));
        self.audit_text().lines().map(parse).collect()
    }

    /// How many records there are of each decision and reason, without keeping them.
    #[must_use]
    #[track_caller]
    pub fn verdicts(&self) -> BTreeMap<String, u64> {
        let path = self.audit.join("audit.jsonl");
        let file = File::open(&path).unwrap_or_else(|e| panic!("{}: {e}\n{self}", path.display()));
        let mut counts = BTreeMap::new();
        for line in BufReader::new(file).lines() {
            let line = line.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let record: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"));
            let field = |name: &str| record[name].as_str().unwrap_or("-").to_owned();
            *counts
                .entry(format!("{} {} {}", field("event"), field("decision"), field("reason")))
                .or_default() += 1;
        }
        counts
    }

    /// The line of `record`, as it was written.
    #[must_use]
    #[track_caller]
    pub fn audit_line(&self, record: &Value) -> String {
        let at = self.audit().iter().position(|other| other == record);
        let line = at.and_then(|at| self.audit_text().lines().nth(at).map(str::to_owned));
        line.unwrap_or_else(|| panic!("not in the audit file: {record}\n{self}"))
    }

    #[track_caller]
    fn audit_text(&self) -> String {
        let path = self.audit.join("audit.jsonl");
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}\n{self}", path.display()))
    }

    /// The audit records whose named fields all have these values.
    #[must_use]
    #[track_caller]
    pub fn records(&self, fields: &[(&str, Value)]) -> Vec<Value> {
        let matches = |record: &Value| fields.iter().all(|(name, value)| record.get(name) == Some(value));
        self.audit().into_iter().filter(matches).collect()
    }

    /// Some record says that `host` was allowed.
    #[track_caller]
    pub fn allowed(&self, host: &str) -> &Self {
        let found = self.records(&[("host", host.into()), ("decision", "allow".into())]);
        self.check(!found.is_empty(), || format!("an audit record that allows {host}"))
    }

    /// Some record refuses `host` with this reason, and none allows it.
    #[track_caller]
    pub fn denied(&self, host: &str, reason: &str) -> &Self {
        let denials = [("host", host.into()), ("decision", "deny".into()), ("reason", reason.into())];
        let found = self.records(&denials);
        self.check(!found.is_empty(), || format!("an audit record that denies {host}: {reason}"));
        let passed = self.records(&[("host", host.into()), ("decision", "allow".into())]);
        self.check(passed.is_empty(), || format!("no audit record that allows {host}"))
    }

    /// Some record of any host has this reason.
    #[track_caller]
    pub fn reason(&self, reason: &str) -> &Self {
        let found = self.records(&[("decision", "deny".into()), ("reason", reason.into())]);
        self.check(!found.is_empty(), || format!("an audit record with the reason {reason}"))
    }

    /// Panics with everything known of the run unless `holds`.
    #[track_caller]
    pub fn check(&self, holds: bool, wanted: impl FnOnce() -> String) -> &Self {
        assert!(holds, "wanted: {}\n{self}", wanted());
        self
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let audit = std::fs::read_to_string(self.audit.join("audit.jsonl"));
        let audit = audit.unwrap_or_else(|e| format!("({e})"));
        writeln!(f, "flags: {:?}", self.flags)?;
        writeln!(f, "{} after {:?}", self.ended.status, self.ended.elapsed)?;
        writeln!(f, "--- stdout\n{}", shorten(&self.stdout()))?;
        writeln!(f, "--- stderr\n{}", shorten(&self.stderr()))?;
        write!(f, "--- audit\n{}", shorten(&audit))
    }
}

/// At most 8000 characters: a failed test should show its cause, not ten megabytes.
fn shorten(text: &str) -> String {
    let mut shown: String = text.chars().take(8000).collect();
    if shown.len() < text.len() {
        shown.push_str("\n[cut]");
    }
    shown
}
