//! Sockets that the processes had before. They belong to the cgroup that they were made in, and no program of the run's
//! sees them: each is taken hold of by descriptor and marked, which the guards on the root of all cgroups go by; and is
//! ended by the kernel where that can be, so that who waits for it hears of it at once.

use std::{
    collections::HashSet,
    fs,
    net::SocketAddr,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
    thread,
};

use rustix::{
    net::{AddressFamily, SocketType, getpeername, getsockname, ipproto, sockopt},
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};

use super::{AttachError, OldSocket, OldSockets, destroy, procs::Stat};
use crate::{bpf::Births, cgroup};

/// New ones are born behind the firewall, and known: each round finds what an accept() or a message between processes
/// brought meanwhile.
const ROUNDS: usize = 100;

/// Cuts, or keeps, every socket that the processes in `agent` had before.
///
/// # Errors
///
/// Names those that cannot be cut, where they must be.
pub(super) fn settle(
    agent: &Path,
    births: &mut Births,
    how: OldSockets,
) -> Result<Vec<OldSocket>, AttachError> {
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    for round in 0..ROUNDS {
        let before = found.len();
        let mut under_way = Vec::new();
        for pid in cgroup::members(agent, true)? {
            look(pid, births, how, &mut seen, &mut found)?;
            under_way.extend(under_way_to(pid));
        }
        // Who wants its message takes it meanwhile; what lies there for long lies there to be taken out later.
        if round + 1 < ROUNDS && !under_way.is_empty() {
            thread::yield_now();
            continue;
        }
        if found.len() == before {
            found.extend(under_way);
            let left: Vec<_> = found.iter().filter(|socket: &&OldSocket| !socket.cut).cloned().collect();
            if how == OldSockets::Cut && !left.is_empty() {
                return Err(AttachError::OldSockets(left));
            }
            return Ok(found);
        }
    }
    Err(AttachError::Restless(agent.display().to_string()))
}

/// Looks at every descriptor of a process, in the table of each of its threads.
fn look(
    pid: u32,
    births: &mut Births,
    how: OldSockets,
    seen: &mut HashSet<String>,
    found: &mut Vec<OldSocket>,
) -> Result<(), AttachError> {
    let open = || pidfd_open(Pid::from_raw(pid.cast_signed())?, PidfdFlags::empty()).ok();
    // Of a process that is gone nothing is left.
    let Some(pidfd) = open() else { return Ok(()) };
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    for task in tasks {
        for entry in fs::read_dir(task.path().join("fd")).into_iter().flatten().flatten() {
            let Ok(target) = fs::read_link(entry.path()) else { continue };
            let target = target.to_string_lossy().into_owned();
            let number: Option<i32> = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(number) = number.filter(|_| target.starts_with("socket:[")) {
                if seen.contains(&target) {
                    continue;
                }
                let one = held(&pidfd, number, &target).map(|socket| (socket, pid));
                take(one, pid, &target, births, how, seen, found)?;
            } else if target == "anon_inode:[io_uring]"
                && registers_files(&task.path(), &entry.file_name())
                && seen.insert(format!("{pid} io_uring"))
            {
                found.push(described(pid, "io_uring", "registered files", false));
            }
        }
    }
    Ok(())
}

/// The unix sockets of a process with descriptors in messages that it has not read: nobody can look at those.
fn under_way_to(pid: u32) -> Vec<OldSocket> {
    let waits = |info: &Path| {
        let text = fs::read_to_string(info).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("scm_fds:"));
        count.is_some_and(|count| count.trim() != "0")
    };
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let infos =
        tasks.flat_map(|task| fs::read_dir(task.path().join("fdinfo")).into_iter().flatten().flatten());
    let found = infos.into_iter().filter(|info| waits(&info.path()));
    found.map(|_| described(pid, "unix", "descriptors in unread messages", false)).collect()
}

/// The socket behind a descriptor of another process; `None` if that is something else by now, or in the table of a
/// thread alone, which cannot be taken from.
fn held(pidfd: &OwnedFd, number: i32, target: &str) -> Option<OwnedFd> {
    use std::os::fd::AsRawFd as _;
    let socket = pidfd_getfd(pidfd, number, PidfdGetfdFlags::empty()).ok()?;
    let ours = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).ok()?;
    (ours.to_string_lossy() == target).then_some(socket)
}

fn take(
    one: Option<(OwnedFd, u32)>,
    pid: u32,
    target: &str,
    births: &mut Births,
    how: OldSockets,
    seen: &mut HashSet<String>,
    found: &mut Vec<OldSocket>,
) -> Result<(), AttachError> {
    let Some((socket, pid)) = one else {
        // Closed meanwhile, or out of reach: only the latter is still there.
        if still_there(pid, target) && seen.insert(target.to_owned()) {
            found.push(described(pid, "socket", target, false));
        }
        return Ok(());
    };
    seen.insert(target.to_owned());
    let domain = sockopt::socket_domain(&socket).ok();
    match domain {
        Some(AddressFamily::UNIX | AddressFamily::NETLINK) => Ok(()),
        Some(AddressFamily::INET | AddressFamily::INET6) => {
            if births.knows(socket.as_fd())? {
                return Ok(());
            }
            let cut = how == OldSockets::Cut;
            let (protocol, address) = (protocol(socket.as_fd()), address(socket.as_fd()));
            if cut {
                // First, so that its peer hears of it; and again, because until it was marked it could be used again.
                destroy::end(socket.as_fd());
                births.cut(socket.as_fd())?;
                destroy::end(socket.as_fd());
            } else {
                births.keep(socket.as_fd())?;
            }
            found.push(described(pid, protocol, &address, cut));
            Ok(())
        }
        other => {
            let family = other.map_or_else(|| "?".to_owned(), |family| family.as_raw().to_string());
            found.push(described(pid, "other", &format!("family {family}"), false));
            Ok(())
        }
    }
}

fn still_there(pid: u32, target: &str) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let fds = tasks.flat_map(|task| fs::read_dir(task.path().join("fd")).into_iter().flatten().flatten());
    fds.into_iter().any(|fd| fs::read_link(fd.path()).is_ok_and(|link| link.to_string_lossy() == target))
}

/// Whether an io_uring holds files that are in no table (io_uring_register(2)): nobody can look at them.
fn registers_files(task: &Path, number: &std::ffi::OsStr) -> bool {
    let text = fs::read_to_string(task.join("fdinfo").join(number)).unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("UserFiles:"));
    count.and_then(|count| count.trim().parse::<u32>().ok()).is_none_or(|count| count > 0)
}

fn described(pid: u32, protocol: &str, address: &str, cut: bool) -> OldSocket {
    let comm = Stat::read(pid).map(|stat| stat.comm).unwrap_or_default();
    OldSocket { pid, comm, protocol: protocol.to_owned(), address: address.to_owned(), cut }
}

fn protocol(socket: BorrowedFd<'_>) -> &'static str {
    let number = sockopt::socket_protocol(socket).ok().flatten();
    match (sockopt::socket_type(socket).ok(), number) {
        (Some(SocketType::STREAM), Some(ipproto::TCP) | None) => "tcp",
        (Some(SocketType::DGRAM), Some(ipproto::UDP) | None) => "udp",
        (Some(SocketType::RAW), _) => "raw",
        (Some(SocketType::DGRAM), Some(ipproto::ICMP | ipproto::ICMPV6)) => "icmp",
        _ => "other",
    }
}

/// Its peer, else where it is bound.
fn address(socket: BorrowedFd<'_>) -> String {
    let peer = getpeername(socket).ok().flatten().and_then(|at| SocketAddr::try_from(at).ok());
    let own = || getsockname(socket).ok().and_then(|at| SocketAddr::try_from(at).ok());
    match (peer, own()) {
        (Some(peer), _) => peer.to_string(),
        (None, Some(own)) if own.port() != 0 => format!("at {own}"),
        _ => "unconnected".to_owned(),
    }
}
