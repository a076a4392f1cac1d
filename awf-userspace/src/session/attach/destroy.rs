//! Ends a socket of another process (sock_diag(7), `SOCK_DESTROY`): who waits for it gets `ECONNABORTED`. It can be
//! connected again; what keeps it from that is its mark.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::BorrowedFd,
};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, getpeername, getsockname, ipproto, netlink,
    recv, send, socket_with, sockopt,
};

/// `SOCK_DESTROY` (include/uapi/linux/sock_diag.h).
const SOCK_DESTROY: u16 = 21;
/// `struct nlmsghdr`, and behind it `struct inet_diag_req_v2` (include/uapi/linux/inet_diag.h).
const HEADER: usize = 16;
const REQUEST: usize = 56;

/// Ends the TCP or UDP socket, in this network namespace. That it cannot be is no error: a kernel may lack it
/// (`CONFIG_INET_DIAG_DESTROY`), and a socket that was never bound is in no table.
pub(super) fn end(socket: BorrowedFd<'_>) {
    if let Err(e) = try_end(socket) {
        log::debug!("a socket of before goes on until it is used: {e}");
    }
}

fn try_end(socket: BorrowedFd<'_>) -> io::Result<()> {
    let protocol = match sockopt::socket_type(socket)? {
        SocketType::STREAM => ipproto::TCP,
        SocketType::DGRAM => ipproto::UDP,
        _ => return Err(io::ErrorKind::Unsupported.into()),
    };
    if sockopt::socket_protocol(socket)?.is_some_and(|own| own != protocol) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let family = sockopt::socket_domain(socket)?;
    let (own, peer) = (getsockname(socket)?, getpeername(socket).ok().flatten());
    let own = SocketAddr::try_from(own)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    let v6 = family == AddressFamily::INET6;
    let number = if protocol == ipproto::TCP { libc::IPPROTO_TCP } else { libc::IPPROTO_UDP };
    let request = request(v6, number as u8, own, peer, sockopt::socket_cookie(socket)?);
    let diag =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    send(&diag, &request, SendFlags::empty())?;
    let mut answer = [0; 256];
    let (_, length) = recv(&diag, &mut answer, RecvFlags::empty())?;
    understand(&answer[..length.min(answer.len())])
}

fn request(v6: bool, protocol: u8, own: SocketAddr, peer: Option<SocketAddr>, cookie: u64) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER + REQUEST);
    message.extend(((HEADER + REQUEST) as u32).to_ne_bytes());
    message.extend(SOCK_DESTROY.to_ne_bytes());
    message.extend(((libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16).to_ne_bytes());
    message.extend([0; 8]);
    let family = if v6 { libc::AF_INET6 } else { libc::AF_INET };
    message.extend([family as u8, protocol, 0, 0]);
    message.extend(u32::MAX.to_ne_bytes());
    message.extend(own.port().to_be_bytes());
    message.extend(peer.map_or(0, |peer| peer.port()).to_be_bytes());
    message.extend(address(v6, Some(own.ip())));
    message.extend(address(v6, peer.map(|peer| peer.ip())));
    message.extend([0; 4]);
    message.extend((cookie as u32).to_ne_bytes());
    message.extend(((cookie >> 32) as u32).to_ne_bytes());
    message
}

/// Four words; of IPv4 the first.
fn address(v6: bool, ip: Option<IpAddr>) -> [u8; 16] {
    let mut words = [0; 16];
    match ip {
        Some(IpAddr::V4(ip)) if v6 => words = ip.to_ipv6_mapped().octets(),
        Some(IpAddr::V4(ip)) => words[..4].copy_from_slice(&ip.octets()),
        Some(IpAddr::V6(ip)) => words = ip.octets(),
        None => {}
    }
    words
}

/// An acknowledgement is an error of 0.
fn understand(answer: &[u8]) -> io::Result<()> {
    let word = |at: usize| Some(i32::from_ne_bytes(answer.get(at..at + 4)?.try_into().ok()?));
    match word(HEADER) {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(error.wrapping_neg())),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        net::{TcpListener, TcpStream, UdpSocket},
        os::fd::AsFd as _,
    };

    use super::*;

    #[test]
    fn who_waits_for_an_ended_socket_hears_of_it() {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(at).unwrap();
            let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut peer, _) = listener.accept().unwrap();
            try_end(stream.as_fd()).unwrap();
            let heard = stream.read(&mut [0]).unwrap_err();
            assert_eq!(heard.kind(), io::ErrorKind::ConnectionAborted);
            assert!(peer.read(&mut [0]).is_err(), "its peer hears of it too");

            let udp = UdpSocket::bind(at).unwrap();
            udp.connect(listener.local_addr().unwrap()).unwrap();
            try_end(udp.as_fd()).unwrap();
            assert_eq!(udp.recv(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
            assert!(udp.peer_addr().is_err(), "it is connected no more");

            try_end(listener.as_fd()).unwrap();
            assert!(listener.accept().is_err());
        }
    }

    #[test]
    fn another_sockets_cookie_is_no_ones() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let cookie = sockopt::socket_cookie(&listener).unwrap();
        let message = request(false, 6, listener.local_addr().unwrap(), None, cookie + 1);
        assert_eq!(message.len(), HEADER + REQUEST);
        let diag = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::SOCK_DIAG),
        );
        let diag = diag.unwrap();
        send(&diag, &message, SendFlags::empty()).unwrap();
        let mut answer = [0; 256];
        let (_, length) = recv(&diag, &mut answer, RecvFlags::empty()).unwrap();
        assert!(understand(&answer[..length]).is_err());
        assert!(understand(&[]).is_err());
    }
}
