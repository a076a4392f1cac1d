//! `lo` of a new network namespace: brought up, and given addresses by which programs see that there is a network.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsRawFd as _,
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, recv, send, socket_with},
};

/// Beside 127.0.0.1 and `::1`. Who asks for the addresses of one family and only of those that this host has itself
/// (`AI_ADDRCONFIG`) gets none from glibc while there are but these two (`__check_pf`, sysdeps/unix/sysv/linux/check_pf.c),
/// and aria2 and lftp look for others, too. The first is loopback all the same; nothing can be sent to or from the
/// second: to the hooks it is an address as any other.
pub const ADDRESSES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)),
    IpAddr::V6(Ipv6Addr::new(0xfd61, 0x7766, 0x6270, 0x6601, 0, 0, 0, 1)),
];

/// `LOOPBACK_IFINDEX` (include/net/flow.h).
const LO: u32 = 1;
/// `struct nlmsghdr`, `struct ifaddrmsg` and one `struct rtattr` with an IPv6 address.
const LONGEST: usize = 16 + 8 + 4 + 16;
/// Where an answer has its errno, negative.
const ERROR: usize = 16;

/// Brings `lo` of this network up, which gives it 127.0.0.1/8 and `::1`.
///
/// # Errors
/// When that is not allowed, or there is no `lo`.
pub fn up() -> Result<(), Errno> {
    let udp = Some(ipproto::UDP);
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, udp)?;
    // A host that turned IPv6 off for new interfaces did not mean the command's private loopback.
    if let Ok(off) = rustix::fs::open(
        c"/proc/sys/net/ipv6/conf/lo/disable_ipv6",
        OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        let _ = rustix::io::write(&off, b"0");
    }
    // SAFETY: ifreq is plain data, for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: SIOCSIFFLAGS reads an ifreq with a NUL-terminated name.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}

/// Gives `lo` of this network [`ADDRESSES`]; the second not where there is no IPv6. Without heap: it is called after a
/// fork.
///
/// # Errors
/// When that is not allowed.
pub fn add_addresses() -> Result<(), Errno> {
    for address in ADDRESSES {
        match add(address) {
            // A kernel without IPv6, or with IPv6 off for good: programs are to see that.
            Err(Errno::OPNOTSUPP | Errno::AFNOSUPPORT | Errno::ACCESS) if address.is_ipv6() => {}
            other => other?,
        }
    }
    Ok(())
}

fn add(address: IpAddr) -> Result<(), Errno> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let (message, length) = message(address);
    // To the kernel, because no address is named.
    send(&socket, &message[..length], SendFlags::empty())?;
    let mut answer = [0; 256];
    let (_, length) = recv(&socket, &mut answer, RecvFlags::empty())?;
    let kind = u16::from_ne_bytes([answer[4], answer[5]]);
    if length < ERROR + 4 || i32::from(kind) != libc::NLMSG_ERROR {
        return Err(Errno::BADMSG);
    }
    let errno = i32::from_ne_bytes([answer[ERROR], answer[ERROR + 1], answer[ERROR + 2], answer[ERROR + 3]]);
    if errno == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(-errno)) }
}

/// `RTM_NEWADDR` (rtnetlink(7)) of the address alone, without a network, and its length.
fn message(address: IpAddr) -> ([u8; LONGEST], usize) {
    let (family, mut octets, size) = match address {
        IpAddr::V4(_) => (libc::AF_INET, [0; 16], 4),
        IpAddr::V6(ip) => (libc::AF_INET6, ip.octets(), 16),
    };
    if let IpAddr::V4(ip) = address {
        octets[..4].copy_from_slice(&ip.octets());
    }
    let (length, mut bytes, mut at) = (16 + 8 + 4 + size, [0; LONGEST], 0);
    let mut put = |part: &[u8]| {
        bytes[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    };
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    put(&(length as u32).to_ne_bytes());
    put(&libc::RTM_NEWADDR.to_ne_bytes());
    put(&(flags as u16).to_ne_bytes());
    put(&[0; 8]);
    put(&[family as u8, 8 * size as u8, 0, libc::RT_SCOPE_HOST]);
    put(&LO.to_ne_bytes());
    put(&((4 + size) as u16).to_ne_bytes());
    put(&libc::IFA_LOCAL.to_ne_bytes());
    put(&octets[..size]);
    (bytes, length)
}
