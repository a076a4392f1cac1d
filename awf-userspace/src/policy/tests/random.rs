//! Random policies and names: the compiled policy against the definition, read off the list of rules one by one;
//! and rules kept as lines of a file against the same rules kept whole.

use crate::policy::{
    Builder, DomainName, Host, List, Place, Policy, Protocol, Reason, Rule, Target, Verdict,
    rule::{Scheme, Subject},
};

/// splitmix64: the same numbers in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % most as u64).unwrap()
    }

    pub(crate) fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    /// A name out of few labels, so that rules and requests meet often.
    fn name(&mut self) -> String {
        let labels =
            (0..self.below(3)).map(|_| self.one(&["a", "b", "api-1", "xa", "A"])).collect::<Vec<_>>();
        [
            &labels[..],
            &[self.one(&["x", "y", "github", "co", "evilx"])],
            &[self.one(&["test", "com", "io", "uk"])],
        ]
        .concat()
        .join(".")
    }

    fn rule(&mut self) -> String {
        let name = self.name();
        let before = self.one(&[
            "",
            "",
            "",
            "",
            "=",
            "*.",
            "https://",
            "http://",
            "=https://",
            "https://*.",
            "api-*.",
            "*.*.",
        ]);
        let after = self.one(&["", "", "", "", "", ":443", ":80", ":22", ".", "/"]);
        if self.below(20) == 0 {
            return self.one(&["10.0.0.0/8", "198.51.100.7:443", "gitea", "tcp://x.test:443"]).to_owned();
        }
        format!("{before}{name}{after}")
    }
}

const PROTOCOLS: [Protocol; 3] = [Protocol::Tls, Protocol::Http, Protocol::Other];
const PORTS: [u16; 4] = [443, 80, 22, 8443];

/// The rules about `name`, nearest first: by definition.
fn about<'a>(rules: &'a [Rule], list: List, name: &DomainName) -> Vec<(&'a Rule, bool)> {
    let base = |rule: &Rule| match &rule.subject {
        Subject::Name(pattern) => Some(pattern.base.clone()),
        Subject::Net(_) | Subject::Local => None,
    };
    let mut near: Vec<_> = rules
        .iter()
        .filter(|rule| rule.list() == list)
        .filter_map(|rule| Some((rule, base(rule)?)))
        .filter(|(_, base)| name == base || name.is_below(base))
        .collect();
    near.sort_by_key(|(_, base)| std::cmp::Reverse(base.as_str().len()));
    let matches = |rule: &Rule| matches!(&rule.subject, Subject::Name(pattern) if pattern.matches(name));
    near.into_iter().map(|(rule, _)| (rule, matches(rule))).collect()
}

/// The verdict's reason and rule, by definition.
fn judge(rules: &[Rule], name: &DomainName, port: u16, protocol: Protocol) -> (Reason, Option<String>) {
    let matching = |list| about(rules, list, name).into_iter().filter(|(_, yes)| *yes).map(|(rule, _)| rule);
    let of = |rule: &Rule| Some(rule.text().to_string());
    if let Some(rule) = matching(List::Block).find(|rule| rule.service.blocks(port)) {
        return (Reason::Blocked, of(rule));
    }
    if let Some(rule) = matching(List::Allow).find(|rule| rule.service.allows(port, protocol)) {
        return (Reason::Allowed, of(rule));
    }
    let near = matching(List::Allow).find(|rule| rule.service.allows_port(port));
    let Some(rule) = near.or_else(|| matching(List::Allow).next()) else {
        let neighbour = about(rules, List::Allow, name).into_iter().find(|(_, yes)| !yes);
        return (Reason::NotInAllowlist, neighbour.and_then(|(rule, _)| of(rule)));
    };
    let explicit = matches!(rule.service.scheme, Scheme::Https | Scheme::Http);
    let wrong = !rule.service.allows_protocol(protocol) && (explicit || rule.service.allows_port(port));
    (if wrong { Reason::ProtocolNotAllowed } else { Reason::PortNotAllowed }, of(rule))
}

fn answer(verdict: &Verdict) -> (Reason, Option<String>) {
    match verdict {
        Verdict::Allow(allowed) => (Reason::Allowed, Some(allowed.rule.to_string())),
        Verdict::Deny(denied) => (denied.reason, denied.rule.as_deref().map(ToOwned::to_owned)),
    }
}

/// A file of these entries, a line each, as rules kept whole and as a sheet.
fn file(path: &str, list: List, entries: &[String], whole: &mut Vec<Rule>, builder: &mut Builder) {
    let text = entries.iter().map(|entry| format!("{entry}\n")).collect::<String>();
    let mut sheet = builder.sheet(path, list, text.clone().into());
    let mut at = 0;
    for (number, entry) in (1..).zip(entries) {
        let place = Place::Line { path: path.into(), line: number };
        let rule = Rule::parse(entry, list, place);
        assert_eq!(
            sheet.entry(at..at + entry.len(), number),
            rule.as_ref().map(|_| ()).map_err(Clone::clone)
        );
        whole.extend(rule);
        at += entry.len() + 1;
    }
}

#[test]
fn the_compiled_policy_agrees_with_the_definition() {
    let mut random = Random(7);
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..1000 {
        let (mut whole, mut builder) = (Vec::new(), Builder::default());
        for _ in 0..random.below(4) {
            if let Ok(rule) = Rule::parse(&random.rule(), List::Allow, Place::Flag("--allow-domains")) {
                whole.push(rule.clone());
                builder.rule(rule);
            }
        }
        for (path, list) in [("a.txt", List::Allow), ("b.txt", List::Block), ("c.txt", List::Allow)] {
            let entries: Vec<_> = (0..random.below(12)).map(|_| random.rule()).collect();
            file(path, list, &entries, &mut whole, &mut builder);
        }
        let (kept, lined) = (Policy::new(whole.clone()), builder.build());
        for _ in 0..20 {
            let name = DomainName::parse(&random.name()).unwrap();
            let (port, protocol) = (PORTS[random.below(4)], PROTOCOLS[random.below(3)]);
            let host = Host::Name(name.clone());
            let target = Target { host: &host, port, protocol };
            let verdict = lined.judge(&target);
            let expected = judge(&whole, &name, port, protocol);
            assert_eq!(answer(&verdict), expected, "{name}:{port} {protocol:?} {whole:#?}");
            assert_eq!(verdict, kept.judge(&target));
            assert_eq!(lined.judge_name(&name), kept.judge_name(&name));
            assert_eq!(lined.knows_port(port), kept.knows_port(port));
            *seen.entry(expected.0).or_insert(0) += 1;
        }
        assert_eq!(lined.allows_nothing(), kept.allows_nothing());
    }
    // Each answer was among them often enough to mean something.
    assert!(seen.len() == 5 && seen.values().all(|count| *count > 300), "{seen:?}");
}
