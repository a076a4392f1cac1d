//! The configuration file of `-c`: TOML, or awf's JSON or YAML; strict, every mistake at once. Paths in it are relative
//! to its directory.
//!
//! ```text
//! bytes -> node (a tree, with lines) -> read (by the table `keys`) | awf -> ConfigFile -> merge (under what was typed)
//!                                       schema (of the same table)
//! ```

mod awf;
mod keys;
mod merge;
mod node;
mod read;
mod schema;
mod starter;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

pub(super) use keys::ALLOW_WRITE;
pub(super) use merge::{check, check_unstarted, merged};
pub use schema::schema;
pub use starter::starter;

use self::{
    keys::KEYS,
    node::{Node, Value},
    read::Reader,
};
use super::{ConfigError, Inputs, PolicyArgs, lists, rules::unread};
use crate::policy::Place;

/// A string of the file, and its line, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) text: String,
    pub(super) line: usize,
}

/// The file as read; empty where there is none.
#[derive(Clone, Debug, Default)]
pub(super) struct ConfigFile {
    pub(super) path: PathBuf,
    /// By the place of their key in the table.
    values: BTreeMap<usize, Vec<Item>>,
    /// What a reader should hear of it: keys that mean nothing here.
    pub(super) ignored: Vec<String>,
}

impl ConfigFile {
    fn values(&self, key: &str) -> Option<&[Item]> {
        let at = KEYS.iter().position(|known| known.is(key))?;
        self.values.get(&at).map(Vec::as_slice)
    }

    /// Whether the key is there, be its list empty. Keys are `table.name`, those of `[policy]` their names alone.
    pub(super) fn has(&self, key: &str) -> bool {
        self.values(key).is_some()
    }

    /// The strings of a key.
    pub(super) fn items(&self, key: &str) -> &[Item] {
        self.values(key).unwrap_or_default()
    }

    /// The one value of a key.
    pub(super) fn one(&self, key: &str) -> Option<&Item> {
        self.items(key).first()
    }

    pub(super) fn is(&self, key: &str) -> Option<bool> {
        self.one(key).map(|item| item.text == "true")
    }

    /// The entries of a list, each with its place: those typed behind `flag`, then those of one of [`KEYS`].
    pub(super) fn texts<'a>(
        &'a self,
        key: &str,
        flag: &'static str,
        typed: &'a [String],
    ) -> impl Iterator<Item = (&'a str, Place)> {
        let shown: Arc<str> = self.path.display().to_string().into();
        let typed = typed.iter().map(move |text| (text, Place::Flag(flag)));
        let line = move |item: &Item| Place::Line { path: Arc::clone(&shown), line: item.line };
        let written = self.items(key).iter().map(move |item| (&item.text, line(item)));
        typed
            .chain(written)
            .flat_map(|(text, place)| lists::items(text.split(',')).map(move |text| (text, place.clone())))
    }

    /// The same as paths.
    pub(super) fn paths(&self, key: &str) -> impl Iterator<Item = PathBuf> {
        let dir = self.path.parent().unwrap_or(Path::new(""));
        self.items(key).iter().map(move |item| dir.join(&item.text))
    }
}

/// The file that `args` name, out of what was read.
pub(super) fn load(args: &PolicyArgs, inputs: &Inputs, errors: &mut Vec<ConfigError>) -> ConfigFile {
    let Some(path) = &args.config else { return ConfigFile::default() };
    match inputs.files.get(path) {
        Some(Ok(bytes)) => parse(path, bytes, errors),
        // awf's name for standard input.
        Some(Err(_)) if path == Path::new("-") => {
            let why =
                "standard input is the command's own; name a file, or /dev/stdin for one in TOML".to_owned();
            errors.push(ConfigError::File { flag: "--config", path: path.clone(), why });
            ConfigFile::default()
        }
        other => {
            errors.push(unread("--config", path, other));
            ConfigFile::default()
        }
    }
}

/// What is wrong is left out.
pub(super) fn parse(path: &Path, bytes: &[u8], errors: &mut Vec<ConfigError>) -> ConfigFile {
    let text = match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let line = node::line_of(bytes, error.valid_up_to());
            errors.push(ConfigError::NotUtf8 { flag: "--config", path: path.to_owned(), line });
            return ConfigFile::default();
        }
    };
    let before = errors.len();
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    let of_awf = matches!(extension.as_deref(), Some("json" | "yml" | "yaml"));
    let tree = if of_awf { node::yaml(text).map_err(|mistake| vec![mistake]) } else { node::toml(text) };
    let mut reader =
        Reader { path, errors, file: ConfigFile { path: path.to_owned(), ..Default::default() } };
    match tree {
        Ok(Node { value: Value::Table(root), .. }) if of_awf => reader.awf(&root),
        Ok(Node { value: Value::Table(root), .. }) => reader.root(&root),
        Ok(Node { value: Value::Null, .. }) => {}
        Ok(Node { line, value }) => {
            reader.refuse(line, format!("the file is {}; write a table", value.kind()))
        }
        // What is left of a broken file would only repeat its mistakes.
        Err(mistakes) => mistakes.into_iter().for_each(|(line, why)| reader.refuse(line, why)),
    }
    reader.errors[before..].sort_by_key(|error| match error {
        ConfigError::Config { line, .. } => *line,
        _ => 0,
    });
    reader.file
}

#[cfg(test)]
mod tests;
