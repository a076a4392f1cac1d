//! Keeps the documentation true: flags, variables, reasons and tests that it names are those that exist, and those
//! that exist are named.

use awf_userspace::ca;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// What stands between `before` and `after`, each time.
fn between<'a>(text: &'a str, before: &'a str, after: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).filter_map(move |rest| rest.split(after).next())
}

/// The long flags of a text, with their dashes.
fn flags(text: &str) -> BTreeSet<String> {
    let name = |rest: &str| {
        rest.find(|c: char| !c.is_ascii_lowercase() && c != '-').map_or(rest, |end| &rest[..end]).to_owned()
    };
    let begins = |at: usize| !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '-');
    let found = text.match_indices("--").filter(|(at, _)| begins(*at)).map(|(at, _)| name(&text[at + 2..]));
    found.filter(|name| !name.is_empty()).map(|name| format!("--{name}")).collect()
}

/// The string literals of a Rust source, as far as they are plain.
fn literals(source: &str) -> BTreeSet<&str> {
    source.split('"').skip(1).step_by(2).collect()
}

#[test]
fn the_flags_of_help_and_of_the_configuration_page_are_the_same() {
    let help = Command::new(env!("CARGO_BIN_EXE_awf-bpf")).args(["exec", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    // A flag of our own stands at the start of its line; others are mentioned in the text.
    let starts = |line: &&str| line.trim_start().starts_with('-');
    let real: BTreeSet<_> = help.lines().filter(starts).flat_map(flags).collect();
    let page = read("docs/configuration.md");
    let section = between(&page, "\n## Flags\n", "\n## ").next().unwrap();
    let cells =
        section.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split('|').nth(1));
    let documented: BTreeSet<_> = cells.flat_map(flags).collect();
    assert!(real.len() > 20, "{real:?}");
    assert_eq!(real, documented);
}

#[test]
fn the_flags_that_check_does_not_take_are_named() {
    let help = Command::new(env!("CARGO_BIN_EXE_awf-bpf")).args(["check", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let taken: BTreeSet<_> =
        help.lines().filter(|line| line.trim_start().starts_with('-')).flat_map(flags).collect();
    let page = read("docs/configuration.md");
    let section = between(&page, "\nPolicy:\n\n", "\n\n").next().unwrap();
    let cells =
        section.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split('|').nth(1));
    let missing: BTreeSet<_> = cells.flat_map(flags).filter(|flag| !taken.contains(flag)).collect();
    let said = between(&page, "section Policy\nabove but for ", "which say how").next().unwrap();
    assert_eq!(flags(said), missing);
}

#[test]
fn every_flag_that_does_nothing_is_on_the_page_for_those_who_come_from_awf() {
    let page = flags(&read("docs/from-awf.md"));
    let source = read("awf-userspace/src/config/compat.rs");
    let names: Vec<_> = between(&source, "\n    (\"", "\"").collect();
    assert!(names.len() > 30, "{names:?}");
    for name in names.iter().filter(|name| !name.starts_with("cloud-hypervisor-")) {
        assert!(page.contains(&format!("--{name}")), "docs/from-awf.md does not mention --{name}");
    }
}

#[test]
fn every_variable_with_a_meaning_is_documented() {
    let page = read("docs/configuration.md");
    let words: BTreeSet<_> = page.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let source = read("awf-userspace/src/config/env_names.rs");
    for name in literals(&source) {
        // The forms in lower case are documented as such.
        assert!(words.contains(name) || words.contains(&*name.to_uppercase()), "{name}");
    }
}

#[test]
fn the_list_of_reasons_is_closed() {
    let source = read("awf-userspace/src/policy/reason.rs");
    let real: BTreeSet<_> = between(&source, "=> \"", "\"").collect();
    let page = read("docs/configuration.md");
    let section = between(&page, "\n### Reasons\n", "\n## ").next().unwrap();
    let documented: BTreeSet<_> = between(section, "\n| `", "`").collect();
    assert!(real.len() > 20, "{real:?}");
    assert_eq!(real, documented);
}

#[test]
fn what_each_program_reads_is_documented_as_it_is() {
    let page = read("docs/trust.md");
    let section = between(&page, "\n| program | reads | beaten by |\n", "\n\n").next().unwrap();
    let own = |program: &ca::Program| match program.name {
        "chromium" | "firefox" => "a data base of NSS".to_owned(),
        _ => {
            let files = program.machine.then(|| "the machine's files".to_owned());
            let names = program.variables.iter().map(|name| format!("`{name}`"));
            names.chain(files).collect::<Vec<_>>().join(", ")
        }
    };
    let real: Vec<_> =
        ca::PROGRAMS.iter().map(|program| format!("| {} | {} | ", program.name, own(program))).collect();
    let rows: Vec<_> = section.lines().skip(1).collect();
    assert_eq!(rows.len(), real.len());
    for (row, real) in rows.iter().zip(&real) {
        assert!(row.starts_with(real), "{row} is not {real}");
    }
}

#[test]
fn every_field_of_a_record_is_documented() {
    let source = read("awf-userspace/src/audit/line.rs");
    let page = read("docs/configuration.md");
    let entries = between(&source, "serialize_entry(\"", "\"");
    let known = between(&source, "map, \"", "\"");
    let fields: BTreeSet<_> = entries.chain(known).collect();
    assert!(fields.len() > 20, "{fields:?}");
    for field in fields {
        assert!(page.contains(&format!("`{field}`")), "docs/configuration.md does not mention `{field}`");
    }
}

#[test]
fn every_test_that_is_named_exists() {
    let sources = sources();
    for page in ["docs/guarantees.md", "docs/upstream-issues.md"] {
        let text = read(page);
        let named: BTreeSet<_> = text.split('`').skip(1).step_by(2).filter(|word| is_path(word)).collect();
        assert!(named.len() > 15, "{page}: {named:?}");
        let missing: Vec<_> = named.into_iter().filter(|name| !exists(name, &sources)).collect();
        assert!(missing.is_empty(), "{page} names what is no test: {missing:#?}");
    }
}

/// Whether it is the name of a test: `module::name`, but for the example that says so.
fn is_path(word: &str) -> bool {
    let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
    plain && word.contains("::") && !word.starts_with(':') && word != "module::name"
}

/// Every file that may hold tests, by its path from the root.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open: Vec<_> = ["awf-common/src", "awf-userspace/src", "awf-userspace/tests", "tests/e2e"]
        .map(|d| root().join(d))
        .into();
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            match path.is_dir() {
                true => open.push(path),
                false if path.extension().is_some_and(|end| end == "rs") => {
                    let inside = path.strip_prefix(root()).unwrap().to_owned();
                    found.push((inside, fs::read_to_string(&path).unwrap()));
                }
                false => {}
            }
        }
    }
    found
}

/// A test function, or a line of a table of attacks, in a file or directory of the name's first part.
fn exists(name: &str, sources: &[(PathBuf, String)]) -> bool {
    let (module, last) = (name.split("::").next().unwrap(), name.rsplit("::").next().unwrap());
    let (function, attack) = (format!("fn {last}()"), format!(" {last}: Attack::"));
    let short = format!(" {last}: on_the_cable()");
    sources.iter().any(|(path, text)| {
        let inside = path.with_extension("").components().any(|part| part.as_os_str() == module);
        inside && [&function, &attack, &short].iter().any(|declared| text.contains(declared.as_str()))
    })
}

#[test]
fn the_variables_of_the_runs_ca_are_those_of_its_page() {
    let page = read("docs/trust.md");
    let section = between(&page, "\n## Variables\n", "\n## ").next().unwrap();
    let cells =
        section.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split('`').nth(1));
    let documented: BTreeSet<_> = cells.collect();
    let real: BTreeSet<_> = ca::VARIABLES.iter().map(|(name, ..)| *name).collect();
    assert_eq!(documented, real);
}
