//! The entries of a list file: one a line or separated by commas, comments from `#` to the end of the line.

use std::ops::Range;

/// Where the entries of `text` stand, in its order, each with the number of its line, from 1; a line that is not UTF-8
/// has none.
pub fn entries(text: &[u8]) -> impl Iterator<Item = (usize, Option<Range<usize>>)> {
    let mut start = 0;
    let lines = text.split(|&b| b == b'\n').enumerate().map(move |(index, line)| {
        let at = start;
        start += line.len() + 1;
        (index + 1, at, line)
    });
    lines.flat_map(|(number, at, line)| {
        let line = str::from_utf8(line).ok();
        let bad = line.is_none().then_some((number, None));
        // Editors of some systems mark UTF-8 files at their start.
        let whole = line.unwrap_or_default();
        let marked = if number == 1 { whole.trim_start_matches('\u{feff}') } else { whole };
        let mut at = at + whole.len() - marked.len();
        let plain = marked.split('#').next().unwrap_or_default();
        let parts = plain.split(',').filter_map(move |part| {
            let entry = part.trim_start();
            let from = at + part.len() - entry.len();
            let entry = entry.trim_end();
            at += part.len() + 1;
            (!entry.is_empty()).then_some((number, Some(from..from + entry.len())))
        });
        bad.into_iter().chain(parts)
    })
}
