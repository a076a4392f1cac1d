//! Compiles a policy, one rule or one line of a file at a time.

use std::{collections::HashSet, ops::Range, sync::Arc};

use bytes::Bytes;

use super::{
    List, Place, Policy, Rule, RuleError, host_grants::HostPorts, index::Index, plain, records::Records,
    rule::Subject, url::Urls,
};

/// A policy being compiled. Rules count in the order given.
#[derive(Debug, Default)]
pub struct Builder {
    allow: Index,
    block: Index,
    /// The ports that allow rules are about.
    ports: HashSet<u16>,
    host: HostPorts,
    pub(super) urls: Urls,
    order: u64,
}

impl Builder {
    /// Adds a rule; it knows its list.
    pub fn rule(&mut self, rule: Rule) {
        let order = self.order;
        self.order += 1;
        self.whole(rule, order);
    }

    /// Adds the text of a list file, whose entries are then named one by one. The text is kept, not copied.
    pub fn sheet(&mut self, path: &str, list: List, text: Bytes) -> Sheet<'_> {
        let path: Arc<str> = path.into();
        let order = self.order;
        self.order += text.len() as u64 + 1;
        let in_place = self.index(list).open(Arc::clone(&path), list, text.clone(), order);
        Sheet { builder: self, path, list, text, order, in_place }
    }

    /// The compiled policy.
    #[must_use]
    pub fn build(self) -> Policy {
        Policy {
            allow: Arc::new(self.allow),
            block: Arc::new(self.block),
            ports: self.ports,
            own: HashSet::new(),
            host: self.host,
            records: Records::default(),
            urls: Arc::new(self.urls),
            also: Vec::new(),
        }
    }

    fn whole(&mut self, rule: Rule, order: u64) {
        let list = rule.list();
        if rule.subject == Subject::Local {
            self.host.rule(&rule);
            return self.index(list).add(rule, order);
        }
        if list == List::Allow {
            self.ports.extend(rule.service.allowed_ports());
        }
        self.index(list).add(rule, order);
    }

    fn index(&mut self, list: List) -> &mut Index {
        match list {
            List::Allow => &mut self.allow,
            List::Block => &mut self.block,
        }
    }
}

/// A list file being read.
#[derive(Debug)]
pub struct Sheet<'a> {
    builder: &'a mut Builder,
    path: Arc<str>,
    list: List,
    text: Bytes,
    order: u64,
    /// Whether entries can be kept as positions in the text.
    in_place: bool,
}

impl Sheet<'_> {
    /// Adds the entry at `range` of the text, on line `number`, from 1. Entries come in the order of the text.
    ///
    /// # Errors
    /// As [`Rule::parse`].
    pub fn entry(&mut self, range: Range<usize>, number: usize) -> Result<(), RuleError> {
        let entry = self.text.get(range.clone()).unwrap_or_default();
        let plain = plain::read(entry, self.list).filter(|_| self.in_place);
        if let Some((at, base)) = plain
            && self.builder.index(self.list).add_line(range.start + at, base.as_bytes(), number)
        {
            if self.list == List::Allow {
                let form = plain::Form::ending(&entry[..at]).0;
                self.builder.ports.extend(form.service().allowed_ports());
            }
            return Ok(());
        }
        let place = Place::Line { path: Arc::clone(&self.path), line: number };
        let text = String::from_utf8_lossy(entry);
        let rule = Rule::parse(&text, self.list, place)?;
        self.builder.whole(rule, self.order + range.start as u64);
        Ok(())
    }
}
