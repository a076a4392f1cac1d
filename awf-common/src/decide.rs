//! The decisions of the kernel programs: destination, protocol and [`Globals`] in, [`Action`] out. Pure, so that
//! every branch is tested on the host; the programs only read their context, call this, and write the result.

use crate::{Addr, Globals, Refusal, addr::is_loopback4};

pub const AF_INET: u32 = 2;
pub const AF_INET6: u32 = 10;
pub const SOCK_STREAM: u32 = 1;
pub const SOCK_DGRAM: u32 = 2;
pub const IPPROTO_TCP: u32 = 6;
pub const IPPROTO_UDP: u32 = 17;
/// `IPPORT_DOMAIN`
pub const DNS: u16 = 53;
/// `EtherType`s, host byte order.
pub const ETH_P_IP: u16 = 0x0800;
pub const ETH_P_IPV6: u16 = 0x86dd;
/// QUIC clients fall back to TCP at once on it.
pub const ENETUNREACH: i32 = 101;
/// Applications that try MPTCP, SCTP or UDP-Lite first fall back on it.
pub const EPROTONOSUPPORT: i32 = 93;
/// What a client of a host service sees when that service is not there.
pub const ECONNREFUSED: i32 = 111;
/// For storage that cannot be had: it is a resource, not a route, that is missing.
pub const ENOBUFS: i32 = 105;

/// Transport of a socket that passed [`socket`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Udp,
}

/// What to do with a connect() or sendmsg().
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Leave the destination: it is the command's own loopback, or a listener of ours.
    Direct,
    /// Rewrite the destination to the proxy.
    Proxy,
    /// Rewrite the destination to the DNS stub.
    Resolver,
    /// Fail the call with this errno.
    Refuse { errno: i32 },
}

/// Whether a socket may be created. Only TCP and UDP have hooks that see every use of them; UDP-Lite, SCTP, DCCP,
/// raw and ping sockets do not.
#[inline(always)]
#[must_use]
pub const fn socket(family: u32, socket_type: u32, protocol: u32) -> bool {
    if family != AF_INET && family != AF_INET6 {
        return false;
    }
    (socket_type == SOCK_STREAM && protocol == IPPROTO_TCP)
        || (socket_type == SOCK_DGRAM && protocol == IPPROTO_UDP)
}

/// The transport of an allowed socket by its protocol number; anything unknown is `None` and refused.
#[inline(always)]
#[must_use]
pub const fn transport(protocol: u32) -> Option<Transport> {
    match protocol {
        IPPROTO_TCP => Some(Transport::Tcp),
        IPPROTO_UDP => Some(Transport::Udp),
        _ => None,
    }
}

/// Where a connect() or sendmsg() to `dst` goes.
#[inline(always)]
#[must_use]
pub const fn destination(dst: &Addr, port: u16, transport: Transport, globals: &Globals) -> Action {
    if port == DNS {
        return Action::Resolver;
    }
    let loopback = dst.is_loopback() || dst.is_unspecified();
    if loopback && is_ours(port, transport, globals) {
        return Action::Direct;
    }
    // In a namespace of its own the command's loopback is its own; in the host's it reaches host services.
    if loopback && globals.shared_netns == 0 {
        return Action::Direct;
    }
    match transport {
        Transport::Tcp if loopback => Action::Refuse { errno: ECONNREFUSED },
        Transport::Tcp => Action::Proxy,
        Transport::Udp => Action::Refuse { errno: ENETUNREACH },
    }
}

#[inline(always)]
const fn is_ours(port: u16, transport: Transport, globals: &Globals) -> bool {
    port == globals.dns_port || (port == globals.proxy_port && matches!(transport, Transport::Tcp))
}

/// Whether `port` of a loopback peer is the stub's, so that its answer gets the address that was asked.
#[inline(always)]
#[must_use]
pub const fn from_resolver(src: &Addr, port: u16, globals: &Globals) -> bool {
    src.is_loopback() && port == globals.dns_port
}

/// Whether `port` of a loopback peer is a listener of ours, so that getpeername() tells what was dialled.
#[inline(always)]
#[must_use]
pub const fn from_listener(src: &Addr, port: u16, globals: &Globals) -> bool {
    src.is_loopback() && (port == globals.dns_port || port == globals.proxy_port)
}

/// Which way a packet goes, seen from the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Egress,
    Ingress,
}

/// The first bytes of a packet that a decision needs: an IP header and the ports after it, as words in network byte
/// order (the verifier walks reads of bytes byte by byte).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Header(pub [u32; 11]);

impl Header {
    /// The byte at `at`.
    #[inline(always)]
    #[must_use]
    pub const fn byte(&self, at: usize) -> u8 {
        self.0[at / 4].to_ne_bytes()[at % 4]
    }

    /// The 16 bit number at `at`, which is even.
    #[inline(always)]
    #[must_use]
    pub const fn number(&self, at: usize) -> u16 {
        let shift = if at.is_multiple_of(4) { 16 } else { 0 };
        (u32::from_be(self.0[at / 4]) >> shift) as u16
    }

    /// The IPv4 address at word `at`.
    #[inline(always)]
    #[must_use]
    pub const fn addr4(&self, at: usize) -> Addr {
        Addr::v4(self.0[at])
    }

    /// The IPv6 address at word `at`.
    #[inline(always)]
    #[must_use]
    pub const fn addr6(&self, at: usize) -> Addr {
        Addr([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }
}

/// Where the ports are, in bytes from the start of the IP header.
const PORTS4: usize = 20;
const PORTS6: usize = 40;

/// Whether a packet may pass: IPv4 without options between addresses of 127.0.0.0/8, or IPv6 with TCP or UDP as
/// its first next header between `::1` and itself; in the host's namespace only with a listener of ours as peer.
///
/// The addresses are those on the wire: a routing header or a source route makes them differ from what the
/// connect hooks saw.
#[inline(always)]
#[must_use]
pub const fn packet(ethertype: u16, header: &Header, direction: Direction, globals: &Globals) -> bool {
    match ethertype {
        ETH_P_IP => packet4(header, direction, globals),
        ETH_P_IPV6 => packet6(header, direction, globals),
        _ => false,
    }
}

#[inline(always)]
const fn packet4(h: &Header, direction: Direction, globals: &Globals) -> bool {
    let no_options = h.byte(0) == 0x45;
    if !no_options || !is_loopback4(h.0[3]) || !is_loopback4(h.0[4]) {
        return false;
    }
    if globals.shared_netns == 0 {
        return true;
    }
    // A later fragment carries no ports to judge.
    let later_fragment = h.number(6) & 0x1fff != 0;
    !later_fragment && peer_is_ours(h.byte(9) as u32, peer_port(h, PORTS4, direction), globals)
}

#[inline(always)]
const fn packet6(h: &Header, direction: Direction, globals: &Globals) -> bool {
    let next_header = h.byte(6) as u32;
    if transport(next_header).is_none() || !h.addr6(2).is_loopback6() || !h.addr6(6).is_loopback6() {
        return false;
    }
    globals.shared_netns == 0 || peer_is_ours(next_header, peer_port(h, PORTS6, direction), globals)
}

#[inline(always)]
const fn peer_port(h: &Header, at: usize, direction: Direction) -> u16 {
    match direction {
        Direction::Egress => h.number(at + 2),
        Direction::Ingress => h.number(at),
    }
}

/// The end of a packet that is not the command's, as far as it was read: address and port, and the IP protocol.
#[inline(always)]
#[must_use]
pub const fn peer(ethertype: u16, header: &Header, direction: Direction) -> (Addr, u16, u32) {
    let egress = matches!(direction, Direction::Egress);
    if ethertype == ETH_P_IP {
        let addr = if egress { header.addr4(4) } else { header.addr4(3) };
        return (addr, peer_port(header, PORTS4, direction), header.byte(9) as u32);
    }
    let addr = if egress { header.addr6(6) } else { header.addr6(2) };
    (addr, peer_port(header, PORTS6, direction), header.byte(6) as u32)
}

#[inline(always)]
const fn peer_is_ours(protocol: u32, port: u16, globals: &Globals) -> bool {
    match transport(protocol) {
        Some(transport) => is_ours(port, transport, globals),
        None => false,
    }
}

/// Whether a packet that may pass egress is a datagram to the stub; its source address and port if it is.
#[inline(always)]
#[must_use]
pub const fn query(ethertype: u16, header: &Header, globals: &Globals) -> Option<(Addr, u16)> {
    let (_, to, protocol) = peer(ethertype, header, Direction::Egress);
    if protocol != IPPROTO_UDP || to != globals.dns_port {
        return None;
    }
    let (addr, port, _) = peer(ethertype, header, Direction::Ingress);
    Some((addr, port))
}

/// What a refused connect() is reported as.
#[inline(always)]
#[must_use]
pub const fn connect_refusal(transport: Transport) -> Refusal {
    match transport {
        Transport::Tcp => Refusal::HostPort,
        Transport::Udp => Refusal::UdpConnect,
    }
}
