//! Why a text is not a rule, and what to write instead.

use super::{AddressClass, NameError, Place, host_ports::PortProblem, url::TargetError};

/// A text that is not a rule, where it stands, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {text:?} {problem}{}", .advice.as_ref().map_or(String::new(), |a| format!("; {a}")))]
pub struct RuleError {
    /// As written; cut when very long.
    pub text: String,
    pub place: Place,
    pub problem: Problem,
    /// What to do instead.
    pub advice: Option<String>,
}

/// Why a text is not a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("names no host")]
    Empty,
    #[error("contains {0:?}")]
    Character(char),
    #[error("would match everything")]
    Everything,
    #[error("is too broad: {0} is a public suffix, anybody may register names below it")]
    PublicSuffix(String),
    #[error("has a * where names are registered: anybody may register one that fits")]
    RegistrableWildcard,
    #[error("has a * in its last label, where it would match names of every top-level domain")]
    WildcardEnd,
    #[error("has two * in a row")]
    DoubleStar,
    #[error("has a * in a label that is not plain ASCII letters, digits, - and _")]
    WildcardLabel,
    #[error("has the label {0:?}, which begins or ends with a hyphen: no host name does (RFC 952)")]
    Hyphen(String),
    #[error("says both = (this name only) and * (many names)")]
    ExactWildcard,
    #[error("says = of an address, which is exact already")]
    ExactAddress,
    #[error("has a path or a query: a rule names a host, not a page")]
    Path,
    #[error("has no path: a URL rule says which URLs of a host")]
    UrlPath,
    #[error(
        "begins with {}; the URLs that can be judged begin with https:// or http://",
        if .0.is_empty() { "no scheme".to_owned() } else { format!("{}://", .0) }
    )]
    UrlScheme(String),
    #[error("has the method {0:?}")]
    Method(String),
    #[error("has segments . or .. in its path")]
    DotSegments,
    #[error("has a path or query that {0}")]
    Url(TargetError),
    #[error("contains credentials (something before an @)")]
    Credentials,
    #[error("begins with {0}://, which is not one of https://, http:// and tcp://")]
    Scheme(String),
    #[error("has the port {0:?}; ports are the numbers 1 to 65535")]
    Port(String),
    #[error("needs a port, because tcp:// has no usual one")]
    PortMissing,
    #[error("is not a host name: {0}")]
    Name(NameError),
    #[error("never resolves: {0} is reserved (RFC 6761, RFC 7686)")]
    NeverResolves(&'static str),
    #[error("is not localhost itself, by which rules name this host's loopback")]
    Localhost,
    #[error("opens no port of this host by itself")]
    NoHostPort,
    #[error("is loopback, which is the command's own")]
    OwnLoopback,
    #[error(transparent)]
    HostPort(#[from] PortProblem),
    #[error("has the prefix length {0:?}; IPv4 allows 0 to 32, IPv6 0 to 128")]
    Prefix(String),
    #[error("has bits set behind its prefix")]
    HostBits,
    #[error("covers more of the address space than any one network has")]
    TooWide,
    #[error("is {0}, which nothing can connect to")]
    Unreachable(AddressClass),
    #[error("is not an IP address or network")]
    NotAddress,
    #[error("is not TYPE:NAME, like TXT:example.com")]
    RecordForm,
    #[error("names more than a name behind the record type")]
    RecordName,
    #[error("asks for records of the type {0:?}, which cannot be allowed")]
    RecordType(String),
}
