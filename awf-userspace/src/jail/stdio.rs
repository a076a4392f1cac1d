//! Standard streams that would walk around the firewall.
//!
//! A socket belongs to the cgroup in which it was created: an inherited network socket passes every hook. A unix
//! socket is allowed, because Node, sshd and many supervisors use socket pairs as pipes; its other end could pass
//! a network socket in (SCM_RIGHTS), but whoever holds that end started awf-bpf and can reach the network anyway.
//!
//! A directory leads to every file of the machine, whatever root the command has (CVE-2024-21626), and so may what
//! was opened by O_PATH.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, OFlags};
use rustix::net::AddressFamily;
use rustix::process::Uid;

use super::error::JailError;
use super::identity::Identity;

/// Refuses descriptors 0 to 2 that are sockets of any family but unix, directories, or mere places (O_PATH).
pub(super) fn check() -> Result<(), JailError> {
    check_stream("stdin", rustix::stdio::stdin())?;
    check_stream("stdout", rustix::stdio::stdout())?;
    check_stream("stderr", rustix::stdio::stderr())
}

/// Gives pipes of root's to CMD's user: `/dev/stdout` and its kin are opened anew, as their owner alone may (a shell's
/// `> /dev/stderr`). Pipes only: other files are somebody's, and stay as they are. Needs root.
pub(super) fn hand_over(identity: &Identity) -> Result<(), JailError> {
    let streams = [
        ("stdin", rustix::stdio::stdin()),
        ("stdout", rustix::stdio::stdout()),
        ("stderr", rustix::stdio::stderr()),
    ];
    streams.into_iter().try_for_each(|(stream, fd)| {
        give(fd, identity.uid).map_err(|source| JailError::Stdio { stream, source })
    })
}

fn give(fd: BorrowedFd<'_>, uid: u32) -> io::Result<()> {
    /// `PIPEFS_MAGIC` of `linux/magic.h`: a pipe without a name.
    const PIPEFS_MAGIC: i64 = 0x5049_5045;
    let is_pipe = rustix::fs::fstatfs(fd)?.f_type == PIPEFS_MAGIC;
    if is_pipe && rustix::fs::fstat(fd)?.st_uid == 0 {
        rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), None)?;
    }
    Ok(())
}

fn check_stream(stream: &'static str, fd: BorrowedFd<'_>) -> Result<(), JailError> {
    let examine = |source| JailError::Stdio { stream, source };
    if is_place(fd).map_err(examine)? {
        return Err(JailError::StdioPlace { stream });
    }
    match socket_family(fd).map_err(examine)? {
        None | Some(AddressFamily::UNIX) => Ok(()),
        Some(family) => Err(JailError::StdioSocket { stream, family: family.as_raw() }),
    }
}

fn is_place(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let by_path = rustix::fs::fcntl_getfl(fd)?.contains(OFlags::PATH);
    Ok(by_path || FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) == FileType::Directory)
}

fn socket_family(fd: BorrowedFd<'_>) -> io::Result<Option<AddressFamily>> {
    let stat = rustix::fs::fstat(fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Ok(None);
    }
    Ok(Some(rustix::net::sockopt::socket_domain(fd)?))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn pipes_and_socket_pairs_pass() {
        let (reader, _writer) = io::pipe().unwrap();
        let (left, _right) = std::os::unix::net::UnixStream::pair().unwrap();
        check_stream("stdin", reader.as_fd()).unwrap();
        check_stream("stdin", left.as_fd()).unwrap();
    }

    #[test]
    fn only_pipes_without_a_name_are_given() {
        use std::os::unix::fs::MetadataExt as _;
        let owner = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).unwrap().st_uid;
        let (reader, writer) = io::pipe().unwrap();
        give(reader.as_fd(), 4242).unwrap();
        let us = rustix::process::geteuid();
        assert_eq!(owner(writer.as_fd()), if us.is_root() { 4242 } else { us.as_raw() });
        give(reader.as_fd(), 4343).unwrap();
        assert_ne!(owner(reader.as_fd()), 4343, "not from one user to another");
        let memfd = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let file = std::fs::File::from(memfd);
        let null = std::fs::File::open("/dev/null").unwrap();
        for file in [&file, &null] {
            let before = file.metadata().unwrap().uid();
            give(file.as_fd(), 4242).unwrap();
            assert_eq!(file.metadata().unwrap().uid(), before);
        }
    }

    #[test]
    fn places_do_not() {
        use rustix::fs::{Mode, open};
        for (path, flags) in [("/", OFlags::RDONLY), ("/", OFlags::PATH), ("/etc/passwd", OFlags::PATH)] {
            let fd = open(path, flags, Mode::empty()).unwrap();
            assert!(matches!(check_stream("stdin", fd.as_fd()), Err(JailError::StdioPlace { .. })), "{path}");
        }
        check_stream("stdin", std::fs::File::open("/etc/passwd").unwrap().as_fd()).unwrap();
    }

    #[test]
    fn network_sockets_do_not() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let tcp = std::net::TcpListener::bind(address).unwrap();
            let udp = std::net::UdpSocket::bind(address).unwrap();
            for fd in [tcp.as_fd(), udp.as_fd()] {
                assert!(
                    matches!(check_stream("stdout", fd), Err(JailError::StdioSocket { .. })),
                    "{address}"
                );
            }
        }
    }
}
