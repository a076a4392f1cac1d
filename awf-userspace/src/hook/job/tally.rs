//! Adds up the record of a run: by domain, by step, by program. Pure: lines in. The record's texts are the job's words,
//! and there may be a gibibyte of them: what is kept is bounded, and what is not is counted.

use std::collections::{BTreeSet, HashMap};

use serde::Deserialize;

/// Most rows kept of a table.
const ROWS: usize = 1000;
/// Longest name kept, in characters.
const NAME: usize = 128;
/// Most names beside a row.
const NAMES: usize = 5;

/// The part of an audit record that counts here; see docs/configuration.md.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    run: String,
    event: String,
    decision: String,
    reason: String,
    #[serde(default)]
    host: Option<String>,
    #[serde(default)]
    ip: Option<String>,
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    requests: Option<u64>,
    #[serde(default)]
    count: Option<u64>,
    #[serde(default)]
    bytes_up: Option<u64>,
    #[serde(default)]
    bytes_down: Option<u64>,
    #[serde(default)]
    comm: Option<String>,
    #[serde(default)]
    exe: Option<String>,
    #[serde(default)]
    step: Option<String>,
}

/// Sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) allowed: u64,
    pub(super) denied: u64,
    pub(super) up: u64,
    pub(super) down: u64,
}

/// Something that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Refused {
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) reason: String,
}

/// How often, and by whom.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    pub(super) count: u64,
    pub(super) steps: BTreeSet<String>,
    pub(super) programs: BTreeSet<String>,
}

/// All of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Whose records count: others may write to the same file.
    run: String,
    pub(super) all: Sums,
    pub(super) domains: HashMap<String, Sums>,
    pub(super) steps: HashMap<String, Sums>,
    pub(super) programs: HashMap<String, Sums>,
    pub(super) refused: HashMap<Refused, Times>,
    /// Lines that are no record.
    pub(super) unread: u64,
}

impl Tally {
    /// Of one run.
    pub(super) fn of(run: &str) -> Self {
        Self { run: run.to_owned(), ..Self::default() }
    }

    /// Adds a line of the file.
    pub(super) fn add(&mut self, line: &[u8]) {
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        match serde_json::from_slice::<Line>(line) {
            Ok(line) if line.run == self.run => self.count(&line),
            Ok(_) => {}
            Err(_) => self.unread += 1,
        }
    }

    fn count(&mut self, line: &Line) {
        let allowed = line.decision == "allow";
        // As in the summary of `exec`: a look-up is part of its connection, a connection's requests were counted, and
        // getaddrinfo(3) connects UDP sockets that send nothing.
        let counted = match line.event.as_str() {
            "connection" => line.requests.is_none(),
            "dns" => !allowed,
            "kernel" => line.reason != "udp_connect_refused",
            "request" => true,
            _ => return,
        };
        let times = if counted { line.count.unwrap_or(1) } else { 0 };
        let sums = Sums {
            allowed: if allowed { times } else { 0 },
            denied: if allowed { 0 } else { times },
            up: line.bytes_up.unwrap_or(0),
            down: line.bytes_down.unwrap_or(0),
        };
        if sums == Sums::default() {
            return;
        }
        let named = line.host.as_ref().or(line.ip.as_ref());
        let host = named.map_or_else(|| "(no name)".to_owned(), |host| cut(host));
        let step = line.step.as_deref().map_or_else(|| "unknown".to_owned(), cut);
        let exe = line.exe.as_deref().and_then(|exe| exe.rsplit('/').next()).filter(|name| !name.is_empty());
        let program = exe.or(line.comm.as_deref()).map_or_else(|| "unknown".to_owned(), cut);
        self.all.add(sums);
        row(&mut self.domains, host.clone()).add(sums);
        row(&mut self.steps, step.clone()).add(sums);
        row(&mut self.programs, program.clone()).add(sums);
        if sums.denied == 0 {
            return;
        }
        let refused = Refused { host, port: line.port, reason: cut(&line.reason) };
        if self.refused.len() < ROWS || self.refused.contains_key(&refused) {
            let times = self.refused.entry(refused).or_default();
            times.count = times.count.saturating_add(sums.denied);
            for (names, name) in [(&mut times.steps, step), (&mut times.programs, program)] {
                if names.len() < NAMES {
                    names.insert(name);
                }
            }
        }
    }

    /// What was refused, most often first.
    pub(super) fn refusals(&self) -> Vec<(&Refused, &Times)> {
        let mut rows: Vec<_> = self.refused.iter().collect();
        rows.sort_by(|(a, times_a), (b, times_b)| times_b.count.cmp(&times_a.count).then_with(|| a.cmp(b)));
        rows
    }
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.allowed = self.allowed.saturating_add(other.allowed);
        self.denied = self.denied.saturating_add(other.denied);
        self.up = self.up.saturating_add(other.up);
        self.down = self.down.saturating_add(other.down);
    }
}

/// The row of `name`; beyond [`ROWS`] the one of all others.
fn row(rows: &mut HashMap<String, Sums>, name: String) -> &mut Sums {
    let name = if rows.len() < ROWS || rows.contains_key(&name) { name } else { "(others)".to_owned() };
    rows.entry(name).or_default()
}

fn cut(text: &str) -> String {
    text.chars().take(NAME).collect()
}

impl Refused {
    /// The entry of `[policy]` that would allow it, where one would and can be written.
    pub(super) fn entry(&self) -> Option<String> {
        const OPENED: [&str; 5] = [
            "not_in_allowlist",
            "port_not_allowed",
            "protocol_not_allowed",
            "address_not_allowed",
            "no_name",
        ];
        let host = crate::policy::Host::parse(&self.host).ok().filter(|_| OPENED.contains(&&*self.reason))?;
        let usual = self.port.is_none_or(|port| [80, 443].contains(&port));
        Some(match (host, self.port) {
            (crate::policy::Host::Name(name), Some(port))
                if !usual || self.reason == "protocol_not_allowed" =>
            {
                format!("allow_domains = [\"{name}:{port}\"]")
            }
            (crate::policy::Host::Name(name), _) => format!("allow_domains = [\"{name}\"]"),
            (crate::policy::Host::Ip(std::net::IpAddr::V6(ip)), Some(port)) => {
                format!("allow_ip = [\"[{ip}]:{port}\"]")
            }
            (crate::policy::Host::Ip(ip), Some(port)) => format!("allow_ip = [\"{ip}:{port}\"]"),
            (crate::policy::Host::Ip(_), None) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.add(line.as_bytes()));
        tally
    }

    #[test]
    fn connections_are_added_up_by_domain_step_and_program() {
        let tally = tally(&[
            r#"{"event":"connection","decision":"allow","reason":"allowed","host":"a.test","port":443,"bytes_up":3,"bytes_down":5,"step":"__run","exe":"/usr/bin/curl","comm":"curl"}"#,
            r#"{"event":"dns","decision":"allow","reason":"allowed","host":"a.test","step":"__run","comm":"curl"}"#,
            r#"{"event":"dns","decision":"deny","reason":"not_in_allowlist","host":"b.test","count":3,"step":"__run_2","comm":"node"}"#,
            r#"{"event":"kernel","decision":"deny","reason":"udp_connect_refused","host":"203.0.113.1","port":9}"#,
            r#"{"event":"kernel","decision":"deny","reason":"socket_refused"}"#,
            r#"{"event":"connection","decision":"allow","reason":"allowed","host":"a.test","requests":2,"bytes_down":1}"#,
            "torn",
            "",
        ]);
        assert_eq!(tally.all, Sums { allowed: 1, denied: 4, up: 3, down: 6 });
        assert_eq!(tally.domains["a.test"].allowed, 1);
        assert_eq!((tally.steps["__run_2"].denied, tally.programs["curl"].allowed, tally.unread), (3, 1, 1));
        let (first, times) = tally.refusals()[0];
        assert_eq!(
            (&*first.host, times.count, first.entry().as_deref()),
            ("b.test", 3, Some("allow_domains = [\"b.test\"]"))
        );
    }

    #[test]
    fn an_entry_is_written_only_for_what_one_would_open() {
        let entry = |host: &str, port, reason: &str| {
            Refused { host: host.into(), port, reason: reason.into() }.entry()
        };
        assert_eq!(entry("a.test", Some(22), "not_in_allowlist").unwrap(), "allow_domains = [\"a.test:22\"]");
        assert_eq!(entry("203.0.113.1", Some(443), "no_name").unwrap(), "allow_ip = [\"203.0.113.1:443\"]");
        assert_eq!(entry("2001:db8::1", Some(80), "no_name").unwrap(), "allow_ip = [\"[2001:db8::1]:80\"]");
        for (host, reason) in [
            ("a.test", "blocked"),
            ("a\"]\n[hook]", "not_in_allowlist"),
            ("169.254.169.254", "forbidden_address"),
        ] {
            assert_eq!(entry(host, Some(443), reason), None);
        }
    }

    #[test]
    fn a_million_names_are_kept_as_a_thousand() {
        let mut tally = Tally::default();
        for number in 0..5000 {
            let long = "x".repeat(5000);
            tally.add(format!(r#"{{"event":"dns","decision":"deny","reason":"not_in_allowlist","host":"{number}{long}","step":"{number}"}}"#).as_bytes());
        }
        assert_eq!((tally.refused.len(), tally.domains.len(), tally.steps.len()), (ROWS, ROWS + 1, ROWS + 1));
        assert_eq!(tally.domains["(others)"].denied, 4000);
        assert!(tally.domains.keys().all(|name| name.len() <= NAME));
    }
}
