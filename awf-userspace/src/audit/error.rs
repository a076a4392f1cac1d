//! What can go wrong with the audit file, and what to do about it.

use std::{io, path::PathBuf};

/// Why the audit file cannot be had, or is not what it should be at the end.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("creating the audit directory {0:?}: {1}; choose another with --audit-dir")]
    CreateDir(PathBuf, #[source] io::Error),
    #[error("opening the audit directory {0:?}: {1}; it must be a directory, not a symbolic link")]
    OpenDir(PathBuf, #[source] io::Error),
    #[error(
        "the audit directory {0:?} belongs to uid {1}, who could replace the records; \
         choose another with --audit-dir"
    )]
    ForeignDir(PathBuf, u32),
    #[error(
        "everyone may write to the audit directory {0:?} and so replace the records; \
         chmod o-w it, or choose another with --audit-dir"
    )]
    OpenToAllDir(PathBuf),
    #[error("opening the audit file {0:?}: {1}; it must be a regular file, not a symbolic link")]
    OpenFile(PathBuf, #[source] io::Error),
    #[error("the audit file {0:?} {1}; remove it, or choose another directory with --audit-dir")]
    UnsafeFile(PathBuf, &'static str),
    #[error("setting mode and group of the audit file {0:?}: {1}")]
    Restrict(PathBuf, #[source] io::Error),
    #[error("writing the audit file {0:?}: {1}")]
    Write(PathBuf, #[source] io::Error),
    #[error("{lost} audit records are not in {path:?} ({why}); free space on its disk")]
    Lost { path: PathBuf, lost: u64, why: String },
    #[error("the audit file {0:?} was removed or replaced while the command ran; its records are gone")]
    Replaced(PathBuf),
}
