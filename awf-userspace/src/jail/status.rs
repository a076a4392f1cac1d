//! The status pipe: one JSON line a report, from `__init` to `launch`. Its end closes with `execve`.

use std::fs::File;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};

use serde::{Deserialize, Serialize};

use super::error::JailError;
use crate::sys::inherit;

/// One line on the pipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// Something the user may want to know; set-up goes on.
    Note(String),
    /// Set-up is complete. The pipe's end without a further line means that CMD runs.
    AboutToExec,
    /// Set-up, or the `execve` after it, failed.
    Failed(Failure),
}

/// Why CMD does not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub message: String,
    pub errno: Option<i32>,
    /// 125, 126 or 127.
    pub exit_code: u8,
}

/// How CMD ended, as its init tells: its own exit code says too little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Code(i32),
    Signal(i32),
}

/// Length of [`Ending::to_bytes`].
pub const ENDING_LEN: usize = 5;

impl Ending {
    pub(super) fn to_bytes(self) -> [u8; ENDING_LEN] {
        let (kind, number) = match self {
            Self::Code(code) => (b'C', code),
            Self::Signal(signo) => (b'S', signo),
        };
        let [a, b, c, d] = number.to_ne_bytes();
        [kind, a, b, c, d]
    }

    /// `None` for anything [`Ending::to_bytes`] does not write.
    pub fn from_bytes(bytes: [u8; ENDING_LEN]) -> Option<Self> {
        let [kind, number @ ..] = bytes;
        let number = i32::from_ne_bytes(number);
        match kind {
            b'C' => Some(Self::Code(number)),
            b'S' => Some(Self::Signal(number)),
            _ => None,
        }
    }

    /// The shell's rule.
    pub(super) fn exit_code(self) -> u8 {
        match self {
            Self::Code(code) => code as u8,
            Self::Signal(signo) => (128 + signo) as u8,
        }
    }
}

/// The writing end.
#[derive(Debug)]
pub(super) struct Status(ManuallyDrop<File>);

impl Status {
    pub(super) fn new(pipe: ManuallyDrop<OwnedFd>) -> Self {
        Self(ManuallyDrop::new(ManuallyDrop::into_inner(pipe).into()))
    }

    pub(super) fn note(&mut self, note: Option<String>) {
        if let Some(note) = note {
            self.send(&Report::Note(note));
        }
    }

    pub(super) fn about_to_exec(&mut self) {
        self.send(&Report::AboutToExec);
    }

    pub(super) fn failed(&mut self, error: &JailError) {
        self.send(&Report::Failed(Failure {
            message: error.to_string(),
            errno: error.errno(),
            exit_code: error.exit_code(),
        }));
    }

    /// Closes every other descriptor from 3 up.
    pub(super) fn close_all_others(&self) -> Result<(), JailError> {
        inherit::keep_only(self.0.as_fd()).map_err(JailError::CloseRange)
    }

    /// A parent that is gone cannot be told; its death signal is on the way.
    fn send(&mut self, report: &Report) {
        if let Ok(mut line) = serde_json::to_vec(report) {
            line.push(b'\n');
            let _ = self.0.write_all(&line);
        }
    }
}
