//! Rules found by hash: one probe a label of a name, one probe a prefix length of an address.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    hash::BuildHasher as _,
    net::IpAddr,
    sync::Arc,
};

use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, HashTable};
use ipnet::IpNet;

use super::{
    DomainName, List, Rule,
    lines::{Line, Lines},
    pattern::Pattern,
    rule::{Service, Subject},
};

/// The end of a chain.
const END: usize = usize::MAX;

/// A rule, the place where it was given among all rules, and the next one with the same base or network.
#[derive(Clone, Debug)]
struct Kept {
    rule: Rule,
    order: u64,
    next: usize,
}

/// The first and the last rule of a chain.
#[derive(Clone, Copy, Debug)]
struct Chain {
    first: usize,
    last: usize,
}

/// The rules of one list.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    pub(super) lines: Lines,
    rules: Vec<Kept>,
    /// By the base of their patterns.
    names: HashTable<Chain>,
    nets: HashMap<IpNet, Chain>,
    /// The prefix lengths in `nets`, IPv4 (`true`) and IPv6.
    lengths: BTreeSet<(bool, u8)>,
    hasher: DefaultHashBuilder,
}

/// A rule that was found, kept whole or as a line of its file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hit<'a> {
    Rule(&'a Rule),
    Line(Line<'a>),
}

impl Index {
    /// Adds a rule, which comes behind those with the same base or network.
    pub(super) fn add(&mut self, rule: Rule, order: u64) {
        let new = self.rules.len();
        let previous = match &rule.subject {
            Subject::Name(pattern) => chain_name(&mut self.names, &self.rules, &self.hasher, pattern, new),
            // Found by `host_grants`.
            Subject::Local => new,
            Subject::Net(net) => {
                self.lengths.insert((net.addr().is_ipv4(), net.prefix_len()));
                let chain = self.nets.entry(*net).or_insert(Chain { first: new, last: new });
                std::mem::replace(&mut chain.last, new)
            }
        };
        self.rules.push(Kept { rule, order, next: END });
        if previous != new {
            self.rules[previous].next = new;
        }
    }

    /// Takes the text of a list file; see [`Lines::open`].
    pub(super) fn open(&mut self, path: Arc<str>, list: List, text: Bytes, order: u64) -> bool {
        self.lines.open(path, list, text, order, &self.hasher)
    }

    /// Adds the entry of the file opened last whose base stands at `at`; `false` if it must come behind a rule that is
    /// kept whole, and so be one.
    pub(super) fn add_line(&mut self, at: usize, base: &[u8], number: usize) -> bool {
        if !self.names.is_empty() && self.chain(self.hasher.hash_one(base), base).is_some() {
            return false;
        }
        self.lines.add(at, base, number, &self.hasher);
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.lines.is_empty()
    }

    /// The rules that are kept whole, each with its place in the order of all rules.
    pub(super) fn whole(&self) -> impl Iterator<Item = (u64, &Rule)> {
        self.rules.iter().map(|kept| (kept.order, &kept.rule))
    }

    /// The rules that match `name`, nearest first.
    pub(super) fn matching<'a>(&'a self, name: &'a DomainName) -> impl Iterator<Item = Hit<'a>> {
        name.suffixes().flat_map(|base| self.of(base)).filter(|hit| hit.matches(name))
    }

    /// The nearest rule at or above `name` that does not match it.
    pub(super) fn neighbour<'a>(&'a self, name: &'a DomainName) -> Option<Hit<'a>> {
        name.suffixes().flat_map(|base| self.of(base)).find(|hit| !hit.matches(name))
    }

    /// The rules with this base, in the order given.
    pub(super) fn of<'a>(&'a self, base: &'a str) -> impl Iterator<Item = Hit<'a>> {
        let base = base.as_bytes();
        let (lines, names) = (!self.lines.is_empty(), !self.names.is_empty());
        let hash = (lines || names).then(|| self.hasher.hash_one(base));
        let lines = hash.filter(|_| lines).map(|hash| self.lines.of(hash, base).map(Hit::Line));
        let chain = hash.filter(|_| names).and_then(|hash| self.chain(hash, base));
        lines.into_iter().flatten().chain(self.follow(chain).map(Hit::Rule))
    }

    /// The rules that cover `ip`, most specific first.
    pub(super) fn covering<'a>(&'a self, ip: IpAddr) -> impl Iterator<Item = &'a Rule> + use<'a> {
        self.lengths
            .iter()
            .rev()
            .filter(move |(v4, _)| *v4 == ip.is_ipv4())
            .filter_map(move |&(_, length)| self.nets.get(&IpNet::new(ip, length).ok()?.trunc()))
            .flat_map(|chain| self.follow(Some(*chain)))
    }

    fn chain(&self, hash: u64, base: &[u8]) -> Option<Chain> {
        self.names.find(hash, |chain| base_of(&self.rules, chain) == base).copied()
    }

    fn follow(&self, chain: Option<Chain>) -> impl Iterator<Item = &Rule> {
        let first = chain.and_then(|chain| self.rules.get(chain.first));
        std::iter::successors(first, |kept| self.rules.get(kept.next)).map(|kept| &kept.rule)
    }
}

/// Puts the rule that will have the number `new` behind those of its base; the number of the one before it, or `new`.
fn chain_name(
    names: &mut HashTable<Chain>,
    rules: &[Kept],
    hasher: &DefaultHashBuilder,
    pattern: &Pattern,
    new: usize,
) -> usize {
    let base = pattern.base.as_str().as_bytes();
    let hash = hasher.hash_one(base);
    match names.find_mut(hash, |chain| base_of(rules, chain) == base) {
        Some(chain) => std::mem::replace(&mut chain.last, new),
        None => {
            let rehash = |chain: &Chain| hasher.hash_one(base_of(rules, chain));
            names.insert_unique(hash, Chain { first: new, last: new }, rehash);
            new
        }
    }
}

fn base_of<'a>(rules: &'a [Kept], chain: &Chain) -> &'a [u8] {
    match rules.get(chain.first).map(|kept| &kept.rule.subject) {
        Some(Subject::Name(pattern)) => pattern.base.as_str().as_bytes(),
        _ => b"",
    }
}

impl Hit<'_> {
    /// Whether it is about `name`, which is its base or below it.
    fn matches(&self, name: &DomainName) -> bool {
        match self {
            Self::Rule(rule) => matches!(&rule.subject, Subject::Name(pattern) if pattern.matches(name)),
            Self::Line(line) => line.form().matches(line.base().len() == name.as_str().len()),
        }
    }

    pub(super) fn service(&self) -> Service {
        match self {
            Self::Rule(rule) => rule.service,
            Self::Line(line) => line.form().service(),
        }
    }

    /// The name that its pattern is built on; none of an address.
    pub(super) fn base(&self) -> &[u8] {
        match self {
            Self::Rule(Rule { subject: Subject::Name(pattern), .. }) => pattern.base.as_str().as_bytes(),
            Self::Rule(_) => b"",
            Self::Line(line) => line.base(),
        }
    }

    /// The rule as it was written.
    pub(super) fn text(&self) -> Arc<str> {
        match self {
            Self::Rule(rule) => Arc::clone(&rule.text),
            Self::Line(line) => Arc::from(line.text()),
        }
    }
}

impl fmt::Display for Hit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => rule.fmt(f),
            Self::Line(line) => line.fmt(f),
        }
    }
}
