//! What the stub needs to know of who asks; `session` joins it to the kernel side.

use std::{fmt, net::SocketAddr, os::fd::BorrowedFd};

use crate::audit::ProcessInfo;

/// Names the process behind a query.
pub trait QuerySource: fmt::Debug + Send + Sync + 'static {
    /// Who sent the datagram that came from `source` last; `None`: not known, the query is answered all the same.
    fn of_datagram(&self, source: SocketAddr) -> Option<ProcessInfo>;

    /// Who made an accepted connection; `None`: it is not the command's and must be closed.
    fn of_connection(&self, conn: BorrowedFd<'_>) -> Option<ProcessInfo>;

    /// When the process with this number started, in the unit of [`crate::policy::live::Process`]; `None`: not known, or
    /// it has ended.
    fn started(&self, tgid: u32) -> Option<u64> {
        let _ = tgid;
        None
    }
}
