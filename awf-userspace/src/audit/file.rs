//! The file the records go to: opened so that nobody can put another one in its place, written a whole line
//! at a time.

use std::{
    fs::{self, DirBuilder, File, Metadata, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    process::geteuid,
};

use super::AuditError;

/// The file's name in the audit directory.
pub const FILE_NAME: &str = "audit.jsonl";

const DIR_MODE: u32 = 0o750;
const FILE_MODE: u32 = 0o640;

/// Most bytes kept in memory while the file cannot be written (a full disk that somebody may yet clear).
const BACKLOG_MAX: usize = 4 << 20;

/// Most bytes of one run: some million records. The file is root's, so that neither quota nor the blocks reserved for
/// root stop a command that makes records as fast as it can.
const RUN_MAX: u64 = 1 << 30;

/// Whom the run is for: may own the audit directory and may read what is in it, never write the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invoker {
    pub uid: u32,
    pub gid: u32,
}

/// The open file, and what could not be written to it yet.
#[derive(Debug)]
pub(super) struct LineFile {
    file: File,
    path: PathBuf,
    /// Whole lines, but for the first, which may have been written in part.
    backlog: Vec<u8>,
    /// Bytes of this run, and most of them.
    bytes: u64,
    max: u64,
    lost: u64,
    failure: Option<io::Error>,
}

impl LineFile {
    /// Opens `dir`/`audit.jsonl` for appending, making `dir` if it is not there.
    ///
    /// The directory may lie where the command, or an earlier one of the same user, can write: its last
    /// component and the file are opened without following symbolic links, the file relative to the open
    /// directory.
    pub(super) fn create(dir: &Path, invoker: Option<Invoker>) -> Result<Self, AuditError> {
        let path = dir.join(FILE_NAME);
        let directory = open_dir(dir, invoker)?;
        let file = open_file(&directory, &path)?;
        restrict(&file, FILE_MODE, invoker).map_err(|e| AuditError::Restrict(path.clone(), e))?;
        let mut this =
            Self { file, path, backlog: Vec::new(), bytes: 0, max: RUN_MAX, lost: 0, failure: None };
        this.end_torn_line();
        Ok(this)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `line`, which ends in a line feed, or keeps it until the file can be written again.
    ///
    /// `false` means that records wait or are lost: the file is behind what was decided.
    pub(super) fn append(&mut self, line: &[u8]) -> bool {
        if self.bytes + line.len() as u64 > self.max {
            return self.overflow();
        }
        self.bytes += line.len() as u64;
        if self.backlog.len() + line.len() > BACKLOG_MAX {
            self.drain();
        }
        if self.backlog.len() + line.len() > BACKLOG_MAX {
            self.lost += 1;
            return false;
        }
        self.backlog.extend_from_slice(line);
        self.drain()
    }

    /// Counts a record that could not even be put into words.
    pub(super) fn lose(&mut self, why: io::Error) {
        log::error!("an audit record cannot be written: {why}");
        self.lost += 1;
        self.failure = Some(why);
    }

    /// Records that are in no file; without those that still wait.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Writes what waits, and says what is wrong with the file, if anything is. The kernel has every record then; it
    /// is not waited for the disk, which takes longer than a launch.
    pub(super) fn finish(&mut self) -> Result<(), AuditError> {
        let drained = self.drain();
        let lost = self.lost + if drained { 0 } else { lines(&self.backlog) };
        if lost > 0 {
            let why = self.failure.as_ref().map_or_else(String::new, ToString::to_string);
            return Err(AuditError::Lost { path: self.path.clone(), lost, why });
        }
        let ours = self.file.metadata().map_err(|e| AuditError::Write(self.path.clone(), e))?;
        match fs::symlink_metadata(&self.path) {
            Ok(there) if same_file(&there, &ours) => Ok(()),
            _ => Err(AuditError::Replaced(self.path.clone())),
        }
    }

    /// From now on nothing is kept, and so nothing allowed.
    fn overflow(&mut self) -> bool {
        self.max = 0;
        self.lost += 1;
        if self.failure.is_none() {
            let why = format!("the run's limit of {} MiB is reached", RUN_MAX >> 20);
            log::error!("the audit file {:?} is full: {why}; nothing more is allowed", self.path);
            self.failure = Some(io::Error::other(why));
        }
        false
    }

    fn drain(&mut self) -> bool {
        let mut written = 0;
        while written < self.backlog.len() {
            match self.file.write(&self.backlog[written..]) {
                Ok(0) => return self.keep(written, io::ErrorKind::WriteZero.into()),
                Ok(n) => written += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return self.keep(written, e),
            }
        }
        self.backlog.clear();
        if self.lost == 0 && self.failure.take().is_some() {
            log::warn!("the audit file {:?} can be written again; nothing was lost", self.path);
        }
        true
    }

    fn keep(&mut self, written: usize, why: io::Error) -> bool {
        self.backlog.drain(..written);
        if self.failure.is_none() {
            log::error!("the audit file {:?} cannot be written: {why}; nothing more is allowed", self.path);
        }
        self.failure = Some(why);
        false
    }

    /// An earlier run that died on a full disk may have left half a line: ours must not continue it.
    fn end_torn_line(&mut self) {
        let len = self.file.metadata().map_or(0, |m| m.len());
        let mut last = [b'\n'];
        let read = len > 0 && self.file.read_at(&mut last, len - 1).is_ok();
        if read && last != [b'\n'] {
            self.append(b"\n");
        }
    }
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|b| **b == b'\n').count() as u64
}

fn same_file(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Makes the directory of the records, if need be, and opens it.
///
/// # Errors
/// When somebody other than this user and `invoker` could replace the records.
pub fn open_dir(dir: &Path, invoker: Option<Invoker>) -> Result<File, AuditError> {
    let create = |e| AuditError::CreateDir(dir.to_owned(), e);
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(create)?;
    }
    let made = match DirBuilder::new().mode(DIR_MODE).create(dir) {
        Ok(()) => true,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => false,
        Err(e) => return Err(create(e)),
    };
    let open = |e| AuditError::OpenDir(dir.to_owned(), e);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // A trailing slash would make the kernel follow a link in spite of NOFOLLOW; the components have none.
    let bare: PathBuf = dir.components().collect();
    let opened = File::from(openat(CWD, &bare, flags, Mode::empty()).map_err(|e| open(e.into()))?);
    let meta = opened.metadata().map_err(open)?;
    let mine = geteuid().as_raw();
    if meta.uid() != mine && invoker.is_none_or(|invoker| invoker.uid != meta.uid()) {
        return Err(AuditError::ForeignDir(dir.to_owned(), meta.uid()));
    }
    if meta.mode() & 0o002 != 0 {
        return Err(AuditError::OpenToAllDir(dir.to_owned()));
    }
    if made {
        restrict(&opened, DIR_MODE, invoker).map_err(create)?;
    }
    Ok(opened)
}

fn open_file(dir: &File, path: &Path) -> Result<File, AuditError> {
    let open = |e: rustix::io::Errno| AuditError::OpenFile(path.to_owned(), e.into());
    // NONBLOCK: a FIFO put there must fail, not hang.
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fresh = flags | OFlags::CREATE | OFlags::EXCL;
    match openat(dir, FILE_NAME, fresh, Mode::from_raw_mode(FILE_MODE)) {
        Ok(file) => return Ok(file.into()),
        Err(rustix::io::Errno::EXIST) => {}
        Err(e) => return Err(open(e)),
    }
    let file = File::from(openat(dir, FILE_NAME, flags, Mode::empty()).map_err(open)?);
    let meta = file.metadata().map_err(|e| AuditError::OpenFile(path.to_owned(), e))?;
    let wrong = |what| Err(AuditError::UnsafeFile(path.to_owned(), what));
    match () {
        () if !meta.is_file() => wrong("is not a regular file"),
        () if meta.uid() != geteuid().as_raw() => {
            wrong("belongs to another user, who could change the records")
        }
        () if meta.nlink() != 1 => wrong("has a second name (a hard link)"),
        () if meta.mode() & 0o022 != 0 => wrong("can be written by others"),
        () => Ok(file),
    }
}

/// The exact mode, whatever the umask, and the invoker's group, so that they may read it.
fn restrict(file: &File, mode: u32, invoker: Option<Invoker>) -> io::Result<()> {
    if let Some(invoker) = invoker {
        fchown(file, None, Some(invoker.gid))?;
    }
    file.set_permissions(Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests;
