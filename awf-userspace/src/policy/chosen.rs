//! How much of an allowed name its asker was free to choose, and among whose names it is: what a limit on data
//! inside of names needs to know.

use super::{DomainName, Policy, suffix};

/// The parts of an allowed name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen<'a> {
    /// What stands before the part that the rule writes out, without the dot between; empty when the rule writes
    /// out all of it.
    pub part: &'a str,
    /// The domain of one owner: the registrable domain, or what the rule writes out where there is none.
    pub owner: &'a str,
    /// What the rule writes out, if that is a zone of many owners (`github.io`).
    pub zone: Option<&'a str>,
}

impl<'a> Chosen<'a> {
    /// Of a name that the operator wrote out.
    #[must_use]
    pub fn nothing(name: &'a DomainName) -> Self {
        Self { part: "", owner: name.as_str(), zone: None }
    }
}

impl Policy {
    /// [`Policy::chosen`] by these rules alone.
    pub(super) fn chosen_alone<'a>(&self, name: &'a DomainName) -> Chosen<'a> {
        let text = name.as_str();
        let by_domain = self.allow.matching(name).map(|rule| rule.base().len());
        let by_record = self.records.base(name).map(|base| base.as_str().len());
        let written = by_domain.chain(by_record).max().unwrap_or(0).min(text.len());
        let (part, written) = text.split_at(text.len() - written);
        let part = part.strip_suffix('.').unwrap_or(part);
        match suffix::registrable(text) {
            Some(owner) if owner.len() > written.len() && !written.is_empty() => {
                Chosen { part, owner, zone: Some(written) }
            }
            Some(owner) => Chosen { part, owner, zone: None },
            None => Chosen { part, owner: written, zone: None },
        }
    }
}
