//! A domain name, parsed once and trusted from there on.

use std::{borrow::Borrow, fmt};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// The longest name in bytes, without its trailing dot (RFC 1035, 2.3.4: 255 octets on the wire).
pub const MAX_NAME: usize = 253;
/// The longest label in bytes (RFC 1035, 2.3.4).
pub const MAX_LABEL: usize = 63;
/// What is longer than this is refused unread: even characters that IDNA drops do not make it a name.
const MAX_INPUT: usize = 4 * MAX_NAME;

/// A normalised DNS name: lower case ASCII (A-labels), no trailing dot, 1 to 253 bytes, labels of 1 to 63
/// bytes out of letters, digits, `-` and `_`; never an IPv4 literal.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainName(Box<str>);

/// Why a text is not a [`DomainName`] (or not a [`super::Host`]).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("the name is empty")]
    Empty,
    #[error("the name is {0} bytes long; DNS allows {MAX_NAME}")]
    TooLong(usize),
    #[error("the name has an empty label (two dots in a row, or one at its start)")]
    EmptyLabel,
    #[error("the label {0:?} is longer than {MAX_LABEL} bytes")]
    LabelTooLong(String),
    #[error("the name contains {0:?}, which no host name may")]
    BadCharacter(char),
    #[error(
        "it ends in a number, so programs read it as an IPv4 address, and not one in the usual form a.b.c.d"
    )]
    Address,
    #[error("the name is not valid internationalised text (IDNA)")]
    Idna,
    #[error("it is not a valid IPv6 address")]
    Ipv6,
    #[error("an address with a zone id (%...) means something on one link only")]
    ZoneId,
}

impl DomainName {
    /// Parses a name from a rule, a header or a handshake: folds case, drops one trailing dot, turns
    /// internationalised names into A-labels (UTS 46, so that U+3002 and its kin are dots).
    ///
    /// # Errors
    /// See [`NameError`]. Whatever ends in a number (`127.1`, `0x7f.1`, `2130706433`, `1.2.3.4`) is refused:
    /// `inet_aton` and the URL standard's "ends in a number" rule make an address of it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_INPUT {
            return Err(NameError::TooLong(text.len()));
        }
        if text.is_ascii() {
            return Self::from_ascii(text);
        }
        // Only what ASCII holds is checked by the same code as for everybody else, below.
        let ascii = Uts46::new()
            .to_ascii(text.as_bytes(), AsciiDenyList::URL, Hyphens::Allow, DnsLength::Ignore)
            .map_err(|_| NameError::Idna)?;
        Self::from_ascii(&ascii)
    }

    /// Parses the bytes of a wire format that allows ASCII only (SNI: RFC 6066, 3; Host: RFC 9110, 7.2).
    ///
    /// # Errors
    /// As [`DomainName::parse`]; a byte above 0x7f is a [`NameError::BadCharacter`], never interpreted.
    pub fn from_wire(bytes: &[u8]) -> Result<Self, NameError> {
        match bytes.iter().find(|b| !b.is_ascii()) {
            Some(&byte) => Err(NameError::BadCharacter(char::from(byte))),
            None => Self::parse(str::from_utf8(bytes).map_err(|_| NameError::Idna)?),
        }
    }

    /// Joins the labels of a DNS message (RFC 1035, 3.1), root label left out. A label with a dot inside does
    /// not become two.
    ///
    /// # Errors
    /// As [`DomainName::from_wire`].
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, NameError> {
        let mut joined = Vec::with_capacity(MAX_NAME);
        for label in labels {
            if label.is_empty() {
                return Err(NameError::EmptyLabel);
            }
            if label.contains(&b'.') {
                return Err(NameError::BadCharacter('.'));
            }
            if !joined.is_empty() {
                joined.push(b'.');
            }
            joined.extend_from_slice(label);
            if joined.len() > MAX_NAME {
                return Err(NameError::TooLong(joined.len()));
            }
        }
        Self::from_wire(&joined)
    }

    fn from_ascii(text: &str) -> Result<Self, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_NAME {
            return Err(NameError::TooLong(text.len()));
        }
        for label in text.split('.') {
            check_label(label)?;
        }
        if ends_in_number(text) {
            return Err(NameError::Address);
        }
        Ok(Self(text.to_ascii_lowercase().into_boxed_str()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The labels, leftmost first.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }

    /// The name itself, then what is left after each dot: `a.b.c`, `b.c`, `c`.
    pub fn suffixes(&self) -> impl Iterator<Item = &str> {
        let mut rest = Some(self.as_str());
        std::iter::from_fn(move || {
            let current = rest?;
            rest = current.split_once('.').map(|(_, tail)| tail);
            Some(current)
        })
    }

    /// Whether this name is below `zone`, at a label boundary; a name is not below itself.
    #[must_use]
    pub fn is_below(&self, zone: &Self) -> bool {
        self.0.strip_suffix(zone.as_str()).is_some_and(|head| head.ends_with('.'))
    }
}

fn check_label(label: &str) -> Result<(), NameError> {
    if label.is_empty() {
        return Err(NameError::EmptyLabel);
    }
    if label.len() > MAX_LABEL {
        return Err(NameError::LabelTooLong(label.to_owned()));
    }
    match label.chars().find(|&c| !is_name_char(c)) {
        Some(bad) => Err(NameError::BadCharacter(bad)),
        None => Ok(()),
    }
}

/// Letters, digits, hyphen; and the underscore, which real hosts have and resolvers accept.
pub(super) fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

/// The "ends in a number" test of the URL standard (whatwg.org, 3.5): the last label is all digits, or `0x`
/// and hex digits.
fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    last.bytes().all(|b| b.is_ascii_digit())
        || hex.is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

impl Borrow<str> for DomainName {
    fn borrow(&self) -> &str {
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
