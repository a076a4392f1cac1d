//! TCP in every spelling: both families, mapped, non-blocking, reused, Fast Open, MPTCP, odd bindings.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use socket2::Socket;

use crate::Vector;
use crate::outcome::{Attempt, Done, Step, Stop};
use crate::target::{self, DEADLINE, Target, open, set_option, stream_to, tcp_for, udp_for};

pub(crate) const VECTORS: &[Vector] = &[
    ("tcp4", |t| stream_to(t, &tcp_for(&t.at4())?, t.at4())),
    ("tcp6", |t| stream_to(t, &tcp_for(&t.at6())?, t.at6())),
    ("tcp_mapped", |t| stream_to(t, &tcp_for(&t.mapped())?, t.mapped())),
    ("tcp6_only", tcp6_only),
    ("tcp4_nonblock", |t| nonblock(t, t.at4())),
    ("tcp6_nonblock", |t| nonblock(t, t.at6())),
    ("tcp_reconnect", reconnect),
    ("tcp_connect_unspec", connect_unspec),
    ("tcp4_fastopen_msg", |t| fastopen_msg(t, t.at4())),
    ("tcp6_fastopen_msg", |t| fastopen_msg(t, t.at6())),
    ("tcp4_fastopen_connect", |t| fastopen_connect(t, t.at4())),
    ("tcp6_fastopen_connect", |t| fastopen_connect(t, t.at6())),
    ("tcp_fastopen_unspec", fastopen_unspec),
    ("mptcp4", |t| stream_to(t, &open(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP)?, t.at4())),
    ("mptcp6", |t| stream_to(t, &open(libc::AF_INET6, libc::SOCK_STREAM, libc::IPPROTO_MPTCP)?, t.at6())),
    ("bind_any", bind_any),
    ("bind_freebind", bind_freebind),
    ("bind_transparent", bind_transparent),
    ("bind_device_tcp", |t| bind_device(t, &tcp_for(&t.at4())?, true)),
    ("bind_device_udp", |t| bind_device(t, &udp_for(&t.at4())?, false)),
    ("host_loopback4", |t| to_host(t, Ipv4Addr::LOCALHOST)),
    ("host_loopback6", |t| to_host(t, Ipv6Addr::LOCALHOST)),
    ("host_loopback_mapped", |t| to_host(t, Ipv4Addr::LOCALHOST.to_ipv6_mapped())),
    ("host_loopback_any", |t| to_host(t, Ipv4Addr::UNSPECIFIED)),
    ("host_own_address4", |t| to_host(t, HOST_V4)),
    ("host_own_address6", |t| to_host(t, HOST_V6)),
];

/// Where the lab's machine has a service that would carry bytes out (`attacks/host.rs`).
pub(crate) const HOST_PORT: u16 = 6379;
pub(crate) const HOST_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const HOST_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);

fn to_host(t: &Target, addr: impl Into<IpAddr>) -> Attempt {
    let to = SocketAddr::from((addr.into(), HOST_PORT));
    stream_to(t, &tcp_for(&to)?, to)
}

/// A socket that refuses mapped addresses: a rewrite to `::ffff:127.0.0.1` would fail on it.
fn tcp6_only(t: &Target) -> Attempt {
    let socket = tcp_for(&t.at6())?;
    socket.set_only_v6(true).step("setsockopt IPV6_V6ONLY")?;
    stream_to(t, &socket, t.at6())
}

fn nonblock(t: &Target, to: SocketAddr) -> Attempt {
    let socket = tcp_for(&to)?;
    socket.set_nonblocking(true).step("fcntl")?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => wait_writable(&socket)?,
        other => other.step("connect")?,
    }
    socket.set_nonblocking(false).step("fcntl")?;
    target::talk(&socket, &t.payload())
}

fn wait_writable(socket: &Socket) -> Attempt<()> {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    let deadline = i32::try_from(DEADLINE.as_millis()).expect("seconds");
    // SAFETY: one valid pollfd that outlives the call.
    match unsafe { libc::poll(&raw mut poll, 1, deadline) } {
        1 => match socket.take_error().step("getsockopt")? {
            Some(error) => Err(error).step("connect"),
            None => Ok(()),
        },
        _ => Err(Stop::Silent("connect")),
    }
}

/// Connects where that is allowed or not, dissolves the connection with AF_UNSPEC and connects again: state the
/// firewall kept for the first connect must not cover the second.
fn reconnect(t: &Target) -> Attempt {
    let socket = tcp_for(&t.at4())?;
    let first: SocketAddr = t.extra("first").and_then(|at| at.parse().ok()).unwrap_or_else(|| t.at4());
    let _ = socket.connect(&first.into());
    dissolve(&socket)?;
    stream_to(t, &socket, t.at4())
}

/// AF_UNSPEC undoes a connect (connect(2)).
pub(crate) fn dissolve(socket: &Socket) -> Attempt<()> {
    let unspec = [0_u8; 16];
    // SAFETY: 16 readable bytes, as long as said; AF_UNSPEC is zero.
    let result = unsafe { libc::connect(socket.as_raw_fd(), unspec.as_ptr().cast(), 16) };
    crate::outcome::cvt(result).step("connect AF_UNSPEC").map(drop)
}

/// A connect whose address says AF_UNSPEC and carries the target all the same.
fn connect_unspec(t: &Target) -> Attempt {
    let socket = tcp_for(&t.at4())?;
    let mut bytes = target::sockaddr_bytes(t.at4());
    bytes[..2].fill(0);
    let length = libc::socklen_t::try_from(bytes.len()).expect("16");
    // SAFETY: `bytes` is `length` long and outlives the call.
    crate::outcome::cvt(unsafe { libc::connect(socket.as_raw_fd(), bytes.as_ptr().cast(), length) })
        .step("connect AF_UNSPEC")?;
    // The kernel took it for a disconnect: whatever is sent now has nowhere to go, or somewhere it must not.
    match target::talk(&socket, &t.payload()) {
        Err(Stop::Refused(_, error)) if error.raw_os_error() == Some(libc::EPIPE) => {
            stream_to(t, &socket, t.at4())
        }
        other => other,
    }
}

/// Data in the SYN, by `sendto(MSG_FASTOPEN)`: no connect() is ever called.
fn fastopen_msg(t: &Target, to: SocketAddr) -> Attempt {
    let socket = tcp_for(&to)?;
    cookieless(&socket);
    let flags = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL;
    socket.send_to_with_flags(&t.payload(), &to.into(), flags).step("sendto MSG_FASTOPEN")?;
    target::hear(&socket)
}

/// A deferred connect: the SYN leaves with the first write.
fn fastopen_connect(t: &Target, to: SocketAddr) -> Attempt {
    let socket = tcp_for(&to)?;
    cookieless(&socket);
    set_option(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, &[1_i32])
        .step("setsockopt TCP_FASTOPEN_CONNECT")?;
    stream_to(t, &socket, to)
}

fn fastopen_unspec(t: &Target) -> Attempt {
    let socket = tcp_for(&t.at4())?;
    cookieless(&socket);
    let mut to = target::sockaddr_bytes(t.at4());
    to[..2].fill(0);
    let flags = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL;
    // The kernel may refuse the family; the plain form on the same socket is then the rest of the attempt.
    match target::send_message(std::os::fd::AsFd::as_fd(&socket), &to, &t.payload(), &[], flags) {
        Ok(_) => target::hear(&socket),
        Err(_) => {
            socket.send_to_with_flags(&t.payload(), &t.at4().into(), flags).step("sendto MSG_FASTOPEN")?;
            target::hear(&socket)
        }
    }
}

/// Lets data ride in the first SYN; without it the first attempt only asks for a cookie.
fn cookieless(socket: &Socket) {
    let _ = set_option(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_FASTOPEN_NO_COOKIE, &[1_i32]);
}

/// Bound to the wildcard and a port of its own before it connects, on each family.
fn bind_any(t: &Target) -> Attempt {
    let mut last = Err(Stop::Impossible("no family to try".to_owned()));
    for to in [t.at4(), t.at6(), t.mapped()] {
        let socket = tcp_for(&to)?;
        socket.bind(&target::any_like(&to).into()).step("bind")?;
        last = stream_to(t, &socket, to);
        if matches!(last, Ok(Done::Reached)) {
            break;
        }
    }
    last
}

/// Bound to an address that is not this machine's. IPv4 routes nothing from one, IPv6 does.
fn bind_freebind(t: &Target) -> Attempt {
    let socket = udp_for(&t.at6())?;
    set_option(socket.as_raw_fd(), libc::IPPROTO_IPV6, libc::IPV6_FREEBIND, &[1_i32])
        .step("setsockopt IPV6_FREEBIND")?;
    let source = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x77);
    socket.bind(&SocketAddr::from((source, 0)).into()).step("bind")?;
    target::datagram_to(t, &socket, t.at6())
}

/// As [`bind_freebind`], with the option a transparent proxy uses: nobody can answer, and nobody has to.
fn bind_transparent(t: &Target) -> Attempt {
    let socket = udp_for(&t.at4())?;
    set_option(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_TRANSPARENT, &[1_i32])
        .step("setsockopt IP_TRANSPARENT")?;
    let source = Ipv4Addr::new(198, 51, 100, 77);
    socket.bind(&SocketAddr::from((source, 0)).into()).step("bind")?;
    target::datagram_to(t, &socket, t.at4())
}

fn bind_device(t: &Target, socket: &Socket, is_stream: bool) -> Attempt {
    let mut last = Err(Stop::Impossible("no interface".to_owned()));
    for name in crate::family::interfaces() {
        last = socket.bind_device(Some(name.as_bytes())).step("setsockopt SO_BINDTODEVICE").and_then(|()| {
            if is_stream { stream_to(t, socket, t.at4()) } else { target::datagram_to(t, socket, t.at4()) }
        });
        if last.is_ok() {
            break;
        }
    }
    last
}
