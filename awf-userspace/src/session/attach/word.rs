//! What the daemon tells its starter by a pipe, a line of JSON each: the steps that it has taken, and how it ended.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use super::{AttachError, OldSocket};

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// A step is done.
    Step(Step),
    /// Something its user should hear.
    Note(String),
    Ready(Ready),
    Failed(String),
}

/// The steps of a start, in their order. Killed after any of them, the network of the target is closed or as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Step {
    Daemon,
    State,
    Listeners,
    Programs,
    Serving,
    Tested,
    Moved,
    Sockets,
    Open,
}

/// The run that was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ready {
    pub(super) audit: PathBuf,
    pub(super) processes: usize,
    pub(super) old_sockets: Vec<OldSocket>,
}

/// The daemon's end.
#[derive(Debug)]
pub(super) struct Word(File);

impl Word {
    pub(super) fn new(pipe: OwnedFd) -> Self {
        Self(pipe.into())
    }

    /// # Errors
    ///
    /// When nobody reads any more.
    pub(super) fn say(&mut self, message: &Message) -> Result<(), AttachError> {
        let mut line = serde_json::to_vec(message).unwrap_or_default();
        line.push(b'\n');
        self.0.write_all(&line).map_err(|_| AttachError::CallerGone)
    }

    /// # Errors
    ///
    /// When nobody reads any more: who asked for the run has not got it.
    pub(super) fn step(&mut self, step: Step) -> Result<(), AttachError> {
        self.say(&Message::Step(step))
    }
}

impl AsFd for Word {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Listens to the daemon until it is ready, has failed, or is dead. Gives what it noted beside.
///
/// # Errors
///
/// The daemon's own; or that it died, or was late.
pub(super) fn listen(
    pipe: OwnedFd,
    id: &str,
    patience: Duration,
) -> Result<(Ready, Vec<String>), AttachError> {
    let end = Instant::now() + patience;
    let failed = |e: std::io::Error| AttachError::NoFork(e);
    let mut reader = BufReader::new(File::from(pipe));
    let mut notes = Vec::new();
    loop {
        if reader.buffer().is_empty() {
            wait(reader.get_ref().as_fd(), end)
                .map_err(failed)?
                .then_some(())
                .ok_or(AttachError::Late(patience))?;
        }
        let mut line = Vec::new();
        // Each line is one write of less than a pipe takes at once, or follows at once.
        if reader.read_until(b'\n', &mut line).map_err(failed)? == 0 {
            return Err(AttachError::Died(id.to_owned()));
        }
        match serde_json::from_slice(&line) {
            Ok(Message::Step(step)) => log::debug!("daemon: {step:?}"),
            Ok(Message::Note(note)) => notes.push(note),
            Ok(Message::Ready(ready)) => return Ok((ready, notes)),
            Ok(Message::Failed(why)) => return Err(AttachError::Daemon(why)),
            Err(e) => return Err(AttachError::NoFork(e.into())),
        }
    }
}

/// `false`: it is too late.
fn wait(pipe: BorrowedFd<'_>, end: Instant) -> std::io::Result<bool> {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| std::io::ErrorKind::InvalidInput)?;
        match poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&left)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}
