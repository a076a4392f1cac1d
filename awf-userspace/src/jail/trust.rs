//! The run's CA where programs look for it: laid out beneath a cover where the machine's root stays, and looked at as
//! CMD's user, the last thing before CMD: a path that cannot be read by then is an error, not a riddle in some log.

use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};
use rustix::fs::Mode;
use rustix::mount::{MountFlags, mount, mount_remount};
use rustix::process::umask;
use serde::{Deserialize, Serialize};

use super::error::JailError;
use super::spec::{base64_bytes, os_path};

/// Bytes of all of it together.
const SIZE: &std::ffi::CStr = c"mode=0755,size=128m,nr_inodes=1k";
const FLAGS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// One thing that everybody may read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustFile {
    #[serde(with = "os_path")]
    pub at: PathBuf,
    #[serde(with = "base64_bytes")]
    pub content: Vec<u8>,
}

/// What is laid out without a root of CMD's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustFiles {
    /// The directory they are all in, beneath a cover.
    #[serde(with = "os_path")]
    pub place: PathBuf,
    pub files: Vec<TrustFile>,
    /// Where, and to which file.
    pub links: Vec<TrustLink>,
}

/// A link in the same place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustLink {
    #[serde(with = "os_path")]
    pub at: PathBuf,
    #[serde(with = "os_path")]
    pub to: PathBuf,
}

/// What CMD's user must find at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    #[serde(with = "os_path")]
    pub at: PathBuf,
    /// SHA-256 of the content.
    pub digest: Vec<u8>,
    /// It may lie where that user has no business: then it is said, and no error.
    pub optional: bool,
}

impl Check {
    pub fn new(at: &Path, content: &[u8], optional: bool) -> Self {
        let digest = ring::digest::digest(&SHA256, content).as_ref().to_vec();
        Self { at: at.into(), digest, optional }
    }
}

impl TrustFiles {
    /// What must be found afterwards: all of it.
    pub(super) fn checks(&self) -> Vec<Check> {
        let files = self.files.iter().map(|file| Check::new(&file.at, &file.content, false));
        let content = |link: &TrustLink| {
            let file = self.files.iter().find(|file| file.at == link.to)?;
            Some(Check::new(&link.at, &file.content, false))
        };
        files.chain(self.links.iter().filter_map(content)).collect()
    }

    /// Makes it, on a tmpfs of its own that is read-only then; `is_covered` says whether a path is beneath a cover.
    pub(super) fn write(&self, is_covered: impl Fn(&Path) -> bool) -> Result<(), JailError> {
        if self.files.is_empty() {
            return Ok(());
        }
        // The caller's mask must not close it to CMD's user.
        let mask = umask(Mode::empty());
        let made = self.make(is_covered);
        umask(mask);
        made
    }

    fn make(&self, is_covered: impl Fn(&Path) -> bool) -> Result<(), JailError> {
        let failed = |path: &Path, action| {
            let path = path.to_owned();
            move |source: io::Error| JailError::TrustFiles { path, action, source }
        };
        if !is_covered(&self.place) {
            let source = io::Error::other("it is not beneath a hidden directory that exists");
            return Err(failed(&self.place, "begin")(source));
        }
        std::fs::create_dir(&self.place).map_err(failed(&self.place, "create the directory"))?;
        mount("tmpfs", &self.place, "tmpfs", FLAGS, SIZE)
            .map_err(|e| failed(&self.place, "mount tmpfs")(e.into()))?;
        for file in &self.files {
            self.make_way(&file.at).and_then(|()| write(file)).map_err(failed(&file.at, "write the file"))?;
        }
        for link in &self.links {
            self.make_way(&link.at)
                .and_then(|()| symlink(&link.to, &link.at))
                .map_err(failed(&link.at, "make the link"))?;
        }
        mount_remount(&self.place, MountFlags::BIND | MountFlags::RDONLY | FLAGS, c"")
            .map_err(|e| failed(&self.place, "remount read-only")(e.into()))
    }

    /// The directories above `at`, which are ours.
    fn make_way(&self, at: &Path) -> io::Result<()> {
        let dir = at.parent().filter(|dir| dir.starts_with(&self.place));
        let dir = dir.ok_or_else(|| io::Error::other("it is outside of its place"))?;
        std::fs::create_dir_all(dir)
    }
}

fn write(file: &TrustFile) -> io::Result<()> {
    let mut made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&file.at)?;
    made.write_all(&file.content)
}

/// Looks at all of it, as who CMD will be; what to say of what that user need not read.
pub(super) fn verify(checks: &[Check]) -> Result<Option<String>, JailError> {
    let mut unread = Vec::new();
    for check in checks {
        match digest(&check.at) {
            Ok(digest) if digest == check.digest => {}
            Ok(_) => return Err(JailError::TrustOther { path: check.at.clone() }),
            Err(e) if check.optional && e.raw_os_error() == Some(libc::EACCES) => {
                unread.push(check.at.display().to_string());
            }
            Err(source) => return Err(JailError::TrustUnreadable { path: check.at.clone(), source }),
        }
    }
    let note = || {
        format!(
            "the command's user cannot read {}: whose trust it is cannot be run either",
            unread.join(", ")
        )
    };
    Ok((!unread.is_empty()).then(note))
}

fn digest(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let mut context = Context::new(&SHA256);
    let mut buffer = [0; 16 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(context.finish().as_ref().to_vec()),
            count => context.update(&buffer[..count]),
        }
    }
}
