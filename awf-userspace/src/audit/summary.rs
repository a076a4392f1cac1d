//! What a run blocked, how often, by which program, and the flags that would allow it: the text at its end. Beside it what
//! was allowed and could not be reached, lest the firewall be blamed for it.

use std::collections::{BTreeMap, BTreeSet};

use self::{distrust::Distrust, targets::Targets};
use super::{Decision, EventKind, Record};
use crate::policy::Reason;

mod distrust;
mod targets;

/// Longest program or host name kept, in bytes.
const NAME_MAX: usize = 256;

/// The sums of one run. The counters that only the kernel side knows are set by their owner.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub allowed: u64,
    pub denied: u64,
    /// Denials let through by `--mode audit`.
    pub would_deny: u64,
    /// Packets the kernel programs dropped without an event.
    pub kernel_drops: u64,
    /// Kernel events that were lost because nobody read them in time.
    pub lost_events: u64,
    /// Records that are in no file.
    pub lost_records: u64,
    blocked: Targets,
    unreached: Targets,
    distrust: Distrust,
}

impl Summary {
    /// Adds one record up. The connection of requests that have been counted is not counted again.
    pub fn add(&mut self, record: &Record) {
        if record.event == EventKind::Policy {
            return;
        }
        // getaddrinfo connects UDP sockets to sort addresses, and sends nothing: no attempt was blocked.
        if record.reason == Reason::UdpConnectRefused {
            return;
        }
        // Its requests were counted one by one.
        if record.event == EventKind::Connection && record.requests.is_some() {
            return;
        }
        if Distrust::takes(record) {
            self.distrust.add(record);
            self.allowed += u64::from(record.decision == Decision::Allow);
            return self.count(record.decision, 1);
        }
        if record.decision == Decision::Allow {
            // A look-up is part of the connection it is for; a refused one is all there is of it.
            self.allowed += u64::from(record.event != EventKind::Dns);
            if is_unreached(record.reason) {
                self.unreached.add(record);
            }
            return;
        }
        let times = self.blocked.add(record);
        self.count(record.decision, times);
    }

    fn count(&mut self, decision: Decision, times: u64) {
        match decision {
            Decision::Allow => {}
            Decision::Deny => self.denied += times,
            Decision::WouldDeny => self.would_deny += times,
        }
    }

    /// Whether there is something the user should read: `--summary auto` prints only then.
    #[must_use]
    pub fn has_findings(&self) -> bool {
        let counted =
            self.denied + self.would_deny + self.kernel_drops + self.lost_events + self.lost_records;
        counted > 0 || !self.unreached.is_empty() || !self.distrust.is_empty()
    }

    /// Whether something was blocked, or may have been: what is lost from the record could have been a refusal, and
    /// the command can flood the kernel's events to lose it.
    #[must_use]
    pub fn may_have_blocked(&self) -> bool {
        self.denied + self.lost_events + self.lost_records > 0
    }

    /// The text for stderr: lines, each with its line feed, no colours and no control characters.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = vec![self.headline()];
        lines.extend(self.blocked.text("Blocked"));
        lines.extend(self.unreached.text("Allowed, but not reached"));
        lines.extend(self.distrust.text());
        lines.extend(self.counters());
        let flags = flags(self.blocked.flags().chain(self.distrust.flags()));
        if !flags.is_empty() {
            lines.push(format!("To allow them: {flags}"));
        }
        lines.join("\n") + "\n"
    }

    fn headline(&self) -> String {
        let would = if self.would_deny > 0 {
            format!(", {} would have been blocked", self.would_deny)
        } else {
            String::new()
        };
        let listed = [self.blocked.is_empty(), self.unreached.is_empty(), self.distrust.is_empty()];
        let colon = if listed == [true; 3] { '.' } else { ':' };
        format!("awf-bpf: {} allowed, {} blocked{would}{colon}", self.allowed, self.denied)
    }

    fn counters(&self) -> Vec<String> {
        [
            (self.kernel_drops, "packets were dropped by the kernel programs"),
            (self.lost_events, "kernel events were lost: the record is not complete"),
            (self.lost_records, "audit records could not be written: the record is not complete"),
        ]
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("  - {count} {what}"))
        .collect()
    }
}

/// Whether what was allowed failed beyond the firewall.
fn is_unreached(reason: Reason) -> bool {
    use Reason::{
        ConnectFailed, ConnectTimeout, ResolveFailed, ResolveTimeout, UpstreamCertificate,
        UpstreamProxyFailed, UpstreamProxyRefused,
    };
    matches!(
        reason,
        ResolveFailed
            | ResolveTimeout
            | ConnectFailed
            | ConnectTimeout
            | UpstreamCertificate
            | UpstreamProxyFailed
            | UpstreamProxyRefused
    )
}

fn host(record: &Record) -> String {
    let host = record.host.clone().or_else(|| record.ip.map(|ip| ip.to_string()));
    printable(&host.unwrap_or_else(|| record.proto.unwrap_or("unnamed").to_owned()))
}

/// The name a user knows the process by: its executable's, or the kernel's word for it.
fn program(record: &Record) -> Option<String> {
    let process = record.process.as_ref()?;
    let name = process.exe.as_deref().and_then(|exe| exe.rsplit('/').next()).unwrap_or(&process.comm);
    (!name.is_empty()).then(|| printable(name))
}

/// Hosts and programs are the command's words: none of them may steer the user's terminal.
fn printable(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    text.chars().take(NAME_MAX).map(plain).collect()
}

/// Host and port.
fn target_name(record: &Record) -> String {
    place(&host(record), record.port)
}

fn place(host: &str, port: Option<u16>) -> String {
    match port {
        Some(port) if host.contains(':') => format!("[{host}]:{port}"),
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// One line of flags out of many: `--allow-domains a` and `--allow-domains b` become `--allow-domains a,b`.
fn flags<'a>(each: impl Iterator<Item = &'a str>) -> String {
    let mut by_flag: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (flag, value) in each.filter_map(|flag| flag.split_once(' ')) {
        // The line is pasted into a shell: what could mean anything else to it is left out.
        let safe = |c: char| c.is_ascii_alphanumeric() || "-._:/=*[],%@+".contains(c);
        if flag.starts_with("--") && !value.is_empty() && flag.chars().chain(value.chars()).all(safe) {
            by_flag.entry(flag).or_default().insert(value);
        }
    }
    let quoted = |values: BTreeSet<&str>| {
        let list = values.into_iter().collect::<Vec<_>>().join(",");
        if list.contains(['*', '[']) { format!("'{list}'") } else { list }
    };
    by_flag
        .into_iter()
        .map(|(flag, values)| format!("{flag} {}", quoted(values)))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests;
