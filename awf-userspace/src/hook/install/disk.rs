//! Looks at paths and changes them, without following any link: some of these directories are the runner's user's, who
//! may try to have root write elsewhere.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt as _, PermissionsExt as _},
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Uid},
    io::Errno,
};

use super::piece::{Access, State};

/// A `.env`, a policy and the like; what is larger is none.
const LARGEST: u64 = 1 << 20;

/// What is at `path`.
///
/// # Errors
///
/// When it cannot be told, or a directory on the way is a link.
pub fn observe(path: &Path) -> io::Result<State> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = match rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        Ok(fd) => File::from(fd),
        Err(Errno::NOENT) => return Ok(State::Absent),
        Err(Errno::LOOP) if is_link(path) => return Ok(State::Other),
        Err(Errno::NXIO) => return Ok(State::Other),
        Err(e) => return Err(e.into()),
    };
    let meta = file.metadata()?;
    let access = Access { mode: meta.mode() & 0o7777, uid: meta.uid(), gid: meta.gid() };
    if meta.is_dir() {
        return Ok(State::Directory(access));
    }
    // Another name of the file may be a file of somebody else's, and copied it would be shown to the runner's user.
    if !meta.is_file() || meta.nlink() != 1 || meta.len() > LARGEST {
        return Ok(State::Other);
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    Ok(if bytes.len() as u64 > LARGEST { State::Other } else { State::File { access, bytes } })
}

fn is_link(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink())
}

/// Makes `path` as `state` says, at once: whoever looks sees what was or what is to be. `check` sees the new file
/// before it has its name.
///
/// # Errors
///
/// When a step fails; what was there is there then.
pub fn put(path: &Path, state: &State, check: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let (dir, name) = parent(path)?;
    match state {
        State::Absent => match rustix::fs::unlinkat(&dir, &name, AtFlags::empty()) {
            Err(Errno::ISDIR) => Ok(rustix::fs::unlinkat(&dir, &name, AtFlags::REMOVEDIR)?),
            Err(Errno::NOENT) | Ok(()) => Ok(()),
            Err(e) => Err(e.into()),
        },
        State::Directory(access) => {
            match rustix::fs::mkdirat(&dir, &name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
            give(&File::from(rustix::fs::openat(&dir, &name, flags, Mode::empty())?), *access)
        }
        State::File { access, bytes } => {
            let new = temporary(&name);
            remove_temporary(path)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = File::from(rustix::fs::openat(&dir, &new, flags, Mode::RUSR | Mode::WUSR)?);
            let written = give(&file, *access)
                .and_then(|()| file.write_all(bytes))
                .and_then(|()| file.sync_all())
                .and_then(|()| check(&path.with_file_name(&new)))
                .and_then(|()| Ok(rustix::fs::renameat(&dir, &new, &dir, &name)?));
            if written.is_err() {
                let _ = rustix::fs::unlinkat(&dir, &new, AtFlags::empty());
            }
            written.and_then(|()| Ok(rustix::fs::fsync(&dir)?))
        }
        State::Other => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Removes what a killed [`put`] left beside `path`.
///
/// # Errors
///
/// When it is there and cannot be removed.
pub fn remove_temporary(path: &Path) -> io::Result<()> {
    let (dir, name) = match parent(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    match rustix::fs::unlinkat(dir, temporary(&name), AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// sudo skips names with a dot, systemd those that do not end in .conf.
fn temporary(name: &OsString) -> OsString {
    let mut new = OsString::from(".");
    new.push(name);
    new.push(".awf-bpf-new");
    new
}

fn give(file: &File, access: Access) -> io::Result<()> {
    rustix::fs::fchown(file, Some(Uid::from_raw(access.uid)), Some(Gid::from_raw(access.gid)))?;
    // After the owner: chown(2) takes the set-id bits away.
    file.set_permissions(std::fs::Permissions::from_mode(access.mode))
}

fn parent(path: &Path) -> io::Result<(OwnedFd, OsString)> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat2(CWD, dir, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
    Ok((dir, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{chown, symlink},
        path::PathBuf,
    };

    use super::*;

    fn place(name: &str) -> PathBuf {
        let dir = std::env::temp_dir()
            .canonicalize()
            .unwrap()
            .join(format!("awf-disk-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        dir
    }

    fn write(path: &Path, state: &State) -> io::Result<()> {
        put(path, state, |_| Ok(()))
    }

    #[test]
    fn what_was_put_is_observed() {
        let dir = place("put");
        for state in [
            State::file(Access { mode: 0o440, uid: 7, gid: 8 }, "a"),
            State::file(Access::root(0o4755), "b"),
            State::Absent,
            State::Directory(Access { mode: 0o1775, uid: 0, gid: 9 }),
            State::Directory(Access::root(0o755)),
            State::Absent,
        ] {
            write(&dir.join("x"), &state).unwrap();
            assert_eq!(observe(&dir.join("x")).unwrap(), state);
        }
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
        fs::remove_dir(dir).unwrap();
    }

    #[test]
    fn what_fails_its_check_never_gets_its_name() {
        let dir = place("check");
        let refused = put(&dir.join("x"), &State::file(Access::root(0o600), "a"), |new| {
            assert_eq!(fs::read(new).unwrap(), b"a");
            Err(io::Error::other("no"))
        });
        assert!(refused.is_err());
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
        fs::remove_dir(dir).unwrap();
    }

    #[test]
    fn no_link_leads_elsewhere() {
        let dir = place("links");
        fs::create_dir(dir.join("real")).unwrap();
        fs::write(dir.join("real/secret"), "s").unwrap();
        symlink("real", dir.join("way")).unwrap();
        symlink("real/secret", dir.join("link")).unwrap();
        fs::hard_link(dir.join("real/secret"), dir.join("name")).unwrap();
        rustix::fs::mknodat(CWD, dir.join("pipe"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        for odd in ["link", "name", "pipe"] {
            assert_eq!(observe(&dir.join(odd)).unwrap(), State::Other, "{odd}");
        }
        assert!(
            observe(&dir.join("way/secret")).is_err() && write(&dir.join("way/x"), &State::Absent).is_err()
        );
        let file = State::file(Access::root(0o600), "n");
        assert!(write(&dir.join("way/x"), &file).is_err());
        // In the place of a link comes the file: what it led to is left alone.
        write(&dir.join("link"), &file).unwrap();
        assert_eq!(
            (fs::read(dir.join("real/secret")).unwrap(), observe(&dir.join("link")).unwrap()),
            (b"s".into(), file)
        );
        fs::remove_dir_all(dir).unwrap();
    }

    /// The runner's user owns the directory, and waits for us with the name that we are about to write to.
    #[test]
    fn a_name_that_waits_for_us_is_not_written_through() {
        let dir = place("waiting");
        chown(&dir, Some(4321), Some(4321)).unwrap();
        fs::write(dir.join("victim"), "v").unwrap();
        symlink("victim", dir.join(temporary(&"x".into()))).unwrap();
        write(&dir.join("x"), &State::file(Access::root(0o600), "n")).unwrap();
        assert_eq!(
            (fs::read(dir.join("victim")).unwrap(), fs::read(dir.join("x")).unwrap()),
            (b"v".into(), b"n".into())
        );
        fs::remove_dir_all(dir).unwrap();
    }
}
