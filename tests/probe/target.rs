//! Whom to reach, with what payload, and the socket helpers all vectors share.

use std::collections::HashMap;
use std::io::{self, Read};
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::outcome::{Attempt, Done, Step, Stop, cvt};

/// Begins every payload; `harness::canary::MARKER` is the same text. A DNS label can hold it.
pub(crate) const MARKER: &str = "awf-probe-marker";
/// What the canary's listeners answer; `harness::canary::ANSWER` is the same text.
const CANARY_ANSWER: &[u8] = b"the canary heard you";
/// Bound of every single wait.
pub(crate) const DEADLINE: Duration = Duration::from_secs(3);

/// The command line, parsed.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) vector: String,
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Ipv6Addr,
    ports: Vec<u16>,
    extra: HashMap<String, String>,
}

impl Target {
    pub(crate) fn parse(words: &[String]) -> Result<Self, String> {
        let [vector, v4, v6, rest @ ..] = words else {
            return Err("too few words".to_owned());
        };
        let mut target = Self {
            vector: vector.clone(),
            v4: v4.parse().map_err(|_| format!("{v4:?} is no IPv4 address"))?,
            v6: v6.parse().map_err(|_| format!("{v6:?} is no IPv6 address"))?,
            ports: Vec::new(),
            extra: HashMap::new(),
        };
        for word in rest {
            match word.split_once('=') {
                Some((key, value)) => {
                    target.extra.insert(key.to_owned(), value.to_owned());
                }
                None => target.ports.push(word.parse().map_err(|_| format!("{word:?} is no port"))?),
            }
        }
        Ok(target)
    }

    /// The port to reach: the first one given, else 443.
    pub(crate) fn port(&self) -> u16 {
        self.ports.first().copied().unwrap_or(443)
    }

    pub(crate) fn at4(&self) -> SocketAddr {
        (self.v4, self.port()).into()
    }

    pub(crate) fn at6(&self) -> SocketAddr {
        (self.v6, self.port()).into()
    }

    /// The IPv4 target in IPv6 spelling.
    pub(crate) fn mapped(&self) -> SocketAddr {
        (self.v4.to_ipv6_mapped(), self.port()).into()
    }

    /// What must never arrive.
    pub(crate) fn payload(&self) -> Vec<u8> {
        format!("{MARKER} {}\n", self.vector).into_bytes()
    }

    pub(crate) fn extra(&self, key: &str) -> Option<&str> {
        self.extra.get(key).map(String::as_str)
    }

    /// Whether this is the network namespace the test forbids (`never=INODE`, the machine's own): an attempt must
    /// only ever be made from a lab.
    pub(crate) fn forbidden_here(&self) -> bool {
        let never = self.extra("never").and_then(|inode| inode.parse::<u64>().ok());
        let here =
            std::fs::metadata("/proc/self/ns/net").map(|meta| std::os::unix::fs::MetadataExt::ino(&meta));
        never.is_some_and(|never| here.is_ok_and(|here| here == never))
    }

    /// A `KEY=VALUE` the test must give for this vector.
    pub(crate) fn need<T: std::str::FromStr>(&self, key: &'static str) -> Attempt<T> {
        self.extra(key)
            .and_then(|value| value.parse().ok())
            .ok_or_else(|| Stop::Impossible(format!("this vector needs {key}=VALUE")))
    }
}

/// A socket with the probe's deadlines. A family, type or protocol the kernel does not know is
/// [`Stop::Impossible`]: from inside, a missing protocol and one that is hidden look alike.
pub(crate) fn open(family: i32, kind: i32, protocol: i32) -> Attempt<Socket> {
    match Socket::new(Domain::from(family), Type::from(kind), Some(Protocol::from(protocol))) {
        Ok(socket) => {
            // Families without timeouts (netlink, alg) are only ever opened.
            let _ = socket.set_read_timeout(Some(DEADLINE));
            let _ = socket.set_write_timeout(Some(DEADLINE));
            Ok(socket)
        }
        Err(error) => match error.raw_os_error() {
            Some(libc::EAFNOSUPPORT | libc::ESOCKTNOSUPPORT | libc::EPROTONOSUPPORT) => {
                Err(Stop::Impossible(format!("socket({family}, {kind}, {protocol}): {error}")))
            }
            _ => Err(Stop::Refused("socket", error)),
        },
    }
}

pub(crate) fn family_of(to: &SocketAddr) -> i32 {
    if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }
}

pub(crate) fn tcp_for(to: &SocketAddr) -> Attempt<Socket> {
    open(family_of(to), libc::SOCK_STREAM, libc::IPPROTO_TCP)
}

pub(crate) fn udp_for(to: &SocketAddr) -> Attempt<Socket> {
    open(family_of(to), libc::SOCK_DGRAM, libc::IPPROTO_UDP)
}

/// Sets one socket option to a plain value.
pub(crate) fn set_option<T: Copy>(fd: RawFd, level: i32, name: i32, value: &[T]) -> io::Result<()> {
    let bytes = libc::socklen_t::try_from(size_of_val(value)).expect("an option is small");
    // SAFETY: `value` is initialised and `bytes` long; the kernel only reads it.
    cvt(unsafe { libc::setsockopt(fd, level, name, value.as_ptr().cast(), bytes) }).map(drop)
}

/// Connects, sends the marker and reads what comes back.
pub(crate) fn stream_to(target: &Target, socket: &Socket, to: SocketAddr) -> Attempt {
    socket.connect(&to.into()).step("connect")?;
    talk(socket, &target.payload())
}

/// Sends bytes on a connected stream, then says who answered.
pub(crate) fn talk(socket: &Socket, bytes: &[u8]) -> Attempt {
    send_all(socket, bytes)?;
    hear(socket)
}

pub(crate) fn send_all(socket: &Socket, mut bytes: &[u8]) -> Attempt<()> {
    while !bytes.is_empty() {
        let sent = socket.send_with_flags(bytes, libc::MSG_NOSIGNAL).step("send")?;
        bytes = &bytes[sent..];
    }
    Ok(())
}

/// Reads up to 2 KiB from a stream until its end; an end without a byte is a refusal.
pub(crate) fn hear(socket: &Socket) -> Attempt {
    let mut heard = Vec::new();
    let mut chunk = [0_u8; 512];
    let mut reader: &Socket = socket;
    while heard.len() < 2048 {
        match reader.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => heard.extend_from_slice(&chunk[..count]),
            Err(error) if heard.is_empty() => return Err(error).step("read"),
            Err(_) => break,
        }
        if contains(&heard, CANARY_ANSWER) {
            return Ok(Done::Reached);
        }
    }
    if heard.is_empty() {
        return Err(Stop::Closed("read"));
    }
    let text: String = String::from_utf8_lossy(&heard).chars().take(400).collect();
    Ok(Done::Answered(text))
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Sends one marked datagram.
pub(crate) fn datagram_to(target: &Target, socket: &Socket, to: SocketAddr) -> Attempt {
    socket.send_to(&target.payload(), &to.into()).step("sendto")?;
    Ok(Done::Sent(format!("sendto {to}")))
}

/// A socket address as the bytes of its `sockaddr_in` or `sockaddr_in6`, to be bent further.
pub(crate) fn sockaddr_bytes(to: SocketAddr) -> Vec<u8> {
    let address = SockAddr::from(to);
    let length = usize::try_from(address.len()).expect("at most 28");
    // SAFETY: `SockAddr` keeps `len()` initialised bytes at `as_ptr()`, and `address` lives until the copy is made.
    unsafe { std::slice::from_raw_parts(address.as_ptr().cast::<u8>(), length) }.to_vec()
}

/// `sendmsg` with a raw address and raw control bytes; an empty slice leaves the field out.
pub(crate) fn send_message(
    fd: BorrowedFd<'_>,
    to: &[u8],
    body: &[u8],
    control: &[u8],
    flags: i32,
) -> io::Result<usize> {
    let mut part = libc::iovec { iov_base: body.as_ptr().cast_mut().cast(), iov_len: body.len() };
    // SAFETY: all-zero is a valid `msghdr`: null pointers with zero lengths.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if !to.is_empty() {
        message.msg_name = to.as_ptr().cast_mut().cast();
        message.msg_namelen = libc::socklen_t::try_from(to.len()).expect("an address is small");
    }
    if !control.is_empty() {
        message.msg_control = control.as_ptr().cast_mut().cast();
        message.msg_controllen = control.len() as _;
    }
    // SAFETY: every pointer in `message` is to a live slice of the length beside it; sendmsg writes to none of them.
    let sent = cvt(unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, flags) })?;
    usize::try_from(sent).map_err(io::Error::other)
}

/// One control message, padded as the kernel wants it (cmsg(3)).
pub(crate) fn control_message(level: i32, kind: i32, body: &[u8]) -> Vec<u8> {
    let head = size_of::<libc::cmsghdr>();
    let mut out = Vec::new();
    out.extend_from_slice(&(head + body.len()).to_ne_bytes());
    out.extend_from_slice(&level.to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(body);
    out.resize(out.len().next_multiple_of(size_of::<usize>()), 0);
    out
}

/// The unspecified address of the same family, port 0.
pub(crate) fn any_like(to: &SocketAddr) -> SocketAddr {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    (any, 0).into()
}
