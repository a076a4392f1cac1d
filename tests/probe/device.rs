//! Loopback by another interface: a destination every hook takes for its own, sent out on the cable. All of it
//! unprivileged: SO_BINDTODEVICE on a fresh socket, IP_UNICAST_IF, IP_PKTINFO and a scope say by which device.

use std::ffi::CString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

use socket2::{InterfaceIndexOrAddress, Socket};

use crate::Vector;
use crate::family::interfaces;
use crate::outcome::{Attempt, Done, Step, Stop};
use crate::target::{Target, control_message, send_message, set_option, sockaddr_bytes, tcp_for, udp_for};

pub(crate) const VECTORS: &[Vector] = &[
    ("device_bound4", |t| by_every_device(t, home4(t), bound)),
    ("device_bound6", |t| by_every_device(t, home6(t), bound)),
    ("device_chosen4", |t| by_every_device(t, home4(t), chosen)),
    ("device_chosen6", |t| by_every_device(t, home6(t), chosen)),
    ("device_pktinfo4", |t| by_every_device(t, home4(t), pktinfo)),
    ("device_pktinfo6", |t| by_every_device(t, home6(t), pktinfo)),
    ("device_scope6", |t| by_every_device(t, home6(t), scope)),
    ("device_from_loopback6", |t| by_every_device(t, home6(t), from_loopback)),
    ("device_fastopen4", |t| by_every_device(t, home4(t), fastopen)),
    ("device_fastopen6", |t| by_every_device(t, home6(t), fastopen)),
    ("device_dns4", |t| by_every_device(t, (t.v4, 53).into(), bound)),
    ("device_dns6", |t| by_every_device(t, (t.v6, 53).into(), bound)),
    ("device_dns_pktinfo4", |t| by_every_device(t, (t.v4, 53).into(), pktinfo)),
    ("group4", |t| by_every_device(t, (Ipv4Addr::new(233, 252, 0, 66), 0).into(), join)),
    ("group6", |t| by_every_device(t, (Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0xdb8, 0, 0x66), 0).into(), join)),
    ("device_dns_pktinfo6", |t| by_every_device(t, (t.v6, 53).into(), pktinfo)),
];

/// Port 53: the one datagram that hooks let pass.
fn home4(_: &Target) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 53).into()
}

fn home6(_: &Target) -> SocketAddr {
    (Ipv6Addr::LOCALHOST, 53).into()
}

/// One interface, by name and index.
struct Device {
    name: String,
    index: u32,
}

fn by_every_device(t: &Target, to: SocketAddr, send: fn(&Target, SocketAddr, &Device) -> Attempt) -> Attempt {
    let mut last = Err(Stop::Impossible("no interface".to_owned()));
    for name in interfaces() {
        let terminated = CString::new(name.clone()).expect("an interface name has no NUL");
        // SAFETY: a C string that outlives the call.
        let index = unsafe { libc::if_nametoindex(terminated.as_ptr()) };
        last = send(t, to, &Device { name, index });
        if last.is_ok() {
            break;
        }
    }
    last
}

fn send(t: &Target, socket: &Socket, to: SocketAddr) -> Attempt {
    send_message(socket.as_fd(), &sockaddr_bytes(to), &t.payload(), &[], 0).step("sendmsg")?;
    Ok(Done::Sent(format!("to {to} by a device")))
}

fn bound(t: &Target, to: SocketAddr, device: &Device) -> Attempt {
    let socket = udp_for(&to)?;
    socket.bind_device(Some(device.name.as_bytes())).step("setsockopt SO_BINDTODEVICE")?;
    send(t, &socket, to)
}

/// IP_UNICAST_IF and IPV6_UNICAST_IF take the index in network byte order.
fn choose(socket: &Socket, to: &SocketAddr, device: &Device) -> Attempt<()> {
    let (level, name) = if to.is_ipv4() {
        (libc::IPPROTO_IP, libc::IP_UNICAST_IF)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_IF)
    };
    set_option(socket.as_raw_fd(), level, name, &[device.index.to_be()]).step("setsockopt IP_UNICAST_IF")
}

fn chosen(t: &Target, to: SocketAddr, device: &Device) -> Attempt {
    let socket = udp_for(&to)?;
    choose(&socket, &to, device)?;
    send(t, &socket, to)
}

/// `in_pktinfo` is index, local address, header address; `in6_pktinfo` is address, index.
fn pktinfo(t: &Target, to: SocketAddr, device: &Device) -> Attempt {
    let control = if to.is_ipv4() {
        let info = [device.index.to_ne_bytes(), [0; 4], [0; 4]].concat();
        control_message(libc::IPPROTO_IP, libc::IP_PKTINFO, &info)
    } else {
        let info = [&[0; 16][..], &device.index.to_ne_bytes()].concat();
        control_message(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info)
    };
    let socket = udp_for(&to)?;
    send_message(socket.as_fd(), &sockaddr_bytes(to), &t.payload(), &control, 0)
        .step("sendmsg IP_PKTINFO")?;
    Ok(Done::Sent(format!("to {to} by packet information")))
}

/// `sin6_scope_id`, which only link-local addresses should have.
fn scope(t: &Target, to: SocketAddr, device: &Device) -> Attempt {
    let mut name = sockaddr_bytes(to);
    name[24..28].copy_from_slice(&device.index.to_ne_bytes());
    let socket = udp_for(&to)?;
    choose(&socket, &to, device)?;
    send_message(socket.as_fd(), &name, &t.payload(), &[], 0).step("sendmsg")?;
    Ok(Done::Sent(format!("to {to} with a scope")))
}

/// From `::1` to `::1`, on the cable: both addresses look like home. IPv4 refuses such a route with EINVAL
/// (`__mkroute_output`, net/ipv4/route.c), so there is no twin.
fn from_loopback(t: &Target, to: SocketAddr, device: &Device) -> Attempt {
    let socket = udp_for(&to)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::LOCALHOST, 0)).into()).step("bind")?;
    let by_device = socket.bind_device(Some(device.name.as_bytes()));
    if by_device.is_err() {
        choose(&socket, &to, device)?;
    }
    send(t, &socket, to)
}

/// Data in a SYN that no connection ever follows.
fn fastopen(t: &Target, to: SocketAddr, device: &Device) -> Attempt {
    let socket = tcp_for(&to)?;
    socket.bind_device(Some(device.name.as_bytes())).step("setsockopt SO_BINDTODEVICE")?;
    let _ = set_option(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_FASTOPEN_NO_COOKIE, &[1_i32]);
    socket.set_nonblocking(true).step("fcntl")?;
    let to = SocketAddr::from((to.ip(), t.port()));
    match socket.send_to_with_flags(&t.payload(), &to.into(), libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL) {
        Ok(_) => Ok(Done::Sent(format!("a SYN with data to {to}"))),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
            Ok(Done::Sent(format!("a SYN with data to {to}, in progress")))
        }
        Err(error) => Err(Stop::Refused("sendto MSG_FASTOPEN", error)),
    }
}

/// The kernel reports the group to everyone on the link, and its address is data.
fn join(_: &Target, group: SocketAddr, device: &Device) -> Attempt {
    if device.name == "lo" {
        return Err(Stop::Impossible("nobody is told of groups on lo".to_owned()));
    }
    let socket = udp_for(&group)?;
    let index = InterfaceIndexOrAddress::Index(device.index);
    match group.ip() {
        IpAddr::V4(group) => socket.join_multicast_v4_n(&group, &index).step("join")?,
        IpAddr::V6(group) => socket.join_multicast_v6(&group, device.index).step("join")?,
    }
    Ok(Done::Opened(format!("{group} reported on {}", device.name)))
}
