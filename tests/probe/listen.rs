//! Being dialled: a socket that listens, so that the world opens the connection.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use socket2::Socket;

use crate::Vector;
use crate::outcome::{Attempt, Done, Step, Stop};
use crate::target::{self, DEADLINE, Target};

pub(crate) const VECTORS: &[Vector] = &[
    ("listen4", |t| bound(t, (Ipv4Addr::UNSPECIFIED, t.port()).into())),
    ("listen6", |t| bound(t, (Ipv6Addr::UNSPECIFIED, t.port()).into())),
    ("listen_unbound", unbound),
    ("udp_answer", udp_answer),
];

fn bound(t: &Target, at: SocketAddr) -> Attempt {
    let socket = target::tcp_for(&at)?;
    socket.set_reuse_address(true).step("setsockopt SO_REUSEADDR")?;
    if at.is_ipv6() {
        socket.set_only_v6(true).step("setsockopt IPV6_V6ONLY")?;
    }
    socket.bind(&at.into()).step("bind")?;
    serve(t, &socket)
}

/// listen() without bind(): the kernel picks the port, and no bind hook ever fires. The port goes to the world
/// by the file the test names (`report=PATH`).
fn unbound(t: &Target) -> Attempt {
    let report: String = t.need("report")?;
    let socket = target::tcp_for(&t.at4())?;
    socket.listen(8).step("listen")?;
    let port = socket.local_addr().step("getsockname")?.as_socket().map_or(0, |at| at.port());
    std::fs::write(report, port.to_string()).step("write the port")?;
    accept(t, &socket)
}

fn serve(t: &Target, socket: &Socket) -> Attempt {
    socket.listen(8).step("listen")?;
    accept(t, socket)
}

fn accept(t: &Target, socket: &Socket) -> Attempt {
    wait_readable(socket)?;
    let (peer, from) = socket.accept().step("accept")?;
    peer.set_read_timeout(Some(DEADLINE)).step("setsockopt")?;
    target::send_all(&peer, &t.payload())?;
    Ok(Done::Sent(format!("to {:?}, who dialled in", from.as_socket())))
}

/// A bound UDP socket that answers whoever writes to it.
fn udp_answer(t: &Target) -> Attempt {
    let at: SocketAddr = (Ipv4Addr::UNSPECIFIED, t.port()).into();
    let socket = target::udp_for(&at)?;
    socket.bind(&at.into()).step("bind")?;
    wait_readable(&socket)?;
    let mut buffer = [std::mem::MaybeUninit::uninit(); 64];
    let (_, from) = socket.recv_from(&mut buffer).step("recvfrom")?;
    socket.send_to(&t.payload(), &from).step("sendto")?;
    Ok(Done::Sent(format!("in answer to {:?}", from.as_socket())))
}

fn wait_readable(socket: &Socket) -> Attempt<()> {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let deadline = i32::try_from(DEADLINE.as_millis()).expect("seconds");
    // SAFETY: one valid pollfd that outlives the call.
    match unsafe { libc::poll(&raw mut poll, 1, deadline) } {
        1 => Ok(()),
        _ => Err(Stop::Silent("accept")),
    }
}
