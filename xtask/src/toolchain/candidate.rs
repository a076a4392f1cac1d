//! Where a toolchain or a linker may be: rustup's directory, `/usr/bin`, `PATH`, cargo's `bin`.
//!
//! No process is started here, and `rustc` is not looked up on `PATH`: rustup's proxies there would answer for
//! whatever `RUSTUP_TOOLCHAIN` an outer cargo has set.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
};

/// Where a candidate comes from: decides what mends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Installed by rustup under this name.
    Rustup(String),
    /// The distribution's.
    System,
    /// The prefix that `AWF_EBPF_TOOLCHAIN` names.
    Given,
}

/// A directory that may hold a `rustc` and a `cargo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub source: Source,
    /// The prefix: the compiler is `<prefix>/bin/rustc`.
    pub prefix: PathBuf,
}

impl Candidate {
    /// The directory of its executables.
    #[must_use]
    pub fn bin(&self) -> PathBuf {
        self.prefix.join("bin")
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Rustup(name) => write!(f, "rustup {name}"),
            Source::System => write!(f, "system {}", self.bin().display()),
            Source::Given => write!(f, "AWF_EBPF_TOOLCHAIN {}", self.prefix.display()),
        }
    }
}

/// All candidates in the order to try them.
pub(super) fn candidates() -> Vec<Candidate> {
    let toolchains = rustup_home().map(|h| h.join("toolchains"));
    let installed = toolchains.as_deref().map(installed).unwrap_or_default();
    if let Some(given) = env::var_os("AWF_EBPF_TOOLCHAIN").filter(|v| !v.is_empty()) {
        return vec![given_candidate(&given.to_string_lossy(), toolchains.as_deref(), &installed)];
    }
    let mut all: Vec<_> = toolchains
        .iter()
        .flat_map(|dir| {
            installed
                .iter()
                .map(|name| Candidate { source: Source::Rustup(name.clone()), prefix: dir.join(name) })
        })
        .collect();
    all.push(Candidate { source: Source::System, prefix: PathBuf::from("/usr") });
    all
}

/// A prefix if it is an absolute path, else a rustup name with or without the host triple.
fn given_candidate(given: &str, toolchains: Option<&Path>, installed: &[String]) -> Candidate {
    let Some(dir) = toolchains.filter(|_| !given.starts_with('/')) else {
        return Candidate { source: Source::Given, prefix: PathBuf::from(given) };
    };
    let with_triple = format!("{given}-");
    let name = installed
        .iter()
        .find(|n| *n == given)
        .or_else(|| installed.iter().find(|n| n.starts_with(&with_triple)))
        .map_or(given, String::as_str);
    Candidate { source: Source::Rustup(name.to_owned()), prefix: dir.join(name) }
}

/// The names in rustup's directory, nightlies first (they need no `RUSTC_BOOTSTRAP`), then stable, then the rest.
fn installed(toolchains: &Path) -> Vec<String> {
    let entries = fs::read_dir(toolchains).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort_by_key(|n| (!n.starts_with("nightly"), !n.starts_with("stable"), n.clone()));
    names
}

/// <https://rust-lang.github.io/rustup/environment-variables.html>
fn rustup_home() -> Option<PathBuf> {
    from_env_or_home("RUSTUP_HOME", ".rustup")
}

/// <https://doc.rust-lang.org/cargo/guide/cargo-home.html>
fn cargo_home() -> Option<PathBuf> {
    from_env_or_home("CARGO_HOME", ".cargo")
}

fn from_env_or_home(var: &str, default: &str) -> Option<PathBuf> {
    let set = env::var_os(var).filter(|v| !v.is_empty()).map(PathBuf::from);
    set.or_else(|| env::home_dir().map(|h| h.join(default)))
}

/// Every bpf-linker of this machine: the first on `PATH` may be of an older LLVM than the one `setup` installed.
pub(super) fn linkers() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut found = Vec::new();
    for dir in env::split_paths(&path).chain(cargo_home().map(|h| h.join("bin"))) {
        let file = dir.join("bpf-linker");
        if file.is_file() && !found.contains(&file) {
            found.push(file);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Source, given_candidate};
    use std::path::{Path, PathBuf};

    const INSTALLED: &[&str] =
        &["nightly-x86_64-unknown-linux-gnu", "stable-x86_64-unknown-linux-gnu", "mine"];

    fn given(value: &str) -> (Source, PathBuf) {
        let installed: Vec<_> = INSTALLED.iter().map(ToString::to_string).collect();
        let c = given_candidate(value, Some(Path::new("/r")), &installed);
        (c.source, c.prefix)
    }

    #[test]
    fn a_given_path_is_a_prefix() {
        assert_eq!(given("/opt/rust"), (Source::Given, "/opt/rust".into()));
    }

    #[test]
    fn a_given_name_may_leave_out_the_host_triple() {
        let full = "nightly-x86_64-unknown-linux-gnu";
        assert_eq!(given("nightly"), (Source::Rustup(full.into()), Path::new("/r").join(full)));
        assert_eq!(given("mine"), (Source::Rustup("mine".into()), "/r/mine".into()));
    }

    #[test]
    fn a_name_that_is_not_installed_is_still_a_candidate_so_that_it_is_refused_by_name() {
        assert_eq!(given("beta"), (Source::Rustup("beta".into()), "/r/beta".into()));
    }
}
