//! Sockets below TCP and UDP: ping sockets, raw IP, AF_PACKET.

use std::ffi::CString;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use crate::Vector;
use crate::outcome::{Attempt, Done, Step, Stop};
use crate::target::{MARKER, Target, open, send_message, set_option, sockaddr_bytes};

/// RFC 3692 experimentation protocol number: nobody answers it, so nobody mistakes it.
const EXPERIMENTAL: i32 = 253;

pub(crate) const VECTORS: &[Vector] = &[
    ("ping4", |t| ping(t, libc::SOCK_DGRAM, t.at4())),
    ("ping6", |t| ping(t, libc::SOCK_DGRAM, t.at6())),
    ("raw_icmp4", |t| ping(t, libc::SOCK_RAW, t.at4())),
    ("raw_icmp6", |t| ping(t, libc::SOCK_RAW, t.at6())),
    ("raw4", |t| raw(t, t.at4())),
    ("raw6", |t| raw(t, t.at6())),
    ("raw4_hdrincl", hdrincl),
    ("packet_dgram", |t| packet(t, libc::SOCK_DGRAM)),
    ("packet_raw", |t| packet(t, libc::SOCK_RAW)),
    ("packet_old", packet_old),
];

/// An echo request with the marker for its data (RFC 792, RFC 4443); the kernel fills in the v6 checksum.
fn ping(t: &Target, kind: i32, to: SocketAddr) -> Attempt {
    let (protocol, echo) = if to.is_ipv4() { (libc::IPPROTO_ICMP, 8) } else { (libc::IPPROTO_ICMPV6, 128) };
    let socket = open(crate::target::family_of(&to), kind, protocol)?;
    let mut request = vec![echo, 0, 0, 0, 0, 1, 0, 1];
    request.extend_from_slice(&t.payload());
    let sum = checksum(&request);
    request[2..4].copy_from_slice(&sum.to_be_bytes());
    send_message(socket.as_fd(), &sockaddr_bytes(to_port_zero(to)), &request, &[], 0).step("sendto")?;
    Ok(Done::Sent(format!("echo request to {}", to.ip())))
}

fn raw(t: &Target, to: SocketAddr) -> Attempt {
    let socket = open(crate::target::family_of(&to), libc::SOCK_RAW, EXPERIMENTAL)?;
    send_message(socket.as_fd(), &sockaddr_bytes(to_port_zero(to)), &t.payload(), &[], 0).step("sendto")?;
    Ok(Done::Sent(format!("protocol {EXPERIMENTAL} to {}", to.ip())))
}

/// Raw IPv6 sockets refuse a port that is not zero.
fn to_port_zero(to: SocketAddr) -> SocketAddr {
    (to.ip(), 0).into()
}

fn hdrincl(t: &Target) -> Attempt {
    let socket = open(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_RAW)?;
    set_option(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_HDRINCL, &[1_i32])
        .step("setsockopt IP_HDRINCL")?;
    send_message(socket.as_fd(), &sockaddr_bytes(to_port_zero(t.at4())), &udp_packet(t), &[], 0)
        .step("sendto")?;
    Ok(Done::Sent("own IPv4 header".to_owned()))
}

/// One UDP datagram with its IPv4 header, out of every interface but loopback (loopback when there is no other).
fn packet(t: &Target, kind: i32) -> Attempt {
    let socket = open(libc::AF_PACKET, kind, i32::from(0x0800_u16.to_be()))?;
    let mut last = Err(Stop::Impossible("no interface".to_owned()));
    for name in crate::family::interfaces() {
        let name = CString::new(name).expect("an interface name has no NUL");
        // SAFETY: a NUL-terminated string that outlives the call.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        let mut body = udp_packet(t);
        if kind == libc::SOCK_RAW {
            let mut frame = vec![0xff; 6];
            frame.extend_from_slice(&[2, 0, 0, 0, 0, 1, 8, 0]);
            frame.append(&mut body);
            body = frame;
        }
        last = send_message(socket.as_fd(), &link_address(index), &body, &[], 0).step("sendto");
        if last.is_ok() {
            break;
        }
    }
    last.map(|_| Done::Sent("a frame".to_owned()))
}

/// The obsolete `socket(AF_INET, SOCK_PACKET)`, another door to the same family.
fn packet_old(t: &Target) -> Attempt {
    #[expect(deprecated, reason = "the obsolete spelling is the attack")]
    let socket = open(libc::AF_INET, libc::SOCK_PACKET, i32::from(0x0800_u16.to_be()))?;
    for name in crate::family::interfaces() {
        let mut address = vec![0_u8; 18];
        address[..2].copy_from_slice(&(libc::AF_PACKET as u16).to_ne_bytes());
        address[2..2 + name.len().min(13)].copy_from_slice(&name.as_bytes()[..name.len().min(13)]);
        address[16..18].copy_from_slice(&0x0800_u16.to_be_bytes());
        let mut frame = vec![0xff; 6];
        frame.extend_from_slice(&[2, 0, 0, 0, 0, 1, 8, 0]);
        frame.extend_from_slice(&udp_packet(t));
        send_message(socket.as_fd(), &address, &frame, &[], 0).step("sendto")?;
    }
    Ok(Done::Sent("a frame by SOCK_PACKET".to_owned()))
}

/// `sockaddr_ll` for IPv4, to the broadcast address (packet(7)).
fn link_address(index: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(20);
    out.extend_from_slice(&(libc::AF_PACKET as u16).to_ne_bytes());
    out.extend_from_slice(&0x0800_u16.to_be_bytes());
    out.extend_from_slice(&index.to_ne_bytes());
    out.extend_from_slice(&[0, 0, 0, 6]);
    out.extend_from_slice(&[0xff; 6]);
    out.extend_from_slice(&[0, 0]);
    out
}

fn udp_packet(t: &Target) -> Vec<u8> {
    let body = format!("{MARKER} {}", t.vector);
    let udp_length = 8 + u16::try_from(body.len()).expect("short");
    let mut packet = vec![0x45, 0];
    packet.extend_from_slice(&(20 + udp_length).to_be_bytes());
    packet.extend_from_slice(&[0, 1, 0, 0, 64, 17, 0, 0, 198, 51, 100, 1]);
    packet.extend_from_slice(&t.v4.octets());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend_from_slice(&4242_u16.to_be_bytes());
    packet.extend_from_slice(&t.port().to_be_bytes());
    packet.extend_from_slice(&udp_length.to_be_bytes());
    packet.extend_from_slice(&[0, 0]);
    packet.extend_from_slice(body.as_bytes());
    packet
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}
