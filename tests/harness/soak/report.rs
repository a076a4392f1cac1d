//! What a soak came to, and whether that is good enough.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

use super::{Plan, sample::Sample};

/// Descriptors that may be there afterwards and not before: pipes and sockets kept for the next connection.
pub(super) const FDS_KEPT: usize = 48;
/// By how much the last third of the time may take more memory than the middle one: a leak of a few bytes a
/// connection is more in the long run.
const GROWTH: f64 = 1.05;
/// And beyond that, in KiB, when the whole takes a minute (half of it for two, and so on): what the allocator has
/// not yet got used to, at all and for each connection.
const SETTLING_KIB: f64 = 12.0 * 1024.0;
const SETTLING_KIB_EACH: f64 = 8.0;

/// Figures and failures.
#[derive(Clone, Debug)]
pub struct Report {
    plan: Plan,
    /// What the load says of itself, by kind of conversation.
    load: Value,
    before: Sample,
    held: Sample,
    after: Sample,
    samples: Vec<Sample>,
    leaks: Vec<String>,
    /// Of the audit.
    verdicts: BTreeMap<String, u64>,
}

impl Report {
    pub(super) fn new(
        plan: Plan,
        stdout: &str,
        [before, held, after]: [Sample; 3],
        samples: Vec<Sample>,
        leaks: Vec<String>,
        verdicts: BTreeMap<String, u64>,
    ) -> Self {
        let line = stdout.lines().find(|line| line.starts_with('{'));
        let load = line.and_then(|line| serde_json::from_str(line).ok());
        let load = load.unwrap_or_else(|| panic!("the load reports nothing: {stdout}"));
        Self { plan, load, before, held, after, samples, leaks, verdicts }
    }

    /// Everything that must not be. Empty: the soak passed.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for leak in self.leaks.iter().take(10) {
            wrong.push(format!("reached the origin: {leak}"));
        }
        for (kind, result) in self.load["kinds"].as_object().into_iter().flatten() {
            if result["failed"].as_u64() != Some(0) {
                wrong.push(format!("{kind}: {} failed, the first: {}", result["failed"], result["first"]));
            }
            if result["ok"].as_u64() == Some(0) {
                wrong.push(format!("{kind}: there was none"));
            }
        }
        if self.load["held"].as_u64() != Some(self.plan.connections as u64) {
            wrong.push(format!("{} connections were held, not {}", self.load["held"], self.plan.connections));
        }
        let (middle, last) = (self.third(1), self.third(2));
        let settling = SETTLING_KIB + SETTLING_KIB_EACH * self.plan.connections as f64;
        let settling = settling / (self.plan.time.as_secs_f64() / 60.0).max(1.0);
        if last > middle * GROWTH + settling {
            wrong.push(format!(
                "memory grows: {middle:.0} KiB in the middle third, {last:.0} KiB in the last"
            ));
        }
        if self.after.fds > self.before.fds + FDS_KEPT {
            wrong.push(format!("descriptors: {} before, {} afterwards", self.before.fds, self.after.fds));
        }
        wrong
    }

    /// Mean of memory in one third of the time, in KiB.
    fn third(&self, number: usize) -> f64 {
        let len = self.samples.len() / 3;
        let third = &self.samples[number * len..][..len];
        assert!(len > 0, "only {} samples", self.samples.len());
        third.iter().map(|sample| sample.pss_kib as f64).sum::<f64>() / len as f64
    }

    /// Memory that one connection at rest takes, in KiB of PSS.
    #[must_use]
    pub fn kib_per_idle(&self) -> f64 {
        self.held.pss_kib.saturating_sub(self.before.pss_kib) as f64 / self.plan.connections as f64
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>8} {:>10} {:>10} {:>7} {:>8} {:>8}",
            "s", "PSS KiB", "RSS KiB", "fds", "threads", "cpu s"
        )?;
        let mut row = |name: &str, sample: &Sample| {
            let Sample { at, pss_kib, rss_kib, fds, threads, cpu } = sample;
            let at = at.as_secs_f64();
            writeln!(f, "{at:8.1} {pss_kib:>10} {rss_kib:>10} {fds:>7} {threads:>8} {cpu:>8.1} {name}")
        };
        row("before", &self.before)?;
        row("all held, idle", &self.held)?;
        let step = self.samples.len().div_ceil(20).max(1);
        for sample in self.samples.iter().step_by(step) {
            row("", sample)?;
        }
        row("all closed", &self.after)?;
        writeln!(f, "\n{:24} {:>10} {:>8}", "conversations", "ok", "failed")?;
        for (kind, result) in self.load["kinds"].as_object().into_iter().flatten() {
            writeln!(f, "{kind:24} {:>10} {:>8}", result["ok"], result["failed"])?;
        }
        writeln!(f, "\n{:48} {:>10}", "on record", "count")?;
        for (verdict, count) in &self.verdicts {
            writeln!(f, "{verdict:48} {count:>10}")?;
        }
        let peak = self.samples.iter().map(|sample| sample.pss_kib).max().unwrap_or_default();
        let (connections, seconds) =
            (self.load["connections"].as_u64().unwrap_or(0), self.plan.time.as_secs_f64());
        writeln!(f, "\nconnections held          {}", self.load["held"])?;
        writeln!(f, "connections made          {connections}, {:.0} a second", connections as f64 / seconds)?;
        writeln!(
            f,
            "opened at first           {:.0} a second",
            self.load["opened_per_second"].as_f64().unwrap_or(0.0)
        )?;
        writeln!(f, "memory of a connection    {:.2} KiB (PSS)", self.kib_per_idle())?;
        writeln!(f, "memory, highest           {:.1} MiB (PSS)", peak as f64 / 1024.0)?;
        writeln!(
            f,
            "memory, middle and last third   {:.1} and {:.1} MiB",
            self.third(1) / 1024.0,
            self.third(2) / 1024.0
        )
    }
}
