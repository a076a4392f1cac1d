//! `cargo xtask tidy`: the house rules that no compiler checks. All violations are reported at once.

mod direction;
mod lex;
mod paths;
mod rules;
#[cfg(test)]
mod tests;

use std::{fmt, fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};

use crate::cmd;

/// One broken rule, printed as `file:line: rule: what`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    path: String,
    /// From 1, as editors count.
    line: usize,
    rule: &'static str,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.what)
    }
}

/// The verb.
pub(crate) fn main(args: &[String]) -> Result<()> {
    ensure!(args.is_empty(), "usage: cargo xtask tidy");
    let (files, mut violations) = check_tree(&cmd::root())?;
    ensure!(files > 0, "no Rust file below {}: this is not the workspace", cmd::root().display());
    violations.sort();
    for violation in &violations {
        eprintln!("{violation}");
    }
    match violations.len() {
        0 => Ok(()),
        n => bail!("{n} violations of the house rules in {files} files (xtask/src/tidy says what they are)"),
    }
}

/// Checks every `.rs` file below `root`; how many there are, and what is wrong with them.
fn check_tree(root: &Path) -> Result<(usize, Vec<Violation>)> {
    let mut files = 0;
    let mut violations = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("listing {}", dir.display()))? {
            let entry = entry.with_context(|| format!("listing {}", dir.display()))?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let kind = entry.file_type().with_context(|| format!("looking at {}", path.display()))?;
            if kind.is_dir()
                && !name.starts_with('.')
                && !path.join("CACHEDIR.TAG").exists()
                && name != "target"
            {
                pending.push(path);
            } else if kind.is_file() && name.ends_with(".rs") {
                files += 1;
                let source =
                    fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
                let relative = path.strip_prefix(root).unwrap_or(&path);
                violations.extend(rules::check(&relative.to_string_lossy(), &source));
            }
        }
    }
    Ok((files, violations))
}
