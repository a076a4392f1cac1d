//! A domain name, parsed once and trusted from there on.

use std::fmt;

/// A normalised DNS name: lower case ASCII (A-labels), no trailing dot, 1 to 253 bytes, labels of 1 to 63
/// bytes out of letters, digits, `-` and `_`; never an IPv4 literal.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainName(Box<str>);

/// Why a text is not a [`DomainName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("the name is empty")]
    Empty,
    #[error("the name is {0} bytes long; DNS allows 253")]
    TooLong(usize),
    #[error("the name has an empty label (two dots in a row, or one at its start)")]
    EmptyLabel,
    #[error("the label {0:?} is longer than 63 bytes")]
    LabelTooLong(String),
    #[error("the name contains {0:?}, which no host name may")]
    BadCharacter(char),
    #[error("the name is an IP address, not a name")]
    Address,
    #[error("the name is not valid internationalised text (IDNA)")]
    Idna,
}

impl DomainName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}
