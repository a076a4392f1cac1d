//! Every path a file names (`crate::a::b`, `std::fs`), from `use` trees and from code, made absolute.

use super::lex::Token;

/// A path from its crate's root on: `["crate", "policy", "Verdict"]`, `["std", "fs"]`; its line from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) path: Vec<String>,
    pub(super) line: usize,
    /// Named in a module `tests`, inline or of its own file.
    pub(super) by_test: bool,
}

/// All paths of two segments or more in the file of module `module` (`["proxy", "sni"]`).
pub(super) fn named(tokens: &[Token], module: &[String]) -> Vec<Named> {
    let mut walk =
        Walk { tokens, at: 0, module: module.to_vec(), inline: Vec::new(), depth: 0, found: Vec::new() };
    while let Some(token) = walk.token(0) {
        match token {
            // `impl X + use<'a>` captures a lifetime and names nothing.
            "use" if walk.token(1) != Some("<") => {
                walk.at += 1;
                walk.leading_colons();
                walk.tree(&[]);
            }
            "mod" if walk.token(2) == Some("{") => walk.enter_module(),
            "{" => walk.step(1),
            "}" => walk.leave_block(),
            _ if is_word(token) => walk.plain_path(),
            _ => walk.at += 1,
        }
    }
    walk.found
}

struct Walk<'t> {
    tokens: &'t [Token],
    at: usize,
    module: Vec<String>,
    /// The depth of the brace that opened each inline module we are in.
    inline: Vec<usize>,
    depth: usize,
    found: Vec<Named>,
}

impl Walk<'_> {
    fn token(&self, ahead: usize) -> Option<&str> {
        self.tokens.get(self.at + ahead).map(|t| t.text.as_str())
    }

    fn step(&mut self, opened: usize) {
        self.depth += opened;
        self.at += 1;
    }

    fn leading_colons(&mut self) {
        if self.token(0) == Some("::") {
            self.at += 1;
        }
    }

    /// `mod tests {`: what follows is one module deeper, and its `super` one shallower.
    fn enter_module(&mut self) {
        let name = self.token(1).unwrap_or_default().to_owned();
        self.module.push(name);
        self.at += 2;
        self.step(1);
        self.inline.push(self.depth);
    }

    fn leave_block(&mut self) {
        if self.inline.last() == Some(&self.depth) {
            self.inline.pop();
            self.module.pop();
        }
        self.depth = self.depth.saturating_sub(1);
        self.at += 1;
    }

    /// One branch of a `use` tree: `a::b`, `a::{b, c}`, `a as b`, `a::*`.
    fn tree(&mut self, prefix: &[String]) {
        let mut path = prefix.to_vec();
        let line = self.tokens.get(self.at).map_or(0, |t| t.line);
        while let Some(token) = self.token(0).map(str::to_owned) {
            match token.as_str() {
                "{" => return self.branches(&path),
                "as" => self.at += 2,
                "," | "}" | ";" => break,
                "::" | "*" => self.at += 1,
                _ => {
                    path.push(token);
                    self.at += 1;
                }
            }
        }
        self.record(path, line);
    }

    fn branches(&mut self, prefix: &[String]) {
        self.at += 1;
        while let Some(token) = self.token(0) {
            match token {
                "}" => {
                    self.at += 1;
                    return;
                }
                // Not Rust: the compiler will say so.
                ";" => return,
                "," => self.at += 1,
                _ => self.tree(prefix),
            }
        }
    }

    fn plain_path(&mut self) {
        let line = self.tokens[self.at].line;
        let mut path = vec![self.tokens[self.at].text.clone()];
        self.at += 1;
        while self.token(0) == Some("::") && self.token(1).is_some_and(is_word) {
            path.push(self.tokens[self.at + 1].text.clone());
            self.at += 2;
        }
        if path.len() > 1 {
            self.record(path, line);
        }
    }

    /// Makes `self::` and `super::` absolute.
    fn record(&mut self, path: Vec<String>, line: usize) {
        let supers = path.iter().take_while(|s| *s == "super").count();
        let here = path.first().is_some_and(|s| s == "self");
        let absolute = if supers > 0 || here {
            let parents = &self.module[..self.module.len().saturating_sub(supers)];
            let rest = path[supers + usize::from(here)..].iter();
            std::iter::once("crate".to_owned()).chain(parents.iter().chain(rest).cloned()).collect()
        } else {
            path
        };
        let by_test = self.module.iter().any(|m| m == "tests");
        self.found.push(Named { path: absolute, line, by_test });
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::named;
    use crate::tidy::lex::{mask, tokens};

    fn paths(source: &str, module: &[&str]) -> Vec<String> {
        let module: Vec<_> = module.iter().map(ToString::to_string).collect();
        named(&tokens(&mask(source).code), &module).into_iter().map(|n| n.path.join("::")).collect()
    }

    #[test]
    fn use_trees_are_flattened() {
        assert_eq!(
            paths("use crate::{bpf, dns::{stub, Answer as A}, proxy::*};", &[]),
            ["crate::bpf", "crate::dns::stub", "crate::dns::Answer", "crate::proxy"]
        );
        assert_eq!(paths("pub use ::std::{self, fs};", &[]), ["std::self", "std::fs"]);
    }

    #[test]
    fn paths_in_code_count() {
        assert_eq!(paths("fn f() { let x = crate::bpf::load(); }", &["proxy"]), ["crate::bpf::load"]);
        assert_eq!(paths("#[error(x)] fn f(s: Vec<std::fs::File>) {}", &[]), ["std::fs::File"]);
    }

    #[test]
    fn a_capture_is_no_import_and_broken_code_ends_the_walk() {
        assert_eq!(
            paths("fn f<'a>() -> impl X + use<'a> { crate::bpf::f() }", &["proxy"]),
            ["crate::bpf::f"]
        );
        assert_eq!(paths("use a::{b; use c::d;", &[]), ["a::b", "c::d"]);
    }

    #[test]
    fn super_and_self_are_resolved() {
        assert_eq!(paths("use super::super::bpf;", &["proxy", "sni"]), ["crate::bpf"]);
        assert_eq!(paths("use self::seam::X;", &["proxy"]), ["crate::proxy::seam::X"]);
        assert_eq!(
            paths("mod tests { use super::x; fn f() {} } use super::y::Z;", &["proxy", "sni"]),
            ["crate::proxy::sni::x", "crate::proxy::y::Z"]
        );
    }
}
