//! The JSON Schema of the configuration file (draft 2020-12), made of the table by which it is read.

use serde_json::{Map, Value, json};

use super::keys::{KEYS, Key, Kind, TABLES};

/// At least one entry between the commas.
const ENTRY: &str = "[^\\s,]";

/// The schema of the TOML file. What it passes may still be refused: it does not know what a rule is.
#[must_use]
pub fn schema() -> Value {
    let mut tables = Map::new();
    for (table, about) in TABLES {
        let mut keys = Map::new();
        for key in KEYS.iter().filter(|key| key.table == table) {
            keys.insert(key.name.to_owned(), of(key));
            if key.name.contains('_') {
                keys.insert(key.name.replace('_', "-"), of(key));
            }
        }
        let object = json!({"type": "object", "description": about, "properties": keys, "additionalProperties": false});
        tables.insert(table.to_owned(), object);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "awf-bpf configuration file",
        "type": "object",
        "properties": tables,
        "additionalProperties": false,
    })
}

fn of(key: &Key) -> Value {
    let mut schema = match key.kind {
        Kind::Entries | Kind::Texts | Kind::Paths => list(&json!({"type": "string", "pattern": ENTRY})),
        Kind::Ports => list(&json!({"anyOf": [
            {"type": "string", "pattern": ENTRY},
            {"type": "integer", "minimum": 1, "maximum": 65535},
        ]})),
        Kind::Urls => list(&json!({"anyOf": [{"type": "string", "pattern": ENTRY}, url()]})),
        Kind::Text | Kind::Path => json!({"type": "string", "pattern": "\\S"}),
        Kind::Word(words) => json!({"type": "string", "enum": words}),
        Kind::Amount => json!({"anyOf": [
            {"type": "string", "pattern": "\\S"},
            {"type": "integer", "minimum": 1},
        ]}),
        Kind::Count(most) => json!({"type": "integer", "minimum": 0, "maximum": most}),
        Kind::Bool => json!({"type": "boolean"}),
    };
    let flag = key.flag.map_or_else(String::new, |flag| format!(" ({flag})"));
    schema["description"] = Value::String(format!("{}{flag}", key.about));
    schema
}

fn list(item: &Value) -> Value {
    json!({"anyOf": [item, {"type": "array", "items": item}]})
}

fn url() -> Value {
    json!({
        "type": "object",
        "properties": {
            "url": {"type": "string", "pattern": "^[^,]*[^,\\s][^,]*$"},
            "methods": {"type": "array", "minItems": 1, "items": {"type": "string", "pattern": "\\S"}},
        },
        "required": ["url"],
        "additionalProperties": false,
    })
}
