//! From the tree of a file to its keys' values, strictly: whatever is not in the table of keys is a mistake.

use std::path::Path;

use super::{
    ConfigFile, Item,
    keys::{KEYS, Key, Kind, TABLES},
    node::{Node, Value},
};
use crate::config::{ConfigError, lists};

/// Reads into `file`; what is wrong goes to `errors` and is left out.
pub(super) struct Reader<'a> {
    pub(super) path: &'a Path,
    pub(super) errors: &'a mut Vec<ConfigError>,
    pub(super) file: ConfigFile,
}

impl Reader<'_> {
    pub(super) fn refuse(&mut self, line: usize, why: String) {
        self.errors.push(ConfigError::Config { path: self.path.to_owned(), line, why });
    }

    pub(super) fn root(&mut self, root: &[(String, usize, Node)]) {
        for (key, line, node) in root {
            let table = TABLES.iter().map(|(table, _)| *table).find(|table| table == key);
            match (table, &node.value) {
                (Some(table), Value::Table(entries)) => self.table(table, entries),
                (Some(table), other) => {
                    self.refuse(
                        node.line,
                        format!("`{table}` is {}; write a table: [{table}]", other.kind()),
                    );
                }
                (None, _) => self.outside(key, *line, &node.value),
            }
        }
    }

    fn outside(&mut self, name: &str, line: usize, value: &Value) {
        let plain = name.replace('-', "_");
        match KEYS.iter().find(|known| known.name == plain) {
            Some(known) => {
                let why = format!("`{name}` stands outside of a table; write [{}] above it", known.table);
                self.refuse(line, why);
            }
            None => {
                let what = if matches!(value, Value::Table(_)) { "table" } else { "key" };
                let known: Vec<_> = TABLES.iter().map(|(table, _)| *table).collect();
                self.unknown(line, what, name, &known);
            }
        }
    }

    fn table(&mut self, table: &'static str, entries: &[(String, usize, Node)]) {
        for (name, line, node) in entries {
            let plain = name.replace('-', "_");
            let Some(at) = Key::find(table, &plain) else {
                match KEYS.iter().find(|known| known.name == plain) {
                    Some(known) => {
                        self.refuse(
                            *line,
                            format!("`{name}` is a key of [{}], not of [{table}]", known.table),
                        );
                    }
                    None => self.unknown(*line, "key", name, &Key::names(table)),
                }
                continue;
            };
            let items = self.items(&KEYS[at], node);
            if self.file.values.insert(at, items).is_some() {
                self.refuse(*line, format!("`{plain}` is there twice, with - and with _"));
            }
        }
    }

    /// The values of `key`.
    pub(super) fn items(&mut self, key: &Key, node: &Node) -> Vec<Item> {
        let name = key.name;
        let one = |text: &str| vec![Item { text: text.to_owned(), line: node.line }];
        let why = match (key.kind, &node.value) {
            (Kind::Entries | Kind::Texts | Kind::Paths | Kind::Ports | Kind::Urls, _) => {
                return self.list(key, node);
            }
            (Kind::Bool, Value::Bool(is)) => return one(&is.to_string()),
            (Kind::Bool, other) => format!("`{name}` is {}; write true or false", other.kind()),
            (Kind::Word(words), Value::Text(text)) if words.contains(&text.as_str()) => return one(text),
            (Kind::Word(words), Value::Text(text)) => {
                let near =
                    nearest(text, words).map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
                format!("`{name}` is {:?}; write one of {}{near}", short(text), words.join(", "))
            }
            (Kind::Word(words), other) => {
                format!("`{name}` is {}; write one of {} as a string", other.kind(), words.join(", "))
            }
            (Kind::Text | Kind::Path | Kind::Amount, Value::Text(text)) if text.trim().is_empty() => {
                format!("`{name}` is empty; write a value, or leave the key out")
            }
            (Kind::Text | Kind::Path | Kind::Amount, Value::Text(text)) => return one(text),
            (Kind::Amount, Value::Integer(Some(number))) => return one(number),
            (Kind::Count(most), Value::Integer(Some(number)))
                if number.parse::<u32>().is_ok_and(|number| number <= most) =>
            {
                return one(number);
            }
            (Kind::Count(most), other) => {
                let held = if let Value::Integer(Some(number)) = other { number } else { other.kind() };
                format!("`{name}` is {held}; write a whole number from 0 to {most}")
            }
            (Kind::Amount, other) => {
                format!("`{name}` is {}; write a whole number, or a string with a unit", other.kind())
            }
            (_, other) => format!("`{name}` is {}; write a string: {name} = \"...\"", other.kind()),
        };
        self.refuse(node.line, why);
        Vec::new()
    }

    fn list(&mut self, key: &Key, node: &Node) -> Vec<Item> {
        let nodes = if let Value::List(nodes) = &node.value { nodes } else { std::slice::from_ref(node) };
        let mut items = Vec::new();
        for node in nodes {
            match self.entry(key, node) {
                Ok(text) => items.extend(text.map(|text| Item { text, line: node.line })),
                Err(why) => self.refuse(node.line, why),
            }
        }
        items
    }

    /// One entry of a list; `None`: its mistakes were told.
    fn entry(&mut self, key: &Key, node: &Node) -> Result<Option<String>, String> {
        let name = key.name;
        match &node.value {
            Value::Text(text) if key.kind == Kind::Paths && text.trim().is_empty() => {
                Err(format!("`{name}` holds an empty path; name a file, or leave the key out"))
            }
            Value::Text(text) if lists::items(text.split(',')).next().is_none() => {
                Err(format!("`{name}` holds a string without an entry; write one, or {name} = [] for none"))
            }
            Value::Text(text) => Ok(Some(text.clone())),
            Value::Table(table) if key.kind == Kind::Urls => Ok(self.url(table, node.line)),
            Value::Integer(Some(port)) if key.kind == Kind::Ports => Ok(Some(port.clone())),
            other if key.kind == Kind::Ports => {
                let held = if let Value::Float(number) = other { number } else { other.kind() };
                Err(format!("`{name}` holds {held}; write ports: {name} = [3000, \"8000\"]"))
            }
            other => Err(format!("`{name}` holds {}; write strings: {name} = [\"...\"]", other.kind())),
        }
    }

    /// `{url = "https://x.com/b", methods = ["GET"]}`, as it is written behind the flag.
    fn url(&mut self, table: &[(String, usize, Node)], at: usize) -> Option<String> {
        const FORM: &str = "write {url = \"https://example.com/path\", methods = [\"GET\"]}";
        let before = self.errors.len();
        let (mut url, mut methods) = (None, Vec::new());
        for (key, line, node) in table {
            match (key.as_str(), &node.value) {
                ("url", Value::Text(text)) if text.contains(',') => {
                    self.refuse(node.line, "`url` holds a comma; write it as %2C".to_owned());
                }
                ("url", Value::Text(text)) => url = Some(text.trim().to_owned()),
                ("methods", Value::List(nodes)) => {
                    for node in nodes {
                        match &node.value {
                            Value::Text(method) if !method.trim().is_empty() => {
                                methods.push(method.trim().to_owned());
                            }
                            other => {
                                self.refuse(node.line, format!("`methods` holds {}; {FORM}", other.kind()))
                            }
                        }
                    }
                    if nodes.is_empty() {
                        self.refuse(node.line, "`methods` is empty; leave it out for any method".to_owned());
                    }
                }
                (name @ ("url" | "methods"), other) => {
                    self.refuse(node.line, format!("`{name}` is {}; {FORM}", other.kind()));
                }
                (name, _) => self.unknown(*line, "key", name, &["methods", "url"]),
            }
        }
        if url.is_none() && self.errors.len() == before {
            self.refuse(at, format!("an entry of `allow_urls` has no `url`; {FORM}"));
        }
        // Methods of its own would stand behind these.
        let text = |url| if methods.is_empty() { url } else { format!("{}:{url}", methods.join("+")) };
        url.map(text).filter(|_| self.errors.len() == before)
    }

    pub(super) fn unknown(&mut self, line: usize, what: &str, name: &str, known: &[&str]) {
        let advice = match nearest(&name.replace('-', "_"), known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known: {}", known.join(", ")),
        };
        self.refuse(line, format!("unknown {what} {:?}; {advice}", short(name)));
    }
}

/// Cut, since a file may hold anything.
fn short(name: &str) -> String {
    name.chars().take(60).collect()
}

/// The one of `known` that `name` may have been meant for.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    if name.len() > 60 {
        return None;
    }
    let by_distance = known.iter().map(|known| (strsim::osa_distance(name, known), *known));
    by_distance.min().filter(|(distance, known)| *distance <= known.len() / 3).map(|(_, known)| known)
}
