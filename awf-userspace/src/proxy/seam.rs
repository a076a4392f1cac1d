//! What the proxy needs from the rest, as traits: it never names `bpf` or `dns`; `session` joins them.

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    os::fd::BorrowedFd,
};

use crate::{audit::ProcessInfo, policy::DomainName};

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
}

/// Why a name gave no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    #[error("{0} does not exist")]
    NoSuchName(DomainName),
    #[error("{0} has no address")]
    NoAddress(DomainName),
    #[error("resolving {name}: {why}")]
    Failed { name: DomainName, why: String },
}

/// Resolves an allowed name outside the command's network.
pub trait Resolve: Send + Sync + 'static {
    /// IPv6 and IPv4 addresses of `name`, in the order to try them; never empty.
    fn resolve(&self, name: &DomainName) -> impl Future<Output = Result<Vec<IpAddr>, ResolveError>> + Send;

    /// The names for which the command was lately given `ip` as an answer, the latest first. They are all that is
    /// known of a connection whose protocol carries no name (SSH, databases); such a name is judged, and resolved
    /// and dialled anew, like any other. Without an implementation these connections need a rule of addresses.
    fn names_of(&self, ip: IpAddr) -> Vec<DomainName> {
        let _ = ip;
        Vec::new()
    }
}
