//! A configuration file as a tree, whatever language it is written in, with the line of each part.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and its line, from 1.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    /// In decimal digits; `None` if it was written in others.
    Integer(Option<String>),
    Float(String),
    Bool(bool),
    Date,
    Null,
    List(Vec<Node>),
    /// Each key with its line.
    Table(Vec<(String, usize, Node)>),
}

impl Value {
    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Bool(_) => "true or false",
            Self::Date => "a date",
            Self::Null => "nothing",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

pub(super) fn line_of(text: &[u8], at: usize) -> usize {
    1 + text.iter().take(at).filter(|&&b| b == b'\n').count()
}

/// The tree of a TOML file, or its mistakes, each with its line.
pub(super) fn toml(text: &str) -> Result<Node, Vec<(usize, String)>> {
    let (table, mistakes) = DeTable::parse_recoverable(text);
    if mistakes.is_empty() {
        return Ok(Node { line: 1, value: Value::Table(entries(text, table.get_ref())) });
    }
    let told = |mistake: &toml::de::Error| {
        let at = mistake.span().map_or(0, |span| span.start);
        (line_of(text.as_bytes(), at), format!("not TOML: {}", mistake.message().replace('\n', ", ")))
    };
    Err(mistakes.iter().map(told).collect())
}

fn entries(text: &str, table: &DeTable<'_>) -> Vec<(String, usize, Node)> {
    let line = |at| line_of(text.as_bytes(), at);
    let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let key: &toml::Spanned<std::borrow::Cow<'_, str>> = key;
        let node = Node { line: line(value.span().start), value: of_toml(text, value.get_ref()) };
        (key.get_ref().clone().into_owned(), line(key.span().start), node)
    };
    let mut entries: Vec<_> = table.iter().map(entry).collect();
    entries.sort_by_key(|(_, line, _)| *line);
    entries
}

fn of_toml(text: &str, value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(string) => Value::Text(string.clone().into_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Value::Integer(Some(number.as_str().to_owned())),
        DeValue::Integer(_) => Value::Integer(None),
        DeValue::Float(number) => Value::Float(number.as_str().to_owned()),
        DeValue::Boolean(is) => Value::Bool(*is),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(values) => {
            let line = |at| line_of(text.as_bytes(), at);
            let node = |value: &toml::Spanned<DeValue<'_>>| Node {
                line: line(value.span().start),
                value: of_toml(text, value.get_ref()),
            };
            Value::List(values.iter().map(node).collect())
        }
        DeValue::Table(table) => Value::Table(entries(text, table)),
    }
}

/// The tree of a YAML file, or of a JSON file, which is YAML; or its first mistake, with its line.
pub(super) fn yaml(text: &str) -> Result<Node, (usize, String)> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    match serde_saphyr::from_str_with_options::<Spanned<Tree>>(text, options) {
        Ok(tree) => Ok(node(tree)),
        Err(error) => {
            let line = error.location().map_or(1, |at| usize::try_from(at.line()).unwrap_or(1));
            Err((line, format!("cannot be read: {}", error.to_string().replace('\n', ", "))))
        }
    }
}

enum Tree {
    Leaf(Value),
    List(Vec<Spanned<Tree>>),
    Table(Vec<(Spanned<String>, Spanned<Tree>)>),
}

fn line<T>(spanned: &Spanned<T>) -> usize {
    usize::try_from(spanned.referenced.line()).unwrap_or_default()
}

fn node(tree: Spanned<Tree>) -> Node {
    let at = line(&tree);
    let value = match tree.value {
        Tree::Leaf(value) => value,
        Tree::List(trees) => Value::List(trees.into_iter().map(node).collect()),
        Tree::Table(entries) => {
            let entry = |(key, tree): (Spanned<String>, _)| (key.value.clone(), line(&key), node(tree));
            Value::Table(entries.into_iter().map(entry).collect())
        }
    };
    Node { line: at, value }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Build)
    }
}

struct Build;

impl<'de> Visitor<'de> for Build {
    type Value = Tree;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, is: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Bool(is)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Integer(Some(number.to_string()))))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Integer(Some(number.to_string()))))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Float(number.to_string())))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Text(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut trees = Vec::new();
        while let Some(tree) = list.next_element()? {
            trees.push(tree);
        }
        Ok(Tree::List(trees))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Table(entries))
    }
}
