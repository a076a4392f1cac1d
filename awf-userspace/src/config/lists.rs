//! Lists of rules: comma-separated flags, and files of one rule a line.

use std::{path::Path, sync::Arc};

use super::ConfigError;
use crate::policy::{List, Place, Rule, RuleError};

/// The rules of a flag's values.
pub(super) fn flag(
    values: &[String],
    flag: &'static str,
    parse: impl Fn(&str, Place) -> Result<Rule, RuleError>,
) -> Vec<Result<Rule, ConfigError>> {
    items(values.iter().flat_map(|value| value.split(',')))
        .map(|text| Ok(parse(text, Place::Flag(flag))?))
        .collect()
}

/// The rules of a file: one a line or separated by commas, comments from `#` to the end of the line.
pub(super) fn file(
    flag: &'static str,
    path: &Path,
    bytes: &[u8],
    list: List,
) -> Vec<Result<Rule, ConfigError>> {
    let shown: Arc<str> = path.display().to_string().into();
    let mut rules = Vec::new();
    for (index, line) in bytes.split(|&b| b == b'\n').enumerate() {
        let number = index + 1;
        let Ok(line) = str::from_utf8(line) else {
            rules.push(Err(ConfigError::NotUtf8 { flag, path: path.to_owned(), line: number }));
            continue;
        };
        // Editors of some systems mark UTF-8 files at their start.
        let line = if index == 0 { line.trim_start_matches('\u{feff}') } else { line };
        let line = line.split('#').next().unwrap_or_default();
        rules.extend(items(line.split(',')).map(|text| {
            let place = Place::Line { path: Arc::clone(&shown), line: number };
            Ok(Rule::parse(text, list, place)?)
        }));
    }
    rules
}

/// Commas at the end and blank lines are nobody's mistake.
fn items<'a>(parts: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    parts.map(str::trim).filter(|text| !text.is_empty())
}
