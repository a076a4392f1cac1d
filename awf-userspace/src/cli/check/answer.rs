//! The answer to a question, and its words.

use std::fmt;

use serde_json::{Value, json};

use super::target::Question;
use crate::{
    audit::mask,
    policy::{Denied, DomainName, Host, Policy, Protocol, Route},
};

/// What the policy says of a [`Question`].
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    question: Question,
    pub(crate) verdict: Result<Passed, Denied>,
    did_you_mean: Option<DomainName>,
}

/// What is allowed, and by what.
#[derive(Clone, Debug)]
pub(crate) struct Passed {
    /// As written.
    pub(crate) rule: String,
    /// With its place.
    shown: String,
    protocols: Vec<Protocol>,
    /// The host, but not each of its URLs.
    certain_urls: bool,
}

const PROTOCOLS: [Protocol; 3] = [Protocol::Tls, Protocol::Http, Protocol::Other];

/// Asks what the proxy asks: the host on its port, and of an address also whether it may be dialled. Where a name
/// leads is not known here; that is judged when it is dialled.
pub(crate) fn answer(policy: &Policy, question: &Question, method: &str) -> Answer {
    let Question { host, port, protocol, .. } = question;
    let decided = match protocol {
        Some(protocol) => policy.decide(Some(host), None, *port, *protocol),
        None => policy.decide_any(host, *port),
    };
    let dialled = decided.and_then(|route| match host {
        Host::Ip(ip) if policy.host_addresses(host, *port).is_none() => {
            policy.may_dial_literal(*ip, *port).map(|()| route)
        }
        _ => Ok(route),
    });
    let did_you_mean = match (&dialled, host) {
        (Err(denied), Host::Name(name)) if denied.rule.is_none() => policy.did_you_mean(name),
        _ => None,
    };
    let verdict = dialled.and_then(|route| asked(policy, question, method, route));
    let verdict = verdict.map(|route| passed(policy, question, &route)).map_err(masked);
    Answer { question: question.clone(), verdict, did_you_mean }
}

/// By which rule the URL may be asked for; of a host without URL rules any may.
fn asked(policy: &Policy, question: &Question, method: &str, mut route: Route) -> Result<Route, Denied> {
    if let (Some(page), Some(protocol)) = (&question.page, question.protocol)
        && policy.decide_url(Some(&question.host), &mut route, (protocol, method, page))?.is_some()
    {
        route.urls = false;
    }
    Ok(route)
}

/// A query may hold secrets.
fn masked(denied: Denied) -> Denied {
    Denied { message: mask::text(&denied.message), ..denied }
}

fn passed(policy: &Policy, question: &Question, route: &Route) -> Passed {
    let allows =
        |protocol: &Protocol| policy.decide(Some(&question.host), None, question.port, *protocol).is_ok();
    let protocols: Vec<_> = match question.protocol {
        Some(protocol) => vec![protocol],
        None => PROTOCOLS.into_iter().filter(allows).collect(),
    };
    let first = protocols.first().copied().unwrap_or(Protocol::Tls);
    let by_url =
        policy.url_rules().iter().find(|rule| *rule.text() == route.rule).map(|rule| rule.to_string());
    let allowing = || policy.allowing(&question.host, question.port, first);
    let shown = by_url.or_else(allowing).unwrap_or_else(|| route.rule.to_string());
    Passed { rule: route.rule.to_string(), shown, protocols, certain_urls: route.urls }
}

fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tls => "tls",
        Protocol::Http => "http",
        Protocol::Other => "tcp",
    }
}

impl Answer {
    pub(crate) fn is_allow(&self) -> bool {
        self.verdict.is_ok()
    }

    /// Stable keys; what does not apply is absent.
    pub(super) fn to_json(&self) -> Value {
        let Question { shown, host, port, protocol, .. } = &self.question;
        let mut line = json!({
            "target": shown,
            "host": host.to_string(),
            "port": port,
            "decision": if self.is_allow() { "allow" } else { "deny" },
        });
        let mut put = |key: &str, value: Option<Value>| {
            if let (Some(value), Some(line)) = (value, line.as_object_mut()) {
                line.insert(key.to_owned(), value);
            }
        };
        match &self.verdict {
            Ok(passed) => {
                let protocols: Vec<_> = passed.protocols.iter().copied().map(word).collect();
                put("protocols", Some(protocols.into()));
                put("reason", Some("allowed".into()));
                put("rule", Some(passed.rule.clone().into()));
                put("certain_urls", passed.certain_urls.then(|| true.into()));
            }
            Err(denied) => {
                put("protocols", protocol.map(|protocol| json!([word(protocol)])));
                put("reason", Some(denied.reason.as_str().into()));
                put("rule", denied.rule.as_deref().map(Value::from));
                put("message", Some(denied.message.clone().into()));
                put("allow_with", denied.allow_with.clone().map(Value::from));
                put("did_you_mean", self.did_you_mean.as_ref().map(|name| name.as_str().into()));
            }
        }
        line
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Question { shown, port, protocol, .. } = &self.question;
        write!(f, "{}  {shown}", if self.is_allow() { "allow" } else { "deny " })?;
        // A URL says itself what is spoken where.
        if !shown.contains("://") {
            match protocol {
                Some(Protocol::Tls) => write!(f, " (TLS on port {port})")?,
                Some(Protocol::Http) => write!(f, " (HTTP on port {port})")?,
                _ => {}
            }
        }
        match &self.verdict {
            Ok(passed) => {
                write!(f, "  by {}", passed.shown)?;
                if protocol.is_none() {
                    let all = passed.protocols.len() == PROTOCOLS.len();
                    let words: Vec<_> = passed.protocols.iter().copied().map(word).collect();
                    let words =
                        if all { "any protocol".to_owned() } else { format!("{} only", words.join(" and ")) };
                    write!(f, ", {words}")?;
                }
                if passed.certain_urls {
                    f.write_str(", certain URLs only: ask for one")?;
                }
                Ok(())
            }
            Err(denied) => {
                write!(f, "  {}  {}", denied.reason, denied.message)?;
                if let Some(meant) = &self.did_you_mean {
                    write!(f, "; did you mean {meant}?")?;
                }
                denied.allow_with.iter().try_for_each(|flag| write!(f, "; to allow it: {flag}"))
            }
        }
    }
}
