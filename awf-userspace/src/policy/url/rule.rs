//! A URL rule: whom it is about, which methods, which paths and queries.

use std::{fmt, sync::Arc};

use super::{glob::Glob, readings::Reading};
use crate::policy::{
    Host, List, Note, Place, Protocol, Rule,
    host_ports::is_local,
    rule::{Scheme, Service, Subject},
};

/// One entry of `--allow-urls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlRule {
    pub(super) text: Arc<str>,
    pub(super) place: Place,
    /// Empty: any.
    pub(super) methods: Vec<Box<str>>,
    pub(super) subject: Subject,
    /// Never [`Scheme::Web`] or [`Scheme::Tcp`], never without a port.
    pub(super) service: Service,
    /// The pattern as it is written.
    pub(super) written: Pages,
    /// The pattern as some server may read it, where it can be read in several ways; with `written`.
    pub(super) read: Vec<Pages>,
    pub(super) notes: Vec<Note>,
}

/// A set of paths, and of queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pages {
    pub(super) path: Glob,
    /// `None`: any query, or none.
    pub(super) query: Option<Glob>,
}

impl Pages {
    pub(super) fn contain(&self, reading: &Reading) -> bool {
        let query = reading.query.as_deref().unwrap_or_default();
        self.path.matches(&reading.path) && self.query.as_ref().is_none_or(|glob| glob.matches(query))
    }
}

impl UrlRule {
    /// The rule as it was written.
    #[must_use]
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What the reader of the rule should know.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Whether `other` says the same.
    pub(crate) fn says(&self, other: &Self) -> bool {
        (&self.methods, &self.subject, self.service, &self.written)
            == (&other.methods, &other.subject, other.service, &other.written)
    }

    /// Of TLS, or of clear text.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        if self.service.scheme == Scheme::Https { Protocol::Tls } else { Protocol::Http }
    }

    /// The name or address that it writes out; `None` of this host's loopback.
    #[must_use]
    pub fn base(&self) -> Option<Host> {
        match &self.subject {
            Subject::Name(pattern) => Some(Host::Name(pattern.base.clone())),
            Subject::Net(net) => Some(Host::from(net.addr())),
            Subject::Local => None,
        }
    }

    /// The one port it is about.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.service.port.unwrap_or_default()
    }

    pub(super) fn names(&self, host: &Host) -> bool {
        match (&self.subject, host) {
            (Subject::Name(pattern), Host::Name(name)) => {
                (*name == pattern.base || name.is_below(&pattern.base)) && pattern.matches(name)
            }
            (Subject::Net(net), Host::Ip(ip)) => net.contains(&ip.to_canonical()),
            (Subject::Local, host) => is_local(host),
            _ => false,
        }
    }

    pub(super) fn has_method(&self, method: &str) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|own| **own == *method)
    }

    /// The rule by which its host may be resolved and dialled at all.
    pub(crate) fn opening(&self) -> Rule {
        Rule {
            text: Arc::clone(&self.text),
            place: self.place.clone(),
            list: List::Allow,
            subject: self.subject.clone(),
            service: self.service,
            notes: Vec::new(),
            for_urls: true,
        }
    }
}

impl fmt::Display for UrlRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.place)
    }
}
