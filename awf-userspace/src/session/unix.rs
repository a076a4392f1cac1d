//! `--allow-unix`: sockets of services outside that the command may use all the same.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use crate::jail::{Identity, accounts::Accounts, hide, rootfs::walk, survey};

/// The run's own state, and that of others.
const OURS: &str = "/run/awf-bpf";
/// Parts of the names of sockets that make whoever uses them root.
const ENGINES: [&str; 8] = ["docker", "podman", "containerd", "crio", "buildkit", "libvirt", "lxd", "incus"];

/// Why one cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AllowUnixError {
    #[error("--allow-unix {path}: {source}; start the service first", path = .path.display())]
    Missing { path: PathBuf, source: io::Error },
    #[error("--allow-unix {path}: it is no unix socket; --mount shows files and directories", path = .0.display())]
    NoSocket(PathBuf),
    #[error(
        "--allow-unix {path}: {link} is a symbolic link of a user's, which could be changed to lead elsewhere; write {real}",
        path = .path.display(), link = .link.display(), real = .real.display()
    )]
    Link { path: PathBuf, link: PathBuf, real: PathBuf },
    #[error("--allow-unix {path}: it is awf-bpf's own", path = .0.display())]
    Ours(PathBuf),
    #[error(
        "--allow-unix {path}: --chroot off hides {hidden} as a whole; leave that out", path = .path.display(),
        hidden = .hidden.display()
    )]
    Hidden { path: PathBuf, hidden: PathBuf },
}

/// The sockets at `paths`, without links; each is told, with what it opens.
///
/// # Errors
/// See [`AllowUnixError`].
pub(super) fn sockets(paths: &[PathBuf]) -> Result<Vec<PathBuf>, AllowUnixError> {
    paths.iter().map(|path| socket(path)).collect()
}

fn socket(path: &Path) -> Result<PathBuf, AllowUnixError> {
    let missing = |source| AllowUnixError::Missing { path: path.into(), source };
    let way = walk(path, survey::entry).ok_or_else(|| missing(io::ErrorKind::NotFound.into()))?;
    let real = way.path;
    if !fs::symlink_metadata(&real).map_err(missing)?.file_type().is_socket() {
        return Err(AllowUnixError::NoSocket(path.into()));
    }
    // A command before this one may have put a link to another socket in its place.
    let is_users = |link: &PathBuf| fs::symlink_metadata(link).is_ok_and(|meta| meta.uid() != 0);
    if let Some((link, _)) = way.links.into_iter().find(|(link, _)| is_users(link)) {
        return Err(AllowUnixError::Link { path: path.into(), link, real });
    }
    if real.starts_with(OURS) {
        return Err(AllowUnixError::Ours(path.into()));
    }
    let engine = real.to_str().is_some_and(|text| ENGINES.iter().any(|engine| text.contains(engine)));
    let more = if engine { ", and makes whoever uses it root on this machine" } else { "" };
    log::warn!("--allow-unix {}: what serves it is not behind the firewall{more}", real.display());
    Ok(real)
}

/// Gives `identity` back the groups that it needs for `sockets` and is a member of: those that amount to root were
/// left out.
pub(super) fn join_groups(identity: &mut Identity, accounts: &Accounts, sockets: &[PathBuf]) {
    let Some(user) = accounts.by_uid(identity.uid) else { return };
    let own: Vec<u32> = accounts.groups_of(user).map(|group| group.gid).collect();
    let owners = sockets.iter().filter_map(|path| fs::metadata(path).ok()).map(|meta| meta.gid());
    for gid in owners.filter(|gid| *gid != 0 && own.contains(gid)) {
        if gid != identity.gid && !identity.groups.contains(&gid) {
            identity.groups.push(gid);
        }
    }
    identity.groups.sort_unstable();
}

/// What is left to hide of `paths`.
pub(super) fn without(paths: Vec<PathBuf>, sockets: &[PathBuf]) -> Vec<PathBuf> {
    let is_one = |path: &PathBuf| fs::canonicalize(path).is_ok_and(|real| sockets.contains(&real));
    paths.into_iter().filter(|path| !is_one(path)).collect()
}

/// With `--chroot off` whole directories are covered, with what is in them.
///
/// # Errors
/// [`AllowUnixError::Hidden`].
pub(super) fn check_hidden(uid: u32, sockets: &[PathBuf]) -> Result<(), AllowUnixError> {
    for hidden in hide::services(uid).into_iter().filter_map(|path| fs::canonicalize(path).ok()) {
        if let Some(path) = sockets.iter().find(|path| path.starts_with(&hidden) && **path != hidden) {
            return Err(AllowUnixError::Hidden { path: path.clone(), hidden });
        }
    }
    Ok(())
}
