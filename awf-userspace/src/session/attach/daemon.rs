//! How the daemon leaves its starter behind: two forks, a session of its own, none of its descriptors, nothing of its
//! environment.

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use rustix::{
    fs::Mode,
    pipe::{PipeFlags, pipe_with},
    process::{DumpableBehavior, WaitOptions, set_dumpable_behavior, setsid, umask, waitpid},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
};

use super::{
    AttachError, AttachPlan, serve,
    word::{Message, Word},
};
use crate::sys::{
    environment,
    fork::{self, Fork},
    inherit,
};

/// The daemon's log, beside the audit file.
pub(super) const LOG: &str = "awf-bpf.log";

/// Starts the daemon of run `id`; gives the pipe that it tells by.
///
/// # Errors
///
/// When this process has several threads, or there can be no more processes.
pub(super) fn start(plan: AttachPlan, id: &str) -> Result<OwnedFd, AttachError> {
    let (pipe, to_caller) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|e| AttachError::NoFork(io::Error::from(e)))?;
    match fork::fork().map_err(AttachError::NoFork)? {
        Fork::Child => {
            drop(pipe);
            // An unwinding panic would go on as the caller.
            let _ = catch_unwind(AssertUnwindSafe(|| second(plan, id, to_caller)));
            fork::end()
        }
        Fork::Parent(pid) => {
            drop(to_caller);
            rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty()))
                .map_err(|e| AttachError::NoFork(e.into()))?;
            Ok(pipe)
        }
    }
}

/// The first child: it begins a session, and its child, which does not lead it, never gets a terminal.
fn second(plan: AttachPlan, id: &str, to_caller: OwnedFd) {
    let mut word = Word::new(to_caller);
    let outcome = setsid().map_err(io::Error::from).and_then(|_| fork::fork());
    match outcome {
        Ok(Fork::Parent(_)) => {}
        Ok(Fork::Child) => {
            let outcome = leave(&word).and_then(|()| serve::run(plan, id, &mut word));
            if let Err(e) = outcome {
                log::error!("{e}");
                // Nobody may be left to hear it.
                let _ = word.say(&Message::Failed(e.to_string()));
            }
        }
        Err(e) => {
            let _ = word.say(&Message::Failed(AttachError::NoFork(e).to_string()));
        }
    }
}

fn leave(word: &Word) -> Result<(), AttachError> {
    let failed = |e: io::Error| AttachError::NoFork(e);
    let null = File::options().read(true).write(true).open("/dev/null").map_err(failed)?;
    let stdio = |e: rustix::io::Errno| failed(e.into());
    dup2_stdin(&null).map_err(stdio)?;
    dup2_stdout(&null).map_err(stdio)?;
    dup2_stderr(&null).map_err(stdio)?;
    drop(null);
    let (stdin, stdout, stderr) = (rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr());
    inherit::close_all_but(&[stdin, stdout, stderr, word.as_fd()]).map_err(failed)?;
    std::env::set_current_dir("/").map_err(failed)?;
    umask(Mode::from_raw_mode(0o077));
    environment::forget();
    // The credentials of an upstream proxy are in our memory.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|e| failed(e.into()))
}

/// Sends what we say to the log in the audit directory, which may be its user's own: never to a file of theirs.
///
/// # Errors
///
/// When it cannot be opened, or is not root's alone.
pub(super) fn log_to(dir: &Path) -> Result<(), AttachError> {
    let path = dir.join(LOG);
    let failed = |why: String| AttachError::Log { path: path.clone(), why };
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(&path)
        .map_err(|e| failed(e.to_string()))?;
    let meta = file.metadata().map_err(|e| failed(e.to_string()))?;
    if !meta.is_file() || meta.uid() != 0 || meta.nlink() != 1 {
        return Err(failed("it is there, and not a file of root's alone; remove it".into()));
    }
    dup2_stderr(file.as_fd()).map_err(|e| failed(e.to_string()))
}
