//! Judges the events of an `audit.jsonl` again: what would another policy have changed?

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, BufRead, Read as _},
    net::IpAddr,
};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::policy::{Denied, DomainName, Host, Policy, Protocol, Route};

/// A record is shorter: its texts are cut when it is written.
const MOST_OF_A_LINE: u64 = 1 << 20;
/// Lines that are no records and are named; of more only the number is told.
const MOST_UNREADABLE: usize = 20;
/// Different changes that are listed; of more only the number is told.
const MOST_CHANGES: usize = 1000;

/// What was decided by the policy. Other reasons (a malformed request, a silent server) would be the same again.
const BY_POLICY: [&str; 9] = [
    "allowed",
    "not_in_allowlist",
    "blocked",
    "port_not_allowed",
    "protocol_not_allowed",
    "address_not_allowed",
    "forbidden_address",
    "no_name",
    "url_not_allowed",
];

/// The fields of a record that a decision depends on.
#[derive(Deserialize)]
struct Seen {
    event: String,
    decision: String,
    reason: String,
    host: Option<String>,
    port: Option<u16>,
    proto: Option<String>,
    ip: Option<IpAddr>,
    requests: Option<u64>,
    method: Option<String>,
    url: Option<String>,
}

/// One difference; equal ones are counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Change {
    pub(super) allowed: bool,
    what: String,
    /// By which rule, or why not.
    why: String,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) same: usize,
    pub(super) changes: BTreeMap<Change, usize>,
    newly: [usize; 2],
    /// Records that no policy decides.
    pub(super) others: usize,
    /// Lines that are no records.
    pub(super) unreadable: usize,
    /// The numbers of the first of them, from 1.
    pub(super) unreadable_lines: Vec<usize>,
}

/// Judges every record of `file` by `policy`.
///
/// # Errors
/// When it cannot be read.
pub(super) fn replay(policy: &Policy, mut file: impl BufRead) -> io::Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut line = Vec::new();
    let mut number = 1;
    loop {
        line.clear();
        if file.by_ref().take(MOST_OF_A_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(outcome);
        }
        match serde_json::from_slice::<Seen>(&line) {
            Ok(seen) => outcome.count(policy, &seen),
            Err(_) if line.trim_ascii().is_empty() => {}
            Err(_) => outcome.cannot_read(number),
        }
        number += usize::from(line.ends_with(b"\n"));
    }
}

/// The verdict now; `None` if no policy decides it.
fn judge(policy: &Policy, seen: &Seen) -> Option<Result<String, Denied>> {
    let allowed = seen.decision == "allow";
    // A connection of HTTP requests is what they are; each has a record of its own.
    if seen.requests.is_some() || !(allowed || BY_POLICY.contains(&seen.reason.as_str())) {
        return None;
    }
    if seen.event == "dns" {
        let name = DomainName::parse(seen.host.as_deref()?).ok()?;
        let verdict = policy.judge_name(&name);
        return Some(
            verdict.denied().map_or_else(|| Ok("a rule for the name".to_owned()), |no| Err(no.clone())),
        );
    }
    if !["connection", "request"].contains(&seen.event.as_str()) {
        return None;
    }
    let port = seen.port?;
    let host = seen.host.as_deref().map(Host::parse).transpose().ok()?;
    let decided = match (seen.proto.as_deref()?, &host) {
        ("connect", Some(host)) => policy.decide_any(host, port),
        ("tls" | "https", host) => policy.decide(host.as_ref(), seen.ip, port, Protocol::Tls),
        ("http", host) => policy.decide(host.as_ref(), seen.ip, port, Protocol::Http),
        ("tcp", host) => policy.decide(host.as_ref(), seen.ip, port, Protocol::Other),
        _ => return None,
    };
    let dialled = match (decided, seen.ip) {
        (Ok(route), _) if policy.host_addresses(&route.dial, port).is_some() => Ok(route),
        (Ok(route), Some(ip)) if route.dial.name().is_none() => {
            policy.may_dial_literal(ip, port).map(|()| route)
        }
        (Ok(route), Some(ip)) => policy.may_dial(ip, port).map(|()| route),
        // Where the name led to is not in the record.
        (Ok(_), None) if seen.reason == "forbidden_address" => return None,
        (decided, _) => decided,
    };
    Some(match dialled {
        Ok(route) if route.urls => asked(policy, seen, host.as_ref(), route)?,
        dialled => dialled.map(|route| route.rule.to_string()),
    })
}

/// The verdict on the URL of a record, if it has one: of a connection that was not looked into it is not known.
fn asked(
    policy: &Policy,
    seen: &Seen,
    host: Option<&Host>,
    mut route: Route,
) -> Option<Result<String, Denied>> {
    let protocol = if seen.proto.as_deref()? == "https" { Protocol::Tls } else { Protocol::Http };
    let (_, rest) = seen.url.as_deref()?.split_once("://")?;
    let target = &rest[rest.find('/')?..];
    let asked = policy.decide_url(host, &mut route, (protocol, seen.method.as_deref()?, target));
    Some(asked.map(|_| route.rule.to_string()))
}

impl Outcome {
    fn count(&mut self, policy: &Policy, seen: &Seen) {
        let Some(verdict) = judge(policy, seen) else {
            self.others += 1;
            return;
        };
        if verdict.is_ok() == (seen.decision == "allow") {
            self.same += 1;
            return;
        }
        let host = seen.host.clone().or_else(|| seen.ip.map(|ip| ip.to_string())).unwrap_or_default();
        let port =
            seen.port.filter(|_| seen.event != "dns").map_or_else(String::new, |port| format!(":{port}"));
        let proto = seen.proto.as_deref().unwrap_or(&seen.event);
        let change = Change {
            allowed: verdict.is_ok(),
            what: format!("{host}{port} ({proto})"),
            why: match verdict {
                Ok(rule) => format!("by {rule}"),
                Err(denied) => format!("{}  {}", denied.reason, denied.message),
            },
        };
        self.newly[usize::from(change.allowed)] += 1;
        if self.changes.len() < MOST_CHANGES || self.changes.contains_key(&change) {
            *self.changes.entry(change).or_default() += 1;
        }
    }

    fn cannot_read(&mut self, number: usize) {
        self.unreadable += 1;
        if self.unreadable_lines.len() < MOST_UNREADABLE {
            self.unreadable_lines.push(number);
        }
    }

    pub(super) fn newly_allowed(&self) -> usize {
        self.newly[1]
    }

    pub(super) fn newly_denied(&self) -> usize {
        self.newly[0]
    }

    /// The changes, then the numbers.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        let changes = self.changes.iter().map(|(change, count)| format!("{change}  ({count} times)"));
        let unlisted = self.newly.iter().sum::<usize>() - self.changes.values().sum::<usize>();
        let more = (unlisted > 0).then(|| format!("and {unlisted} other changes"));
        changes.chain(more).chain([self.to_string()])
    }

    pub(super) fn to_json(&self) -> Value {
        let change = |(change, count): (&Change, &usize)| {
            let decision = if change.allowed { "allow" } else { "deny" };
            json!({ "decision": decision, "what": change.what, "why": change.why, "count": count })
        };
        json!({
            "same": self.same,
            "newly_allowed": self.newly_allowed(),
            "newly_denied": self.newly_denied(),
            "not_judged": self.others,
            "unreadable": self.unreadable,
            "changes": self.changes.iter().map(change).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.allowed { "newly allowed" } else { "newly denied " };
        write!(f, "{word}  {}  {}", self.what, self.why)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} as before, {} newly allowed, {} newly denied, {} not decided by a policy",
            self.same,
            self.newly_allowed(),
            self.newly_denied(),
            self.others
        )?;
        match self.unreadable {
            0 => Ok(()),
            lines => write!(f, ", {lines} lines that are no records"),
        }
    }
}
