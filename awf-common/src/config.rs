//! What the loader writes into the programs' `.rodata` before they are loaded.

/// Constants of one run; the verifier removes the branches they rule out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Globals {
    /// Where the proxy listens, on 127.0.0.1 and `::1`; host byte order.
    pub proxy_port: u16,
    /// Where the DNS stub listens, UDP and TCP, on 127.0.0.1 and `::1`; host byte order.
    pub dns_port: u16,
    /// 1 when the command lives in the host's network namespace: loopback is then not its own.
    pub shared_netns: u8,
    pub reserved: [u8; 3],
    /// `SO_NETNS_COOKIE` of the host's network namespace, where it is shared; 0 otherwise.
    pub netns: u64,
}

const _: () = assert!(size_of::<Globals>() == 16);

/// A set of port numbers, a bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PortSet(pub [u64; 1024]);

impl PortSet {
    pub const EMPTY: Self = Self([0; 1024]);

    /// The word of `port` in the set.
    #[inline(always)]
    #[must_use]
    pub const fn word(port: u16) -> usize {
        (port >> 6) as usize
    }

    /// The bit of `port` in its word.
    #[inline(always)]
    #[must_use]
    pub const fn bit(port: u16) -> u64 {
        1 << (port & 63)
    }

    pub fn insert(&mut self, port: u16) {
        self.0[Self::word(port)] |= Self::bit(port);
    }

    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        self.0[Self::word(port)] & Self::bit(port) != 0
    }
}

const _: () = assert!(size_of::<PortSet>() == 8192);

#[cfg(test)]
mod tests {
    use super::PortSet;

    #[test]
    fn a_port_is_one_bit() {
        for port in [0, 1, 63, 64, 6379, 65535] {
            let mut set = PortSet::EMPTY;
            set.insert(port);
            let held = (0..=u16::MAX).filter(|other| set.contains(*other));
            assert!(held.eq([port]), "{port}");
        }
    }
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: `repr(C)`, one array of integers, every bit pattern is valid.
    unsafe impl aya::Pod for super::PortSet {}
    // SAFETY: `repr(C)`, no padding (size asserted above), every bit pattern is valid.
    unsafe impl aya::Pod for super::Globals {}
}
