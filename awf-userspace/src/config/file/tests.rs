//! The configuration file and its schema: which texts both take, and which both refuse.

use std::{fs, path::Path};

use jsonschema::Validator;
use serde_json::{Map, Value as Json, json};

use super::*;

/// The same tree as JSON.
fn json(node: &Node) -> Json {
    match &node.value {
        Value::Text(text) => text.as_str().into(),
        Value::Float(_) => json!(0.5),
        Value::Integer(number) => {
            number.as_ref().map_or(json!(0.5), |number| number.parse::<i64>().unwrap().into())
        }
        Value::Bool(is) => (*is).into(),
        Value::Date => json!(1.5),
        Value::Null => Json::Null,
        Value::List(nodes) => nodes.iter().map(json).collect(),
        Value::Table(entries) => {
            entries.iter().map(|(key, _, node)| (key.clone(), json(node))).collect::<Map<_, _>>().into()
        }
    }
}

fn validator() -> Validator {
    let schema = schema();
    jsonschema::draft202012::meta::validate(&schema).expect("a schema");
    jsonschema::draft202012::new(&schema).expect("a schema")
}

/// Whether the parser takes a text, and whether the schema does.
fn taken(schema: &Validator, text: &str) -> (bool, bool, Vec<ConfigError>) {
    let mut errors = Vec::new();
    parse(Path::new("f.toml"), text.as_bytes(), &mut errors);
    let valid = node::toml(text).is_ok_and(|tree| schema.is_valid(&json(&tree)));
    (errors.is_empty(), valid, errors)
}

#[test]
fn the_examples_of_the_documentation_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let schema = validator();
    let mut found = 0;
    for page in
        docs.chain([root.join("README.md")]).filter(|page| page.extension().is_some_and(|e| e == "md"))
    {
        let text = fs::read_to_string(&page).unwrap();
        for example in text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
            let (parsed, valid, errors) = taken(&schema, example);
            assert!(parsed && valid, "{}: {errors:?} {valid}\n{example}", page.display());
            found += 1;
        }
    }
    assert!(found >= 2, "{found}");
}

/// With every comment taken away, too: each key with a value that can stand there.
#[test]
fn the_starter_file_is_valid_and_has_every_key() {
    let schema = validator();
    let (text, all) =
        (starter(), starter().replace("\n# ", "\n#").lines().map(uncommented).collect::<String>());
    for text in [&text, &all] {
        let (parsed, valid, errors) = taken(&schema, text);
        assert!(parsed && valid, "{errors:?} {valid}\n{text}");
    }
    let file = parse(Path::new("f.toml"), all.as_bytes(), &mut Vec::new());
    assert_eq!(file.values.len(), KEYS.len(), "{all}");
}

fn uncommented(line: &str) -> String {
    let key = |line: &str| line.split_once(" = ").is_some_and(|(key, _)| KEYS.iter().any(|k| k.name == key));
    let plain = line.strip_prefix('#').filter(|plain| key(plain));
    format!("{}\n", plain.unwrap_or(line))
}

#[test]
fn the_schema_takes_and_refuses_what_the_parser_does() {
    let schema = validator();
    for text in [
        "",
        "[policy]\nallow_domains = \"a.test, b.test\"",
        "[policy]\nallow-domains = [\"a.test\"]\nallow-host-ports = [1, \"2-3\"]\nallow_urls = []",
        "[policy]\nallow_urls = [{url = \"http://a.test/b\"}, \"http://b.test/**\"]",
        "[tls]\nmode = \"deny-only\"\n[limits]\npids = 9\ntimeout = \"90s\"\n[output]\nquiet = true",
        "[hook]\nannotations = 0\nsummary = false",
    ] {
        assert_eq!(taken(&schema, text), (true, true, Vec::new()), "{text}");
    }
    for text in [
        "[polcy]",
        "policy = 1",
        "allow_domains = \"a.test\"",
        "[policy]\nallow_domain = \"a.test\"",
        "[policy]\nallow_domains = 1",
        "[policy]\nallow_domains = [\"a.test\", true]",
        "[policy]\nallow_domains = \" \"",
        "[policy]\nallow_domains = [\",\"]",
        "[policy]\nallow_domains_file = \"\"",
        "[policy]\nallow_host_ports = [1.5]",
        "[policy]\nallow_host_ports = 0x50",
        "[policy]\nallow_host_ports = 1979-05-27",
        "[policy]\nallow_urls = [{methods = [\"GET\"]}]",
        "[policy]\nallow_urls = [{url = 1}]",
        "[policy]\nallow_urls = [{url = \"http://a.test/b,c\"}]",
        "[policy]\nallow_urls = [{url = \"http://a.test/\", methods = []}]",
        "[policy]\nallow_urls = [{url = \"http://a.test/\", methods = [\" \"]}]",
        "[policy]\nallow_urls = [{url = \"http://a.test/\", method = \"GET\"}]",
        "[policy]\nupstream_proxy = [\"http://a.test\"]",
        "[policy]\nenable_host_access = \"yes\"",
        "[tls]\nmode = \"maybe\"",
        "[tls]\nmode = true",
        "[tls]\nallow_domains = \"a.test\"",
        "[limits]\npids = true",
        "[limits]\nmemory = \"\"",
        "[limits]\nmemory = 5",
        "[output]\nquiet = 1",
        "[hook]\nannotations = 11",
        "[hook]\nannotations = \"2\"",
        "[hook]\nallow_repository_policy = [true]",
        "[hook.deeper]\nx = 1",
    ] {
        let (parsed, valid, errors) = taken(&schema, text);
        assert!(!parsed && !valid, "{text}: {errors:?} {valid}");
        assert_eq!(errors.len(), 1, "{text}: {errors:?}");
    }
}

#[test]
fn mistakes_are_told_with_what_to_write_instead() {
    for (text, expected) in [
        ("[polcy]\n", "f.toml:1: unknown table \"polcy\"; did you mean `policy`?"),
        (
            "[policy]\n\nallow_domain = 1",
            "f.toml:3: unknown key \"allow_domain\"; did you mean `allow_domains`?",
        ),
        ("[tls]\nallow_domains = 1", "f.toml:2: `allow_domains` is a key of [policy], not of [tls]"),
        ("memory = 1", "f.toml:1: `memory` stands outside of a table; write [limits] above it"),
        (
            "[tls]\nmode = \"of\"",
            "f.toml:2: `mode` is \"of\"; write one of off, deny-only, on; did you mean \"off\"?",
        ),
        ("[tls]\nmode = 1", "f.toml:2: `mode` is a number; write one of off, deny-only, on as a string"),
        ("[output]\nquiet = \"no\"", "f.toml:2: `quiet` is a string; write true or false"),
        ("[hook]\nannotations = 11", "f.toml:2: `annotations` is 11; write a whole number from 0 to 10"),
        ("[limits]\npids = []", "f.toml:2: `pids` is a list; write a whole number, or a string with a unit"),
        ("[sandbox]\nuser = 1000", "f.toml:2: `user` is a number; write a string: user = \"...\""),
        ("[sandbox]\nuser = \" \"", "f.toml:2: `user` is empty; write a value, or leave the key out"),
    ] {
        let mut errors = Vec::new();
        parse(Path::new("f.toml"), text.as_bytes(), &mut errors);
        let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(texts, [expected]);
    }
}

/// A key is in one table only, so that one that stands in the wrong place can be told where it belongs.
#[test]
fn every_key_has_a_table_and_a_flag_that_exists() {
    use clap::CommandFactory as _;
    #[derive(clap::Parser)]
    struct Words {
        #[command(flatten)]
        exec: crate::config::ExecArgs,
    }
    let command = Words::command();
    let flags: Vec<_> = command.get_arguments().filter_map(|arg| arg.get_long()).collect();
    for key in &KEYS {
        assert!(keys::TABLES.iter().any(|(table, _)| *table == key.table), "{key:?}");
        let known = key.flag.is_none_or(|flag| flags.contains(&flag.trim_start_matches("--")));
        assert!(known, "{key:?}");
        let id = format!("{}.{}", key.table, key.name);
        assert_eq!(KEYS.iter().filter(|other| other.is(&id)).count(), 1, "{id}");
    }
}
