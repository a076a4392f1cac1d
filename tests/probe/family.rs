//! Address families and transports that no inet hook sees, or that only their creation shows.

use std::ffi::CStr;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use crate::Vector;
use crate::outcome::{Attempt, Done, Step, Stop, cvt};
use crate::target::{self, Target, open, send_message, sockaddr_bytes};

const IPPROTO_SMC: i32 = 256;
const AF_SMC: i32 = 43;
const SOCK_DCCP: i32 = 6;
const IPPROTO_DCCP: i32 = 33;

pub(crate) const VECTORS: &[Vector] = &[
    ("sctp_stream", |t| sctp(t, libc::SOCK_STREAM, t.at4())),
    ("sctp_seqpacket", |t| sctp(t, libc::SOCK_SEQPACKET, t.at6())),
    ("dccp", |t| target::stream_to(t, &open(libc::AF_INET, SOCK_DCCP, IPPROTO_DCCP)?, t.at4())),
    ("smc_family", |t| target::stream_to(t, &open(AF_SMC, libc::SOCK_STREAM, 0)?, t.at4())),
    ("smc_protocol", |t| {
        target::stream_to(t, &open(libc::AF_INET, libc::SOCK_STREAM, IPPROTO_SMC)?, t.at4())
    }),
    ("vsock", vsock),
    ("alg", |_| created("AF_ALG", libc::AF_ALG, libc::SOCK_SEQPACKET, 0)),
    ("can", |_| created("AF_CAN", libc::AF_CAN, libc::SOCK_RAW, 1)),
    ("tipc", |_| created("AF_TIPC", libc::AF_TIPC, libc::SOCK_RDM, 0)),
    ("rxrpc", |_| created("AF_RXRPC", 33, libc::SOCK_DGRAM, libc::AF_INET)),
    ("xdp", |_| created("AF_XDP", libc::AF_XDP, libc::SOCK_RAW, 0)),
    ("netlink", netlink),
    ("families", families),
    ("inet_types", inet_types),
];

fn created(name: &str, family: i32, kind: i32, protocol: i32) -> Attempt {
    open(family, kind, protocol).map(|_| Done::Opened(name.to_owned()))
}

fn sctp(t: &Target, kind: i32, to: SocketAddr) -> Attempt {
    let socket = open(target::family_of(&to), kind, libc::IPPROTO_SCTP)?;
    if kind == libc::SOCK_STREAM {
        return target::stream_to(t, &socket, to);
    }
    send_message(socket.as_fd(), &sockaddr_bytes(to), &t.payload(), &[], 0).step("sendmsg")?;
    Ok(Done::Sent("an implicit association".to_owned()))
}

/// Opens AF_VSOCK, and dials only over the loopback transport. A dial to any other CID leaves the machine for its
/// hypervisor, which is nobody's canary; and without that transport the kernel sends CID 1 the same way
/// (`vsock_assign_transport`, net/vmw_vsock/af_vsock.c). Binding to CID 1 tells whether it is there.
fn vsock(t: &Target) -> Attempt {
    let socket = open(libc::AF_VSOCK, libc::SOCK_STREAM, 0)?;
    let address = vsock_address(libc::VMADDR_CID_LOCAL, libc::VMADDR_PORT_ANY);
    let length = libc::socklen_t::try_from(address.len()).expect("16");
    // SAFETY: `address` is `length` long and outlives the call.
    if cvt(unsafe { libc::bind(socket.as_raw_fd(), address.as_ptr().cast(), length) }).is_err() {
        return Ok(Done::Opened("AF_VSOCK; no loopback transport, so nothing was dialled".to_owned()));
    }
    let to = vsock_address(libc::VMADDR_CID_LOCAL, u32::from(t.port()));
    // SAFETY: as above.
    match cvt(unsafe { libc::connect(socket.as_raw_fd(), to.as_ptr().cast(), length) }) {
        // The transport carried the question, and answered that nobody listens.
        Err(e) if e.raw_os_error() == Some(libc::ECONNRESET) => {
            return Ok(Done::Opened("AF_VSOCK; the loopback transport answers".to_owned()));
        }
        connected => connected.step("connect CID 1")?,
    };
    target::talk(&socket, &t.payload())
}

/// `sockaddr_vm` (vsock(7)).
fn vsock_address(cid: u32, port: u32) -> [u8; 16] {
    let mut out = [0_u8; 16];
    out[..2].copy_from_slice(&(libc::AF_VSOCK as u16).to_ne_bytes());
    out[4..8].copy_from_slice(&port.to_ne_bytes());
    out[8..12].copy_from_slice(&cid.to_ne_bytes());
    out
}

/// Every netlink protocol but the routing one, which the C library needs.
fn netlink(_: &Target) -> Attempt {
    let opened: Vec<i32> =
        (1..=22).filter(|protocol| open(libc::AF_NETLINK, libc::SOCK_RAW, *protocol).is_ok()).collect();
    if opened.is_empty() {
        return Err(Stop::Refused("socket AF_NETLINK", std::io::Error::from_raw_os_error(libc::EACCES)));
    }
    Ok(Done::Opened(format!("netlink protocols {opened:?}")))
}

/// Every family there is, but the four a command may have.
fn families(_: &Target) -> Attempt {
    let spared = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    let kinds = [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_SEQPACKET, libc::SOCK_RDM];
    let opened: Vec<(i32, i32)> = (1..=46)
        .filter(|family| !spared.contains(family))
        .flat_map(|family| kinds.map(|kind| (family, kind)))
        .filter(|(family, kind)| open(*family, *kind, 0).is_ok())
        .collect();
    if opened.is_empty() {
        return Err(Stop::Refused("socket", std::io::Error::from_raw_os_error(libc::EAFNOSUPPORT)));
    }
    Ok(Done::Opened(format!("(family, type) {opened:?}")))
}

/// Every type and protocol of the internet families, but plain TCP and UDP.
fn inet_types(_: &Target) -> Attempt {
    let mut opened = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        for kind in [1, 2, 3, 4, 5, 6, 10] {
            for protocol in (0..=262).filter(|protocol| !is_plain(kind, *protocol)) {
                if open(family, kind, protocol).is_ok() {
                    opened.push((family, kind, protocol));
                }
            }
        }
    }
    if opened.is_empty() {
        return Err(Stop::Refused("socket", std::io::Error::from_raw_os_error(libc::EPROTONOSUPPORT)));
    }
    Ok(Done::Opened(format!("(family, type, protocol) {opened:?}")))
}

fn is_plain(kind: i32, protocol: i32) -> bool {
    matches!(
        (kind, protocol),
        (libc::SOCK_STREAM, 0 | libc::IPPROTO_TCP) | (libc::SOCK_DGRAM, 0 | libc::IPPROTO_UDP)
    )
}

/// The interfaces of this network namespace: all but loopback, or loopback when it is alone.
pub(crate) fn interfaces() -> Vec<String> {
    // SAFETY: no arguments; the list is freed below.
    let list = unsafe { libc::if_nameindex() };
    if list.is_null() {
        return vec!["lo".to_owned()];
    }
    let mut names = Vec::new();
    let mut entry = list;
    // SAFETY: the array ends with an entry whose name is null, and each name before it is a C string.
    unsafe {
        while !(*entry).if_name.is_null() {
            names.push(CStr::from_ptr((*entry).if_name).to_string_lossy().into_owned());
            entry = entry.add(1);
        }
        libc::if_freenameindex(list);
    }
    names.sort_by_key(|name| name == "lo");
    if names.len() > 1 {
        names.retain(|name| name != "lo");
    }
    names
}
