//! Lists of rules: comma-separated texts, and files of one rule a line.

use std::path::Path;

use bytes::Bytes;

use super::{ConfigError, rules::Mistakes};
use crate::policy::{Builder, List};

/// The rules of a file: one a line or separated by commas, comments from `#` to the end of the line.
pub(super) fn file(
    flag: &'static str,
    path: &Path,
    bytes: &Bytes,
    list: List,
    builder: &mut Builder,
    mistakes: &mut Mistakes,
) {
    let mut sheet = builder.sheet(&path.display().to_string(), list, bytes.clone());
    let mut start = 0;
    for (index, line) in bytes.split(|&b| b == b'\n').enumerate() {
        let (number, mut at) = (index + 1, start);
        start += line.len() + 1;
        let Ok(line) = str::from_utf8(line) else {
            mistakes.push(ConfigError::NotUtf8 { flag, path: path.to_owned(), line: number });
            continue;
        };
        // Editors of some systems mark UTF-8 files at their start.
        let marked = if index == 0 { line.trim_start_matches('\u{feff}') } else { line };
        at += line.len() - marked.len();
        let line = marked.split('#').next().unwrap_or_default();
        for part in line.split(',') {
            let entry = part.trim_start();
            let from = at + part.len() - entry.len();
            let entry = entry.trim_end();
            at += part.len() + 1;
            if entry.is_empty() {
                continue;
            }
            if let Err(error) = sheet.entry(from..from + entry.len(), number) {
                mistakes.push(error.into());
            }
        }
    }
}

/// Commas at the end and blank lines are nobody's mistake.
pub(super) fn items<'a>(parts: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    parts.map(str::trim).filter(|text| !text.is_empty())
}
