//! Which DNS records beside addresses may be asked for, and of which names: `TXT+MX:example.com`.

use std::{collections::HashMap, fmt, sync::Arc};

use super::{
    Allowed, Denied, DomainName, List, Place, Policy, Reason, RuleError, Verdict, explain,
    parse::{Refusal, check_characters, error, refuse},
    parse_name,
    pattern::Pattern,
    problem::Problem,
};

/// The types that a rule may name, with their numbers (IANA, DNS Parameters). Left out on purpose: what asks for
/// everything at once (ANY, AXFR, IXFR), what tells of addresses (PTR), what belongs to one hop (OPT, TSIG, TKEY),
/// what carries any bytes and has no user (NULL), and DNSSEC's own records.
const TYPES: &[(&str, u16)] = &[
    ("CAA", 257),
    ("CNAME", 5),
    ("HTTPS", 65),
    ("LOC", 29),
    ("MX", 15),
    ("NAPTR", 35),
    ("NS", 2),
    ("OPENPGPKEY", 61),
    ("SMIMEA", 53),
    ("SOA", 6),
    ("SRV", 33),
    ("SSHFP", 44),
    ("SVCB", 64),
    ("TLSA", 52),
    ("TXT", 16),
    ("URI", 256),
];

/// One entry of `--allow-dns`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordRule {
    text: Arc<str>,
    place: Place,
    types: Vec<u16>,
    pattern: Pattern,
}

impl RecordRule {
    /// Parses `TYPE[+TYPE...]:NAME`, the name as in a domain list: `TXT:x.com` (and all below it), `MX:=x.com`,
    /// `SRV:*.x.com`, `TXT:_acme-*.x.com`.
    ///
    /// # Errors
    /// Types that cannot be allowed, and whatever a domain list refuses; ports, schemes and addresses.
    pub fn parse(text: &str, place: Place) -> Result<Self, RuleError> {
        let text = text.trim();
        match parse(text) {
            Ok((types, pattern)) => Ok(Self { text: Arc::from(text), place, types, pattern }),
            Err(refusal) => Err(error(text, place, refusal)),
        }
    }

    /// The rule as it was written.
    #[must_use]
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether `other` is about the same, in whatever order.
    pub(super) fn says(&self, other: &Self) -> bool {
        let has = |one: &Self, other: &Self| one.types.iter().all(|kind| other.types.contains(kind));
        self.pattern == other.pattern && has(self, other) && has(other, self)
    }
}

impl fmt::Display for RecordRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.place)
    }
}

fn parse(text: &str) -> Result<(Vec<u16>, Pattern), Refusal> {
    check_characters(text)?;
    let Some((types, name)) = text.split_once(':').filter(|(types, _)| !types.contains('.')) else {
        return refuse(Problem::RecordForm, form(text));
    };
    if types.is_empty() {
        return refuse(Problem::RecordForm, form(name));
    }
    if name.starts_with("//") {
        return refuse(Problem::RecordForm, format!("write `TXT:{}`", name.trim_matches('/')));
    }
    let types = types.split('+').map(number).collect::<Result<Vec<_>, _>>()?;
    let (exact, name) = name.strip_prefix('=').map_or((false, name), |name| (true, name));
    if name.is_empty() {
        return Err(Problem::Empty.into());
    }
    if name.contains([':', '/', '?', '@']) {
        return refuse(Problem::RecordName, format!("write the bare name, `{}`", bare(name)));
    }
    Ok((types, parse_name::parse(name, exact, List::Allow)?.pattern))
}

/// What to write in place of a text that has no type, or nothing but a type.
fn form(text: &str) -> String {
    let kind =
        TYPES.iter().map(|(kind, _)| *kind).find(|kind| kind.eq_ignore_ascii_case(text)).unwrap_or("TXT");
    let name = bare(text);
    format!("write `{kind}:{}`", if name.contains('.') { name } else { "example.com" })
}

/// Without what stands around the name in a URL.
fn bare(text: &str) -> &str {
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let host = text.split([':', '/', '?']).next().unwrap_or_default();
    host.rsplit_once('@').map_or(host, |(_, host)| host)
}

fn number(text: &str) -> Result<u16, Refusal> {
    let known = TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    if let Some((_, number)) = known {
        return Ok(*number);
    }
    let advice = match text.to_ascii_uppercase().as_str() {
        "A" | "AAAA" => "addresses are answered for every name of --allow-domains".to_owned(),
        _ => {
            let names: Vec<_> = TYPES.iter().map(|(name, _)| *name).collect();
            format!("types that can be: {}", names.join(", "))
        }
    };
    refuse(Problem::RecordType(text.to_owned()), advice)
}

/// The rules of `--allow-dns`, by the base of their patterns.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    by_base: HashMap<DomainName, Vec<Arc<RecordRule>>>,
    all: Vec<Arc<RecordRule>>,
}

impl Records {
    fn new(rules: impl IntoIterator<Item = RecordRule>) -> Self {
        let mut records = Self::default();
        for rule in rules.into_iter().map(Arc::new) {
            records.by_base.entry(rule.pattern.base.clone()).or_default().push(Arc::clone(&rule));
            records.all.push(rule);
        }
        records
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The rules about `name`, nearest first.
    fn matching<'a>(&'a self, name: &'a DomainName) -> impl Iterator<Item = &'a Arc<RecordRule>> {
        let found = name.suffixes().filter_map(|suffix| self.by_base.get(suffix)).flatten();
        found.filter(|rule| rule.pattern.matches(name))
    }

    /// The base of the nearest rule about `name`.
    pub(super) fn base<'a>(&'a self, name: &'a DomainName) -> Option<&'a DomainName> {
        self.matching(name).next().map(|rule| &rule.pattern.base)
    }
}

impl Policy {
    /// Adds rules for records beside addresses.
    #[must_use]
    pub fn with_records(mut self, rules: impl IntoIterator<Item = RecordRule>) -> Self {
        self.records = Records::new(rules);
        self
    }

    /// The rules for records in the order given.
    #[must_use]
    pub fn record_rules(&self) -> &[Arc<RecordRule>] {
        &self.records.all
    }

    /// [`Policy::judge_record`] by these rules alone.
    pub(super) fn judge_record_alone(&self, name: &DomainName, kind: u16) -> Verdict {
        if let Some(rule) = self.block.matching(name).find(|rule| rule.service().port.is_none()) {
            return Verdict::Deny(explain::blocked(name, rule));
        }
        if let Some(rule) = self.records.matching(name).find(|rule| rule.types.contains(&kind)) {
            return Verdict::Allow(Allowed { rule: Arc::clone(&rule.text) });
        }
        let near = self.records.matching(name).next();
        match self.judge_name_alone(name) {
            Verdict::Deny(denied) if near.is_none() => Verdict::Deny(denied),
            _ => Verdict::Deny(refused_type(name, kind, near)),
        }
    }
}

fn refused_type(name: &DomainName, kind: u16, near: Option<&Arc<RecordRule>>) -> Denied {
    let known = TYPES.iter().find(|(_, number)| *number == kind);
    let message = match known {
        Some((kind, _)) => {
            format!("{kind} records of {name} are not allowed: no rule of --allow-dns names them")
        }
        None => format!("records of type {kind} of {name} are never answered"),
    };
    let allow_with = known.and_then(|(kind, _)| {
        let rules = [format!("{kind}:{name}"), format!("{kind}:={name}")];
        let rule = rules.into_iter().find(|rule| parse(rule).is_ok())?;
        Some(format!("--allow-dns {rule}"))
    });
    let rule = near.map(|rule| Arc::clone(&rule.text));
    Denied { reason: Reason::DnsTypeRefused, rule, message, allow_with }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedies_are_rules() {
        for (text, advice) in [
            ("TXT", "write `TXT:example.com`"),
            ("mx", "write `MX:example.com`"),
            ("b", "write `TXT:example.com`"),
            ("x.test", "write `TXT:x.test`"),
            (":x.test", "write `TXT:x.test`"),
            ("x.test:443", "write `TXT:x.test`"),
            ("TXT:https://x.test/a", "write the bare name, `x.test`"),
            ("TXT:x.test:53", "write the bare name, `x.test`"),
        ] {
            let error = RecordRule::parse(text, Place::Flag("--allow-dns")).expect_err(text);
            assert_eq!(error.advice.as_deref(), Some(advice), "{text}");
        }
    }
}
