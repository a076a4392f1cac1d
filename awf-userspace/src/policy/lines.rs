//! Plain names of list files, kept as the files' own text and one offset each.
//!
//! A million names cost their text and some ten bytes each, and are compared with the text byte for byte: a hash
//! finds, it does not decide. The text is a copy in memory, not a mapping: whoever can write the file must not
//! change a policy that is in force.

use std::{fmt, hash::BuildHasher as _, sync::Arc};

use bytes::Bytes;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::{
    List, Place, Rule,
    name::MAX_NAME,
    plain::{self, Base, Form},
};

/// Bytes between two remembered positions: what is read again to tell the number of a line.
const STRIDE: usize = 4096;
/// Bytes from which the number of entries is guessed.
const SAMPLE: usize = 1 << 16;

/// One list file.
#[derive(Clone, Debug)]
pub(super) struct Sheet {
    path: Arc<str>,
    list: List,
    text: Bytes,
    /// Of its first byte, among the bytes of all sheets of the list.
    start: u32,
    /// Of its first byte, in the order in which rules were given.
    order: u64,
    /// Positions of entries, at most [`STRIDE`] bytes before any kept one, and their lines.
    marks: Vec<(usize, usize)>,
    /// Entries kept here.
    count: usize,
}

/// A line found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    sheet: &'a Sheet,
    /// Of its base.
    at: usize,
}

/// The plain names of one list.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    sheets: Vec<Sheet>,
    /// Positions of bases, among the bytes of all sheets.
    table: HashTable<u32>,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Here,
    /// An earlier entry says it already.
    Covered,
}

impl Lines {
    /// Takes the text of a file; `false` if there is no room for it among the positions, and its entries must be kept
    /// elsewhere.
    pub(super) fn open(
        &mut self,
        path: Arc<str>,
        list: List,
        text: Bytes,
        order: u64,
        hasher: &DefaultHashBuilder,
    ) -> bool {
        let start = self.sheets.last().map_or(0, |last| last.start as usize + last.text.len() + 1);
        let Ok(_) = u32::try_from(start + text.len()) else { return false };
        let start = u32::try_from(start).unwrap_or_default();
        self.reserve(&text, hasher);
        self.sheets.push(Sheet { path, list, text, start, order, marks: Vec::new(), count: 0 });
        true
    }

    /// Keeps the entry of the last file whose base stands at `at`, on line `number`.
    pub(super) fn add(&mut self, at: usize, base: &[u8], number: usize, hasher: &DefaultHashBuilder) -> Kept {
        let Some(sheet) = self.sheets.last_mut() else { return Kept::Covered };
        sheet.mark(at, number);
        let form = Form::ending(&sheet.text[..at]).0;
        let position = sheet.start + u32::try_from(at).unwrap_or_default();
        let hash = hasher.hash_one(base);
        let Self { sheets, table } = self;
        let same = |&other: &u32| line(sheets, other).filter(|line| line.is_of(base));
        if table.iter_hash(hash).filter_map(same).any(|other| other.form().covers(form)) {
            return Kept::Covered;
        }
        table.insert_unique(hash, position, |&position| rehash(sheets, position, hasher));
        if let Some(sheet) = sheets.last_mut() {
            sheet.count += 1;
        }
        Kept::Here
    }

    /// Makes room for about as many entries as a text of this kind has, so that they need not be moved.
    fn reserve(&mut self, text: &[u8], hasher: &DefaultHashBuilder) {
        let sample = text.get(..SAMPLE).unwrap_or(text);
        let lines = 1 + sample.iter().filter(|&&b| b == b'\n').count();
        let about = lines * (text.len() / sample.len().max(1));
        // An entry has four bytes or more; blank lines are none.
        let Self { sheets, table } = self;
        table.reserve(about.min(text.len() / 4), |&position| rehash(sheets, position, hasher));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The lines with this base, in lower case, in the order given. Forms that cover each other are kept once, so
    /// that there are few.
    pub(super) fn of<'a>(&'a self, hash: u64, base: &'a [u8]) -> impl Iterator<Item = Line<'a>> {
        let next = move |from: u32| {
            let same = |&position: &u32| {
                position >= from && line(&self.sheets, position).is_some_and(|line| line.is_of(base))
            };
            self.table.iter_hash(hash).copied().filter(same).min()
        };
        let positions = std::iter::successors(next(0), move |&last| next(last.checked_add(1)?));
        positions.filter_map(|position| line(&self.sheets, position))
    }

    /// All lines, in the order given, each with its place in the order of all rules.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, Line<'_>)> {
        let mut positions: Vec<u32> = self.table.iter().copied().collect();
        positions.sort_unstable();
        let lines = positions.into_iter().filter_map(|position| line(&self.sheets, position));
        lines.map(|line| (line.sheet.order + line.at as u64, line))
    }

    pub(super) fn sheets(&self) -> &[Sheet] {
        &self.sheets
    }
}

fn rehash(sheets: &[Sheet], position: u32, hasher: &DefaultHashBuilder) -> u64 {
    let base = line(sheets, position).and_then(|line| plain::lower(line.base(), MAX_NAME));
    hasher.hash_one(base.as_ref().map_or(&b""[..], Base::as_bytes))
}

/// The line whose base stands at `position`.
fn line(sheets: &[Sheet], position: u32) -> Option<Line<'_>> {
    let sheet = match sheets {
        [only] => only,
        many => many.get(many.partition_point(|sheet| sheet.start <= position).checked_sub(1)?)?,
    };
    Some(Line { sheet, at: (position - sheet.start) as usize })
}

impl Sheet {
    pub(super) fn text(&self) -> &Bytes {
        &self.text
    }

    pub(super) fn path(&self) -> &Arc<str> {
        &self.path
    }

    pub(super) fn order(&self) -> u64 {
        self.order
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    fn mark(&mut self, at: usize, number: usize) {
        if self.marks.last().is_none_or(|(last, _)| at >= last + STRIDE) {
            self.marks.push((at, number));
        }
    }

    /// The number of the line that `at` is on, from 1.
    fn number(&self, at: usize) -> usize {
        let mark = self.marks.partition_point(|(from, _)| *from <= at).checked_sub(1);
        let (from, number) = mark.and_then(|mark| self.marks.get(mark)).copied().unwrap_or((0, 1));
        let between = self.text.get(from..at).unwrap_or_default();
        number + between.iter().filter(|&&b| b == b'\n').count()
    }
}

impl<'a> Line<'a> {
    /// Whether `base`, in lower case, is its base.
    fn is_of(&self, base: &[u8]) -> bool {
        let text = &self.sheet.text;
        let end = self.at + base.len();
        let ends = || text.get(end).is_none_or(|&next| !plain::is_base_byte(next));
        text.get(self.at..end).is_some_and(|own| own.eq_ignore_ascii_case(base)) && ends()
    }

    pub(super) fn path(&self) -> &'a Arc<str> {
        &self.sheet.path
    }

    pub(super) fn form(&self) -> Form {
        Form::ending(self.before()).0
    }

    fn before(&self) -> &'a [u8] {
        self.sheet.text.get(..self.at).unwrap_or_default()
    }

    /// As written.
    pub(super) fn base(&self) -> &'a [u8] {
        let rest = self.sheet.text.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|&b| !plain::is_base_byte(b)).unwrap_or(rest.len());
        &rest[..end]
    }

    /// The entry as written.
    pub(super) fn text(&self) -> &'a str {
        let before = Form::ending(self.before()).1;
        let entry = self.sheet.text.get(self.at - before..self.at + self.base().len()).unwrap_or_default();
        str::from_utf8(entry).unwrap_or_default()
    }

    pub(super) fn place(&self) -> Place {
        Place::Line { path: Arc::clone(&self.sheet.path), line: self.sheet.number(self.at) }
    }

    /// As a rule of its own.
    pub(super) fn to_rule(self) -> Option<Rule> {
        Rule::parse(self.text(), self.sheet.list, self.place()).ok()
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text(), self.place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hash finds candidates; were it to decide, a name that collides with another's would be taken for it.
    #[test]
    fn what_a_hash_finds_is_compared_to_its_last_byte() {
        let hasher = DefaultHashBuilder::default();
        let mut lines = Lines::default();
        lines.open("l".into(), List::Allow, Bytes::from_static(b"x.example.com"), 0, &hasher);
        lines.add(0, b"x.example.com", 1, &hasher);
        let hash = hasher.hash_one(&b"x.example.com"[..]);
        let found = |base: &[u8]| lines.of(hash, base).count();
        assert_eq!(found(b"x.example.com"), 1);
        for other in
            ["x.example.co", "x.example", "x", "", "x.example.com.", "x.example.comm", "y.example.com"]
        {
            assert_eq!(found(other.as_bytes()), 0, "{other}");
        }
    }
}
