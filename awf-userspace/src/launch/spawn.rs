//! Starting CMD: clone into the cgroup, re-execute awf-bpf as `__init`, wait until that became CMD.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::time::timeout;

use super::child::Child;
use super::error::LaunchError;
use super::report::{self, Told};
use super::terminal::{Console, Terminal};
use crate::jail::{INIT_ARG, InitSpec};
use crate::sys::clone::{self, Plan};
use crate::sys::exec::CStrArray;
use crate::sys::inherit::{ENDING_FD, GATE_FD, NETNS_FD, SPEC_FD, STATUS_FD, TERMINAL_FD};

/// For the whole set-up, which takes milliseconds: a path on a server that does not answer may hang it.
pub const SETUP_LIMIT: Duration = Duration::from_secs(30);

/// Ourselves, even when the file was replaced or removed meanwhile.
const OURSELVES: &str = "/proc/self/exe";

/// CMD's standard streams.
#[derive(Clone, Copy, Debug)]
pub struct Stdio<'a> {
    pub stdin: BorrowedFd<'a>,
    pub stdout: BorrowedFd<'a>,
    pub stderr: BorrowedFd<'a>,
}

impl Stdio<'static> {
    /// awf-bpf's own, passed through untouched.
    pub fn inherit() -> Self {
        use rustix::stdio::{stderr, stdin, stdout};
        Self { stdin: stdin(), stdout: stdout(), stderr: stderr() }
    }
}

/// Where and as what CMD starts.
#[derive(Debug)]
pub struct LaunchSpec<'a> {
    /// The directory of the cgroup (v2) CMD is born in.
    pub cgroup: BorrowedFd<'a>,
    /// The run's network namespace; `None` for the host's.
    pub netns: Option<BorrowedFd<'a>>,
    pub stdio: Stdio<'a>,
    /// The terminal that CMD gets one of its own instead of.
    pub terminal: Option<&'a Terminal>,
    /// The awf-bpf to re-execute.
    pub program: PathBuf,
    pub init: InitSpec,
}

impl<'a> LaunchSpec<'a> {
    /// With our own streams, re-executing ourselves.
    pub fn new(cgroup: BorrowedFd<'a>, netns: Option<BorrowedFd<'a>>, init: InitSpec) -> Self {
        Self { cgroup, netns, stdio: Stdio::inherit(), terminal: None, program: OURSELVES.into(), init }
    }
}

/// Starts CMD and returns when it runs, for a firewall that stands already: see [`start`].
///
/// # Errors
/// See [`LaunchError`]: each names the step; CMD has not run.
pub async fn spawn(spec: &LaunchSpec<'_>) -> Result<Child, LaunchError> {
    start(spec)?.run(spec.terminal).await
}

/// A process that makes CMD's surroundings, and goes no further before [`Starting::run`]. Dropped, it is gone.
#[derive(Debug)]
pub struct Starting {
    child: Child,
    status: OwnedFd,
    gate: OwnedFd,
    control: Option<OwnedFd>,
}

impl Starting {
    /// Lets it become CMD, with `terminal` of the specification, and returns when it has. When this fails, or is dropped, the process is gone.
    ///
    /// To be awaited on the thread that started it. The self-test needs the proxy to be served meanwhile.
    ///
    /// # Errors
    /// See [`LaunchError`]: each names the step; CMD has not run.
    pub async fn run(self, terminal: Option<&Terminal>) -> Result<Child, LaunchError> {
        let Self { mut child, status, gate, control } = self;
        // Where nobody reads any more, the status says why.
        let _ = rustix::io::write(&gate, b"1");
        let console = connect(terminal, control);
        let (told, console) =
            match timeout(SETUP_LIMIT, async { tokio::join!(report::read_to_end(status), console) }).await {
                Ok((Ok(bytes), console)) => (report::understand(&bytes)?, console),
                Ok((Err(error), _)) => return Err(LaunchError::Report(error)),
                Err(_elapsed) => return Err(LaunchError::Late(SETUP_LIMIT)),
            };
        // Its failure is told only if nothing else failed before.
        child.console = console.map_err(LaunchError::Terminal)?;
        match told {
            Told::Executed { notes } => {
                notes.into_iter().for_each(|note| child.add_note(note));
                Ok(child)
            }
            Told::Nothing => Err(LaunchError::Vanished(child.wait().await.map_err(LaunchError::Watch)?)),
        }
    }
}

async fn connect(terminal: Option<&Terminal>, control: Option<OwnedFd>) -> io::Result<Option<Console>> {
    match terminal.zip(control) {
        Some((terminal, control)) => Console::begin(terminal, control).await.map(Some),
        None => Ok(None),
    }
}

/// Starts what is to become CMD; nothing of it is run, and no socket is made, before [`Starting::run`]: meanwhile the
/// firewall can be built.
///
/// To be called inside a tokio runtime with I/O enabled, on a thread that lives as long as the run (the main thread):
/// CMD is killed when the *thread* that started it ends.
///
/// # Errors
/// When no process can be started.
pub fn start(spec: &LaunchSpec<'_>) -> Result<Starting, LaunchError> {
    let mut init = spec.init.clone();
    init.parent = std::process::id();
    init.private_network = spec.netns.is_some();
    init.terminal = spec.terminal.map(Terminal::spec);
    let control = spec.terminal.map(|_| control_pair()).transpose()?;
    let (control, theirs) = control.unzip();
    let memfd = init.seal().map_err(LaunchError::Spec)?;
    let (status_read, status_write) = pipe_to_us().map_err(|e| LaunchError::StatusPipe(e.into()))?;
    let (ending_read, ending_write) = pipe_to_us().map_err(|e| LaunchError::StatusPipe(e.into()))?;
    let (gate_read, gate) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| LaunchError::StatusPipe(e.into()))?;

    let program = CString::new(spec.program.as_os_str().as_bytes())
        .map_err(|_| LaunchError::Program { path: spec.program.clone() })?;
    let argv = CStrArray::new([c"awf-bpf".to_owned(), CString::new(INIT_ARG).expect("no NUL in a constant")]);
    // Nothing of our environment: CMD's travels in the specification.
    let envp = CStrArray::new([]);
    let mut fds = [spec.stdio.stdin, spec.stdio.stdout, spec.stdio.stderr].map(Some).to_vec();
    fds.extend([memfd.as_fd(), status_write.as_fd(), ending_write.as_fd(), gate_read.as_fd()].map(Some));
    fds.extend([spec.netns, theirs.as_ref().map(AsFd::as_fd)]);
    let order = (SPEC_FD, STATUS_FD, ENDING_FD, GATE_FD, NETNS_FD, TERMINAL_FD);
    debug_assert_eq!(order, (3, 4, 5, 6, 7, 8), "the order of `fds`");

    let plan = Plan {
        program: &program,
        argv: &argv,
        envp: &envp,
        cgroup: spec.cgroup,
        first: init.root.is_some(),
        fds: &fds,
        status: STATUS_FD as usize,
    };
    let (pid, pidfd) = clone::spawn(&plan).map_err(|source| LaunchError::Clone { source })?;
    let child = Child::new(pid, pidfd, ending_read).map_err(LaunchError::Watch)?;
    Ok(Starting { child, status: status_read, gate, control })
}

/// Messages keep their bounds, and each side sees the other's end.
fn control_pair() -> Result<(OwnedFd, OwnedFd), LaunchError> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|e| LaunchError::Terminal(e.into()))
}

/// We read with the reactor, the child writes its few lines blocking.
fn pipe_to_us() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&read, true)?;
    Ok((read, write))
}
