//! The names of the lab and their addresses: the zone of its DNS server and the list of its listeners.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The lab's machine: where awf-bpf runs.
pub const MACHINE_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub const MACHINE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
/// The world's end of the cable; the machine's default gateway.
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 254);
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0xfe);
/// The lab's DNS server.
pub const DNS_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 53);
pub const DNS_V6: Ipv6Addr = world6(0x53);
/// Named by nobody, accepted by the world like every address: for a canary.
pub const CANARY_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);
pub const CANARY_V6: Ipv6Addr = world6(0x66);
/// Reserved for IPv6 packets that vanish (RFC 8305 races against it).
pub const BLACK_HOLE_V6: Ipv6Addr = world6(0xb1ac);

/// One name and its addresses.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    pub name: &'static str,
    pub v4: Option<Ipv4Addr>,
    pub v6: Option<Ipv6Addr>,
    /// Whether the lab's origins listen on these addresses.
    pub served: bool,
}

impl Host {
    pub fn addrs(&self) -> impl Iterator<Item = IpAddr> {
        self.v6.map(IpAddr::from).into_iter().chain(self.v4.map(IpAddr::from))
    }
}

/// Every name that has addresses; all others under `test.` do not exist.
pub const HOSTS: &[Host] = &[
    both("allowed.test", 10),
    both("sub.allowed.test", 11),
    both("denied.test", 20),
    both("sub.denied.test", 21),
    both("other.test", 30),
    Host { name: "v4only.test", v4: Some(world4(40)), v6: None, served: true },
    Host { name: "v6only.test", v4: None, v6: Some(world6(0x41)), served: true },
    both("dual.test", 42),
    // What a NAT64 would lead to 203.0.113.44 (RFC 6052); here the world has it.
    Host {
        name: "nat64.test",
        v4: None,
        v6: Some(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0xcb00, 0x712c)),
        served: true,
    },
    // IPv6 refuses, IPv4 answers.
    Host { name: "refused6.test", v4: Some(world4(43)), v6: Some(world6(0xdead)), served: false },
    // IPv6 is silent, IPv4 answers.
    Host { name: "silent6.test", v4: Some(world4(43)), v6: Some(BLACK_HOLE_V6), served: false },
    both("fallback.test", 43),
    both("pypi.test", 50),
    both("npm.test", 51),
    both("git.test", 52),
    // Also a forward proxy, where a test starts one.
    both("proxy.test", 60),
    // What a hostile or careless zone may answer for a public name.
    Host { name: "private.test", v4: Some(Ipv4Addr::new(10, 0, 0, 1)), v6: None, served: true },
    Host { name: "metadata.test", v4: Some(Ipv4Addr::new(169, 254, 169, 254)), v6: None, served: true },
    unserved("loopback.test", Ipv4Addr::LOCALHOST),
    unserved("machine.test", MACHINE_V4),
];

/// Aliases: (name, canonical name).
pub const ALIASES: &[(&str, &str)] =
    &[("alias.test", "allowed.test"), ("alias-denied.test", "denied.test"), (LONG_NAME, "allowed.test")];

/// Longer than a commonName may be (RFC 5280 appendix A).
pub const LONG_NAME: &str = "a-name-whose-length-is-more-than-what-fits-into-a-common-name.of.allowed.test";

/// Names that only the forward proxy resolves: (name, whose addresses it has).
pub const BEHIND_PROXY: &[(&str, &str)] = &[("inner.test", "other.test")];

/// A name the DNS server takes the query of and never answers.
pub const SILENT_NAME: &str = "silent.test";

/// The entry of `name`.
///
/// # Panics
/// If the lab has no such name.
#[must_use]
pub fn host(name: &str) -> Host {
    *HOSTS.iter().find(|host| host.name == name).unwrap_or_else(|| panic!("the lab has no host {name}"))
}

/// The IPv4 address of `name`.
///
/// # Panics
/// If the lab has no such name, or it has no IPv4 address.
#[must_use]
pub fn v4(name: &str) -> Ipv4Addr {
    host(name).v4.unwrap_or_else(|| panic!("{name} has no IPv4 address"))
}

/// The IPv6 address of `name`.
///
/// # Panics
/// If the lab has no such name, or it has no IPv6 address.
#[must_use]
pub fn v6(name: &str) -> Ipv6Addr {
    host(name).v6.unwrap_or_else(|| panic!("{name} has no IPv6 address"))
}

const fn world4(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, last)
}

const fn world6(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, last)
}

/// Both families, with the same digits at the end: 203.0.113.42 and 2001:db8:2::42.
const fn both(name: &'static str, last: u8) -> Host {
    let digits = ((last as u16 / 10) << 4) | (last as u16 % 10);
    Host { name, v4: Some(world4(last)), v6: Some(world6(digits)), served: true }
}

const fn unserved(name: &'static str, v4: Ipv4Addr) -> Host {
    Host { name, v4: Some(v4), v6: None, served: false }
}
