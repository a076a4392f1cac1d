//! The target of a request in the one form that is judged and sent: RFC 3986 section 6.2.2.

use super::readings::{self, Reading};

/// The path and query of a request, normalised: escapes in upper case, those of unreserved characters decoded, dot
/// segments removed, repeated slashes made one. To normalise it again changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTarget {
    path: String,
    query: Option<String>,
}

/// Why a text is no path and query that can be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("does not begin with a /")]
    NoSlash,
    #[error("contains {0:?}, which stands in no URL as it is")]
    Character(char),
    #[error("contains {0:?}: two hexadecimal digits must follow a %")]
    Escape(String),
    #[error("contains the control character %{0:02X}")]
    Control(u8),
    #[error("contains an escape that is not UTF-8, and that some servers read as another character")]
    Overlong,
    #[error("is escaped more than {0} times")]
    Depth(usize),
    #[error("can be read in too many ways by different servers")]
    Readings,
}

/// Which part of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Path,
    Query,
}

impl RequestTarget {
    /// Reads and normalises `/path?query`.
    ///
    /// # Errors
    /// What servers may read in ways of their own: raw characters that a URL does not have, broken or overlong
    /// escapes, control characters (in a query NUL alone: a line feed in a text is usual there), a fragment.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
        if !path.starts_with('/') {
            return Err(TargetError::NoSlash);
        }
        let path = resolve(&escapes(path, Part::Path)?, Empty::Dropped);
        let query = query.map(|query| escapes(query, Part::Query)).transpose()?;
        Ok(Self { path, query })
    }

    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// What different servers may take it for, itself first.
    pub(super) fn readings(&self) -> Result<Vec<Reading>, TargetError> {
        readings::of(&self.path, self.query.as_deref())
    }
}

impl std::fmt::Display for RequestTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.path)?;
        self.query.iter().try_for_each(|query| write!(f, "?{query}"))
    }
}

/// `text` with its escapes in one form, and with escapes for what should have had one.
pub(super) fn escapes(text: &str, part: Part) -> Result<String, TargetError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let byte = if c == '%' { Some(escape(rest)?) } else { None };
        rest = &rest[byte.map_or(c.len_utf8(), |_| 3)..];
        match (byte, c) {
            (Some(byte), _) if is_unreserved(byte) => out.push(char::from(byte)),
            (Some(byte), _) if byte.is_ascii_control() && (part == Part::Path || byte == 0) => {
                return Err(TargetError::Control(byte));
            }
            (Some(byte), _) => push_escape(&mut out, byte),
            (None, '#') | (None, '\\') if c == '#' || part == Part::Path => {
                return Err(TargetError::Character(c));
            }
            // Clients send these as they are, though RFC 3986 has no place for them; every server reads both alike.
            (None, '"' | '<' | '>' | '[' | ']' | '^' | '`' | '{' | '|' | '}' | '\\') => {
                push_escape(&mut out, c as u8);
            }
            (None, c) if c.is_ascii_graphic() => out.push(c),
            (None, c) => return Err(TargetError::Character(c)),
        }
    }
    if part == Part::Path && is_overlong(&out) {
        return Err(TargetError::Overlong);
    }
    Ok(out)
}

/// The byte of the escape that `text` begins with.
fn escape(text: &str) -> Result<u8, TargetError> {
    let hex = text.get(1..3).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
    byte.ok_or_else(|| TargetError::Escape(text.chars().take(3).collect()))
}

pub(super) fn push_escape(out: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(HEX[usize::from(byte >> 4)]));
    out.push(char::from(HEX[usize::from(byte & 15)]));
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Whether escapes of `path` hold bytes that UTF-8 never has and that careless decoders make an ASCII character of:
/// `%C0%AF` for a slash (RFC 3629 section 10).
fn is_overlong(path: &str) -> bool {
    let bytes = decoded(path);
    bytes.iter().zip(bytes.iter().skip(1).chain([&0])).any(|(&first, &second)| match first {
        0xc0 | 0xc1 | 0xf5.. => true,
        0xe0 => (0x80..0xa0).contains(&second),
        0xf0 => (0x80..0x90).contains(&second),
        _ => false,
    })
}

fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.bytes().next() {
        let escaped = if first == b'%' { escape(rest).ok() } else { None };
        let (byte, length) = escaped.map_or((first, 1), |byte| (byte, 3));
        bytes.push(byte);
        // Past the escapes everything is ASCII.
        rest = rest.get(length..).unwrap_or_default();
    }
    bytes
}

/// What becomes of empty segments while dot segments are removed. Servers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Empty {
    /// `/a//../b` is `/b`.
    Dropped,
    /// `/a//../b` is `/a/b` (RFC 3986 section 5.2.4).
    Counted,
}

/// `path` without dot segments and repeated slashes.
pub(super) fn resolve(path: &str, empty: Empty) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut open = true;
    for segment in path.split('/').skip(1) {
        open = matches!(segment, "" | "." | "..");
        match segment {
            "" if empty == Empty::Dropped => {}
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in kept.into_iter().filter(|segment| !segment.is_empty()) {
        out.push('/');
        out.push_str(segment);
    }
    if open || out.is_empty() {
        out.push('/');
    }
    out
}
