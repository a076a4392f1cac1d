//! Ruleset files: YAML, strict.

use std::{path::Path, sync::Arc};

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::ConfigError;
use crate::policy::{List, Place, Rule};

/// Why a file is not a ruleset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesetError {
    #[error("{0}; a ruleset is `version: 1` and `rules: [{{domain: example.com, subdomains: true}}]`")]
    Yaml(String),
    #[error("version {0} is not known; this awf-bpf reads version 1")]
    Version(u64),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ruleset {
    version: u64,
    rules: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    domain: Spanned<String>,
    #[serde(default = "yes")]
    subdomains: bool,
}

fn yes() -> bool {
    true
}

/// The allow rules of a ruleset file.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Vec<Result<Rule, ConfigError>> {
    let refuse = |why| vec![Err(ConfigError::Ruleset { path: path.to_owned(), why })];
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    let ruleset: Ruleset = match serde_saphyr::from_slice_with_options(bytes, options) {
        Ok(ruleset) => ruleset,
        Err(error) => return refuse(RulesetError::Yaml(error.to_string())),
    };
    if ruleset.version != 1 {
        return refuse(RulesetError::Version(ruleset.version));
    }
    let shown: Arc<str> = path.display().to_string().into();
    let rule = |entry: &Entry| {
        let line = usize::try_from(entry.domain.referenced.line()).unwrap_or_default();
        let place = Place::Line { path: Arc::clone(&shown), line };
        let parse = if entry.subdomains { Rule::parse } else { Rule::parse_exact };
        Ok(parse(&entry.domain.value, List::Allow, place)?)
    };
    ruleset.rules.iter().map(rule).collect()
}
