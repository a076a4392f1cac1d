//! What the kernel programs report through the ring buffer.

use crate::Origin;
use crate::stack::Walk;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum EventKind {
    /// A TCP connection was sent to the proxy.
    Connect = 1,
    /// A connect() or sendmsg() was sent to the DNS stub.
    Dns = 2,
    /// Something was refused; [`Event::refusal`] says why.
    Refused = 3,
    /// A process of the command became another program; an [`Image`] where the kernel let its stack be read.
    Exec = 4,
}

impl EventKind {
    #[must_use]
    pub const fn from_u32(value: u32) -> Option<Self> {
        match value {
            1 => Some(Self::Connect),
            2 => Some(Self::Dns),
            3 => Some(Self::Refused),
            4 => Some(Self::Exec),
            _ => None,
        }
    }
}

/// Why the kernel side refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Refusal {
    None = 0,
    /// connect() of a UDP socket to something other than the resolver; nothing was sent.
    UdpConnect = 1,
    /// A datagram to something other than the resolver.
    UdpSend = 2,
    /// A socket type or protocol other than TCP and UDP.
    Socket = 3,
    /// A packet that is not between the command and its own loopback.
    Packet = 4,
    /// The origin could not be remembered.
    Storage = 5,
    /// connect() to a loopback port of the host.
    HostPort = 6,
    /// A socket bound to a network device other than loopback.
    Device = 7,
    /// A call or a packet of a socket that was made before the firewall, or outside of it.
    OldSocket = 8,
    /// connect() or a datagram in another network namespace to something other than its loopback.
    OtherNetwork = 9,
}

impl Refusal {
    #[must_use]
    pub const fn from_u32(value: u32) -> Option<Self> {
        match value {
            0 => Some(Self::None),
            1 => Some(Self::UdpConnect),
            2 => Some(Self::UdpSend),
            3 => Some(Self::Socket),
            4 => Some(Self::Packet),
            5 => Some(Self::Storage),
            6 => Some(Self::HostPort),
            7 => Some(Self::Device),
            8 => Some(Self::OldSocket),
            9 => Some(Self::OtherNetwork),
            _ => None,
        }
    }
}

/// One record of the ring buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    pub origin: Origin,
    /// `bpf_ktime_get_boot_ns`: a process that started later is another one under the same number.
    pub time: u64,
    /// [`EventKind`]
    pub kind: u32,
    /// [`Refusal`]
    pub refusal: u32,
    /// IP protocol number (`IPPROTO_*`), or the EtherType of a refused packet that is not IP.
    pub protocol: u32,
    /// `SOCK_*`; 0 where it is not known.
    pub socket_type: u32,
}

const _: () = assert!(size_of::<Event>() == 88);

/// The event of a program that begins, and behind it what the kernel put on its stack: the path it was executed by,
/// then its arguments, each ended by 0 unless it was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Image {
    pub event: Event,
    /// Bytes of the path, at most [`Image::PATH`]; 0: not known.
    pub path: u32,
    /// Bytes of the arguments, at most [`Image::ARGS`]; 0: not known.
    pub args: u32,
    /// Bytes that all arguments take.
    pub all_args: u64,
}

impl Image {
    pub const PATH: usize = 256;
    pub const ARGS: usize = 1024;
}

const _: () = assert!(size_of::<Image>() == 104);

/// Where an [`Image`] is put together: too large for a kernel program's stack.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ImageBuffer {
    pub image: Image,
    pub texts: [u8; Image::PATH + Image::ARGS],
    /// Never told of.
    pub walk: Walk,
}

const _: () = assert!(size_of::<ImageBuffer>() == 104 + 1280 + 24);

/// Slots of the per-CPU counter array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Counter {
    /// Events that found the ring buffer full.
    EventsLost = 0,
    /// Packets dropped by the packet programs.
    PacketsDropped = 1,
    /// Sockets refused at creation.
    SocketsRefused = 2,
    /// connect() and sendmsg() calls refused.
    CallsRefused = 3,
    /// Connections refused because no storage was to be had.
    StorageFailed = 4,
}

impl Counter {
    /// How many slots the array has.
    pub const COUNT: usize = 5;
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: `repr(C)`, no padding (size asserted above), every bit pattern is valid.
    unsafe impl aya::Pod for super::Event {}
    // SAFETY: likewise.
    unsafe impl aya::Pod for super::Image {}
}
