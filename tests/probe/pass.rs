//! Sockets made by somebody outside: inherited, passed over unix sockets, or asked of a unix service.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixStream};

use socket2::Socket;

use crate::Vector;
use crate::outcome::{Attempt, Done, Step, Stop, cvt};
use crate::target::{DEADLINE, MARKER, Target};

pub(crate) const VECTORS: &[Vector] =
    &[("inherited", inherited), ("scm_rights", scm_rights), ("unix_service", unix_service)];

/// Uses descriptor `fd=N`, which the test handed down.
fn inherited(t: &Target) -> Attempt {
    let fd: RawFd = t.need("fd")?;
    // SAFETY: F_GETFD only asks.
    cvt(unsafe { libc::fcntl(fd, libc::F_GETFD) }).step("fcntl F_GETFD")?;
    // SAFETY: nobody else in this process uses the descriptor; it is closed when the attempt is over.
    use_foreign(t, unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends to the target by a socket of unknown origin and state: addressed first, then as it is connected.
pub(crate) fn use_foreign(t: &Target, fd: OwnedFd) -> Attempt {
    let socket = Socket::from(fd);
    match socket.send_to(&t.payload(), &t.at4().into()) {
        Ok(_) => Ok(Done::Sent("by a socket made outside".to_owned())),
        Err(_) => {
            socket.send_with_flags(&t.payload(), libc::MSG_NOSIGNAL).step("send")?;
            Ok(Done::Sent("by a connected socket made outside".to_owned()))
        }
    }
}

/// Connects to `path=PATH` or, without a path, to the abstract name `abstract=NAME`.
fn dial(t: &Target) -> Attempt<UnixStream> {
    let stream = match t.extra("path") {
        Some(path) => UnixStream::connect(path).step("connect to a path"),
        None => {
            let name: String = t.need("abstract")?;
            let address = UnixAddr::from_abstract_name(name).step("abstract name")?;
            UnixStream::connect_addr(&address).step("connect to an abstract name")
        }
    }?;
    stream.set_read_timeout(Some(DEADLINE)).step("setsockopt")?;
    Ok(stream)
}

/// Takes a socket from a process outside (unix(7), SCM_RIGHTS).
fn scm_rights(t: &Target) -> Attempt {
    let stream = dial(t)?;
    let (mut byte, mut control) = ([0_u8; 1], [0_u64; 8]);
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // SAFETY: all-zero is a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: every buffer is as long as said and outlives the call.
    cvt(unsafe { libc::recvmsg(stream.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) })
        .step("recvmsg")?;
    // SAFETY: the kernel has filled `control` and set its length; the macro checks it.
    let head = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: not null means a whole header inside `control`.
    if head.is_null() || unsafe { (*head).cmsg_type } != libc::SCM_RIGHTS {
        return Err(Stop::Closed("recvmsg SCM_RIGHTS"));
    }
    // SAFETY: an SCM_RIGHTS message carries at least one descriptor; the data may be unaligned.
    let fd = unsafe { libc::CMSG_DATA(head).cast::<RawFd>().read_unaligned() };
    // SAFETY: received just now, so it is ours alone.
    use_foreign(t, unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Speaks to a service outside in its own words (`say=nscd|varlink|http`): it would resolve, or fetch, for us.
fn unix_service(t: &Target) -> Attempt {
    let mut stream = dial(t)?;
    let name = format!("{MARKER}.denied.test");
    let request = match t.extra("say") {
        Some("nscd") => nscd_request(&name),
        Some("varlink") => {
            let call = serde_json::json!({
                "method": "io.systemd.Resolve.ResolveHostname", "parameters": {"name": name, "flags": 0},
            });
            format!("{call}\0").into_bytes()
        }
        _ => format!("GET /{MARKER} HTTP/1.1\r\nHost: {name}\r\n\r\n").into_bytes(),
    };
    stream.write_all(&request).step("write")?;
    let mut answer = [0_u8; 256];
    match stream.read(&mut answer).step("read")? {
        0 => Err(Stop::Closed("read")),
        count => Ok(Done::Answered(String::from_utf8_lossy(&answer[..count]).into_owned())),
    }
}

/// `request_header` of glibc's nscd (nscd-client.h): version 2, GETHOSTBYNAME, and the key with its NUL.
fn nscd_request(name: &str) -> Vec<u8> {
    let mut request = Vec::new();
    for word in [2_i32, 4, i32::try_from(name.len() + 1).expect("short")] {
        request.extend_from_slice(&word.to_ne_bytes());
    }
    request.extend_from_slice(name.as_bytes());
    request.push(0);
    request
}
