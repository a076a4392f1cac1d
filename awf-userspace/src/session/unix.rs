//! `--allow-unix`: sockets of services outside that the command may use all the same.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use crate::jail::{
    Identity,
    accounts::Accounts,
    hide,
    rootfs::{Entry, walk},
    survey,
};

/// The run's own state, and that of others.
const OURS: &str = "/run/awf-bpf";
/// Parts of the names of sockets that make whoever uses them root.
const ENGINES: [&str; 8] = ["docker", "podman", "containerd", "crio", "buildkit", "libvirt", "lxd", "incus"];

/// Why one cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AllowUnixError {
    #[error("--allow-unix {path}: does not exist; start the service first", path = .0.display())]
    Missing(PathBuf),
    #[error("--allow-unix {path}: {source}", path = .path.display())]
    Unknown { path: PathBuf, source: io::Error },
    #[error("--allow-unix {path}: it is no unix socket; --mount shows files and directories", path = .0.display())]
    NoSocket(PathBuf),
    #[error(
        "--allow-unix {path}: {link} is a symbolic link of a user's, which could be changed to lead elsewhere; write {real}",
        path = .path.display(), link = .link.display(), real = .real.display()
    )]
    Link { path: PathBuf, link: PathBuf, real: PathBuf },
    #[error("--allow-unix {path}: it was exchanged while awf-bpf started", path = .0.display())]
    Exchanged(PathBuf),
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
    let unknown = |source| AllowUnixError::Unknown { path: path.into(), source };
    let way = walk(path, survey::entry).ok_or_else(|| AllowUnixError::Missing(path.into()))?;
    let real = way.path;
    if !fs::symlink_metadata(&real).map_err(unknown)?.file_type().is_socket() {
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
    log::warn!("--allow-unix {}: what serves it is not behind the firewall{}", real.display(), opens(&real));
    Ok(real)
}

/// That `paths` still lead to what [`sockets`] found, as `entry` says it now: by a link that is put there after the check,
/// a user would have another one.
///
/// # Errors
/// [`AllowUnixError::Exchanged`].
pub(super) fn check_same(
    paths: &[PathBuf],
    found: &[PathBuf],
    entry: impl Fn(&Path) -> Option<Entry>,
) -> Result<(), AllowUnixError> {
    let is_same =
        |(path, real): &(&PathBuf, &PathBuf)| walk(path, &entry).is_some_and(|way| way.path == **real);
    match paths.iter().zip(found).find(|pair| !is_same(pair)) {
        None => Ok(()),
        Some((path, _)) => Err(AllowUnixError::Exchanged(path.clone())),
    }
}

/// What else a socket gives.
fn opens(socket: &Path) -> &'static str {
    match socket.to_str() {
        Some(text) if ENGINES.iter().any(|engine| text.contains(engine)) => {
            ", and makes whoever uses it root on this machine"
        }
        _ => "",
    }
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

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    #[test]
    fn a_link_of_a_users_is_not_followed() {
        let dir = std::env::temp_dir().join(format!("awf-bpf-unix-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let (real, link, file) = (dir.join("s"), dir.join("link"), dir.join("file"));
        let _served = UnixListener::bind(&real).unwrap();
        symlink(&real, &link).unwrap();
        fs::write(&file, "").unwrap();
        let found = sockets(std::slice::from_ref(&real));
        let by_root = sockets(std::slice::from_ref(&link));
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            std::os::unix::fs::lchown(&link, Some(4242), None).unwrap();
        }
        let by_user = sockets(&[link]);
        let (other, gone) = (sockets(&[file]), sockets(&[dir.join("gone")]));
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(found.unwrap(), std::slice::from_ref(&real));
        assert_eq!(by_root.is_ok(), is_root);
        assert!(matches!(by_user, Err(AllowUnixError::Link { real: to, .. }) if to == real));
        assert!(matches!(other, Err(AllowUnixError::NoSocket(_))));
        assert!(matches!(gone, Err(AllowUnixError::Missing(_))));
    }

    #[test]
    fn what_is_exchanged_after_the_check_is_refused() {
        let dir = std::env::temp_dir().join(format!("awf-bpf-same-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let (asked, other) = ([dir.join("s")], dir.join("other"));
        let _served = [&asked[0], &other].map(|path| UnixListener::bind(path).unwrap());
        let found = sockets(&asked).unwrap();
        let before = check_same(&asked, &found, survey::entry);
        fs::remove_file(&asked[0]).unwrap();
        symlink(&other, &asked[0]).unwrap();
        let after = check_same(&asked, &found, survey::entry);
        fs::remove_dir_all(&dir).unwrap();
        assert!(before.is_ok());
        assert!(matches!(after, Err(AllowUnixError::Exchanged(path)) if path == asked[0]));
    }

    #[test]
    fn an_engines_socket_is_told_as_what_it_is() {
        assert!(opens(Path::new("/run/docker.sock")).contains("root on this machine"));
        assert_eq!(opens(Path::new("/tmp/ssh-x/agent.1")), "");
    }

    #[test]
    fn a_group_comes_back_only_for_its_socket_and_its_members() {
        let path = std::env::temp_dir().join(format!("awf-bpf-group-{}", std::process::id()));
        fs::write(&path, "").unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, None, Some(4242)).unwrap();
        }
        let own = fs::metadata(&path).unwrap().gid();
        let passwd = b"alice:x:1000:1000::/:/bin/sh\nbob:x:1001:1001::/:/bin/sh\n";
        let group = format!("alice:x:1000:\nowner:x:{own}:alice\n");
        let accounts = Accounts::parse(passwd, group.as_bytes());
        let groups = |uid, sockets: &[PathBuf]| {
            let mut identity = Identity::bare(uid, uid);
            join_groups(&mut identity, &accounts, sockets);
            identity.groups
        };
        let socket = std::slice::from_ref(&path);
        let (member, none, stranger) = (groups(1000, socket), groups(1000, &[]), groups(1001, socket));
        fs::remove_file(&path).unwrap();
        assert_eq!(member, [own]);
        assert!(none.is_empty() && stranger.is_empty());
        // root's group, whoever is in it.
        assert!(groups(1000, &["/dev/null".into()]).is_empty());
    }

    #[test]
    fn what_is_hidden_as_a_whole_hides_a_socket_too() {
        // The directory of this user's tmux, whom no machine has.
        let (uid, dir) = (3_999_999_000, PathBuf::from("/tmp/tmux-3999999000"));
        fs::create_dir(&dir).unwrap();
        let inside = check_hidden(uid, &[dir.join("default")]);
        let beside = check_hidden(uid, &["/tmp/tmux-3999999000x".into()]);
        let rest = without(vec![dir.clone(), "/etc".into()], std::slice::from_ref(&dir));
        fs::remove_dir(&dir).unwrap();
        assert!(matches!(inside, Err(AllowUnixError::Hidden { hidden, .. }) if hidden == dir));
        assert!(beside.is_ok());
        assert_eq!(rest, [PathBuf::from("/etc")]);
    }
}
