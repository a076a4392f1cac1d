//! The command's network namespace and the sockets of ours in it: `lo` only, so that there is no route to leak
//! through even for what no hook sees; the proxy and the DNS stub listen on its loopback, on both families.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use crate::sys::birth::{self, Birth, Order, Step};

/// Where the proxy listens in a namespace of the command's own: a privileged port, so that the command can neither
/// be in its way nor take its place.
pub const PROXY_PORT: u16 = 1021;
/// Where the DNS stub listens there.
pub const DNS_PORT: u16 = 53;

/// Why the namespace or its sockets could not be made.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    #[error(
        "starting a process in the proxy's cgroup{}: {source}; it takes Linux 5.7 and CAP_SYS_ADMIN",
        if *own { " and in a new network namespace" } else { "" }
    )]
    Clone { own: bool, source: io::Error },
    #[error("the command's network: {}: {source}", step_name(*step))]
    Make { step: Step, source: io::Error },
    #[error("the command's network: {what}: {source}")]
    Socket { what: &'static str, source: io::Error },
    #[error("the command's network has no IPv4 loopback")]
    NoIpv4,
}

fn step_name(step: Step) -> &'static str {
    match step {
        Step::OpenNamespace => "opening /proc/self/ns/net (is /proc mounted?)",
        Step::LoopbackUp => "bringing lo up",
        Step::Addresses => "giving lo addresses",
        Step::ProxySocket => "making the proxy's listening sockets",
        Step::DnsSocket => "making the DNS stub's sockets",
        Step::None | Step::Died => "the process that makes the sockets died",
    }
}

/// The namespace and the sockets, bound and listening.
#[derive(Debug)]
pub struct CommandNetwork {
    /// The namespace to enter; `None` when it is the host's.
    netns: Option<OwnedFd>,
    pub proxy: Vec<TcpListener>,
    dns_udp: Vec<UdpSocket>,
    dns_tcp: Vec<TcpListener>,
    /// The proxy's IPv4 address, which proxy variables name.
    pub proxy_addr: SocketAddr,
    pub dns_port: u16,
    /// `SO_NETNS_COOKIE`.
    pub cookie: u64,
}

/// A namespace being made; other work can go on until [`Making::finish`].
#[derive(Debug)]
pub struct Making {
    birth: Birth,
    own: bool,
}

/// Starts to make the network in `cgroup`, the proxy's.
///
/// # Errors
///
/// When no process can be started there.
pub fn start(cgroup: BorrowedFd<'_>, own: bool) -> Result<Making, NetnsError> {
    let (proxy_port, dns_port) = if own { (PROXY_PORT, DNS_PORT) } else { (0, 0) };
    let birth = birth::start(cgroup, Order { own_netns: own, proxy_port, dns_port })
        .map_err(|source| NetnsError::Clone { own, source })?;
    Ok(Making { birth, own })
}

impl Making {
    /// Waits until the network is there.
    ///
    /// # Errors
    ///
    /// Names the step that failed.
    pub fn finish(self) -> Result<CommandNetwork, NetnsError> {
        let born = self.birth.wait().map_err(|(step, source)| NetnsError::Make { step, source })?;
        let proxy: Vec<TcpListener> = born.proxy.into_iter().flatten().map(TcpListener::from).collect();
        let dns_udp: Vec<UdpSocket> = born.dns_udp.into_iter().flatten().map(UdpSocket::from).collect();
        let first = proxy.first().ok_or(NetnsError::NoIpv4)?;
        let proxy_addr = first
            .local_addr()
            .map_err(|source| NetnsError::Socket { what: "the proxy's address", source })?;
        let dns_port = dns_udp
            .first()
            .ok_or(NetnsError::NoIpv4)?
            .local_addr()
            .map_err(|source| NetnsError::Socket { what: "the DNS stub's address", source })?
            .port();
        let cookie = birth::netns_cookie(first.as_fd())
            .map_err(|source| NetnsError::Socket { what: "SO_NETNS_COOKIE", source })?;
        Ok(CommandNetwork {
            netns: self.own.then_some(born.netns),
            proxy,
            dns_udp,
            dns_tcp: born.dns_tcp.into_iter().flatten().map(TcpListener::from).collect(),
            proxy_addr,
            dns_port,
            cookie,
        })
    }
}

impl CommandNetwork {
    /// The namespace to enter; `None` when it is the host's.
    #[must_use]
    pub fn netns(&self) -> Option<BorrowedFd<'_>> {
        self.netns.as_ref().map(OwnedFd::as_fd)
    }

    /// All of its sockets.
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let tcp = self.proxy.iter().chain(&self.dns_tcp).map(TcpListener::as_fd);
        tcp.chain(self.dns_udp.iter().map(UdpSocket::as_fd))
    }

    /// The proxy's listeners, the stub's sockets and listeners.
    #[must_use]
    pub fn into_parts(self) -> (Vec<TcpListener>, Vec<UdpSocket>, Vec<TcpListener>) {
        (self.proxy, self.dns_udp, self.dns_tcp)
    }
}
