//! Whether awf-bpf works on this machine: one finding for each thing that it needs, and at last all of it together. Each
//! file looks, and then judges with a function that is pure.
//!
//! ```text
//! kernel    version, configuration, BTF, LSMs, lockdown, Landlock      process  capabilities
//! cgroups   v2, hybrid hosts, delegation                               network  resolver, IPv6
//! upkeep    clock, leftover runs, disk                                 programs loaded, attached, and tried
//! ```

mod cgroups;
mod kernel;
mod network;
mod process;
mod programs;
mod upkeep;

use serde::Serialize;

/// What a finding means for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Ok,
    /// It could not be looked at, for want of root.
    Unknown,
    /// Runs work, with less than awf-bpf can give.
    Degraded,
    /// No run begins.
    Unusable,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: &'static str,
    pub level: Level,
    pub found: String,
    /// What to do, where something is amiss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, found: found.into(), remedy: None }
    }

    fn bad(check: &'static str, level: Level, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, level, found: found.into(), remedy: Some(remedy.into()) }
    }

    fn unknown(check: &'static str, found: impl Into<String>) -> Self {
        Self::bad(check, Level::Unknown, found, "ask as root: sudo awf-bpf doctor")
    }
}

/// All that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Health {
    /// The worst of the findings.
    pub verdict: Level,
    pub findings: Vec<Finding>,
}

/// Looks at everything. To be called on the main thread, before there is any other: it joins a cgroup for a moment.
#[must_use]
pub fn health() -> Health {
    let root = rustix::process::geteuid().is_root();
    let mut findings = kernel::look();
    findings.extend(process::look(root));
    findings.extend(cgroups::look(root));
    findings.extend(network::look());
    findings.extend(upkeep::look(root));
    findings.push(programs::look(root));
    let verdict = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Unusable);
    Health { verdict, findings }
}

/// A small file of /proc or /sys, without the blanks around it.
fn read(path: &str) -> Option<String> {
    std::fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned())
}

#[cfg(test)]
mod tests;
