//! UDP and UDP-Lite, connected and not, by every call that sends a datagram.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

use socket2::Socket;

use crate::Vector;
use crate::outcome::{Attempt, Done, Step, cvt};
use crate::target::{Target, datagram_to, open, send_message, set_option, sockaddr_bytes, udp_for};

pub(crate) const VECTORS: &[Vector] = &[
    ("udp4_connected", |t| connected(t, &udp_for(&t.at4())?, t.at4())),
    ("udp6_connected", |t| connected(t, &udp_for(&t.at6())?, t.at6())),
    ("udp_mapped_connected", |t| connected(t, &udp_for(&t.mapped())?, t.mapped())),
    ("udp4_sendto", |t| datagram_to(t, &udp_for(&t.at4())?, t.at4())),
    ("udp6_sendto", |t| datagram_to(t, &udp_for(&t.at6())?, t.at6())),
    ("udp_mapped_sendto", |t| datagram_to(t, &udp_for(&t.mapped())?, t.mapped())),
    ("udp4_on_v6_socket", v4_name_on_v6_socket),
    ("udp4_sendmmsg", |t| sendmmsg(t, t.at4())),
    ("udp6_sendmmsg", |t| sendmmsg(t, t.at6())),
    ("udp_msg_more", msg_more),
    ("udp_cork", cork),
    ("udp_unspec", unspec),
    ("udp_reused", reused),
    ("udp53_raw4", |t| datagram_to(t, &udp_for(&t.at4())?, (t.v4, 53).into())),
    ("udp53_raw6", |t| datagram_to(t, &udp_for(&t.at6())?, (t.v6, 53).into())),
    ("udp53_connected", |t| connected(t, &udp_for(&t.at4())?, (t.v4, 53).into())),
    ("quic4", |t| quic(t, (t.v4, 443).into())),
    ("quic6", |t| quic(t, (t.v6, 443).into())),
    ("udplite4_connected", |t| connected(t, &udplite(libc::AF_INET)?, t.at4())),
    ("udplite6_connected", |t| connected(t, &udplite(libc::AF_INET6)?, t.at6())),
    ("udplite4_sendto", |t| datagram_to(t, &udplite(libc::AF_INET)?, t.at4())),
    ("udplite6_sendto", |t| datagram_to(t, &udplite(libc::AF_INET6)?, t.at6())),
    ("multicast4", multicast4),
    ("multicast6", multicast6),
    ("broadcast", broadcast),
    ("host_loopback_udp4", |t| to_host(t, Ipv4Addr::LOCALHOST)),
    ("host_loopback_udp6", |t| to_host(t, Ipv6Addr::LOCALHOST)),
    ("host_own_address_udp", |t| to_host(t, crate::stream::HOST_V4)),
];

fn udplite(family: i32) -> Attempt<Socket> {
    open(family, libc::SOCK_DGRAM, libc::IPPROTO_UDPLITE)
}

fn connected(t: &Target, socket: &Socket, to: SocketAddr) -> Attempt {
    socket.connect(&to.into()).step("connect")?;
    socket.send(&t.payload()).step("send")?;
    Ok(Done::Sent(format!("connected to {to}")))
}

/// An AF_INET address given to an AF_INET6 socket: the kernel hands it to the IPv4 code.
fn v4_name_on_v6_socket(t: &Target) -> Attempt {
    let socket = udp_for(&t.at6())?;
    send_message(socket.as_fd(), &sockaddr_bytes(t.at4()), &t.payload(), &[], 0).step("sendmsg")?;
    Ok(Done::Sent("sockaddr_in on an AF_INET6 socket".to_owned()))
}

fn sendmmsg(t: &Target, to: SocketAddr) -> Attempt {
    let socket = udp_for(&to)?;
    let (name, body) = (sockaddr_bytes(to), t.payload());
    let mut part = libc::iovec { iov_base: body.as_ptr().cast_mut().cast(), iov_len: body.len() };
    // SAFETY: all-zero is a valid `mmsghdr`.
    let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
    message.msg_hdr.msg_name = name.as_ptr().cast_mut().cast();
    message.msg_hdr.msg_namelen = libc::socklen_t::try_from(name.len()).expect("at most 28");
    message.msg_hdr.msg_iov = &raw mut part;
    message.msg_hdr.msg_iovlen = 1;
    let mut messages = [message, message];
    // SAFETY: two initialised headers whose pointers live until the call returns.
    cvt(unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), 2, 0) }).step("sendmmsg")?;
    Ok(Done::Sent(format!("sendmmsg {to}")))
}

/// The destination is given with the first piece only; the datagram leaves with the last.
fn msg_more(t: &Target) -> Attempt {
    let socket = udp_for(&t.at4())?;
    socket.send_to_with_flags(&t.payload(), &t.at4().into(), libc::MSG_MORE).step("sendto MSG_MORE")?;
    socket.send_to_with_flags(b"the rest", &t.at4().into(), 0).step("sendto")?;
    Ok(Done::Sent("MSG_MORE".to_owned()))
}

fn cork(t: &Target) -> Attempt {
    let socket = udp_for(&t.at6())?;
    set_option(socket.as_raw_fd(), libc::IPPROTO_UDP, libc::UDP_CORK, &[1_i32])
        .step("setsockopt UDP_CORK")?;
    socket.send_to(&t.payload(), &t.at6().into()).step("sendto")?;
    set_option(socket.as_raw_fd(), libc::IPPROTO_UDP, libc::UDP_CORK, &[0_i32])
        .step("setsockopt UDP_CORK")?;
    Ok(Done::Sent("uncorked".to_owned()))
}

/// A filter that trusts `user_family` takes AF_UNSPEC for neither; the IPv4 code takes it for AF_INET.
fn unspec(t: &Target) -> Attempt {
    let socket = udp_for(&t.at4())?;
    let mut to = sockaddr_bytes(t.at4());
    to[..2].fill(0);
    send_message(socket.as_fd(), &to, &t.payload(), &[], 0).step("sendmsg AF_UNSPEC")?;
    Ok(Done::Sent("AF_UNSPEC address".to_owned()))
}

/// Connected to its own loopback first and dissolved: what the hook noted of the socket must not cover the sendto.
fn reused(t: &Target) -> Attempt {
    let socket = udp_for(&t.at4())?;
    let home: SocketAddr = (Ipv4Addr::LOCALHOST, t.port()).into();
    let _ = socket.connect(&home.into());
    crate::stream::dissolve(&socket)?;
    datagram_to(t, &socket, t.at4())
}

/// The shape of a QUIC version 1 Initial (RFC 9000, 17.2.2), with the marker for a payload.
fn quic(t: &Target, to: SocketAddr) -> Attempt {
    let mut packet = vec![0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0];
    packet.extend_from_slice(&t.payload());
    packet.resize(1200, 0);
    udp_for(&to)?.send_to(&packet, &to.into()).step("sendto")?;
    Ok(Done::Sent(format!("QUIC Initial to {to}")))
}

fn to_host(t: &Target, addr: impl Into<IpAddr>) -> Attempt {
    let to = SocketAddr::from((addr.into(), crate::stream::HOST_PORT));
    datagram_to(t, &udp_for(&to)?, to)
}

/// To MCAST-TEST-NET (RFC 6676).
fn multicast4(t: &Target) -> Attempt {
    let to: SocketAddr = (Ipv4Addr::new(233, 252, 0, 66), t.port()).into();
    let socket = udp_for(&to)?;
    socket.set_multicast_ttl_v4(8).step("setsockopt IP_MULTICAST_TTL")?;
    datagram_to(t, &socket, to)
}

/// To a documentation group (RFC 6676), on every interface that is not loopback.
fn multicast6(t: &Target) -> Attempt {
    let to: SocketAddr = (Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0xdb8, 0, 0x66), t.port()).into();
    let socket = udp_for(&to)?;
    socket.set_multicast_hops_v6(8).step("setsockopt IPV6_MULTICAST_HOPS")?;
    datagram_to(t, &socket, to)
}

fn broadcast(t: &Target) -> Attempt {
    let to: SocketAddr = (Ipv4Addr::BROADCAST, t.port()).into();
    let socket = udp_for(&to)?;
    socket.set_broadcast(true).step("setsockopt SO_BROADCAST")?;
    datagram_to(t, &socket, to)
}
