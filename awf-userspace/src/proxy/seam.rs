//! What the proxy needs from the rest, as traits: it never names `bpf` or `dns`; `session` joins them.

use std::{net::SocketAddr, os::fd::BorrowedFd};

use crate::audit::ProcessInfo;
pub use crate::resolve::{Resolve, ResolveError};

/// Which process made a connection, as the kernel saw it at connect().
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The kernel's cookie of the command's socket; unique while the machine is up.
    pub cookie: u64,
    pub tgid: u32,
    pub uid: u32,
    pub comm: [u8; 16],
}

/// Where an accepted connection was really going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// What the command dialled. Equal to the proxy's own address for an explicit proxy connection.
    pub dst: SocketAddr,
    pub owner: Owner,
}

/// Finds the original destination of an accepted socket.
pub trait OriginalDst: Send + Sync + 'static {
    /// `None` means the connection is not the command's: it must be closed.
    fn origin(&self, conn: BorrowedFd<'_>) -> Option<Origin>;

    /// What is known of the process behind a connection; at the least pid, uid and comm of `owner`.
    fn process(&self, owner: &Owner) -> ProcessInfo;

    /// When the process with this number started, in the unit of [`crate::policy::live::Process`]; `None`: not known, or
    /// it has ended.
    fn started(&self, tgid: u32) -> Option<u64> {
        let _ = tgid;
        None
    }
}
