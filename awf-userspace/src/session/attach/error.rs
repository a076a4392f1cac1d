//! Why a run could not be attached, or not be detached.

use std::io;

use crate::session::SessionError;

/// A step of attaching or detaching that failed.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("starting the daemon: {0}")]
    NoFork(#[source] io::Error),
    #[error("there is no attached run {0}; `awf-bpf ps` names those that there are")]
    NoRun(String),
}
