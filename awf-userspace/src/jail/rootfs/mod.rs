//! What CMD's root file system consists of: pure, from what is known of the host and what is wanted to a list of
//! steps that `jail::root` carries out in this order. Nothing is written on the host: every mount point is ours or
//! exists already (`session::mount_point` makes the one that may be missing).

mod area;
mod build;
mod check;
mod facts;
mod guards;
mod narrow;
mod root;
mod secrets;
mod startup;
#[cfg(test)]
mod tests;
mod trust;
mod wanted;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::spec::{base64_bytes, os_path, os_paths};
use super::trust::Check;

pub use area::Area;
pub use facts::{Entry, Facts, Inode, Kind, MountPoint, Walk, walk};
pub use startup::watched_files;
pub use trust::{MoreIn, OverFile, OwnFile, Trust};
pub use wanted::{Home, Own, UserMount, Wanted};

/// One thing to make in the new root. `at` is where, as CMD will see it; `seen` what the host had there when it was
/// looked at, and must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// A directory of ours.
    Dir {
        #[serde(with = "os_path")]
        at: PathBuf,
        mode: u32,
    },
    /// A symbolic link of ours.
    Link {
        #[serde(with = "os_path")]
        at: PathBuf,
        #[serde(with = "os_path")]
        to: PathBuf,
    },
    /// A file of ours that everybody may read.
    File {
        #[serde(with = "os_path")]
        at: PathBuf,
        #[serde(with = "base64_bytes")]
        content: Vec<u8>,
    },
    /// A file of ours for CMD's user alone, and its own.
    UserFile {
        #[serde(with = "os_path")]
        at: PathBuf,
        #[serde(with = "base64_bytes")]
        content: Vec<u8>,
        owner: (u32, u32),
    },
    /// The host's `from` with all that is mounted below it.
    Bind {
        #[serde(with = "os_path")]
        from: PathBuf,
        #[serde(with = "os_path")]
        at: PathBuf,
        dir: bool,
        writable: bool,
        seen: Option<Inode>,
    },
    /// Something of ours, `from`, over what the host has at `at`; read-only.
    Cover {
        #[serde(with = "os_path")]
        from: PathBuf,
        #[serde(with = "os_path")]
        at: PathBuf,
        dir: bool,
        seen: Option<Inode>,
    },
    /// What is seen at `from`, a directory, at `at` too, with all that lies over parts of it; read-only.
    Again {
        #[serde(with = "os_path")]
        from: PathBuf,
        #[serde(with = "os_path")]
        at: PathBuf,
    },
    /// What is at `at`, links not followed, mounted upon itself: it cannot be renamed, replaced or removed.
    Pin {
        #[serde(with = "os_path")]
        at: PathBuf,
        writable: bool,
        seen: Option<Inode>,
    },
    /// The host's unix socket at the same path.
    Socket {
        #[serde(with = "os_path")]
        at: PathBuf,
        seen: Option<Inode>,
    },
    /// An empty file system in memory.
    Tmpfs {
        #[serde(with = "os_path")]
        at: PathBuf,
        mode: u32,
        owner: (u32, u32),
        /// Percent of the machine's memory that it holds at most.
        size: u8,
    },
    /// A file system of the kernel.
    Kernel {
        #[serde(with = "os_path")]
        at: PathBuf,
        what: KernelFs,
    },
    /// A character device.
    Device {
        #[serde(with = "os_path")]
        at: PathBuf,
        major: u32,
        minor: u32,
    },
}

/// File systems that show CMD's own namespaces, made fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KernelFs {
    Proc,
    Sys,
    Cgroup,
    Devpts,
}

/// The new root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootfsPlan {
    pub steps: Vec<Step>,
    /// Unix sockets to hide, by the paths they have inside.
    #[serde(with = "os_paths")]
    pub sockets: Vec<PathBuf>,
    /// What must be found by CMD as it was put there.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// What the user may want to know, one line each.
    #[serde(skip)]
    pub notes: Vec<String>,
    /// What is visible where.
    #[serde(skip)]
    areas: Vec<Area>,
}

/// Why the root cannot be as wanted; each names the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootfsError {
    #[error("--mount {0}: {source} does not exist; make it first", source = .0.source.display())]
    NoSource(UserMount),
    #[error(
        "--mount {mount}: {component} is a symbolic link, which could be changed to lead elsewhere; write {instead}",
        component = component.display(), instead = instead.display()
    )]
    SourceLink { mount: UserMount, component: PathBuf, instead: PathBuf },
    #[error("--mount {0}: {source} is neither a file nor a directory", source = .0.source.display())]
    SourceKind(UserMount),
    #[error(
        "--mount {mount}: {path} belongs to the kernel or to the machine's services and is not for the command",
        path = path.display()
    )]
    Forbidden { mount: UserMount, path: PathBuf },
    #[error("--mount {mount}: it would hide {hidden}; choose another target", hidden = hidden.display())]
    Shadows { mount: UserMount, hidden: PathBuf },
    #[error(
        "--mount {mount}: {component} is a symbolic link inside; write where it leads to",
        component = component.display()
    )]
    TargetLink { mount: UserMount, component: PathBuf },
    #[error(
        "--mount {0}: {target} does not exist, and is in a directory of the host in which nothing is made; make it \
         first, or choose a target outside, as /mnt/data", target = .0.target.display()
    )]
    NoTarget(UserMount),
    #[error("--allow-unix {path}: there is no place for it inside", path = .0.display())]
    NoPlaceForSocket(PathBuf),
    #[error("--mount {0}: one of source and target is a directory, the other is not")]
    Kinds(UserMount),
    #[error("[filesystem] allow_write {}: {why}", path.display())]
    AllowWrite { path: PathBuf, why: &'static str },
}

impl RootfsPlan {
    /// Plans the root of `wanted` on a host of which `facts` are known.
    ///
    /// # Errors
    /// Everything that is wrong with the wanted mounts, at once.
    pub fn new(wanted: &Wanted, facts: &Facts) -> Result<Self, Vec<RootfsError>> {
        build::plan(wanted, facts)
    }

    /// Where CMD finds what is at `path` on the host, if anywhere.
    pub fn inside(&self, path: &Path) -> Vec<PathBuf> {
        let shown = self.areas.iter().filter_map(|area| Some((area, area.inside(path)?)));
        let uncovered =
            shown.filter(|(area, at)| area::covering(&self.areas, at).is_some_and(|by| by == *area));
        uncovered.map(|(_, at)| at).collect()
    }
}
