//! [`PolicySource`]: the rules of a run that are edited while it goes on. An edit is made as a whole or not at all.

use std::{ops::Range, sync::Arc};

use super::{
    Builder, List, Place, Policy, Protocol, RecordRule, Rule, RuleError, UrlRule, entries,
    host_grants::Grant,
    index::{Hit, Index},
    rule::Subject,
};

/// Of what was typed behind `policy allow` and `policy deny`.
const ALLOWED: Place = Place::Flag("policy allow");
const DENIED: Place = Place::Flag("policy deny");

/// Edits of one list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit<'a> {
    pub list: List,
    /// Takes rules back, in place of adding them.
    pub remove: bool,
    /// Each one entry or several with commas between.
    pub entries: &'a [String],
}

/// What an edit did about one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Added(String),
    Removed(String),
    /// It was a rule already.
    Known(String),
}

/// Why nothing was edited.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    #[error(transparent)]
    Rule(#[from] RuleError),
    #[error("{place}: {text:?} is no rule of this run; `awf-bpf policy show` lists them")]
    NotThere { place: Place, text: String },
    #[error("{place}: {text:?} is no host; a block rule is about hosts, whatever is asked of them")]
    NoHost { place: Place, text: String },
    #[error(
        "{place}: {text:?} needs --tls on, and this run looks into no TLS; allow the whole host, or start a run with \
         --tls on"
    )]
    NeedsTls { place: Place, text: String },
    #[error(
        "{place}: {text:?} opens a port of this host, and those of a run are fixed when it starts; start one with \
         --allow-host-ports"
    )]
    HostPort { place: Place, text: String },
    #[error("{0} names no entry")]
    Empty(Place),
}

/// The rules that a run was started with, and what was edited since.
#[derive(Clone, Debug)]
pub struct PolicySource {
    base: Policy,
    added: Vec<Entry>,
    removed: Vec<Entry>,
    /// Whether TLS is looked into, so that rules for https:// URLs can be kept.
    tls: bool,
}

#[derive(Clone, Debug)]
enum Entry {
    Host(Rule),
    Url(UrlRule),
    Record(RecordRule),
}

impl PolicySource {
    /// `tls`: whether the run looks into all TLS.
    #[must_use]
    pub fn new(base: Policy, tls: bool) -> Self {
        Self { base, added: Vec::new(), removed: Vec::new(), tls }
    }

    /// The policy after `edit`, and what that did.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once. Nothing has changed then.
    pub fn edit(&mut self, edit: &Edit<'_>) -> Result<(Policy, Vec<Change>), Vec<EditError>> {
        let (mut next, mut errors, mut changes) = (self.clone(), Vec::new(), Vec::new());
        for parsed in edit.parse() {
            let done = parsed.and_then(|entry| match edit.remove {
                true => next.remove(entry),
                false => next.add(entry),
            });
            match done {
                Ok(change) => changes.push(change),
                Err(error) => errors.push(error),
            }
        }
        let policy = next.policy();
        errors.extend(policy.without_host_ports().into_iter().map(EditError::from));
        errors.extend(policy.own_loopback().into_iter().map(EditError::from));
        if !errors.is_empty() {
            return Err(errors);
        }
        *self = next;
        Ok((policy, changes))
    }

    /// The policy of now.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let mut builder = Builder::default();
        self.base.refill(&mut builder, &self.removed);
        let mut records: Vec<_> =
            self.base.record_rules().iter().map(|rule| RecordRule::clone(rule)).collect();
        records.retain(|rule| !self.removed.iter().any(|gone| gone.is(&Entry::Record(rule.clone()))));
        for entry in &self.added {
            match entry {
                Entry::Host(rule) => builder.rule(rule.clone()),
                Entry::Url(rule) => builder.url(rule.clone()),
                Entry::Record(rule) => records.push(rule.clone()),
            }
        }
        let flags = self.base.host_grants().iter().filter(|grant| grant.is_by_flag()).cloned();
        let mut policy = builder.build().with_records(records).with_host_ports(flags.collect::<Vec<Grant>>());
        policy.own.clone_from(&self.base.own);
        policy.also.clone_from(&self.base.also);
        policy
    }

    fn add(&mut self, entry: Entry) -> Result<Change, EditError> {
        let (text, place) = (entry.text(), ALLOWED);
        match &entry {
            Entry::Url(rule) if !self.tls && rule.protocol() == Protocol::Tls => {
                return Err(EditError::NeedsTls { place, text });
            }
            Entry::Url(rule) if !self.base.opens(&rule.opening()) => {
                return Err(EditError::HostPort { place, text });
            }
            // A block rule opens nothing.
            Entry::Host(rule) if rule.list == List::Allow && !self.base.opens(rule) => {
                return Err(EditError::HostPort { place, text });
            }
            _ => {}
        }
        if self.has(&entry) {
            return Ok(Change::Known(text));
        }
        self.added.push(entry);
        Ok(Change::Added(text))
    }

    fn remove(&mut self, entry: Entry) -> Result<Change, EditError> {
        let text = entry.text();
        if !self.has(&entry) {
            return Err(EditError::NotThere { place: entry.place(), text });
        }
        self.added.retain(|added| !added.is(&entry));
        if self.base.has(&entry) {
            self.removed.push(entry);
        }
        Ok(Change::Removed(text))
    }

    fn has(&self, entry: &Entry) -> bool {
        let from_the_start = self.base.has(entry) && !self.removed.iter().any(|gone| gone.is(entry));
        from_the_start || self.added.iter().any(|added| added.is(entry))
    }
}

impl Edit<'_> {
    fn place(&self) -> Place {
        if self.list == List::Allow { ALLOWED } else { DENIED }
    }

    fn parse(&self) -> Vec<Result<Entry, EditError>> {
        let texts = self.entries.iter().flat_map(|entry| entry.split(','));
        let texts: Vec<_> = texts.map(str::trim).filter(|text| !text.is_empty()).collect();
        if texts.is_empty() {
            return vec![Err(EditError::Empty(self.place()))];
        }
        texts.into_iter().map(|text| self.entry(text)).collect()
    }

    /// One entry, as it would be written behind the flag of its kind.
    fn entry(&self, text: &str) -> Result<Entry, EditError> {
        let (host, place) = (!is_url(text) && !is_record(text), self.place());
        match self.list {
            List::Block if !host => Err(EditError::NoHost { place, text: text.to_owned() }),
            _ if host => Ok(Entry::Host(Rule::parse(text, self.list, place)?)),
            _ if is_url(text) => Ok(Entry::Url(UrlRule::parse(text, place)?)),
            _ => Ok(Entry::Record(RecordRule::parse(text, place)?)),
        }
    }
}

/// Whether there is more behind a scheme than a host.
fn is_url(text: &str) -> bool {
    let path = text.split_once("://").and_then(|(_, rest)| Some(rest.split_once('/')?.1));
    path.is_some_and(|path| !path.is_empty())
}

/// Whether it begins as the types of records do: names are not written in capitals alone.
fn is_record(text: &str) -> bool {
    let types = text.split_once(':').map_or("", |(types, _)| types);
    !types.is_empty() && types.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'+')
}

impl Entry {
    fn text(&self) -> String {
        match self {
            Self::Host(rule) => rule.text.to_string(),
            Self::Url(rule) => rule.text().to_string(),
            Self::Record(rule) => rule.text().to_string(),
        }
    }

    fn place(&self) -> Place {
        match self {
            Self::Host(rule) => rule.place.clone(),
            Self::Url(rule) => rule.place().clone(),
            Self::Record(rule) => rule.place().clone(),
        }
    }

    /// Whether both say the same, however it was written.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Host(a), Self::Host(b)) => a.says(b),
            (Self::Url(a), Self::Url(b)) => a.says(b),
            (Self::Record(a), Self::Record(b)) => a.says(b),
            _ => false,
        }
    }
}

impl Rule {
    fn says(&self, other: &Self) -> bool {
        (self.list, &self.subject, self.service, self.for_urls)
            == (other.list, &other.subject, other.service, other.for_urls)
    }
}

impl Policy {
    fn index(&self, list: List) -> &Index {
        match list {
            List::Allow => &self.allow,
            List::Block => &self.block,
        }
    }

    fn has(&self, entry: &Entry) -> bool {
        match entry {
            Entry::Host(rule) => {
                let index = self.index(rule.list);
                let line = |hit: Hit<'_>| match hit {
                    Hit::Line(line) => line.to_rule().is_some_and(|own| own.says(rule)),
                    Hit::Rule(_) => false,
                };
                let in_file = match &rule.subject {
                    Subject::Name(pattern) => index.of(pattern.base.as_str()).any(line),
                    _ => false,
                };
                in_file || index.whole().any(|(_, own)| own.says(rule))
            }
            Entry::Url(rule) => self.url_rules().iter().any(|own| own.says(rule)),
            Entry::Record(rule) => self.record_rules().iter().any(|own| own.says(rule)),
        }
    }

    /// Whether a rule opens nothing but what was open from the start, of the host's loopback.
    fn opens(&self, rule: &Rule) -> bool {
        let port = rule.service.port;
        rule.subject != Subject::Local
            || port.is_none_or(|port| self.host_ports_alone().any(|own| own == port))
    }

    /// Gives `builder` all rules in the order in which they were given, but those that are `gone`.
    fn refill(&self, builder: &mut Builder, gone: &[Entry]) {
        let is_gone = |entry: &Entry| gone.iter().any(|gone| gone.is(entry));
        for list in [List::Allow, List::Block] {
            let index = self.index(list);
            let sheets = index.lines.sheets();
            // What of a list file is no plain name is kept as a rule, and is read again with its file.
            let again = |rule: &Rule| sheets.iter().any(|sheet| Some(sheet.path()) == rule.place.file());
            let mut sheets = sheets.iter().peekable();
            for (order, rule) in index.whole().filter(|(_, rule)| !rule.for_urls && !again(rule)) {
                while let Some(sheet) = sheets.next_if(|sheet| sheet.order() < order) {
                    sheet.refill(builder, list, gone);
                }
                if !is_gone(&Entry::Host(rule.clone())) {
                    builder.rule(rule.clone());
                }
            }
            sheets.for_each(|sheet| sheet.refill(builder, list, gone));
        }
        for rule in self.url_rules() {
            if !is_gone(&Entry::Url(UrlRule::clone(rule))) {
                builder.url(UrlRule::clone(rule));
            }
        }
    }
}

impl super::lines::Sheet {
    fn refill(&self, builder: &mut Builder, list: List, gone: &[Entry]) {
        let mut sheet = builder.sheet(self.path(), list, self.text().clone());
        let is_gone = |range: &Range<usize>, line| {
            let text = String::from_utf8_lossy(&self.text()[range.clone()]);
            let place = Place::Line { path: Arc::clone(self.path()), line };
            let rule = Rule::parse(&text, list, place).map(Entry::Host);
            rule.is_ok_and(|entry| gone.iter().any(|gone| gone.is(&entry)))
        };
        for (line, range) in entries(self.text()) {
            let Some(range) = range else { continue };
            if gone.is_empty() || !is_gone(&range, line) {
                // It was an entry when the file was read first.
                let _ = sheet.entry(range, line);
            }
        }
    }
}
