//! Leaving: another network namespace, another cgroup, then a plain connection.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use crate::Vector;
use crate::outcome::{Attempt, Done, Step, Stop, cvt};
use crate::target::{Target, datagram_to, stream_to, tcp_for, udp_for};

pub(crate) const VECTORS: &[Vector] = &[
    ("setns_path", setns_path),
    ("setns_pidfd", setns_pidfd),
    ("unshare_user_net", |_| unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET, "user and network namespace")),
    ("unshare_user_mount", |_| unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS, "user and mount namespace")),
    ("clone_user_net", clone_namespaces),
    ("cgroup_leave", cgroup_leave),
    ("cgroup_clone3", cgroup_clone3),
];

/// The processes whose namespaces are tried: the one the test names, the parent, and the first.
fn foreigners(t: &Target) -> Vec<String> {
    let named = t.extra("pid").map(str::to_owned);
    // SAFETY: no arguments, cannot fail.
    let parent = unsafe { libc::getppid() }.to_string();
    named.into_iter().chain([parent, "1".to_owned()]).collect()
}

fn setns_path(t: &Target) -> Attempt {
    let mut last = Err(Stop::Impossible("no process to follow".to_owned()));
    for pid in foreigners(t) {
        last = fs::File::open(format!("/proc/{pid}/ns/net"))
            .and_then(|namespace| enter(namespace.as_raw_fd(), 0))
            .step("setns /proc/PID/ns/net")
            .and_then(|()| after_entering(t, &pid));
        if last.is_ok() {
            break;
        }
    }
    last
}

fn setns_pidfd(t: &Target) -> Attempt {
    let mut last = Err(Stop::Impossible("no process to follow".to_owned()));
    for pid in foreigners(t) {
        last = open_pidfd(pid.parse().unwrap_or(1))
            .and_then(|fd| enter(fd.as_raw_fd(), libc::CLONE_NEWNET))
            .step("setns pidfd")
            .and_then(|()| after_entering(t, &pid));
        if last.is_ok() {
            break;
        }
    }
    last
}

fn enter(fd: RawFd, kind: i32) -> io::Result<()> {
    // SAFETY: plain integers.
    cvt(unsafe { libc::setns(fd, kind) }).map(drop)
}

/// Sends from the namespace just entered, unless it is the one the test forbids (`never=`, the machine's own):
/// being able to enter that is the whole finding, and nothing may leave from there.
fn after_entering(t: &Target, pid: &str) -> Attempt {
    if t.forbidden_here() {
        return Ok(Done::Opened(format!("the machine's own network namespace, by process {pid}")));
    }
    datagram_to(t, &udp_for(&t.at4())?, t.at4())
}

pub(crate) fn open_pidfd(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: plain integers.
    let fd = cvt(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: a descriptor the kernel has just given to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(fd).map_err(io::Error::other)?) })
}

fn unshare(flags: i32, what: &str) -> Attempt {
    // SAFETY: plain integers.
    cvt(unsafe { libc::unshare(flags) }).step("unshare")?;
    Ok(Done::Opened(format!("a new {what}")))
}

/// The same by clone(2): a filter that knows only unshare(2) lets it pass.
fn clone_namespaces(_: &Target) -> Attempt {
    let flags = libc::CLONE_NEWUSER | libc::CLONE_NEWNET | libc::SIGCHLD;
    // SAFETY: without CLONE_VM a null stack means fork semantics; the child only exits.
    let child = cvt(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) }).step("clone")?;
    if child == 0 {
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(0) }
    }
    reap(i32::try_from(child).expect("a pid"));
    Ok(Done::Opened("a new user and network namespace by clone".to_owned()))
}

pub(crate) fn reap(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is valid for writing.
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 255 }
}

/// Directories of v2 cgroups this process is not in: its parents, nearest first.
fn other_cgroups() -> Attempt<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").step("read mountinfo")?;
    let roots = mounts
        .lines()
        .filter(|line| line.contains(" - cgroup2 "))
        .filter_map(|line| line.split(' ').nth(4).map(PathBuf::from));
    let own = fs::read_to_string("/proc/self/cgroup").step("read cgroup")?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default().to_owned();
    let mut found = Vec::new();
    for root in roots {
        let mut at = root.join(&own);
        while at != root && at.pop() {
            found.push(at.clone());
        }
        found.push(root);
    }
    found.dedup();
    if found.is_empty() { Err(Stop::Impossible("no cgroup2 mount in view".to_owned())) } else { Ok(found) }
}

fn cgroup_leave(t: &Target) -> Attempt {
    let mut last = Err(Stop::Impossible("no other cgroup".to_owned()));
    for directory in other_cgroups()? {
        last = fs::write(directory.join("cgroup.procs"), std::process::id().to_string())
            .step("write cgroup.procs");
        if last.is_ok() {
            return match stream_to(t, &tcp_for(&t.at4())?, t.at4()) {
                Ok(Done::Reached) => Ok(Done::Reached),
                other => Ok(Done::Opened(format!("moved to {}, then {other:?}", directory.display()))),
            };
        }
    }
    last.map(|()| Done::Opened(String::new()))
}

/// `struct clone_args` (clone(2)), through `cgroup`.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

fn cgroup_clone3(t: &Target) -> Attempt {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut last = Err(Stop::Impossible("no other cgroup".to_owned()));
    for path in other_cgroups()? {
        let directory = fs::File::open(&path).step("open cgroup")?;
        let arguments = CloneArgs {
            flags: CLONE_INTO_CGROUP,
            exit_signal: libc::SIGCHLD.cast_unsigned().into(),
            cgroup: u64::from(directory.as_raw_fd().cast_unsigned()),
            ..CloneArgs::default()
        };
        let size = size_of::<CloneArgs>();
        // SAFETY: valid arguments of the size given; no CLONE_VM, so the child has its own copy of everything.
        last = cvt(unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size) }).step("clone3");
        match last {
            Ok(0) => {
                let reached =
                    matches!(tcp_for(&t.at4()).and_then(|s| stream_to(t, &s, t.at4())), Ok(Done::Reached));
                // SAFETY: ends the child at once.
                unsafe { libc::_exit(i32::from(reached)) }
            }
            Ok(child) => {
                let reached = reap(i32::try_from(child).expect("a pid")) == 1;
                return Ok(if reached {
                    Done::Reached
                } else {
                    Done::Opened(format!("born in {}", path.display()))
                });
            }
            Err(_) => {}
        }
    }
    last.map(|_| Done::Opened(String::new()))
}
