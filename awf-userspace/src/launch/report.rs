//! Reads the status pipe up to its end: the line between "set up", "failed" and "vanished".

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;

use super::error::LaunchError;
use crate::jail::status::{Failure, Report};
use crate::sys::async_fd::readable;
use crate::sys::clone::{FAILURE_LEN, FAILURE_MARK, Step};

/// More than any honest report; a child cannot make us buffer without end.
const LIMIT: usize = 64 * 1024;

/// What a complete pipe says.
#[derive(Debug)]
pub(super) enum Told {
    /// CMD runs, or ran.
    Executed { notes: Vec<String> },
    /// It ended without saying why.
    Nothing,
}

/// Everything up to the end of the pipe, which comes with the child's `execve` or its end.
pub(super) async fn read_to_end(pipe: OwnedFd) -> io::Result<Vec<u8>> {
    let pipe = readable(pipe).map_err(|(_, error)| error)?;
    let mut all = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = pipe.async_io(Interest::READABLE, |fd| Ok(rustix::io::read(fd, &mut chunk)?)).await?;
        match read {
            0 => return Ok(all),
            got if all.len() + got > LIMIT => return Err(io::Error::other("more than 64 KiB")),
            got => all.extend_from_slice(&chunk[..got]),
        }
    }
}

/// Understands what was read.
///
/// # Errors
/// The failure that was reported, or [`LaunchError::UnknownReport`].
pub(super) fn understand(bytes: &[u8]) -> Result<Told, LaunchError> {
    if bytes.first() == Some(&FAILURE_MARK) {
        return Err(failed_before_exec(bytes));
    }
    let (mut notes, mut about_to_exec) = (Vec::new(), false);
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(Report::Note(note)) => notes.push(note),
            Ok(Report::AboutToExec) => about_to_exec = true,
            Ok(Report::Failed(failure)) => return Err(reported(failure)),
            Err(_) => return Err(unknown(line)),
        }
    }
    Ok(if about_to_exec { Told::Executed { notes } } else { Told::Nothing })
}

fn failed_before_exec(bytes: &[u8]) -> LaunchError {
    let fixed: Result<[u8; FAILURE_LEN], _> = bytes.try_into();
    match fixed.map(|[_, step, errno @ ..]| (Step::from_byte(step), i32::from_ne_bytes(errno))) {
        Ok((Some(step), errno)) => {
            LaunchError::Reexec { step: step.name(), source: io::Error::from_raw_os_error(errno) }
        }
        _ => unknown(bytes),
    }
}

fn reported(Failure { message, errno, exit_code }: Failure) -> LaunchError {
    match exit_code {
        126 | 127 => LaunchError::Exec { message, errno, exit_code },
        _ => LaunchError::Setup { message, errno },
    }
}

fn unknown(bytes: &[u8]) -> LaunchError {
    LaunchError::UnknownReport(String::from_utf8_lossy(bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_alone_is_not_success() {
        assert!(matches!(understand(b""), Ok(Told::Nothing)));
        assert!(matches!(understand(b"{\"note\":\"x\"}\n"), Ok(Told::Nothing)));
    }

    #[test]
    fn success_carries_the_notes() {
        let Ok(Told::Executed { notes }) = understand(b"{\"note\":\"x\"}\n\"about-to-exec\"\n") else {
            panic!()
        };
        assert_eq!(notes, ["x"]);
    }

    #[test]
    fn a_failure_after_the_announcement_counts() {
        let bytes = b"\"about-to-exec\"\n{\"failed\":{\"message\":\"m\",\"errno\":2,\"exit_code\":127}}\n";
        let error = understand(bytes).unwrap_err();
        assert_eq!((error.exit_code(), error.to_string().as_str()), (127, "m"));
    }

    #[test]
    fn codes_a_child_may_not_choose_become_125() {
        let bytes = b"{\"failed\":{\"message\":\"m\",\"errno\":null,\"exit_code\":0}}\n";
        assert_eq!(understand(bytes).unwrap_err().exit_code(), 125);
    }

    #[test]
    fn a_failure_before_exec_names_step_and_reason() {
        let mut bytes = vec![FAILURE_MARK, Step::Execve as u8];
        bytes.extend(libc::ENOENT.to_ne_bytes());
        let error = understand(&bytes).unwrap_err();
        assert!(error.to_string().contains("execve") && error.to_string().contains("No such file"));
    }

    #[test]
    fn anything_else_is_refused() {
        for bytes in [&b"E"[..], b"E\x09\0\0\0\0", b"hello\n", b"{\"note\":1}\n", b"\xff\xfe"] {
            assert!(matches!(understand(bytes), Err(LaunchError::UnknownReport(_))), "{bytes:?}");
        }
    }
}
