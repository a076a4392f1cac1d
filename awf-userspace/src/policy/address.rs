//! What kind of address an IP address is: may a name lead there without a rule that says so?
//!
//! An IPv6 address that carries an IPv4 address (mapped, NAT64, 6to4, ...) is what it carries: the packet
//! ends there. Sources: the IANA special-purpose registries of IPv4 and IPv6 (RFC 6890 and its updates).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The kind of an address. All but [`AddressClass::Global`] need an address rule to be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// Of the internet; documentation ranges are counted here, nobody answers there.
    Global,
    Loopback,
    /// RFC 1918, unique local (RFC 4193), site-local (RFC 3879).
    Private,
    LinkLocal,
    /// Where clouds hand out credentials to whoever asks.
    Metadata,
    /// Carrier-grade NAT (RFC 6598).
    CarrierNat,
    Multicast,
    /// `0.0.0.0/8` and `::`: Linux connects to itself.
    Unspecified,
    /// Not for hosts: benchmarking, discard, future use, broadcast, not allocated, local NAT64.
    Reserved,
}

impl AddressClass {
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => class_v4(ip),
            IpAddr::V6(ip) => class_v6(ip),
        }
    }

    /// Whether a name may lead there without an address rule.
    #[must_use]
    pub fn is_global(self) -> bool {
        self == Self::Global
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Global => "a public address",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::LinkLocal => "a link-local address",
            Self::Metadata => "a cloud metadata service",
            Self::CarrierNat => "an address of carrier-grade NAT",
            Self::Multicast => "a multicast address",
            Self::Unspecified => "an unspecified address",
            Self::Reserved => "a reserved address",
        })
    }
}

/// Metadata services of EC2, GCE, Azure, OCI (169.254.169.254), ECS and EKS tasks, Azure's host agent, and
/// Alibaba Cloud.
const METADATA_V4: [Ipv4Addr; 5] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
];

/// Metadata services over IPv6: EC2, EKS, GCE.
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

fn class_v4(ip: Ipv4Addr) -> AddressClass {
    if METADATA_V4.contains(&ip) {
        return AddressClass::Metadata;
    }
    match ip.octets() {
        [0, ..] => AddressClass::Unspecified,
        [127, ..] => AddressClass::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => AddressClass::Private,
        [169, 254, ..] => AddressClass::LinkLocal,
        [100, 64..=127, ..] => AddressClass::CarrierNat,
        [224..=239, ..] => AddressClass::Multicast,
        [192, 0, 0, _] | [192, 88, 99, _] | [198, 18..=19, ..] | [240..=255, ..] => AddressClass::Reserved,
        _ => AddressClass::Global,
    }
}

fn class_v6(ip: Ipv6Addr) -> AddressClass {
    if METADATA_V6.contains(&ip) {
        return AddressClass::Metadata;
    }
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => return AddressClass::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => return AddressClass::Loopback,
        _ => {}
    }
    // Of several carried addresses (Teredo: server and client) the worst one decides.
    let [first, second, isatap] = carried_v4(ip).map(|carried| carried.map(class_v4));
    if let Some(class) = [first, second, isatap].into_iter().flatten().find(|class| !class.is_global()) {
        return class;
    }
    // The prefix of an ISATAP address leads to its network's router, whatever the rest says.
    if first.is_some() {
        return AddressClass::Global;
    }
    match ip.segments() {
        [0xff00..=0xffff, ..] => AddressClass::Multicast,
        [0xfe80..=0xfebf, ..] => AddressClass::LinkLocal,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => AddressClass::Private,
        // Benchmarking; ORCHID and its second version.
        [0x2001, 2, 0, ..] | [0x2001, 0x10..=0x3f, ..] => AddressClass::Reserved,
        [0x2000..=0x3fff, ..] => AddressClass::Global,
        // Not allocated, 64:ff9b:1::/48 (the place of its IPv4 address is the network's own choice),
        // 100::/64 discard, 5f00::/16 segment routing.
        _ => AddressClass::Reserved,
    }
}

/// Where a packet to `ip` may end: there, or at an IPv4 address that it carries (NAT64, 6to4, Teredo, ...).
pub fn ends_at(ip: IpAddr) -> impl Iterator<Item = IpAddr> {
    let carried = match ip {
        IpAddr::V4(_) => [None; 3],
        IpAddr::V6(ip) => carried_v4(ip),
    };
    std::iter::once(ip).chain(carried.into_iter().flatten().map(IpAddr::from))
}

/// The IPv4 addresses at which a packet to `ip` may end, that of ISATAP last; all `None` for plain IPv6.
///
/// Not the prefixes that a network chose for its own NAT64 (RFC 6052): nothing in the address tells.
fn carried_v4(ip: Ipv6Addr) -> [Option<Ipv4Addr>; 3] {
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    // RFC 5214, 6.1: below any prefix.
    let isatap = match ip.segments() {
        [_, _, _, _, 0 | 0x200, 0x5efe, a, b] => v4(a, b),
        _ => None,
    };
    let [first, second] = match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => [None, None],
        // Compatible (RFC 4291, 2.5.5.1), mapped (2.5.5.2), translated (RFC 2765), NAT64 (RFC 6052).
        [0, 0, 0, 0, 0, 0, a, b]
        | [0, 0, 0, 0, 0, 0xffff, a, b]
        | [0, 0, 0, 0, 0xffff, 0, a, b]
        | [0x64, 0xff9b, 0, 0, 0, 0, a, b] => [v4(a, b), None],
        // 6to4 (RFC 3056).
        [0x2002, a, b, ..] => [v4(a, b), None],
        // Teredo (RFC 4380): the client's address is stored inverted.
        [0x2001, 0, a, b, _, _, c, d] => [v4(a, b), v4(!c, !d)],
        _ => [None, None],
    };
    [first, second, isatap]
}
