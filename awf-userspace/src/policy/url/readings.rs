//! What servers, and proxies before them, may take a path for.
//!
//! A normalised path still holds what is read in different ways: an escaped slash is a part of a name to one server
//! and a slash to the next; one drops what follows a semicolon; one decodes twice. Which of them is asked cannot be
//! known, so that a request must be allowed under each of these readings.

use super::target::{Empty, Part, TargetError, escapes, resolve};

/// One reading, in the form that is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) path: String,
    pub(super) query: Option<String>,
}

/// How often a server is thought to decode what it has decoded already.
const DEPTH: usize = 3;
/// Kinds of doubt in one path; whatever has more was made to deceive.
const MOST_KINDS: u32 = 3;

/// A kind of doubt, a bit each.
type Kinds = u8;
/// `%2F` is a slash.
const SLASH: Kinds = 1;
/// `%5C` is a slash (IIS, .NET).
const BACKSLASH: Kinds = 2;
/// Characters that look like these are slashes and dots (best-fit conversions of Windows, NFKC).
const LOOKALIKE: Kinds = 4;
/// `%3F` begins the query: decoded by a proxy, and read again.
const QUESTION: Kinds = 8;
/// `%23` begins a fragment, likewise.
const FRAGMENT: Kinds = 16;
/// What follows `;` in a segment is a parameter and no part of the name (Tomcat, Jetty, Spring).
const PARAMETER: Kinds = 32;
/// The same of `%3B`.
const ESCAPED_PARAMETER: Kinds = 64;

const PARAMETERS: Kinds = PARAMETER | ESCAPED_PARAMETER;

/// U+FF0F, U+2044, U+2215, U+29F8; backslashes U+FF3C, U+FE68, U+2216, U+29F5, U+29F9, and the yen and won that stand in
/// its place in code pages 932 and 949; full stops U+FF0E, U+2024, U+FE52, U+FF61, and two of them, U+2025.
const LOOKALIKES: [(&str, &str); 16] = [
    ("%EF%BC%8F", "/"),
    ("%E2%81%84", "/"),
    ("%E2%88%95", "/"),
    ("%E2%A7%B8", "/"),
    ("%EF%BC%BC", "/"),
    ("%EF%B9%A8", "/"),
    ("%E2%88%96", "/"),
    ("%E2%A7%B5", "/"),
    ("%E2%A7%B9", "/"),
    ("%C2%A5", "/"),
    ("%E2%82%A9", "/"),
    ("%EF%BC%8E", "."),
    ("%E2%80%A4", "."),
    ("%EF%B9%92", "."),
    ("%EF%BD%A1", "."),
    ("%E2%80%A5", ".."),
];

/// The readings of a normalised path and query, that of who takes them as they are first; each once.
///
/// # Errors
/// Of a path that nobody writes who means well: escaped more than four times, or with many kinds of doubt at once.
pub(super) fn of(path: &str, query: Option<&str>) -> Result<Vec<Reading>, TargetError> {
    let mut all = Vec::new();
    let mut level = path.to_owned();
    for _ in 0..=DEPTH {
        variants(&level, query, &mut all)?;
        match unescaped(&level) {
            Some(next) => level = escapes(&next, Part::Path)?,
            None => return Ok(all),
        }
    }
    Err(TargetError::Depth(DEPTH + 1))
}

/// `path` as it is to who decodes it once more; `None` if that is the same.
fn unescaped(path: &str) -> Option<String> {
    let again = |after: &str| after.len() >= 2 && after.bytes().take(2).all(|b| b.is_ascii_hexdigit());
    let mut parts = path.split("%25");
    let mut out = parts.next().unwrap_or_default().to_owned();
    let mut changed = false;
    for part in parts {
        // Behind an escape of a % there may be another one: `%2525` has no digit behind the first.
        let escaped = again(part);
        changed |= escaped;
        out.push_str(if escaped { "%" } else { "%25" });
        out.push_str(part);
    }
    changed.then_some(out)
}

fn variants(path: &str, query: Option<&str>, all: &mut Vec<Reading>) -> Result<(), TargetError> {
    let kinds = kinds(path);
    // What is dropped behind a semicolon depends on what is a slash: the two do not go together.
    let mixed = kinds & PARAMETERS != 0 && kinds & !PARAMETERS != 0;
    if mixed || kinds.count_ones() > MOST_KINDS {
        return Err(TargetError::Readings);
    }
    for chosen in (0..=kinds).filter(|chosen| chosen & !kinds == 0) {
        let (path, query) = read(path, query, chosen);
        for empty in [Empty::Dropped, Empty::Counted] {
            let reading = Reading {
                path: folded(&resolve(&path, empty), Part::Path),
                query: query.as_deref().map(|query| folded(query, Part::Query)),
            };
            if !all.contains(&reading) {
                all.push(reading);
            }
        }
    }
    Ok(())
}

fn kinds(path: &str) -> Kinds {
    let marks = [
        ("%2F", SLASH),
        ("%5C", BACKSLASH),
        ("%3F", QUESTION),
        ("%23", FRAGMENT),
        (";", PARAMETER),
        ("%3B", ESCAPED_PARAMETER),
    ];
    let looks = LOOKALIKES.iter().map(|(mark, _)| (*mark, LOOKALIKE));
    let all = marks.into_iter().chain(looks);
    all.filter(|(mark, _)| path.contains(mark)).fold(0, |kinds, (_, kind)| kinds | kind)
}

/// The path and query to a server for which the `chosen` kinds are what they look like.
fn read(path: &str, query: Option<&str>, chosen: Kinds) -> (String, Option<String>) {
    let is = |kind| chosen & kind != 0;
    let (mut path, mut query) = (path.to_owned(), query.map(str::to_owned));
    if is(QUESTION)
        && let Some((before, after)) = path.split_once("%3F")
    {
        let behind = query.map_or(String::new(), |query| format!("?{query}"));
        query = Some(format!("{after}{behind}"));
        path = before.to_owned();
    }
    if is(FRAGMENT)
        && let Some((before, _)) = path.split_once("%23")
    {
        (path, query) = (before.to_owned(), None);
    }
    if is(SLASH) {
        path = path.replace("%2F", "/");
    }
    if is(BACKSLASH) {
        path = path.replace("%5C", "/");
    }
    if is(LOOKALIKE) {
        path = LOOKALIKES.iter().fold(path, |path, (mark, as_if)| path.replace(mark, as_if));
    }
    if is(PARAMETER) {
        path = without_parameters(&path, ";");
    }
    if is(ESCAPED_PARAMETER) {
        path = without_parameters(&path, "%3B");
    }
    (path, query)
}

fn without_parameters(path: &str, mark: &str) -> String {
    let names = path.split('/').map(|segment| segment.split(mark).next().unwrap_or_default());
    names.collect::<Vec<_>>().join("/")
}

/// `text` without the escapes of characters that mean nothing special there: a client may write either, and a rule too.
fn folded(text: &str, part: Part) -> String {
    const PATH: [(&str, &str); 10] = [
        ("%21", "!"),
        ("%24", "$"),
        ("%26", "&"),
        ("%27", "'"),
        ("%28", "("),
        ("%29", ")"),
        ("%2C", ","),
        ("%3A", ":"),
        ("%3D", "="),
        ("%40", "@"),
    ];
    const QUERY: [(&str, &str); 10] = [
        ("%21", "!"),
        ("%24", "$"),
        ("%27", "'"),
        ("%28", "("),
        ("%29", ")"),
        ("%2C", ","),
        ("%2F", "/"),
        ("%3A", ":"),
        ("%3F", "?"),
        ("%40", "@"),
    ];
    if !text.contains('%') {
        return text.to_owned();
    }
    let table = if part == Part::Path { &PATH } else { &QUERY };
    table.iter().fold(text.to_owned(), |text, (escape, character)| text.replace(escape, character))
}
