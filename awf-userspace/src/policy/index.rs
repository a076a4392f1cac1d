//! Rules found by hash: one probe a label of a name, one probe a prefix length of an address.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;

use super::{DomainName, Rule, pattern::Pattern, rule::Subject};

/// A name rule with its pattern at hand.
#[derive(Clone, Debug)]
struct NameRule {
    pattern: Pattern,
    rule: Arc<Rule>,
}

/// The rules of one list.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// By the base of their patterns.
    names: HashMap<DomainName, Vec<NameRule>>,
    nets: HashMap<IpNet, Vec<Arc<Rule>>>,
    /// The prefix lengths in `nets`, IPv4 (`true`) and IPv6.
    lengths: BTreeSet<(bool, u8)>,
}

impl Index {
    pub(super) fn new(rules: impl IntoIterator<Item = Arc<Rule>>) -> Self {
        let mut index = Self::default();
        for rule in rules {
            match &rule.subject {
                Subject::Name(pattern) => {
                    let entry = NameRule { pattern: pattern.clone(), rule: Arc::clone(&rule) };
                    index.names.entry(pattern.base.clone()).or_default().push(entry);
                }
                Subject::Net(net) => {
                    index.lengths.insert((net.addr().is_ipv4(), net.prefix_len()));
                    index.nets.entry(*net).or_default().push(Arc::clone(&rule));
                }
            }
        }
        index
    }

    /// The rules whose base is `name` or above it, nearest first: those that match, and (`false`) those that
    /// name a neighbour of it only.
    fn around<'a>(&'a self, name: &'a DomainName) -> impl Iterator<Item = (&'a Arc<Rule>, bool)> {
        name.suffixes()
            .filter_map(|suffix| self.names.get(suffix))
            .flatten()
            .map(|entry| (&entry.rule, entry.pattern.matches(name)))
    }

    /// The rules that match `name`, nearest first.
    pub(super) fn matching<'a>(&'a self, name: &'a DomainName) -> impl Iterator<Item = &'a Arc<Rule>> {
        self.around(name).filter(|(_, matches)| *matches).map(|(rule, _)| rule)
    }

    /// The nearest rule at or above `name` that does not match it.
    pub(super) fn neighbour<'a>(&'a self, name: &'a DomainName) -> Option<&'a Arc<Rule>> {
        self.around(name).find(|(_, matches)| !matches).map(|(rule, _)| rule)
    }

    /// The rules that cover `ip`, most specific first.
    pub(super) fn covering(&self, ip: IpAddr) -> impl Iterator<Item = &Arc<Rule>> {
        self.lengths
            .iter()
            .rev()
            .filter(move |(v4, _)| *v4 == ip.is_ipv4())
            .filter_map(move |&(_, length)| self.nets.get(&IpNet::new(ip, length).ok()?.trunc()))
            .flatten()
    }
}
