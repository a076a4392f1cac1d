//! The question ([`Target`]) and the answer ([`Verdict`]) of the policy.

use std::{fmt, net::IpAddr, sync::Arc};

use super::{DomainName, Reason};

/// Who is to be reached: a name, or an address literal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    Name(DomainName),
    Ip(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

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
