//! The system call filter, as tables a reader can check. Default is allow: CMD is any program. What is refused
//! would make a socket that no cgroup hook sees, leave the namespaces, or reach into another process or the kernel.
//!
//! Four small filters instead of one, because the kernel takes one errno a filter from the compiler used here; they
//! do not overlap. The kernel caches "always allowed" per system call, so CMD pays for the listed ones only.

use std::collections::BTreeMap;

use seccompiler::SeccompCmpOp::{Eq, MaskedEq, Ne};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

#[path = "seccomp_tables.rs"]
mod tables;

use tables::{ABSENT, LINE_DISCIPLINE, MULTICAST, NAMESPACE_FLAGS, REFUSED, TERMINAL_INJECTION};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// `SOCK_TYPE_MASK` of `linux/net.h`; above it are SOCK_CLOEXEC and SOCK_NONBLOCK.
const SOCK_TYPE_MASK: u64 = 0xf;

const UNIX: u64 = libc::AF_UNIX as u64;
const INET: u64 = libc::AF_INET as u64;
const INET6: u64 = libc::AF_INET6 as u64;
const NETLINK: u64 = libc::AF_NETLINK as u64;
const STREAM: u64 = libc::SOCK_STREAM as u64;
const DGRAM: u64 = libc::SOCK_DGRAM as u64;

/// Why the filter could not be built or installed.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    #[error("this machine's architecture has no table: {0}")]
    Architecture(#[source] BackendError),
    #[error("the filter's table is inconsistent: {0}")]
    Build(#[from] BackendError),
    #[error("seccomp(2) refused it: {0}")]
    Install(#[from] seccompiler::Error),
}

/// What is refused in some runs only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// Joining multicast groups: where CMD has no network namespace of its own.
    pub(super) groups: bool,
    /// Another RLIMIT_CORE: see [`super::core_dumps`].
    pub(super) core_limit: bool,
}

/// Installs all filters. Needs no_new_privs.
pub(super) fn install(held: Held) -> Result<(), FilterError> {
    for program in programs(held)? {
        seccompiler::apply_filter(&program)?;
    }
    Ok(())
}

/// The compiled filters. Each one kills a process that calls with another architecture's numbers (`int 0x80`).
fn programs(held: Held) -> Result<Vec<BpfProgram>, FilterError> {
    let mut filters = vec![
        // Programs fall back from these: glibc to clone, event loops to epoll.
        (absent_calls(), libc::ENOSYS),
        (refused_calls()?, libc::EPERM),
        // "This machine does not have it": what libraries probe for.
        (foreign_families()?, libc::EAFNOSUPPORT),
        // MPTCP falls back to TCP on it, ping to a raw socket, for which it has no privilege.
        (foreign_protocols()?, libc::EPROTONOSUPPORT),
    ];
    if held.groups {
        // What a machine without a route for the group answers.
        filters.push((group_options()?, libc::ENODEV));
    }
    if held.core_limit {
        // As if it had been done: scripts begin by `ulimit -c 0` and end when it fails.
        filters.push((core_limit()?, 0));
    }
    let mut programs = vec![];
    if cfg!(target_arch = "x86_64") {
        programs.push(no_x32());
    }
    for (rules, errno) in filters {
        programs.push(compile(rules, errno)?);
    }
    Ok(programs)
}

fn compile(rules: Rules, errno: i32) -> Result<BpfProgram, FilterError> {
    let arch: TargetArch = std::env::consts::ARCH.try_into().map_err(FilterError::Architecture)?;
    let refuse = SeccompAction::Errno(errno as u32);
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?.try_into()?)
}

fn absent_calls() -> Rules {
    ABSENT.iter().map(|call| (*call, vec![])).collect()
}

fn refused_calls() -> Result<Rules, BackendError> {
    let mut rules: Rules = REFUSED.iter().flat_map(|group| group.calls).map(|call| (*call, vec![])).collect();
    let flagged = |flag: &u64| rule(&[(0, MaskedEq(*flag), *flag)]);
    let clone = NAMESPACE_FLAGS.iter().filter(|flag| **flag != libc::CLONE_NEWTIME as u64);
    rules.insert(libc::SYS_unshare, NAMESPACE_FLAGS.iter().map(flagged).collect::<Result<_, _>>()?);
    // The lowest byte of clone's flags is a signal number, and CLONE_NEWTIME lies in it: only clone3 can ask for it.
    rules.insert(libc::SYS_clone, clone.map(flagged).collect::<Result<_, _>>()?);
    let requests = TERMINAL_INJECTION.iter().chain(LINE_DISCIPLINE);
    let requests = requests.map(|request| rule(&[(1, Eq, *request)]));
    rules.insert(libc::SYS_ioctl, requests.collect::<Result<_, _>>()?);
    // Raw sockets: the errno of a kernel without CAP_NET_RAW, which is the case every program knows.
    let not_plain = (0..=SOCK_TYPE_MASK).filter(|kind| ![STREAM, DGRAM].contains(kind));
    let raw = not_plain.flat_map(|kind| [INET, INET6].map(|family| (family, kind)));
    let raw = raw.map(|(family, kind)| rule(&[(0, Eq, family), (1, MaskedEq(SOCK_TYPE_MASK), kind)]));
    rules.insert(libc::SYS_socket, raw.collect::<Result<_, _>>()?);
    Ok(rules)
}

fn foreign_families() -> Result<Rules, BackendError> {
    let socket = rule(&[(0, Ne, UNIX), (0, Ne, INET), (0, Ne, INET6), (0, Ne, NETLINK)])?;
    let pair = rule(&[(0, Ne, UNIX)])?;
    Ok([(libc::SYS_socket, vec![socket]), (libc::SYS_socketpair, vec![pair])].into())
}

fn foreign_protocols() -> Result<Rules, BackendError> {
    let mut rules = vec![rule(&[(0, Eq, NETLINK), (2, Ne, libc::NETLINK_ROUTE as u64)])?];
    for (family, kind) in [(INET, STREAM), (INET, DGRAM), (INET6, STREAM), (INET6, DGRAM)] {
        rules.push(rule(&[
            (0, Eq, family),
            (1, MaskedEq(SOCK_TYPE_MASK), kind),
            (2, Ne, 0),
            (2, Ne, libc::IPPROTO_TCP as u64),
            (2, Ne, libc::IPPROTO_UDP as u64),
        ])?);
    }
    Ok([(libc::SYS_socket, rules)].into())
}

fn group_options() -> Result<Rules, BackendError> {
    let rules = MULTICAST.iter().map(|(level, name)| rule(&[(1, Eq, *level), (2, Eq, *name)]));
    Ok([(libc::SYS_setsockopt, rules.collect::<Result<_, _>>()?)].into())
}

fn core_limit() -> Result<Rules, BackendError> {
    let core = || SeccompCondition::new(1, SeccompCmpArgLen::Dword, Eq, libc::RLIMIT_CORE.into());
    // Asking for it has no new limit, and goes on.
    let sets = SeccompCondition::new(2, SeccompCmpArgLen::Qword, Ne, 0)?;
    let by_prlimit = SeccompRule::new(vec![core()?, sets])?;
    let by_setrlimit = rule(&[(0, Eq, libc::RLIMIT_CORE.into())])?;
    Ok([(libc::SYS_prlimit64, vec![by_prlimit]), (libc::SYS_setrlimit, vec![by_setrlimit])].into())
}

/// All of (argument, comparison, value). 32 bits: the kernel takes these arguments as `int`, so a comparison of 64
/// bits could be walked around by setting the upper half.
fn rule(conditions: &[(u8, SeccompCmpOp, u64)]) -> Result<SeccompRule, BackendError> {
    let condition = |(arg, op, value): &(u8, SeccompCmpOp, u64)| {
        SeccompCondition::new(*arg, SeccompCmpArgLen::Dword, op.clone(), *value)
    };
    SeccompRule::new(conditions.iter().map(condition).collect::<Result<_, _>>()?)
}

/// x32 system calls have x86-64's architecture number and bit 30 set: to the other filters they are unknown numbers,
/// so they are killed here. All ones is what a tracer writes to skip a call.
fn no_x32() -> BpfProgram {
    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const JUMP_GE: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
    const JUMP_EQ: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const X32_BIT: u32 = 0x4000_0000;
    let instruction = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        instruction(LOAD, 0, 0, 0), // seccomp_data.nr
        instruction(JUMP_GE, 0, 1, X32_BIT),
        instruction(JUMP_EQ, 0, 1, u32::MAX),
        instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        instruction(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
    ]
}

#[cfg(test)]
#[path = "seccomp_tests.rs"]
mod tests;
