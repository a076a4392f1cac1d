//! A captured Ethernet frame, read as far as the canary needs it, and filters over such.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Instant,
};

use super::MARKER;
use crate::hosts;

/// One frame that came into the world (or left it).
#[derive(Clone, Debug)]
pub struct Packet {
    pub at: Instant,
    /// EtherType.
    pub ethertype: u16,
    /// IP protocol behind IPv6 extension headers; 0 if the frame is no IP.
    pub proto: u8,
    pub src: Option<IpAddr>,
    pub dst: Option<IpAddr>,
    /// 0 if the protocol has no ports or this is a later fragment.
    pub src_port: u16,
    pub dst_port: u16,
    /// Whether the payload contains [`MARKER`], in any case.
    pub marked: bool,
    /// It has an IPv4 option or an IPv6 routing header.
    pub source_routed: bool,
    /// A TCP option of kind 30 (RFC 8684).
    pub multipath: bool,
    /// Length of the frame in bytes.
    pub length: usize,
    payload: Vec<u8>,
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;

impl Packet {
    /// Total: a frame too short for what it claims keeps what could be read.
    pub(super) fn parse(at: Instant, frame: &[u8]) -> Self {
        let ethertype = word(frame, 12);
        let payload = frame.get(14..).unwrap_or_default().to_vec();
        let marked = payload.windows(MARKER.len()).any(|part| part.eq_ignore_ascii_case(MARKER.as_bytes()));
        let mut packet = Self {
            at,
            ethertype,
            proto: 0,
            src: None,
            dst: None,
            src_port: 0,
            dst_port: 0,
            marked,
            source_routed: false,
            multipath: false,
            length: frame.len(),
            payload: Vec::new(),
        };
        match ethertype {
            IPV4 => packet.read_ipv4(&payload),
            IPV6 => packet.read_ipv6(&payload),
            _ => {}
        }
        packet.payload = payload;
        packet
    }

    fn read_ipv4(&mut self, bytes: &[u8]) {
        let header = 4 * usize::from(byte(bytes, 0) & 15);
        self.proto = byte(bytes, 9);
        self.source_routed = header > 20;
        self.src =
            bytes.get(12..16).map(|part| Ipv4Addr::from(<[u8; 4]>::try_from(part).expect("four")).into());
        self.dst =
            bytes.get(16..20).map(|part| Ipv4Addr::from(<[u8; 4]>::try_from(part).expect("four")).into());
        if word(bytes, 6) & 0x1fff == 0 {
            self.read_transport(bytes.get(header..).unwrap_or_default());
        }
    }

    /// Walks the extension headers of RFC 8200.
    fn read_ipv6(&mut self, bytes: &[u8]) {
        self.src =
            bytes.get(8..24).map(|part| Ipv6Addr::from(<[u8; 16]>::try_from(part).expect("16")).into());
        self.dst =
            bytes.get(24..40).map(|part| Ipv6Addr::from(<[u8; 16]>::try_from(part).expect("16")).into());
        let (mut next, mut at) = (byte(bytes, 6), 40);
        while matches!(next, 0 | 43 | 44 | 60) && at < bytes.len() {
            self.source_routed |= next == 43;
            let length = if next == 44 { 8 } else { 8 + 8 * usize::from(byte(bytes, at + 1)) };
            next = byte(bytes, at);
            at += length;
        }
        self.proto = next;
        self.read_transport(bytes.get(at..).unwrap_or_default());
    }

    fn read_transport(&mut self, bytes: &[u8]) {
        // TCP, UDP, DCCP, SCTP and UDP-Lite all begin with both ports.
        if matches!(self.proto, 6 | 17 | 33 | 132 | 136) {
            (self.src_port, self.dst_port) = (word(bytes, 0), word(bytes, 2));
        }
        if self.proto == 6 {
            let end = 4 * usize::from(byte(bytes, 12) >> 4);
            self.multipath = has_option(bytes.get(20..end).unwrap_or_default(), 30);
        }
    }

    #[must_use]
    pub fn is_to(&self, addr: impl Into<IpAddr>) -> bool {
        self.dst == Some(addr.into())
    }

    pub(super) fn carries(&self, text: &[u8]) -> bool {
        self.payload.windows(text.len()).any(|part| part == text)
    }

    /// An answer on its way back: to an address of the machine, from elsewhere.
    pub(super) fn leaves_the_world(&self) -> bool {
        let machine = |addr: Option<IpAddr>| addr.is_some_and(is_of_the_machine);
        machine(self.dst) && !machine(self.src)
    }

    /// What a cable carries by itself: ARP, neighbour discovery, multicast listener reports, IGMP.
    pub(super) fn is_housekeeping(&self) -> bool {
        let transport = 40 + if byte(&self.payload, 6) == 0 { 8 } else { 0 };
        let kind = byte(&self.payload, transport);
        !self.marked
            && (self.ethertype == ARP
                || (self.ethertype == IPV4 && self.proto == 2)
                || (self.ethertype == IPV6 && self.proto == 58 && matches!(kind, 130..=137 | 143)))
    }
}

fn is_of_the_machine(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => addr == hosts::MACHINE_V4,
        IpAddr::V6(addr) => addr == hosts::MACHINE_V6 || addr.is_unicast_link_local(),
    }
}

fn has_option(mut options: &[u8], wanted: u8) -> bool {
    while let [kind, rest @ ..] = options {
        match *kind {
            0 => return false,
            1 => options = rest,
            kind if kind == wanted => return true,
            _ => options = options.get(usize::from(byte(options, 1)).max(2)..).unwrap_or_default(),
        }
    }
    false
}

fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or_default()
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([byte(bytes, at), byte(bytes, at + 1)])
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |addr: Option<IpAddr>| addr.map_or_else(|| "?".to_owned(), |addr| addr.to_string());
        write!(
            f,
            "type {:04x} protocol {} [{}]:{} -> [{}]:{}, {} bytes{}{}",
            self.ethertype,
            self.proto,
            show(self.src),
            self.src_port,
            show(self.dst),
            self.dst_port,
            self.length,
            if self.source_routed { ", source-routed" } else { "" },
            if self.marked { ", MARKED" } else { "" },
        )
    }
}

/// What a packet must be like; what is not said does not matter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    proto: Option<u8>,
    to: Option<IpAddr>,
    port: Option<u16>,
    marked: Option<bool>,
    source_routed: Option<bool>,
    multipath: Option<bool>,
    family: Option<u16>,
}

impl Filter {
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// IP protocol number.
    #[must_use]
    pub fn proto(self, proto: u8) -> Self {
        Self { proto: Some(proto), ..self }
    }

    #[must_use]
    pub fn to(self, addr: impl Into<IpAddr>) -> Self {
        Self { to: Some(addr.into()), ..self }
    }

    /// Destination port.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        Self { port: Some(port), ..self }
    }

    #[must_use]
    pub fn marked(self, marked: bool) -> Self {
        Self { marked: Some(marked), ..self }
    }

    #[must_use]
    pub fn source_routed(self) -> Self {
        Self { source_routed: Some(true), ..self }
    }

    #[must_use]
    pub fn multipath(self) -> Self {
        Self { multipath: Some(true), ..self }
    }

    #[must_use]
    pub fn ipv6(self) -> Self {
        Self { family: Some(IPV6), ..self }
    }

    #[must_use]
    pub fn ipv4(self) -> Self {
        Self { family: Some(IPV4), ..self }
    }

    #[must_use]
    pub fn matches(&self, packet: &Packet) -> bool {
        fn fits<T: PartialEq>(wanted: Option<T>, is: T) -> bool {
            wanted.is_none_or(|wanted| wanted == is)
        }
        fits(self.proto, packet.proto)
            && self.to.is_none_or(|to| packet.is_to(to))
            && fits(self.port, packet.dst_port)
            && fits(self.marked, packet.marked)
            && fits(self.source_routed, packet.source_routed)
            && fits(self.multipath, packet.multipath)
            && fits(self.family, packet.ethertype)
    }
}
