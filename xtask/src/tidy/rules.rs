//! The house rules, one function each: a file in, violations out.

use super::{
    Violation, direction,
    lex::{Masked, Token, mask, tokens},
    paths,
};

/// Lines a file may have, its tests included.
pub(super) const MAX_LINES: usize = 400;

/// A Rust file as the rules see it.
pub(super) struct File<'s> {
    /// Relative to the workspace's root, with `/`.
    pub(super) path: &'s str,
    pub(super) source: &'s str,
    masked: Masked,
    tokens: Vec<Token>,
}

impl<'s> File<'s> {
    pub(super) fn new(path: &'s str, source: &'s str) -> Self {
        let masked = mask(source);
        let tokens = tokens(&masked.code);
        Self { path, source, masked, tokens }
    }

    fn is_under(&self, places: &[&str]) -> bool {
        places.iter().any(|p| if p.ends_with('/') { self.path.starts_with(p) } else { self.path == *p })
    }

    fn violation(&self, line: usize, rule: &'static str, what: impl Into<String>) -> Violation {
        Violation { path: self.path.to_owned(), line: line + 1, rule, what: what.into() }
    }

    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |t| t.text.as_str())
    }
}

type Rule = fn(&File<'_>) -> Vec<Violation>;

const RULES: &[Rule] = &[length, head, direction, unsafe_place, unsafe_reason, printing, unfinished];

/// All violations of one file.
pub(super) fn check(path: &str, source: &str) -> Vec<Violation> {
    let file = File::new(path, source);
    RULES.iter().flat_map(|rule| rule(&file)).collect()
}

fn length(file: &File<'_>) -> Vec<Violation> {
    let lines = file.source.lines().count();
    if lines <= MAX_LINES {
        return Vec::new();
    }
    let what = format!("{lines} lines, at most {MAX_LINES}: look for the second responsibility in it");
    vec![file.violation(MAX_LINES, "length", what)]
}

fn head(file: &File<'_>) -> Vec<Violation> {
    if file.source.starts_with("//! ") {
        return Vec::new();
    }
    vec![file.violation(0, "head", "the first line is not `//! what this file owns`")]
}

fn direction(file: &File<'_>) -> Vec<Violation> {
    let Some(module) = userspace_module(file.path) else { return Vec::new() };
    let Some(top) = module.first() else { return Vec::new() };
    let Some(allowed) = direction::may_name(top) else {
        let what =
            format!("module `{top}` is not in the table of xtask/src/tidy/direction.rs: give it its place");
        return vec![file.violation(0, "direction", what)];
    };
    let mut found = Vec::new();
    for named in paths::named(&file.tokens, &module) {
        let root = named.path.first().map(String::as_str);
        let target = named.path.get(1).filter(|_| matches!(root, Some("crate" | "awf_userspace")));
        if let Some(target) = target {
            let known = direction::may_name(target).is_some();
            if known && target != top && !named.by_test && !direction::allows(allowed, &named.path) {
                let what = format!("`{top}` must not name `{target}` ({})", named.path.join("::"));
                found.push(file.violation(named.line, "direction", what));
            }
        }
        if let Some((banned, why)) = direction::ban(&module, &named.path) {
            let what = format!("`{}` must not name `{banned}`: {why}", module.join("::"));
            found.push(file.violation(named.line, "direction", what));
        }
    }
    found
}

/// `awf-userspace/src/proxy/sni.rs` is `["proxy", "sni"]`; the crate's root and other crates have no direction.
fn userspace_module(path: &str) -> Option<Vec<String>> {
    let inner = path.strip_prefix("awf-userspace/src/")?.strip_suffix(".rs")?;
    let inner = inner.strip_suffix("/mod").unwrap_or(inner);
    let module: Vec<_> = inner.split('/').map(str::to_owned).collect();
    Some(if inner == "lib" { Vec::new() } else { module })
}

/// `unsafe` has few homes, so that they can be read. In awf-common only the `Pod` impls are: they state a layout.
fn unsafe_place(file: &File<'_>) -> Vec<Violation> {
    if file.is_under(&["awf-userspace/src/sys/", "awf-ebpf/", "awf-userspace/tests/", "tests/"]) {
        return Vec::new();
    }
    let pod_impl = |at: usize| {
        let head = file.tokens[at..].iter().map(|t| t.text.as_str()).take_while(|t| *t != "{" && *t != ";");
        file.path.starts_with("awf-common/")
            && file.text(at + 1) == "impl"
            && head.into_iter().any(|t| t == "Pod")
    };
    let places = positions(file, "unsafe").filter(|at| !pod_impl(*at));
    let what = "unsafe outside awf-userspace/src/sys, awf-common's Pod impls, awf-ebpf and tests";
    places.map(|at| file.violation(file.tokens[at].line, "unsafe-place", what)).collect()
}

fn unsafe_reason(file: &File<'_>) -> Vec<Violation> {
    let blocks = positions(file, "unsafe").filter(|at| matches!(file.text(at + 1), "{" | "impl"));
    let lines = blocks.map(|at| file.tokens[at].line).filter(|line| !has_reason(file, *line));
    lines.map(|line| file.violation(line, "unsafe-reason", "no `// SAFETY:` comment right above")).collect()
}

/// A comment on the line, or above the statement that the line belongs to.
fn has_reason(file: &File<'_>, line: usize) -> bool {
    let says = |l: usize| file.masked.comments[l].contains("SAFETY:");
    let code = |l: usize| file.masked.code[l].trim();
    let mut at = line;
    if says(at) {
        return true;
    }
    while let Some(above) = at.checked_sub(1) {
        let is_comment = code(above).is_empty() && !file.masked.comments[above].trim().is_empty();
        let is_attribute = code(above).starts_with("#[");
        let ends_before = code(above).is_empty() || code(above).ends_with([';', '{', '}', ',']);
        if is_comment && says(above) {
            return true;
        }
        if !is_comment && !is_attribute && ends_before {
            return false;
        }
        at = above;
    }
    false
}

/// The command's stdout and stderr are its own: only the command line speaks, and programs of this repository.
fn printing(file: &File<'_>) -> Vec<Violation> {
    let speakers = [
        "awf-userspace/src/cli/",
        "awf-userspace/src/main.rs",
        "awf-userspace/build.rs",
        "awf-userspace/tests/",
        "tests/",
        "xtask/",
    ];
    if file.is_under(&speakers) {
        return Vec::new();
    }
    let macros = ["print", "println", "eprint", "eprintln", "dbg"];
    let calls = macros.iter().flat_map(|name| positions(file, name).map(move |at| (at, name)));
    calls
        .filter(|(at, _)| file.text(at + 1) == "!")
        .map(|(at, name)| {
            file.violation(file.tokens[at].line, "printing", format!("{name}! outside cli: use `log`"))
        })
        .collect()
}

/// What is left for later has an issue: `todo!("#12: …")`, `#[ignore = "#12: …"]`.
fn unfinished(file: &File<'_>) -> Vec<Violation> {
    let todo = positions(file, "todo").filter(|at| file.text(at + 1) == "!");
    let ignore = positions(file, "ignore").filter(|at| file.text(at.wrapping_sub(1)) == "[");
    let lines = todo.chain(ignore).map(|at| file.tokens[at].line);
    let unnumbered = lines.filter(|line| !file.source.lines().nth(*line).is_some_and(names_an_issue));
    unnumbered.map(|line| file.violation(line, "unfinished", "no issue number (`#12`) on its line")).collect()
}

fn names_an_issue(line: &str) -> bool {
    line.match_indices('#').any(|(at, _)| line[at + 1..].starts_with(|c: char| c.is_ascii_digit()))
}

/// Where the word `name` stands among the tokens.
fn positions<'f>(file: &'f File<'_>, name: &str) -> impl Iterator<Item = usize> + 'f {
    let name = name.to_owned();
    file.tokens.iter().enumerate().filter(move |(_, t)| t.text == name).map(|(at, _)| at)
}
