//! Directories in HOME that something of ours is laid over, inside: a mount needs one that exists. What is missing is made as
//! the user it is for, and removed as that user, if it is empty, by the last of the runs that use it.
//!
//! Which those are is told by locks: each run holds a shared one on a file of [`RECORDS`], which says what was made in that
//! HOME. Of a run that was killed the next one in the same HOME removes it, or `awf-bpf gc`.

use std::{
    cmp::Reverse,
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::{
            ffi::OsStrExt as _,
            fs::{MetadataExt as _, OpenOptionsExt as _},
        },
    },
    path::{Path, PathBuf},
    thread,
};

use rustix::{
    fs::{
        AtFlags, CWD, FlockOperation, Mode, OFlags, ResolveFlags, Stat, flock, fstat, mkdirat, openat,
        openat2, statat, unlinkat,
    },
    io::Errno,
    process::{Gid, Uid},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

use super::state::{STATE, make_private};

/// What was made where; below [`STATE`].
const RECORDS: &str = "made";
/// For the user alone.
const MODE: Mode = Mode::RWXU;
const DIRECTORY: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Whose HOME it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// A directory that can be mounted upon while this lives.
#[derive(Debug)]
pub(super) struct MountPoint {
    record: Record,
    /// Whether something was made for it.
    pub(super) is_new: bool,
}

impl MountPoint {
    /// Makes sure of `below`, relative, in `home`, which has no links in it and is `user`'s.
    ///
    /// # Errors
    /// Names the path of which it is not true: nothing is followed, and nothing made where HOME is not that user's.
    pub(super) fn new(home: &Path, below: &Path, user: User) -> Result<Self, String> {
        let failed = |path: &Path, e: io::Error| format!("{}: {e}", path.display());
        let dir = open_home(home, user).map_err(|e| failed(home, e))?;
        let seen = fstat(&dir).map_err(|e| failed(home, e.into()))?;
        let mut record = Record::share(&seen).map_err(|e| format!("{STATE}/{RECORDS}: {e}"))?;
        let made = as_user(user, || make(dir, home, below));
        let (made, result) = made.unwrap_or_else(|e| (Vec::new(), Err((home.to_owned(), e))));
        let is_new = !made.is_empty();
        let noted = made.iter().try_for_each(|made| record.note(home, user, made));
        // What is not on record is nobody's to remove; the empty directories stay.
        noted.map_err(|e| format!("{STATE}/{RECORDS}: {e}"))?;
        let point = Self { record, is_new };
        result.map_err(|(path, e)| failed(&path, e))?;
        Ok(point)
    }
}

impl Drop for MountPoint {
    fn drop(&mut self) {
        if let Err(e) = self.record.clear() {
            log::warn!("removing what was made in HOME: {e}");
        }
    }
}

/// Removes what runs left that were killed.
pub(super) fn reap() {
    let Ok(entries) = fs::read_dir(Path::new(STATE).join(RECORDS)) else { return };
    for entry in entries.flatten() {
        let cleared = Record::open(&entry.path(), false).and_then(|mut record| record.clear());
        if let Err(e) = cleared {
            log::warn!("{}: {e}", entry.path().display());
        }
    }
}

/// One directory that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Made {
    /// Below HOME.
    path: PathBuf,
    device: u64,
    inode: u64,
}

type Outcome = (Vec<Made>, Result<(), (PathBuf, io::Error)>);

/// Makes each directory of `below` that is missing. Only what is made here is in the first part of the outcome.
fn make(home: OwnedFd, shown: &Path, below: &Path) -> io::Result<Outcome> {
    let (mut made, mut dir, mut path) = (Vec::new(), home, PathBuf::new());
    for name in below.iter() {
        path.push(name);
        match make_one(&dir, name) {
            Ok((next, is_new)) => {
                let stat = fstat(&next)?;
                if is_new {
                    made.push(Made { path: path.clone(), device: stat.st_dev, inode: stat.st_ino });
                }
                dir = next;
            }
            Err(e) => return Ok((made, Err((shown.join(&path), e)))),
        }
    }
    Ok((made, Ok(())))
}

fn make_one(dir: &OwnedFd, name: &OsStr) -> io::Result<(OwnedFd, bool)> {
    let is_new = match mkdirat(dir, name, MODE) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(e) => return Err(e.into()),
    };
    match openat(dir, name, DIRECTORY, Mode::empty()) {
        Ok(next) => Ok((next, is_new)),
        Err(Errno::NOTDIR | Errno::LOOP) => Err(io::Error::other("it is no directory, or a link")),
        Err(e) => Err(e.into()),
    }
}

/// Without following a link, and only if it is `user`'s.
fn open_home(home: &Path, user: User) -> io::Result<OwnedFd> {
    let dir = openat2(CWD, home, DIRECTORY, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
    match fstat(&dir)?.st_uid {
        uid if uid == user.uid => Ok(dir),
        uid => Err(io::Error::other(format!("it is the user's with the uid {uid}"))),
    }
}

/// Does `work` with the rights of `user` and no others, so that nobody else's files can be touched, whatever a path leads
/// to by then. In a thread of its own, which ends with them. Its other uids stay root's: the user can neither trace nor
/// stop it.
fn as_user<T: Send>(user: User, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let worker = || {
        set_thread_groups(&[])?;
        set_thread_res_gid(None, Some(Gid::from_raw(user.gid)), None)?;
        set_thread_res_uid(None, Some(Uid::from_raw(user.uid)), None)?;
        work()
    };
    thread::scope(|scope| scope.spawn(worker).join())
        .unwrap_or_else(|_| Err(io::Error::other("its thread failed")))
}

/// What was made in one HOME, and a lock on it.
#[derive(Debug)]
struct Record {
    file: File,
    path: PathBuf,
}

impl Record {
    /// That of the HOME with this inode, locked with the other runs that use it.
    fn share(home: &Stat) -> io::Result<Self> {
        let other = |e: super::state::StateError| io::Error::other(e.to_string());
        let dir = Path::new(STATE).join(RECORDS);
        make_private(Path::new(STATE)).and_then(|()| make_private(&dir)).map_err(other)?;
        let path = dir.join(format!("{:x}-{:x}", home.st_dev, home.st_ino));
        loop {
            let record = Self::open(&path, true)?;
            // Who holds it alone removes it soon.
            flock(&record.file, FlockOperation::LockShared)?;
            if record.file.metadata()?.nlink() > 0 {
                return Ok(record);
            }
        }
    }

    fn open(path: &Path, create: bool) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(create).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        Ok(Self { file: options.open(path)?, path: path.to_owned() })
    }

    /// In one write: others note what they made at the same time.
    fn note(&mut self, home: &Path, user: User, made: &Made) -> io::Result<()> {
        let numbers = [user.uid.into(), user.gid.into(), made.device, made.inode].map(|n| n.to_string());
        let paths = [home, &made.path].map(|path| path.as_os_str().as_bytes());
        let fields = numbers.iter().map(String::as_bytes).chain(paths);
        let line: Vec<u8> = fields.flat_map(|field| [field, &[0]].concat()).collect();
        self.file.write_all(&line)
    }

    /// Removes what is on record, if nobody else uses it.
    fn clear(&mut self) -> io::Result<()> {
        match flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Ok(()),
            other => other?,
        }
        if self.file.metadata()?.nlink() == 0 {
            return Ok(());
        }
        let mut bytes = Vec::new();
        self.file.rewind()?;
        self.file.read_to_end(&mut bytes)?;
        let fields: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
        let mut all: Vec<_> = fields.chunks_exact(6).filter_map(read).collect();
        // The deepest first, which another run may have noted before what it is in.
        all.sort_by_key(|(.., made)| Reverse(made.path.components().count()));
        all.iter().for_each(|(home, user, made)| remove(home, *user, made));
        fs::remove_file(&self.path)
    }
}

fn read(fields: &[&[u8]]) -> Option<(PathBuf, User, Made)> {
    let number = |at: usize| std::str::from_utf8(fields[at]).ok()?.parse::<u64>().ok();
    let path = |at: usize| PathBuf::from(OsStr::from_bytes(fields[at]));
    let user = User { uid: number(0)?.try_into().ok()?, gid: number(1)?.try_into().ok()? };
    Some((path(4), user, Made { path: path(5), device: number(2)?, inode: number(3)? }))
}

/// If it is still there, the same, and empty.
fn remove(home: &Path, user: User, made: &Made) {
    let (Some(parent), Some(name)) = (made.path.parent(), made.path.file_name()) else { return };
    let Ok(dir) = open_home(home, user) else { return };
    let removed = as_user(user, || {
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let parent = openat2(&dir, parent, DIRECTORY, Mode::empty(), beneath)?;
        let stat = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if (stat.st_dev, stat.st_ino) == (made.device, made.inode) {
            unlinkat(&parent, name, AtFlags::REMOVEDIR)?;
        }
        Ok(())
    });
    if let Err(e) = removed {
        log::debug!("{} in {} stays: {e}", made.path.display(), home.display());
    }
}

#[cfg(test)]
mod tests;
