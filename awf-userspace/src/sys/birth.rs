//! Makes the run's listening sockets in a child that is born in the proxy's cgroup and, unless the namespace is
//! shared, in a network namespace of its own. A socket belongs for life to the cgroup and the namespace it was
//! created in; the child shares our descriptor table, so that what it makes is ours, and we never move (joining a
//! cgroup by cgroup.procs costs milliseconds).

use std::{
    io,
    mem::ManuallyDrop,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, IntoRawFd as _, OwnedFd, RawFd},
};

use rustix::{
    fd::AsFd as _,
    fs::{Mode, OFlags},
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt},
    process::{Pid, WaitOptions, waitpid},
};

use super::loopback;

/// How often a port that is free on IPv4 but not on IPv6 is given up for another one.
const PORT_TRIES: usize = 32;
/// Pending connections; the kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;
const NO_FD: RawFd = -1;

/// What is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Whether the child gets a network namespace of its own, with `lo` up and [`loopback::ADDRESSES`].
    pub own_netns: bool,
    /// 0: any that is free for all sockets of its kind.
    pub proxy_port: u16,
    pub dns_port: u16,
}

/// The step at which the child failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Step {
    None = 0,
    OpenNamespace = 1,
    LoopbackUp = 2,
    ProxySocket = 3,
    DnsSocket = 4,
    Died = 5,
    Addresses = 6,
}

/// What the child made; close-on-exec and non-blocking. IPv6 sockets are absent where the kernel has no IPv6.
#[derive(Debug)]
pub struct Born {
    /// The namespace of the sockets.
    pub netns: OwnedFd,
    pub proxy: [Option<OwnedFd>; 2],
    pub dns_udp: [Option<OwnedFd>; 2],
    pub dns_tcp: [Option<OwnedFd>; 2],
}

/// What travels through the pipe: descriptor numbers, or the step that failed and its errno.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Message {
    step: i32,
    errno: i32,
    netns: RawFd,
    proxy: [RawFd; 2],
    dns_udp: [RawFd; 2],
    dns_tcp: [RawFd; 2],
}

// SAFETY: `repr(C)` integers of one size, no padding.
unsafe impl aya::Pod for Message {}

/// A child at work; [`Birth::wait`] takes what it made.
#[derive(Debug)]
pub struct Birth {
    pid: Pid,
    pipe: OwnedFd,
    /// Shared with the child, like every descriptor: closing it here would close it there.
    _to_parent: OwnedFd,
}

/// Starts the child in `cgroup`, a cgroup v2 directory.
///
/// # Errors
///
/// What pipe2(2) and clone3(2) say: `ENOSYS` before Linux 5.7, `EPERM` without CAP_SYS_ADMIN.
pub fn start(cgroup: BorrowedFd<'_>, order: Order) -> io::Result<Birth> {
    let (pipe, to_parent) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let new_netns = if order.own_netns { libc::CLONE_NEWNET as u64 } else { 0 };
    const INTO_CGROUP: u64 = 0x2_0000_0000;
    // SAFETY: clone_args is plain integers, for which zero is "not used".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = libc::CLONE_FILES as u64 | INTO_CGROUP | new_netns;
    args.exit_signal = libc::SIGCHLD as u64;
    args.cgroup = cgroup.as_raw_fd() as u64;
    // SAFETY: a valid clone_args of the given size; without CLONE_VM the child runs on its own copy of memory.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) } {
        -1 => Err(io::Error::last_os_error()),
        0 => child(order, to_parent),
        pid => {
            let pid = Pid::from_raw(pid as i32).ok_or(Errno::INVAL)?;
            Ok(Birth { pid, pipe, _to_parent: to_parent })
        }
    }
}

impl Birth {
    /// Waits for the child and takes its sockets.
    ///
    /// # Errors
    ///
    /// The step at which the child failed, with its errno.
    pub fn wait(self) -> Result<Born, (Step, io::Error)> {
        let died = |e: Errno| (Step::Died, io::Error::from(e));
        let mut bytes = [0; size_of::<Message>()];
        // One write of less than PIPE_BUF arrives whole. The write end is open in our own table as well (it is
        // shared), so the child's death is not seen as an end of file: it is waited for first.
        rustix::io::retry_on_intr(|| waitpid(Some(self.pid), WaitOptions::empty())).map_err(died)?;
        rustix::io::ioctl_fionbio(&self.pipe, true).map_err(died)?;
        let read = rustix::io::read(&self.pipe, &mut bytes).map_err(died)?;
        let message: Message = super::pod::read(&bytes[..read]).ok_or_else(|| died(Errno::PIPE))?;
        if message.step != Step::None as i32 {
            let steps =
                [Step::OpenNamespace, Step::LoopbackUp, Step::ProxySocket, Step::DnsSocket, Step::Addresses];
            let step = steps.into_iter().find(|s| *s as i32 == message.step).unwrap_or(Step::Died);
            return Err((step, io::Error::from_raw_os_error(message.errno)));
        }
        let own = |fd: RawFd| {
            // SAFETY: the child made this descriptor in the shared table and gave it to us alone.
            (fd != NO_FD).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
        };
        Ok(Born {
            netns: own(message.netns).ok_or_else(|| died(Errno::BADF))?,
            proxy: message.proxy.map(own),
            dns_udp: message.dns_udp.map(own),
            dns_tcp: message.dns_tcp.map(own),
        })
    }
}

/// The child: system calls only. Another thread of the parent may have held any lock at the clone.
fn child(order: Order, to_parent: OwnedFd) -> ! {
    // Closing it on drop would close the parent's.
    let to_parent = ManuallyDrop::new(to_parent);
    let message = match make(order) {
        Ok(message) => message,
        Err((step, errno)) => Message {
            step: step as i32,
            errno: errno.raw_os_error(),
            netns: NO_FD,
            proxy: [NO_FD; 2],
            dns_udp: [NO_FD; 2],
            dns_tcp: [NO_FD; 2],
        },
    };
    // SAFETY: the message lives on this stack; _exit runs nothing of the parent.
    unsafe {
        libc::write(to_parent.as_raw_fd(), (&raw const message).cast(), size_of::<Message>());
        libc::_exit(0)
    }
}

fn make(order: Order) -> Result<Message, (Step, Errno)> {
    let netns = rustix::fs::open(c"/proc/self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| (Step::OpenNamespace, e))?
        .into_raw_fd();
    if order.own_netns {
        loopback::up().map_err(|e| (Step::LoopbackUp, e))?;
        loopback::add_addresses().map_err(|e| (Step::Addresses, e))?;
    }
    let tcp = [Kind::Tcp];
    let [proxy, _] = family_pairs(order.proxy_port, &tcp).map_err(|e| (Step::ProxySocket, e))?;
    let both = [Kind::Tcp, Kind::Udp];
    let [dns_tcp, dns_udp] = family_pairs(order.dns_port, &both).map_err(|e| (Step::DnsSocket, e))?;
    Ok(Message { step: Step::None as i32, errno: 0, netns, proxy, dns_udp, dns_tcp })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Udp,
}

/// For each kind an IPv4 and an IPv6 socket on loopback, all on one port.
fn family_pairs(port: u16, kinds: &[Kind]) -> Result<[[RawFd; 2]; 2], Errno> {
    let mut last = Errno::ADDRINUSE;
    for _ in 0..PORT_TRIES {
        match try_port(port, kinds) {
            Ok(pairs) => return Ok(pairs),
            Err(Errno::ADDRINUSE) if port == 0 => last = Errno::ADDRINUSE,
            Err(e) => return Err(e),
        }
    }
    Err(last)
}

fn try_port(mut port: u16, kinds: &[Kind]) -> Result<[[RawFd; 2]; 2], Errno> {
    let mut pairs = [[NO_FD; 2]; 2];
    // Held as owned until all are made: a failure closes them.
    let mut held: [Option<OwnedFd>; 4] = [const { None }; 4];
    for (i, kind) in kinds.iter().enumerate() {
        for family in 0..2 {
            let Some(socket) = listener(*kind, family == 1, port)? else { continue };
            if port == 0 {
                port = match rustix::net::getsockname(&socket)?.try_into() {
                    Ok(SocketAddr::V4(at)) => at.port(),
                    Ok(SocketAddr::V6(at)) => at.port(),
                    Err(e) => return Err(e),
                };
            }
            pairs[i][family] = socket.as_raw_fd();
            held[i * 2 + family] = Some(socket);
        }
    }
    for socket in held.into_iter().flatten() {
        let _ = socket.into_raw_fd();
    }
    Ok(pairs)
}

/// `None`: this kernel has no IPv6, and so the command has none either.
fn listener(kind: Kind, v6: bool, port: u16) -> Result<Option<OwnedFd>, Errno> {
    let family = if v6 { AddressFamily::INET6 } else { AddressFamily::INET };
    let (socket_type, protocol) = match kind {
        Kind::Tcp => (SocketType::STREAM, ipproto::TCP),
        Kind::Udp => (SocketType::DGRAM, ipproto::UDP),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = match rustix::net::socket_with(family, socket_type, flags, Some(protocol)) {
        Err(Errno::AFNOSUPPORT) if v6 => return Ok(None),
        other => other?,
    };
    let at = if v6 {
        sockopt::set_ipv6_v6only(&socket, true)?;
        SocketAddr::from((Ipv6Addr::LOCALHOST, port))
    } else {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    };
    match rustix::net::bind(socket.as_fd(), &at) {
        Err(Errno::ADDRNOTAVAIL) if v6 => return Ok(None),
        other => other?,
    }
    if kind == Kind::Tcp {
        rustix::net::listen(&socket, BACKLOG)?;
    }
    Ok(Some(socket))
}

/// `SO_NETNS_COOKIE` of a socket (Linux 5.14).
///
/// # Errors
///
/// What getsockopt(2) says.
pub fn netns_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = 0_u64;
    let mut len = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes `len` bytes, the size of the integer given.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}
