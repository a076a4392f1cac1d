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
}

const _: () = assert!(size_of::<Globals>() == 8);

#[cfg(feature = "user")]
mod pod {
    // SAFETY: `repr(C)`, no padding (size asserted above), every bit pattern is valid.
    unsafe impl aya::Pod for super::Globals {}
}
