//! The configuration file of `-c`: TOML, strict, every mistake at once. Paths in it are relative to its directory.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{ConfigError, Inputs, PolicyArgs, lists, rules::unread};
use crate::policy::Place;

/// What `[policy]` may hold: the names of the flags, also with `-` for `_`. Each is a string or a list of strings;
/// ports may be numbers.
pub(super) const KEYS: [&str; 11] = [
    "allow_dns",
    "allow_domains",
    "allow_domains_file",
    "allow_host_ports",
    "allow_host_service_ports",
    "allow_ip",
    "allow_urls",
    "block_domains",
    "block_domains_file",
    "dns_servers",
    "ruleset_file",
];

/// The key of `[filesystem]`: a list of paths.
pub(super) const ALLOW_WRITE: &str = "allow_write";

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
    lists: BTreeMap<&'static str, Vec<Item>>,
}

impl ConfigFile {
    /// Whether the key is there, be its list empty.
    pub(super) fn has(&self, key: &str) -> bool {
        self.lists.contains_key(key)
    }

    /// The strings of one of [`KEYS`], or of [`ALLOW_WRITE`].
    pub(super) fn items(&self, key: &str) -> &[Item] {
        self.lists.get(key).map_or(&[], Vec::as_slice)
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
            let line = line_of(bytes, error.valid_up_to());
            errors.push(ConfigError::NotUtf8 { flag: "--config", path: path.to_owned(), line });
            return ConfigFile::default();
        }
    };
    let mut reader =
        Reader { path, text, errors, file: ConfigFile { path: path.to_owned(), ..Default::default() } };
    let before = reader.errors.len();
    let (table, mistakes) = DeTable::parse_recoverable(text);
    for mistake in &mistakes {
        let at = mistake.span().map_or(0, |span| span.start);
        reader.refuse(at, format!("not TOML: {}", mistake.message().replace('\n', ", ")));
    }
    // What is left of a broken file would only repeat its mistakes.
    if mistakes.is_empty() {
        reader.root(table.get_ref());
    }
    // Tables are read in the order of their keys.
    reader.errors[before..].sort_by_key(|error| match error {
        ConfigError::Config { line, .. } => *line,
        _ => 0,
    });
    reader.file
}

/// The table that a key belongs into.
fn table_of(key: &str) -> Option<&'static str> {
    let tables: [(&str, &[&str]); 2] = [("policy", &KEYS), ("filesystem", &[ALLOW_WRITE])];
    tables.into_iter().find(|(_, keys)| keys.contains(&key)).map(|(table, _)| table)
}

fn line_of(text: &[u8], at: usize) -> usize {
    1 + text.iter().take(at).filter(|&&b| b == b'\n').count()
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    errors: &'a mut Vec<ConfigError>,
    file: ConfigFile,
}

impl Reader<'_> {
    fn refuse(&mut self, at: usize, why: String) {
        let line = line_of(self.text.as_bytes(), at);
        self.errors.push(ConfigError::Config { path: self.path.to_owned(), line, why });
    }

    fn root(&mut self, root: &DeTable<'_>) {
        for (key, value) in root {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("policy", DeValue::Table(policy)) => self.table(policy, &KEYS),
                ("filesystem", DeValue::Table(files)) => self.table(files, &[ALLOW_WRITE]),
                (name @ ("policy" | "filesystem"), other) => {
                    let why = format!("`{name}` is {}; write a table: [{name}]", kind(other));
                    self.refuse(value.span().start, why);
                }
                (name, _) => match table_of(&name.replace('-', "_")) {
                    Some(table) => self.refuse(
                        key.span().start,
                        format!("`{name}` stands outside of a table; write [{table}] above it"),
                    ),
                    None => {
                        let what = if matches!(value.get_ref(), DeValue::Table(_)) { "table" } else { "key" };
                        self.unknown(key.span().start, what, name, &["filesystem", "policy"]);
                    }
                },
            }
        }
    }

    fn table(&mut self, table: &DeTable<'_>, keys: &[&'static str]) {
        for (key, value) in table {
            let name = key.get_ref().replace('-', "_");
            let Some(known) = keys.iter().copied().find(|known| *known == name) else {
                self.unknown(key.span().start, "key", key.get_ref(), keys);
                continue;
            };
            let items = self.strings(known, value);
            if self.file.lists.insert(known, items).is_some() {
                self.refuse(key.span().start, format!("`{known}` is there twice, with - and with _"));
            }
        }
    }

    fn strings(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Vec<Item> {
        let values = match value.get_ref() {
            DeValue::Array(values) => values.iter().collect(),
            _ => vec![value],
        };
        let mut items = Vec::new();
        for value in values {
            let line = line_of(self.text.as_bytes(), value.span().start);
            match value.get_ref() {
                DeValue::String(text) if key.ends_with("_file") && text.trim().is_empty() => {
                    let why = format!("`{key}` holds an empty path; name a file, or leave the key out");
                    self.refuse(value.span().start, why);
                }
                DeValue::String(text) if lists::items(text.split(',')).next().is_none() => {
                    let why =
                        format!("`{key}` holds a string without an entry; write one, or {key} = [] for none");
                    self.refuse(value.span().start, why);
                }
                DeValue::Table(table) if key == "allow_urls" => {
                    items.extend(self.url(table, value.span().start).map(|text| Item { text, line }));
                }
                DeValue::String(text) => items.push(Item { text: text.clone().into_owned(), line }),
                DeValue::Integer(port) if key.ends_with("_ports") && port.radix() == 10 => {
                    items.push(Item { text: port.as_str().to_owned(), line });
                }
                other if key.ends_with("_ports") => {
                    let held = if let DeValue::Float(number) = other { number.as_str() } else { kind(other) };
                    let why = format!("`{key}` holds {held}; write ports: {key} = [3000, \"8000\"]");
                    self.refuse(value.span().start, why);
                }
                other => {
                    let why = format!("`{key}` holds {}; write strings: {key} = [\"...\"]", kind(other));
                    self.refuse(value.span().start, why);
                }
            }
        }
        items
    }

    /// `{url = "https://x.com/b", methods = ["GET"]}`, as it is written behind the flag.
    fn url(&mut self, table: &DeTable<'_>, at: usize) -> Option<String> {
        const FORM: &str = "write {url = \"https://example.com/path\", methods = [\"GET\"]}";
        let before = self.errors.len();
        let (mut url, mut methods) = (None, Vec::new());
        for (key, value) in table {
            let at = value.span().start;
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("url", DeValue::String(text)) if text.contains(',') => {
                    self.refuse(at, "`url` holds a comma; write it as %2C".to_owned());
                }
                ("url", DeValue::String(text)) => url = Some(text.trim().to_owned()),
                ("methods", DeValue::Array(values)) => {
                    for value in values.iter() {
                        match value.get_ref() {
                            DeValue::String(method) if !method.trim().is_empty() => {
                                methods.push(method.trim().to_owned());
                            }
                            other => self.refuse(
                                value.span().start,
                                format!("`methods` holds {}; {FORM}", kind(other)),
                            ),
                        }
                    }
                    if values.is_empty() {
                        self.refuse(at, "`methods` is empty; leave it out for any method".to_owned());
                    }
                }
                (name @ ("url" | "methods"), other) => {
                    self.refuse(at, format!("`{name}` is {}; {FORM}", kind(other)));
                }
                (name, _) => self.unknown(key.span().start, "key", name, &["methods", "url"]),
            }
        }
        match url {
            Some(url) if methods.is_empty() => Some(url),
            // Methods of its own would stand behind these.
            Some(url) => Some(format!("{}:{url}", methods.join("+"))),
            None if self.errors.len() == before => {
                self.refuse(at, format!("an entry of `allow_urls` has no `url`; {FORM}"));
                None
            }
            None => None,
        }
        .filter(|_| self.errors.len() == before)
    }

    fn unknown(&mut self, at: usize, what: &str, name: &str, known: &[&str]) {
        let advice = match nearest(&name.replace('-', "_"), known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known: {}", known.join(", ")),
        };
        // Cut, since a file may hold anything.
        let name: String = name.chars().take(60).collect();
        self.refuse(at, format!("unknown {what} {name:?}; {advice}"));
    }
}

/// The one of `known` that `name` may have been meant for.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    if name.len() > 60 {
        return None;
    }
    let by_distance = known.iter().map(|known| (strsim::osa_distance(name, known), *known));
    by_distance.min().filter(|(distance, known)| *distance <= known.len() / 3).map(|(_, known)| known)
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
