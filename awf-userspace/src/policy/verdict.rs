//! The question ([`Target`]) and the answer ([`Verdict`]) of the policy.

use std::sync::Arc;

use super::{Host, Reason};

/// What the connection really speaks, as sniffed; never what its port suggests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// A TLS ClientHello came first.
    Tls,
    /// Clear-text HTTP.
    Http,
    /// Anything else over TCP.
    Other,
}

/// One thing the command wants to reach.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub host: &'a Host,
    pub port: u16,
    pub protocol: Protocol,
}

/// What the policy says of a [`Target`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow(Allowed),
    Deny(Denied),
}

impl Verdict {
    #[must_use]
    pub fn is_allow(&self) -> bool {
        matches!(self, Self::Allow(_))
    }

    /// The refusal, if it is one.
    #[must_use]
    pub fn denied(&self) -> Option<&Denied> {
        match self {
            Self::Allow(_) => None,
            Self::Deny(denied) => Some(denied),
        }
    }
}

/// An allowed target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The rule that allows it, as the user wrote it.
    pub rule: Arc<str>,
}

/// A refused target, with what the user needs to understand and to change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    pub reason: Reason,
    /// The block rule that refuses it, or the nearest allow rule that did not match; as the user wrote it.
    pub rule: Option<Arc<str>>,
    /// One sentence for a person or an agent.
    pub message: String,
    /// The flag to paste to allow it, e.g. `--allow-domains example.com`; `None` where none would.
    pub allow_with: Option<String>,
}
