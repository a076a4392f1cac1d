//! Entries of list files that are no more than a name: recognised without building a [`super::Rule`], and read back
//! from the file's text when they are found.

use super::{
    List,
    host_ports::DOCKER_NAME,
    name::{MAX_LABEL, MAX_NAME},
    parse_name::NEVER_RESOLVE,
    rule::{Scheme, Service},
    suffix,
};

/// Which names around the base an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// `x.com`
    Tree,
    /// `=x.com`
    Exact,
    /// `*.x.com`
    Below,
}

/// What stands before the base of an entry: `[=][https://|http://][*.]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) reach: Reach,
    pub(super) scheme: Scheme,
}

impl Form {
    /// The form of the entry whose base follows `before`, and its length. What precedes an entry in a file (a line
    /// feed, a comma, a blank, a byte order mark) cannot be taken for a part of it.
    pub(super) fn ending(before: &[u8]) -> (Self, usize) {
        let (below, rest) = strip(before, b"*.");
        let (https, rest) = strip(rest, b"https://");
        let (http, rest) = if https { (false, rest) } else { strip(rest, b"http://") };
        let (exact, rest) = strip(rest, b"=");
        let reach = match (below, exact) {
            (true, _) => Reach::Below,
            (false, true) => Reach::Exact,
            (false, false) => Reach::Tree,
        };
        let scheme = match (https, http) {
            (true, _) => Scheme::Https,
            (false, true) => Scheme::Http,
            (false, false) => Scheme::Web,
        };
        (Self { reach, scheme }, before.len() - rest.len())
    }

    pub(super) fn service(self) -> Service {
        Service { scheme: self.scheme, port: None }
    }

    /// Whether nothing that `other` says of the same base is left to say.
    pub(super) fn covers(self, other: Self) -> bool {
        let reach = self.reach == Reach::Tree || self.reach == other.reach;
        reach && (self.scheme == Scheme::Web || self.scheme == other.scheme)
    }

    /// Whether the entry is about a name: the base itself, or one below it.
    pub(super) fn matches(self, is_base: bool) -> bool {
        match self.reach {
            Reach::Tree => true,
            Reach::Exact => is_base,
            Reach::Below => !is_base,
        }
    }
}

fn strip<'a>(bytes: &'a [u8], end: &[u8]) -> (bool, &'a [u8]) {
    bytes.strip_suffix(end).map_or((false, bytes), |rest| (true, rest))
}

/// The bytes of a base; the first other one ends it.
pub(super) fn is_base_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// A name in lower case, on the stack.
pub(super) struct Base {
    bytes: [u8; MAX_NAME],
    len: usize,
}

impl Base {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Where the base of `entry` begins, and the base, if `entry` is a rule that [`super::Rule::parse`] would take as it
/// stands, without a port and without a word about it. Whatever is doubtful is left to it.
pub(super) fn read(entry: &[u8], list: List) -> Option<(usize, Base)> {
    let len = entry.iter().rev().take_while(|&&b| is_base_byte(b)).count();
    let mut at = entry.len() - len;
    // The dot of `*.` is a byte of names, too.
    if at > 0 && entry[at - 1] == b'*' && entry.get(at) == Some(&b'.') {
        at += 1;
    }
    let (form, before) = Form::ending(&entry[..at]);
    if before != at || (form.reach == Reach::Below && entry.starts_with(b"=")) {
        return None;
    }
    if list == List::Block && form.scheme != Scheme::Web {
        return None;
    }
    let base = lower(&entry[at..], if form.reach == Reach::Below { MAX_NAME - 2 } else { MAX_NAME })?;
    let plain = labels_are_plain(base.as_bytes());
    let unremarkable = || form.reach == Reach::Exact || suffix::of(base.as_bytes()).is_none();
    (plain && unremarkable()).then_some((at, base))
}

/// `text` in lower case; `None` if it is longer than `most`.
pub(super) fn lower(text: &[u8], most: usize) -> Option<Base> {
    if text.len() > most {
        return None;
    }
    let mut base = Base { bytes: [0; MAX_NAME], len: text.len() };
    base.bytes[..text.len()].copy_from_slice(text);
    base.bytes[..text.len()].make_ascii_lowercase();
    Some(base)
}

/// Two labels or more that no rule says anything about.
fn labels_are_plain(base: &[u8]) -> bool {
    let (mut count, mut last) = (0, &b""[..]);
    for label in base.split(|&b| b == b'.') {
        if label.is_empty() || label.len() > MAX_LABEL || label[0] == b'-' || label.ends_with(b"-") {
            return false;
        }
        (count, last) = (count + 1, label);
    }
    // What begins like a number may be one, in some spelling.
    let special = NEVER_RESOLVE.iter().any(|zone| zone.as_bytes() == last)
        || last == b"localhost"
        || base == DOCKER_NAME.as_bytes();
    count > 1 && !last[0].is_ascii_digit() && !special
}
