//! What a run wants to see inside, and which paths of the host must be looked at to plan it.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{
    build::is_foreign,
    facts::{Facts, Kind},
    narrow, secrets,
    startup::startup_files,
    trust::Trust,
};

/// What CMD is to have; all paths absolute.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub home: Home,
    pub uid: u32,
    pub gid: u32,
    /// Writable: the current directory, and the workspace of a CI job.
    pub workspaces: Vec<PathBuf>,
    /// Shown only if they are CMD's user's: else they would lead past directories that are closed to it.
    pub own: Own,
    /// Read-only, also within HOME.
    pub tool_caches: Vec<PathBuf>,
    /// Where tools were told to keep settings, credentials among them, instead of in HOME.
    pub config_dirs: Vec<PathBuf>,
    /// Files and directories with credentials that the caller's environment names.
    pub secrets: Vec<PathBuf>,
    /// Files that programs outside use later, and must find as they were: our own program.
    pub keep: Vec<PathBuf>,
    pub mounts: Vec<UserMount>,
    /// Unix sockets that processes outside serve, to be used all the same.
    pub unix: Vec<PathBuf>,
    /// Of what could be written to, only this, as CMD sees it; `None`: all of it.
    pub allow_write: Option<Vec<PathBuf>>,
    /// The host's /tmp instead of an empty one.
    pub share_tmp: bool,
    /// Contents for files of the host's /etc.
    pub etc: Vec<(PathBuf, Vec<u8>)>,
    /// Unix sockets that processes outside serve.
    pub sockets: Vec<PathBuf>,
    /// What makes programs trust the run's CA; nothing where nothing is intercepted.
    pub trust: Trust,
}

/// Directories that whoever called sudo named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    pub writable: Vec<PathBuf>,
    pub read_only: Vec<PathBuf>,
}

/// CMD's HOME.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Home {
    /// The host's directory.
    Host(PathBuf),
    /// An empty one in memory.
    Memory(PathBuf),
}

impl Home {
    pub fn path(&self) -> &Path {
        match self {
            Self::Host(path) | Self::Memory(path) => path,
        }
    }
}

/// `--mount SOURCE:TARGET[:ro|rw]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserMount {
    pub source: PathBuf,
    pub target: PathBuf,
    pub writable: bool,
}

impl fmt::Display for UserMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.writable { "rw" } else { "ro" };
        write!(f, "{}:{}:{mode}", self.source.display(), self.target.display())
    }
}

/// Read-only in the new root, where the host has them. Beyond the usual ones: package managers with a root of their
/// own (Nix, snap, Linuxbrew), and what programs in /usr read of /var.
#[rustfmt::skip]
pub(super) const SYSTEM: &[&str] = &[
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/etc",
    "/nix", "/gnu/store", "/snap", "/home/linuxbrew/.linuxbrew", "/run/current-system",
    "/var/lib/dpkg", "/var/lib/rpm", "/var/lib/alternatives", "/var/lib/ca-certificates", "/var/lib/dictionaries-common",
    "/var/lib/texmf", "/var/lib/ghc", "/var/cache/fontconfig",
];

impl Wanted {
    /// HOME, without links, if it is a directory of the host's, shown to CMD's user, and that user's.
    pub fn own_home(&self, facts: &Facts) -> Option<PathBuf> {
        let Home::Host(home) = &self.home else { return None };
        let walk = facts.walk(home).filter(|walk| walk.kind == Kind::Directory && walk.uid == self.uid)?;
        (!is_foreign(&walk.path, facts)).then_some(walk.path)
    }

    /// What must be looked at, each followed to where it leads.
    pub fn paths(&self) -> Vec<PathBuf> {
        let system = SYSTEM.iter().map(PathBuf::from);
        let mut all: Vec<PathBuf> = system.chain([self.home.path().to_owned()]).collect();
        all.extend(self.workspaces.iter().chain(&self.tool_caches).cloned());
        all.extend(self.own.writable.iter().chain(&self.own.read_only).cloned());
        all.extend(self.mounts.iter().flat_map(|mount| [mount.source.clone(), mount.target.clone()]));
        all.extend(self.etc.iter().map(|(path, _)| path.clone()));
        all.extend(self.sockets.iter().cloned());
        all.extend(secrets::of(self));
        all.extend(self.allow_write.iter().flatten().flat_map(|path| narrow::sources(path, self)));
        all.extend(self.keep.iter().chain(&self.unix).cloned());
        all.extend(self.trust.targets(self.home.path()).flat_map(|path| narrow::sources(&path, self)));
        if let Home::Host(home) = &self.home {
            all.extend(startup_files(home, &self.config_dirs));
        }
        if self.share_tmp {
            all.push("/tmp".into());
        }
        all
    }
}
