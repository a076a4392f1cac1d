//! Why `__init` could not become CMD: one variant a step.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::seccomp::FilterError;

/// A step that failed. Nothing of CMD has run.
#[derive(Debug, thiserror::Error)]
pub enum JailError {
    #[error("cannot tie the command's life to awf-bpf's: prctl(PR_SET_PDEATHSIG): {0}")]
    Lifeline(#[source] io::Error),
    #[error("awf-bpf (pid {parent}) ended while the command was being set up")]
    Orphaned { parent: u32 },
    #[error("cannot read the start-up specification: {0}")]
    Spec(#[source] io::Error),
    #[error("the start-up specification was not sealed by awf-bpf")]
    SpecNotSealed,
    #[error("cannot examine {stream}: {source}")]
    Stdio { stream: &'static str, source: io::Error },
    #[error(
        "{stream} is a network socket (address family {family}); it was made outside the firewall, so nothing \
         would filter it: put a pipe in between, as in `cat | awf-bpf exec …` or `awf-bpf exec … | cat`"
    )]
    StdioSocket { stream: &'static str, family: u16 },
    #[error(
        "{stream} is a directory, or a path opened without its content (O_PATH): the command would reach every file \
         outside by it; redirect {stream} from or to a file, a pipe or /dev/null"
    )]
    StdioPlace { stream: &'static str },
    #[error("the network namespace of the run was not passed on")]
    NoNetns,
    #[error("cannot enter the network namespace of the run: {0}")]
    EnterNetns(#[source] io::Error),
    #[error("self-test: nothing of the firewall answers a connection to {dialled}: {source}")]
    SelfTest { dialled: SocketAddr, source: io::Error },
    #[error("self-test: a connection to {dialled} was not answered by this run's proxy")]
    SelfTestAnswer { dialled: SocketAddr },
    #[error("self-test: a connection to {dialled} calls its peer {peer}")]
    SelfTestPeer { dialled: SocketAddr, peer: SocketAddr },
    #[error("cannot enter the cgroup {}: {source}", path.display())]
    Join { path: PathBuf, source: io::Error },
    #[error("cannot make private mount and ipc namespaces: unshare: {0}")]
    Unshare(#[source] io::Error),
    #[error("cannot cut the mounts off from the host's: mount(MS_PRIVATE): {0}")]
    Propagation(#[source] io::Error),
    #[error("cannot read /proc/self/mountinfo: {0}")]
    MountInfo(#[source] io::Error),
    #[error("cannot make {} read-only: {source}", path.display())]
    Freeze { path: PathBuf, source: io::Error },
    #[error("cannot hide {}: {action}: {source}", path.display())]
    Hide { path: PathBuf, action: &'static str, source: io::Error },
    #[error("cannot hide {}: it changed while it was being covered", path.display())]
    HideRaced { path: PathBuf },
    #[error("cannot make a home directory at {}: it is not beneath a hidden directory that exists", path.display())]
    HomeOutside { path: PathBuf },
    #[error("cannot make a home directory at {}: {action}: {source}", path.display())]
    Home { path: PathBuf, action: &'static str, source: io::Error },
    #[error("cannot build the command's root file system: {step}: {source}{}", rootfs_hint(source))]
    Rootfs { step: String, source: io::Error },
    #[error(
        "cannot make the new root file system the root: pivot_root: {0} (the root of this machine is no mount of its \
         own, as in an initramfs or a chroot; --chroot off keeps the machine's)"
    )]
    Pivot(#[source] io::Error),
    #[error("cannot make a session for the command: setsid: {0}")]
    Session(#[source] io::Error),
    #[error("the socket by which awf-bpf gets the command's terminal was not passed on")]
    NoTerminal,
    #[error("cannot make a terminal for the command: {step}: {source}{}", terminal_hint(source))]
    Terminal { step: &'static str, source: io::Error },
    #[error("cannot start the command's first process: fork: {0}")]
    Fork(#[source] io::Error),
    #[error("cannot restore {what}: {source}")]
    Restore { what: &'static str, source: io::Error },
    #[error("cannot {action}: {source}")]
    Privileges { action: &'static str, source: io::Error },
    #[error("uid 0 keeps the host's files even without capabilities: refused")]
    Root,
    #[error("cannot make a user namespace for --user root: {step}: {source}{}", user_namespace_hint(source))]
    UserNamespace { step: &'static str, source: io::Error },
    #[error("the user namespace for --user root maps other ids than it was told")]
    UserNamespaceMap,
    #[error("cannot become uid {uid}, gid {gid}: {call}: {source}")]
    Identity { uid: u32, gid: u32, call: &'static str, source: io::Error },
    #[error("became uid {uid}, but could become root again")]
    Regained { uid: u32 },
    #[error("capabilities are left after dropping them")]
    CapabilitiesLeft,
    #[error(
        "--container-workdir {}: the command cannot start there: {source}; it is looked up in what the command sees \
         (--mount shows more), and its user must be able to enter it",
        path.display()
    )]
    Workdir { path: PathBuf, source: io::Error },
    #[error("cannot enter any working directory, not even /: {0}")]
    Cwd(#[source] io::Error),
    #[error("cannot set up Landlock: {call}: {source}")]
    Landlock { call: &'static str, source: io::Error },
    #[error("cannot close the descriptors that the command must not have: {0}")]
    CloseRange(#[source] io::Error),
    #[error("cannot lay out the run's CA at {}: {action}: {source}", path.display())]
    TrustFiles { path: PathBuf, action: &'static str, source: io::Error },
    #[error(
        "{}: the command's user cannot read it, so that programs would not trust the run's CA: {source}{}",
        path.display(), trust_hint(source)
    )]
    TrustUnreadable { path: PathBuf, source: io::Error },
    #[error(
        "{}: the command would find something else there than the run's CA; what lies over it (--mount)?", path.display()
    )]
    TrustOther { path: PathBuf },
    #[error("cannot install the system call filter: {0}")]
    Seccomp(#[from] FilterError),
    #[error("the command has no name")]
    EmptyCommand,
    #[error("the command or its environment contains a NUL byte: {0:?}")]
    NulByte(String),
    #[error("{program}: command not found{}", closed_hint(closed))]
    NotFound { program: String, closed: Vec<PathBuf> },
    #[error("{}: its interpreter or loader does not exist", path.display())]
    NoInterpreter { path: PathBuf },
    #[error("{}: cannot be executed: {source}{}", path.display(), exec_hint(source))]
    NotExecutable { path: PathBuf, source: io::Error },
}

impl JailError {
    /// The exit code of awf-bpf: 127 not found, 126 not executable, 125 we failed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound { .. } => 127,
            Self::NoInterpreter { .. } | Self::NotExecutable { .. } => 126,
            _ => 125,
        }
    }

    /// The kernel's reason, if there is one.
    pub fn errno(&self) -> Option<i32> {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if let Some(errno) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
                return Some(errno);
            }
            cause = error.source();
        }
        None
    }
}

fn closed_hint(closed: &[PathBuf]) -> String {
    let dirs: Vec<_> = closed.iter().map(|dir| dir.display().to_string()).collect();
    match dirs.is_empty() {
        true => String::new(),
        false => format!(" (the user it runs as may not search {} of PATH)", dirs.join(", ")),
    }
}

fn rootfs_hint(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::ELOOP | libc::EXDEV) => " (a path was exchanged meanwhile)",
        Some(libc::ENOSYS | libc::EPERM) => {
            " (needs Linux 5.12 and CAP_SYS_ADMIN, which containers filter; --chroot off goes without)"
        }
        _ => "",
    }
}

fn trust_hint(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EACCES) => " (may everybody search the directories above it?)",
        Some(libc::ENOENT) => " (what lies over the directory?)",
        _ => "",
    }
}

fn terminal_hint(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::ENOSPC) => " (/proc/sys/kernel/pty/max are in use)",
        _ => "",
    }
}

fn user_namespace_hint(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::ENOSPC | libc::EUSERS) => {
            " (user namespaces are switched off or used up: sysctl user.max_user_namespaces; without --user root none \
             is needed)"
        }
        Some(libc::EINVAL) => " (this kernel has none; without --user root none is needed)",
        Some(libc::EPERM) => {
            " (a container or a security module forbids it; without --user root none is needed)"
        }
        _ => "",
    }
}

fn exec_hint(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::ENOEXEC) => " (a script needs a #! line; or run it as `sh SCRIPT`)",
        Some(libc::EACCES) => " (is it executable for the user the command runs as?)",
        _ => "",
    }
}
