//! Addresses and sockets as the kernel programs keep them: every address in IPv6 form, IPv4 as `::ffff:a.b.c.d`.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The third word of a v4-mapped address, in network byte order.
const MAPPED: u32 = 0x0000_ffff_u32.to_be();

/// An IPv6 or v4-mapped IPv4 address: four words in network byte order, as `bpf_sock_addr` gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Addr(pub [u32; 4]);

impl Addr {
    /// `::1`
    pub const LOOPBACK6: Self = Self([0, 0, 0, 1_u32.to_be()]);
    /// `::ffff:127.0.0.1`
    pub const LOOPBACK4: Self = Self::v4(0x7f00_0001_u32.to_be());

    /// From an IPv4 address in network byte order.
    #[inline(always)]
    #[must_use]
    pub const fn v4(word: u32) -> Self {
        Self([0, 0, MAPPED, word])
    }

    /// The IPv4 address in network byte order, if it is one.
    #[inline(always)]
    #[must_use]
    pub const fn as_v4(&self) -> Option<u32> {
        let [a, b, c, d] = self.0;
        if a == 0 && b == 0 && c == MAPPED { Some(d) } else { None }
    }

    /// 127.0.0.0/8 (mapped or not) or `::1`.
    #[inline(always)]
    #[must_use]
    pub const fn is_loopback(&self) -> bool {
        match self.as_v4() {
            Some(word) => is_loopback4(word),
            None => self.is_loopback6(),
        }
    }

    /// `0.0.0.0` (mapped or not) or `::`, which connect() takes for the loopback address.
    #[inline(always)]
    #[must_use]
    pub const fn is_unspecified(&self) -> bool {
        let [a, b, c, d] = self.0;
        a == 0 && b == 0 && (c == 0 || c == MAPPED) && d == 0
    }

    /// Where host services are looked for: `127.0.0.1`, `::1`, and what connect() takes for them. Not the rest of
    /// 127.0.0.0/8, where resolvers and the like hide.
    #[inline(always)]
    #[must_use]
    pub const fn is_localhost(&self) -> bool {
        let [a, b, c, d] = self.0;
        // Each family in one comparison: the verifier walks every branch.
        let v6 = a | b | c | (d & !Self::LOOPBACK6.0[3]);
        let other_v4 = d as u64 * (d ^ Self::LOOPBACK4.0[3]) as u64;
        v6 == 0 || (a | b | (c ^ MAPPED)) as u64 | other_v4 == 0
    }

    #[inline(always)]
    pub(crate) const fn is_loopback6(&self) -> bool {
        let [a, b, c, d] = self.0;
        a == 0 && b == 0 && c == 0 && d == Self::LOOPBACK6.0[3]
    }
}

/// Whether an IPv4 address in network byte order is in 127.0.0.0/8.
#[inline(always)]
#[must_use]
pub const fn is_loopback4(word: u32) -> bool {
    word & 0xff00_0000_u32.to_be() == 0x7f00_0000_u32.to_be()
}

impl From<IpAddr> for Addr {
    fn from(ip: IpAddr) -> Self {
        let octets = match ip {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(octets.chunks_exact(4)) {
            *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        Self(words)
    }
}

impl From<Addr> for IpAddr {
    /// v4-mapped addresses come back as IPv4.
    fn from(addr: Addr) -> Self {
        if let Some(word) = addr.as_v4() {
            return Self::V4(Ipv4Addr::from(word.to_ne_bytes()));
        }
        let mut octets = [0; 16];
        for (bytes, word) in octets.chunks_exact_mut(4).zip(addr.0) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        Self::V6(Ipv6Addr::from(octets))
    }
}

/// What a socket of the command asked for, and who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Origin {
    /// The address the command named.
    pub addr: Addr,
    /// Host byte order.
    pub port: u16,
    /// 4 or 6: of the socket, so a v4-mapped destination on an IPv6 socket is 6.
    pub family: u16,
    /// The process (thread group), as seen from the initial pid namespace.
    pub tgid: u32,
    /// `bpf_get_socket_cookie`.
    pub cookie: u64,
    /// `bpf_get_netns_cookie`; 0 where the hook cannot know it.
    pub netns: u64,
    pub uid: u32,
    pub reserved: u32,
    /// See [`Origin::comm`]. Words, because the verifier walks a copy of bytes byte by byte.
    pub comm: [u64; 2],
}

impl Origin {
    /// The `TASK_COMM_LEN` bytes of the process's name, NUL padded.
    #[must_use]
    pub fn comm(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        for (to, word) in bytes.chunks_exact_mut(8).zip(self.comm) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    /// The destination as the command wrote it, v4-mapped addresses as IPv4.
    #[must_use]
    pub fn socket_addr(&self) -> SocketAddr {
        SocketAddr::new(self.addr.into(), self.port)
    }
}

/// Names one end of a TCP connection on loopback, the same from both sides: what the connecting socket calls
/// its local end, the accepted one calls its remote end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SockKey {
    /// `bpf_get_netns_cookie`: ports are only unique within a network namespace.
    pub netns: u64,
    pub addr: Addr,
    /// Host byte order.
    pub port: u32,
    pub reserved: u32,
}

const _: () = assert!(size_of::<Addr>() == 16);
const _: () = assert!(size_of::<Origin>() == 64);
const _: () = assert!(size_of::<SockKey>() == 32);

#[cfg(feature = "user")]
mod pod {
    // SAFETY: `repr(C)`, no padding (sizes asserted above), every bit pattern is valid.
    unsafe impl aya::Pod for super::Origin {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::SockKey {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Addr {
        Addr::from(text.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn loopback_is_all_of_127_and_one_of_v6() {
        for text in ["127.0.0.1", "127.255.0.9", "::ffff:127.0.0.1", "::1"] {
            assert!(addr(text).is_loopback(), "{text}");
        }
        for text in ["126.0.0.1", "128.0.0.1", "::", "::2", "1::1", "::127.0.0.1", "0.0.0.0"] {
            assert!(!addr(text).is_loopback(), "{text}");
        }
    }

    #[test]
    fn localhost_is_one_address_a_family() {
        for text in ["127.0.0.1", "::ffff:127.0.0.1", "::1", "0.0.0.0", "::ffff:0.0.0.0", "::"] {
            assert!(addr(text).is_localhost(), "{text}");
        }
        for text in ["127.0.0.2", "127.0.0.53", "::2", "198.51.100.1", "::127.0.0.1"] {
            assert!(!addr(text).is_localhost(), "{text}");
        }
    }

    #[test]
    fn unspecified_is_both_families() {
        for text in ["0.0.0.0", "::", "::ffff:0.0.0.0"] {
            assert!(addr(text).is_unspecified(), "{text}");
        }
        for text in ["0.0.0.1", "::1", "::1:0:0"] {
            assert!(!addr(text).is_unspecified(), "{text}");
        }
    }

    #[test]
    fn addresses_survive_the_round_trip() {
        for text in ["203.0.113.9", "2001:db8::42", "::1", "0.0.0.0", "::"] {
            assert_eq!(IpAddr::from(addr(text)).to_string(), text);
        }
        assert_eq!(IpAddr::from(addr("::ffff:203.0.113.9")).to_string(), "203.0.113.9");
    }
}
