//! What this machine and the caller trust, read before the command starts: bundles, the caller's variables, key stores
//! of JVMs, and what is in the directories that get one more name.
//!
//! A variable that names what cannot be read is no error: its readers fail, or go without, outside as well. Each one is
//! named in a warning. Only certificates are taken, whatever the file is: it may be one that the caller cannot read.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fmt, fs,
    io::{self, Read as _},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};
use rustls::pki_types::CertificateDer;

use super::{
    bundle::{Bundle, Contents},
    jks,
    places::{self, ANCHORS, BUNDLES, HASHED},
    variables::{Effect, PLACE, VARIABLES, is_path},
};

/// Variables with options of JVMs.
const JAVA_OPTIONS: [&str; 7] = [
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "_JAVA_OPTIONS",
    "JAVA_OPTS",
    "MAVEN_OPTS",
    "GRADLE_OPTS",
    "SBT_OPTS",
];
/// Bytes of one file; the largest bundles in use have half a megabyte.
const MOST: u64 = 8 << 20;

/// Whose trust it is.
#[derive(Clone, Default)]
pub struct Caller {
    /// Variables that the caller has, or wants the command to have.
    pub variables: BTreeMap<OsString, OsString>,
    pub home: PathBuf,
    /// Directories of PATH.
    pub path: Vec<PathBuf>,
    /// Where relative paths begin.
    pub here: PathBuf,
}

/// Shows no variables: values hold secrets.
impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("home", &self.home).finish_non_exhaustive()
    }
}

/// All that is known.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The machine's: with [`Self::inherited`] what servers are checked against.
    pub roots: Bundle,
    /// Of all variables of the caller.
    pub inherited: Bundle,
    /// Of those that add to what a program trusts.
    pub(super) added: Bundle,
    /// Bundles of the machine, as programs call them.
    pub bundles: Vec<PathBuf>,
    pub(super) stores: Vec<Store>,
    pub(super) directories: Vec<Directory>,
    /// Those of [`VARIABLES`] that the caller has.
    pub(super) variables: BTreeMap<OsString, OsString>,
    /// What the caller should hear, one line each.
    pub warnings: Vec<String>,
    /// Files of the caller's choice that decide what is trusted: the command must not change them for the next run.
    pub files: Vec<PathBuf>,
}

/// A JVM's key store.
#[derive(Clone, Debug)]
pub(super) struct Store {
    pub(super) path: PathBuf,
    /// `None`: it cannot be told.
    pub(super) certificates: Option<Vec<CertificateDer<'static>>>,
    /// What JVMs were told of it.
    pub(super) password: Option<Password>,
}

/// Not shown.
#[derive(Clone)]
pub(super) struct Password(pub(super) String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// A directory that gets our CA.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
    /// By the hash of the name, not by any name.
    pub(super) hashed: bool,
    /// Symbolic links, with their targets.
    pub(super) links: Vec<(OsString, PathBuf)>,
    pub(super) others: Vec<OsString>,
}

impl Found {
    /// Looks for it.
    #[must_use]
    pub fn look(caller: &Caller) -> Self {
        let mut found = Self::default();
        found.machine();
        for (name, effect, _) in VARIABLES {
            if let Some(value) = caller.variables.get(OsStr::new(name)).filter(|value| !value.is_empty()) {
                found.variables.insert(name.into(), value.clone());
                found.variable(name, *effect, value, &caller.here);
            }
        }
        found.java_options(caller);
        let value = |names: &[&str]| -> Vec<PathBuf> {
            let of = |name: &&str| caller.variables.get(OsStr::new(name)).map(PathBuf::from);
            names.iter().filter_map(of).filter(|path| path.is_absolute()).collect()
        };
        let is_home = |name: &OsStr| name.to_string_lossy().starts_with("JAVA_HOME");
        let mut homes = value(&["JDK_HOME", "JRE_HOME", "GRAALVM_HOME"]);
        homes
            .extend(caller.variables.iter().filter(|(name, _)| is_home(name)).map(|(_, v)| PathBuf::from(v)));
        let caches = value(&["RUNNER_TOOL_CACHE", "AGENT_TOOLSDIRECTORY"]);
        for path in places::stores(&homes, &caches, &caller.home, &caller.path) {
            if let Err(why) = found.store(&path, None) {
                let path = path.display();
                found
                    .warnings
                    .push(format!("{path}: {why}: in this run its JVM trusts what the machine does"));
            }
        }
        found
    }

    fn machine(&mut self) {
        let mut read: BTreeSet<PathBuf> = BTreeSet::new();
        for path in BUNDLES.iter().map(Path::new) {
            let Ok(real) = fs::canonicalize(path) else { continue };
            self.bundles.push(path.into());
            if !self.roots.is_empty() || !read.insert(real) {
                continue;
            }
            match file(path) {
                Ok(bytes) => self.roots.add(&Contents::of(&bytes).certificates),
                Err(e) => self.warnings.push(format!("{}: {e}", path.display())),
            }
        }
        let of = |paths: &'static [&str], hashed| paths.iter().map(move |path| (Path::new(path), hashed));
        let mut known: BTreeSet<PathBuf> = BTreeSet::new();
        for (path, hashed) in of(HASHED, true).chain(of(ANCHORS, false)) {
            let Some(real) = fs::canonicalize(path).ok().filter(|real| real.is_dir()) else { continue };
            if known.insert(real)
                && let Ok(directory) = directory(path, hashed)
            {
                self.directories.push(directory);
            }
        }
        if self.roots.is_empty() {
            self.roots_of_directories();
        }
    }

    /// A machine without a bundle may still have directories.
    fn roots_of_directories(&mut self) {
        let dirs: Vec<_> =
            self.directories.iter().filter(|dir| dir.hashed).map(|dir| dir.path.clone()).collect();
        dirs.iter().for_each(|dir| self.roots.add(&of_directory(dir).unwrap_or_default().certificates));
        if self.roots.is_empty() {
            self.warnings.push(
                "this machine has no root certificates (is the package ca-certificates installed?): no server can be \
                 trusted but those of the caller's variables"
                    .to_owned(),
            );
        }
    }

    fn variable(&mut self, name: &str, effect: Effect, value: &OsStr, here: &Path) {
        let is_list = effect == Effect::Directories;
        if effect == Effect::ReplacesIfSet && !is_path(value) {
            return;
        }
        let paths: Vec<PathBuf> =
            if is_list { std::env::split_paths(value).collect() } else { vec![PathBuf::from(value)] };
        for path in paths.iter().filter(|path| !path.as_os_str().is_empty() && !path.starts_with(PLACE)) {
            let path = here.join(path);
            let contents =
                if path.is_dir() { of_directory(&path) } else { file(&path).map(|b| Contents::of(&b)) };
            match contents {
                Ok(contents) => self.take(name, effect, &path, &contents),
                // Several directories are often named that may be there.
                Err(e) if is_list && e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => self.warnings.push(format!(
                    "{name}={}: {e}: what it holds is not trusted in this run",
                    path.display()
                )),
            }
        }
    }

    fn take(&mut self, name: &str, effect: Effect, path: &Path, contents: &Contents) {
        let (count, broken) = (contents.certificates.len(), contents.broken);
        if broken > 0 || count == 0 && effect != Effect::Directories {
            let what = if count == 0 {
                "no certificate".to_owned()
            } else {
                format!("{broken} that are no certificates")
            };
            self.warnings.push(format!(
                "{name}={}: it holds {what} (PEM is expected): they are not trusted in this run",
                path.display()
            ));
        }
        self.inherited.add(&contents.certificates);
        if effect == Effect::Adds {
            self.added.add(&contents.certificates);
        }
        self.files.push(path.to_owned());
        self.files.extend(links_out_of(path));
    }

    /// Stores that JVMs are told to read instead of their own.
    fn java_options(&mut self, caller: &Caller) {
        for name in JAVA_OPTIONS {
            let Some(options) = caller.variables.get(OsStr::new(name)).and_then(|value| value.to_str())
            else {
                continue;
            };
            let option =
                |option: &str| options.split_ascii_whitespace().find_map(|word| word.strip_prefix(option));
            let Some(path) = option("-Djavax.net.ssl.trustStore=") else { continue };
            let password =
                option("-Djavax.net.ssl.trustStorePassword=").map(|text| Password(text.to_owned()));
            let path = caller.here.join(path);
            let read = fs::canonicalize(&path).map_err(|e| e.to_string());
            if let Err(why) = read.and_then(|path| self.store(&path, password)) {
                let path = path.display();
                self.warnings.push(format!("{name}={path}: {why}: what it holds is not trusted in this run"));
            }
        }
    }

    fn store(&mut self, path: &Path, password: Option<Password>) -> Result<(), String> {
        if self.stores.iter().any(|known| known.path == path) {
            return Ok(());
        }
        let read = file(path).map_err(|e| e.to_string());
        let read = read.and_then(|bytes| jks::read(&bytes).map_err(|e| e.to_string()));
        let (certificates, result) = match read {
            Ok(certificates) => (Some(certificates), Ok(())),
            Err(why) => (None, Err(why)),
        };
        self.stores.push(Store { path: path.into(), certificates, password });
        result
    }
}

/// The content of a regular file. Nothing else is opened: a FIFO would let its writer go on, a tape be rewound, and a
/// watchdog begin to wait; and what is in HOME may be a link that somebody else's command left there.
pub(super) fn file(path: &Path) -> io::Result<Vec<u8>> {
    let there = fs::File::from(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?);
    if !there.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let same = format!("/proc/self/fd/{}", there.as_raw_fd());
    let file = fs::File::from(rustix::fs::open(same, flags, Mode::empty())?);
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST {
        return Err(io::Error::other(format!("it is larger than {} MiB", MOST >> 20)));
    }
    Ok(bytes)
}

/// The certificates of all its files, each once; files that hold none are usual there.
fn of_directory(dir: &Path) -> io::Result<Contents> {
    let mut all = Bundle::default();
    let mut read = 0;
    for name in places::names(dir)? {
        if let Ok(bytes) = file(&dir.join(name)) {
            all.add(&Contents::of(&bytes).certificates);
            read += bytes.len() as u64;
        }
        if read > 4 * MOST {
            return Err(io::Error::other(format!("its files have more than {} MiB", (4 * MOST) >> 20)));
        }
    }
    Ok(Contents { certificates: all.certificates().to_vec(), broken: 0 })
}

/// What is a link in `dir` and elsewhere in truth, if that is a directory.
fn links_out_of(dir: &Path) -> Vec<PathBuf> {
    let Ok(real) = fs::canonicalize(dir) else { return Vec::new() };
    let all = places::names(dir).unwrap_or_default().into_iter().map(|name| dir.join(name));
    let elsewhere = |path: &PathBuf| fs::canonicalize(path).is_ok_and(|to| to.parent() != Some(&real));
    all.filter(|path| path.is_symlink() && elsewhere(path)).collect()
}

fn directory(path: &Path, hashed: bool) -> io::Result<Directory> {
    let mut found = Directory { path: path.into(), hashed, links: Vec::new(), others: Vec::new() };
    for name in places::names(path)? {
        match fs::read_link(path.join(&name)) {
            Ok(target) => found.links.push((name, target)),
            Err(_) => found.others.push(name),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
