//! What `__init` is told, and how it travels: JSON in a sealed memfd, every string as the bytes it is.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, SealFlags};
use serde::{Deserialize, Serialize};

use super::error::JailError;
use super::identity::Identity;
use super::rootfs::RootfsPlan;
use super::terminal::TerminalSpec;
use super::trust::TrustFiles;
use crate::sys::signalfd::SignalMask;

const SEALS: SealFlags =
    SealFlags::SEAL.union(SealFlags::WRITE).union(SealFlags::GROW).union(SealFlags::SHRINK);

/// Everything `__init` needs to know. `Debug` shows no environment values: they hold secrets.
#[derive(Clone, Serialize, Deserialize)]
pub struct InitSpec {
    /// CMD and its arguments; the first is looked up in the PATH of `env` unless it contains a slash.
    pub argv: Vec<OsString>,
    /// CMD's whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// The wanted working directory; HOME, then `/`, when the user cannot enter it, unless it `must` be.
    #[serde(with = "os_path")]
    pub cwd: PathBuf,
    #[serde(default)]
    pub cwd_must: bool,
    pub identity: Identity,
    /// Directories, files and sockets CMD must not see. Those that do not exist are skipped.
    #[serde(with = "os_paths")]
    pub hide: Vec<PathBuf>,
    /// Unix sockets CMD must not see: what has become of a path since it was listed is left alone if it is no socket.
    #[serde(with = "os_paths", default)]
    pub hide_sockets: Vec<PathBuf>,
    /// The root to build and to enter, with a pid namespace of its own; `None`: the host's stays.
    #[serde(default)]
    pub root: Option<RootfsPlan>,
    /// Where to make a HOME on a tmpfs, beneath one of the hidden directories.
    #[serde(with = "os_opt_path")]
    pub home_tmpfs: Option<PathBuf>,
    /// Without a root of its own: files to lay on the cover of our state, for everybody to read.
    #[serde(default)]
    pub trust: TrustFiles,
    /// Proves, from inside, that connections reach this run's proxy.
    pub self_test: Option<SelfTest>,
    /// Cgroups of v1 to enter, whose limits are CMD's.
    #[serde(with = "os_paths", default)]
    pub join: Vec<PathBuf>,
    pub restore: Restore,
    /// Filled in by `launch`: CMD gets a terminal of its own.
    #[serde(default)]
    pub(crate) terminal: Option<TerminalSpec>,
    /// Filled in by `launch`: the process whose end is CMD's end.
    #[serde(default)]
    pub(crate) parent: u32,
    /// Filled in by `launch`: a network namespace is passed and must be entered.
    #[serde(default)]
    pub(crate) private_network: bool,
}

/// Connections, one of each family there is, that must be answered with `nonce`, nothing before it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SelfTest {
    pub addresses: Vec<SocketAddr>,
    pub nonce: Vec<u8>,
}

/// What awf-bpf changed about itself and CMD must not inherit.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Restore {
    /// Signals that were blocked when awf-bpf started.
    pub sigmask: SignalMask,
    /// `RLIMIT_NOFILE` (soft, hard) as awf-bpf found it, if it changed it.
    pub nofile: Option<(u64, u64)>,
    /// `/proc/self/oom_score_adj` as awf-bpf found it, if it changed it.
    pub oom_score_adj: Option<i32>,
}

impl InitSpec {
    /// A command with the least: no self-test, nothing hidden.
    pub fn new(argv: Vec<OsString>, identity: Identity, cwd: PathBuf) -> Self {
        Self {
            argv,
            env: Vec::new(),
            cwd,
            cwd_must: false,
            identity,
            hide: Vec::new(),
            hide_sockets: Vec::new(),
            root: None,
            home_tmpfs: None,
            trust: TrustFiles::default(),
            self_test: None,
            join: Vec::new(),
            restore: Restore::default(),
            terminal: None,
            parent: 0,
            private_network: false,
        }
    }

    /// Writes the specification into a memfd that nobody can change afterwards.
    ///
    /// # Errors
    /// What `memfd_create(2)`, writing and sealing say.
    pub(crate) fn seal(&self) -> io::Result<OwnedFd> {
        let memfd =
            rustix::fs::memfd_create("awf-bpf-spec", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = std::fs::File::from(memfd);
        file.write_all(&serde_json::to_vec(self)?)?;
        rustix::fs::fcntl_add_seals(&file, SEALS)?;
        Ok(file.into())
    }

    /// Reads what [`Self::seal`] wrote.
    pub(super) fn receive(memfd: OwnedFd) -> Result<Self, JailError> {
        if !rustix::fs::fcntl_get_seals(&memfd).is_ok_and(|seals| seals.contains(SEALS)) {
            return Err(JailError::SpecNotSealed);
        }
        // The offset is shared with the parent, which left it at the end.
        rustix::fs::seek(&memfd, rustix::fs::SeekFrom::Start(0)).map_err(|e| JailError::Spec(e.into()))?;
        let mut json = Vec::new();
        std::fs::File::from(memfd).read_to_end(&mut json).map_err(JailError::Spec)?;
        serde_json::from_slice(&json).map_err(|e| JailError::Spec(e.into()))
    }
}

impl std::fmt::Debug for InitSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InitSpec")
            .field("program", &self.argv.first())
            .field("cwd", &self.cwd)
            .field("identity", &self.identity)
            .field("hide", &self.hide)
            .finish_non_exhaustive()
    }
}

/// serde's own impl for paths refuses what is not UTF-8; `OsString` travels as bytes.
pub(super) mod os_path {
    use super::*;

    pub(crate) fn serialize<S: serde::Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        path.as_os_str().serialize(to)
    }

    pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        OsString::deserialize(from).map(PathBuf::from)
    }
}

pub(super) mod os_paths {
    use super::*;

    pub(crate) fn serialize<S: serde::Serializer>(paths: &[PathBuf], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(paths.iter().map(|path| path.as_os_str()))
    }

    pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
        Vec::<OsString>::deserialize(from).map(|all| all.into_iter().map(PathBuf::from).collect())
    }
}

/// Contents of files: as JSON's numbers they would be four times as long.
pub(super) mod base64_bytes {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::*;

    pub(crate) fn serialize<S: serde::Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&base64::display::Base64Display::new(bytes, &STANDARD))
    }

    pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

mod os_opt_path {
    use super::*;

    pub(crate) fn serialize<S: serde::Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
        path.as_ref().map(|path| path.as_os_str()).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(
        from: D,
    ) -> Result<Option<PathBuf>, D::Error> {
        Option::<OsString>::deserialize(from).map(|path| path.map(PathBuf::from))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn odd() -> OsString {
        OsString::from_vec(vec![b'/', 0xff, b'\n', b'"'])
    }

    #[test]
    fn every_byte_arrives() {
        let mut spec = InitSpec::new(vec![odd()], Identity::bare(4242, 4242), odd().into());
        spec.env = vec![(odd(), odd())];
        spec.hide = vec![odd().into()];
        spec.home_tmpfs = Some(odd().into());
        let got = InitSpec::receive(spec.seal().unwrap()).unwrap();
        assert_eq!((got.argv, got.env), (spec.argv, spec.env));
        assert_eq!((got.cwd, got.hide, got.home_tmpfs), (spec.cwd, spec.hide, spec.home_tmpfs));
    }

    #[test]
    fn an_unsealed_specification_is_refused() {
        let memfd = rustix::fs::memfd_create("test", MemfdFlags::ALLOW_SEALING).unwrap();
        assert!(matches!(InitSpec::receive(memfd), Err(JailError::SpecNotSealed)));
    }

    #[test]
    fn a_debug_line_shows_no_secret() {
        let mut spec = InitSpec::new(vec!["true".into()], Identity::bare(4242, 4242), "/".into());
        spec.env = vec![("TOKEN".into(), "hunter2".into())];
        assert!(!format!("{spec:?}").contains("hunter2"));
    }
}
