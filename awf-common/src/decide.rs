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

/// Where a connect() or sendmsg() to `dst` goes. `host_port`: whether `port` of the host's loopback is open to the
/// command; the proxy then decides, in either namespace.
#[inline(always)]
#[must_use]
pub const fn destination(
    dst: &Addr,
    port: u16,
    transport: Transport,
    host_port: bool,
    globals: &Globals,
) -> Action {
    if port == DNS {
        return Action::Resolver;
    }
    let loopback = dst.is_loopback() || dst.is_unspecified();
    if loopback && is_ours(port, transport, globals) {
        return Action::Direct;
    }
    let closed = loopback && !(host_port && dst.is_localhost() && matches!(transport, Transport::Tcp));
    // In a namespace of its own the command's loopback is its own; in the host's it reaches host services.
    if closed && globals.shared_netns == 0 {
        return Action::Direct;
    }
    match transport {
        Transport::Tcp if closed => Action::Refuse { errno: ECONNREFUSED },
        Transport::Tcp => Action::Proxy,
        Transport::Udp => Action::Refuse { errno: ENETUNREACH },
    }
}

/// Whether a socket of the network namespace `netns` (`SO_NETNS_COOKIE`) is in another than the shared one.
#[inline(always)]
#[must_use]
pub const fn is_elsewhere(netns: u64, globals: &Globals) -> bool {
    globals.shared_netns != 0 && netns != globals.netns
}

/// Where a connect() or sendmsg() goes that is made in another network namespace. None of our listeners is there, and
/// who made it may have led it out of the machine; a run of awf-bpf in the command has its own on its loopback.
#[inline(always)]
#[must_use]
pub const fn elsewhere(dst: &Addr) -> Action {
    if dst.is_loopback() || dst.is_unspecified() {
        Action::Direct
    } else {
        Action::Refuse { errno: ENETUNREACH }
    }
}

/// [`Globals`] as they are for a packet of another network namespace: with its loopback alone.
#[inline(always)]
#[must_use]
pub const fn globals_elsewhere(globals: &Globals) -> Globals {
    Globals { shared_netns: 0, ..*globals }
}

/// The loopback device of every network namespace (`LOOPBACK_IFINDEX`, include/net/flow.h).
pub const LOOPBACK_IFINDEX: u32 = 1;

/// Whether a socket bound to device `ifindex` (0: to none) reaches us. Bound to another device, its packets would
/// leave by that, even those to a loopback address; [`packet`]'s caller drops them, of which no connect() hears.
#[inline(always)]
#[must_use]
pub const fn device(ifindex: u32) -> bool {
    ifindex == 0 || ifindex == LOOPBACK_IFINDEX
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
/// order (the verifier walks reads of bytes byte by byte). 6 words of IPv4, 11 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Header<const WORDS: usize>(pub [u32; WORDS]);

/// An IPv4 header without options, and ports.
pub type Header4 = Header<6>;
/// An IPv6 header, and ports if TCP or UDP is what comes next.
pub type Header6 = Header<11>;

impl<const WORDS: usize> Header<WORDS> {
    /// The byte at `at`.
    #[inline(always)]
    #[must_use]
    pub const fn byte(&self, at: usize) -> u8 {
        self.0[at / 4].to_ne_bytes()[at % 4]
    }

    /// The upper or lower half of word `at`, host byte order.
    #[inline(always)]
    const fn halves(&self, at: usize) -> (u16, u16) {
        let word = u32::from_be(self.0[at]);
        ((word >> 16) as u16, word as u16)
    }
}

/// One end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub addr: Addr,
    pub port: u16,
}

/// What a packet says of itself: both ends, and the IP protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub src: End,
    pub dst: End,
    pub protocol: u32,
}

impl Ends {
    #[inline(always)]
    #[must_use]
    pub const fn of4(h: &Header4) -> Self {
        let (src, dst) = h.halves(5);
        Self {
            src: End { addr: Addr::v4(h.0[3]), port: src },
            dst: End { addr: Addr::v4(h.0[4]), port: dst },
            protocol: h.byte(9) as u32,
        }
    }

    #[inline(always)]
    #[must_use]
    pub const fn of6(h: &Header6) -> Self {
        let (src, dst) = h.halves(10);
        Self {
            src: End { addr: Addr([h.0[2], h.0[3], h.0[4], h.0[5]]), port: src },
            dst: End { addr: Addr([h.0[6], h.0[7], h.0[8], h.0[9]]), port: dst },
            protocol: h.byte(6) as u32,
        }
    }

    /// The end that is not the command's.
    #[inline(always)]
    #[must_use]
    pub const fn peer(&self, direction: Direction) -> End {
        match direction {
            Direction::Egress => self.dst,
            Direction::Ingress => self.src,
        }
    }
}

/// Whether an IPv4 packet may pass: without options, between addresses of 127.0.0.0/8; in the host's namespace only
/// with a listener of ours as peer.
///
/// The addresses are those on the wire: a source route, or in IPv6 a routing header, makes them differ from what
/// the connect hooks saw.
#[inline(always)]
#[must_use]
pub const fn packet4(h: &Header4, direction: Direction, globals: &Globals) -> bool {
    let no_options = h.byte(0) == 0x45;
    if !no_options || !is_loopback4(h.0[3]) || !is_loopback4(h.0[4]) {
        return false;
    }
    if globals.shared_netns == 0 {
        return true;
    }
    // A later fragment carries no ports to judge.
    let later_fragment = h.halves(1).1 & 0x1fff != 0;
    !later_fragment && peer_is_ours(&Ends::of4(h), direction, globals)
}

/// Whether the kernel has put a jumbogram's header in front of TCP (RFC 2675; `ip6_xmit` of net/ipv6/ip6_output.c): it
/// does so to segments of more than 64 KiB that no wire will see, also on loopback (`tcp_grow_skb`, Linux 6.10).
/// These 8 bytes and no others: a process without capabilities cannot send them.
#[inline(always)]
#[must_use]
pub const fn is_big_tcp(h: &Header6) -> bool {
    const TCP_JUMBO: u32 = u32::from_ne_bytes([IPPROTO_TCP as u8, 0, 0xc2, 4]);
    let no_length = h.halves(1).0 == 0;
    no_length && h.byte(6) == 0 && h.0[10] == TCP_JUMBO
}

/// Where the ports are behind a header of [`is_big_tcp`].
pub const BIG_TCP_PORTS: u32 = 48;

/// The header of the same packet without the jumbogram's; `ports` as they are on the wire.
#[inline(always)]
#[must_use]
pub const fn plain_tcp(mut h: Header6, ports: u32) -> Header6 {
    let [a, b, _, hops] = h.0[1].to_ne_bytes();
    h.0[1] = u32::from_ne_bytes([a, b, IPPROTO_TCP as u8, hops]);
    h.0[10] = ports;
    h
}

/// Whether an IPv6 packet may pass: with TCP or UDP as its first next header, between `::1` and itself; in the host's
/// namespace only with a listener of ours as peer.
#[inline(always)]
#[must_use]
pub const fn packet6(h: &Header6, direction: Direction, globals: &Globals) -> bool {
    let ends = Ends::of6(h);
    let is_ipv6 = h.byte(0) >> 4 == 6;
    if !is_ipv6 || transport(ends.protocol).is_none() {
        return false;
    }
    if !ends.src.addr.is_loopback6() || !ends.dst.addr.is_loopback6() {
        return false;
    }
    globals.shared_netns == 0 || peer_is_ours(&ends, direction, globals)
}

#[inline(always)]
const fn peer_is_ours(ends: &Ends, direction: Direction, globals: &Globals) -> bool {
    match transport(ends.protocol) {
        Some(transport) => is_ours(ends.peer(direction).port, transport, globals),
        None => false,
    }
}

/// Whether a packet that may pass egress is a datagram to the stub.
#[inline(always)]
#[must_use]
pub const fn is_query(ends: &Ends, globals: &Globals) -> bool {
    ends.protocol == IPPROTO_UDP && ends.dst.port == globals.dns_port
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
