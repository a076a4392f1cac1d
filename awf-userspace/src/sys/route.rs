//! Asks the kernel's routing tables where packets to an address go (rtnetlink(7), `RTM_GETROUTE`), as `ip route get`
//! does. 15 µs with its socket, and never out of date.

use std::{io, net::IpAddr};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// `struct nlmsghdr` (include/uapi/linux/netlink.h): length, type, flags, sequence, port.
const HEADER: usize = 16;
/// `struct rtmsg` (include/uapi/linux/rtnetlink.h): family, length of the destination in bits, 5 bytes, type, flags.
const ROUTE: usize = 12;
/// Where `rtm_type` stands in an answer, and the error in a refusal.
const TYPE: usize = HEADER + 7;
/// `struct rtattr`: length, type.
const ATTRIBUTE: usize = 4;
/// The one question of a socket.
const SEQUENCE: u32 = 1;

/// Whether packets to `ip` stay on this host, in this network namespace: its own addresses, broadcast and anycast
/// ones among them. An address without a route does not.
///
/// # Errors
///
/// When the kernel cannot be asked, or says something else.
pub fn is_local(ip: IpAddr) -> io::Result<bool> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    // To the kernel, because no address is named.
    send(&socket, &question(ip), SendFlags::empty())?;
    let mut answer = [0; 512];
    let (_, length) = recv(&socket, &mut answer, RecvFlags::empty())?;
    read(&answer[..length.min(answer.len())])
}

fn question(ip: IpAddr) -> Vec<u8> {
    let (family, address) = match ip {
        IpAddr::V4(ip) => (libc::AF_INET, ip.octets().to_vec()),
        IpAddr::V6(ip) => (libc::AF_INET6, ip.octets().to_vec()),
    };
    let length = HEADER + ROUTE + ATTRIBUTE + address.len();
    let mut message = Vec::with_capacity(length);
    message.extend((length as u32).to_ne_bytes());
    message.extend(libc::RTM_GETROUTE.to_ne_bytes());
    message.extend((libc::NLM_F_REQUEST as u16).to_ne_bytes());
    message.extend(SEQUENCE.to_ne_bytes());
    message.extend([0; 4]);
    message.extend([family as u8, (address.len() * 8) as u8]);
    message.extend([0; ROUTE - 2]);
    message.extend(((ATTRIBUTE + address.len()) as u16).to_ne_bytes());
    message.extend(libc::RTA_DST.to_ne_bytes());
    message.extend(address);
    message
}

fn read(answer: &[u8]) -> io::Result<bool> {
    let odd = || io::Error::new(io::ErrorKind::InvalidData, "an answer that is none");
    let word = |at: usize| Some(u32::from_ne_bytes(answer.get(at..at + 4)?.try_into().ok()?));
    let half = |at: usize| Some(u16::from_ne_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    if word(8) != Some(SEQUENCE) {
        return Err(odd());
    }
    match half(4).ok_or_else(odd)? {
        libc::RTM_NEWROUTE => match *answer.get(TYPE).ok_or_else(odd)? {
            libc::RTN_LOCAL | libc::RTN_BROADCAST | libc::RTN_ANYCAST | libc::RTN_MULTICAST => Ok(true),
            _ => Ok(false),
        },
        error if i32::from(error) == libc::NLMSG_ERROR => {
            let errno = (word(HEADER).ok_or_else(odd)? as i32).wrapping_neg();
            match errno {
                // No route, or one that leads nowhere: connect() will say so.
                libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL => Ok(false),
                errno => Err(io::Error::from_raw_os_error(errno)),
            }
        }
        _ => Err(odd()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::ifaddrs;

    #[test]
    fn own_addresses_are_local_and_others_are_not() {
        for ip in ifaddrs::addresses().unwrap() {
            assert!(is_local(ip).unwrap(), "{ip}");
        }
        for text in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(is_local(text.parse::<IpAddr>().unwrap().to_canonical()).unwrap(), "{text}");
        }
        for text in ["203.0.113.9", "2001:db8::9"] {
            assert!(!is_local(text.parse().unwrap()).unwrap(), "{text}");
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        assert!(read(&[]).is_err());
        assert!(read(&[0; 64]).is_err());
        let mut route = [0; HEADER + ROUTE];
        route[4..6].copy_from_slice(&libc::RTM_NEWROUTE.to_ne_bytes());
        assert!(read(&route).is_err(), "the answer to another question");
        route[8..12].copy_from_slice(&SEQUENCE.to_ne_bytes());
        route[TYPE] = libc::RTN_LOCAL;
        assert!(read(&route).unwrap());
        assert!(read(&route[..TYPE]).is_err(), "cut off");
    }
}
