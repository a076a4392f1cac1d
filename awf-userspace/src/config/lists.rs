//! Lists of rules: comma-separated texts, and files of one rule a line.

use std::path::Path;

use bytes::Bytes;

use super::{ConfigError, rules::Mistakes};
use crate::policy::{Builder, List, entries};

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
    for (line, range) in entries(bytes) {
        let Some(range) = range else {
            mistakes.push(ConfigError::NotUtf8 { flag, path: path.to_owned(), line });
            continue;
        };
        if let Err(error) = sheet.entry(range, line) {
            mistakes.push(error.into());
        }
    }
}

/// Commas at the end and blank lines are nobody's mistake.
pub(super) fn items<'a>(parts: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    parts.map(str::trim).filter(|text| !text.is_empty())
}
