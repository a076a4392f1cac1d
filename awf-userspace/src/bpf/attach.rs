//! Which program belongs on which cgroup, and the links that put it there.

use std::os::fd::{AsFd, BorrowedFd};

use aya::programs::{
    CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSock, CgroupSockAddr, Program, ProgramError,
    SockOps, links::FdLink,
};

use super::BpfError;

/// On which of the run's cgroups a program belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Agent,
    Proxy,
    /// Of all cgroups.
    Root,
}

/// Every program and its cgroup. The order is the order of attaching: what refuses comes before what redirects.
pub(super) const PROGRAMS: [(&str, Place); 13] = [
    ("skb_egress", Place::Agent),
    ("skb_ingress", Place::Agent),
    ("sock_create", Place::Agent),
    ("connect4", Place::Agent),
    ("connect6", Place::Agent),
    ("sendmsg4", Place::Agent),
    ("sendmsg6", Place::Agent),
    ("recvmsg4", Place::Agent),
    ("recvmsg6", Place::Agent),
    ("getpeername4", Place::Agent),
    ("getpeername6", Place::Agent),
    ("sockops_connect", Place::Agent),
    ("sockops_accept", Place::Proxy),
];

/// What keeps sockets that were not made in the command's cgroup from it.
pub(super) const GUARDS: [(&str, Place); 6] = [
    ("guard_egress", Place::Root),
    ("guard_ingress", Place::Root),
    ("guard_connect4", Place::Root),
    ("guard_connect6", Place::Root),
    ("guard_sendmsg4", Place::Root),
    ("guard_sendmsg6", Place::Root),
];

/// The cgroups of a run, open.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The command's.
    pub agent: BorrowedFd<'a>,
    /// Of the sockets that face it.
    pub proxy: BorrowedFd<'a>,
    /// For programs that were loaded with guards.
    pub guard: Option<Guarded<'a>>,
}

/// Where the guards go.
#[derive(Clone, Copy, Debug)]
pub struct Guarded<'a> {
    /// The root of all cgroups that can be seen.
    pub root: BorrowedFd<'a>,
    /// How deep below the real root the command's cgroup is; 0: not known, and only what is in it itself, and no
    /// cgroup below, is guarded against sockets that come from outside.
    pub level: u64,
}

impl Places<'_> {
    pub(super) fn of(&self, place: Place) -> Option<BorrowedFd<'_>> {
        match place {
            Place::Agent => Some(self.agent),
            Place::Proxy => Some(self.proxy),
            Place::Root => self.guard.map(|guard| guard.root),
        }
    }
}

/// No flag: a BPF link always attaches beside other people's programs, and the kernel refuses to hear it asked for.
const LINK_FLAGS: CgroupAttachMode = CgroupAttachMode::Single;

/// Attaches one program by a BPF link (never by the legacy attach, which replaces other people's programs).
pub(super) fn attach(
    program: &mut Program,
    cgroup: BorrowedFd<'_>,
    name: &'static str,
) -> Result<FdLink, BpfError> {
    let failed = |source| BpfError::Attach { name, source: Box::new(source) };
    let mode = LINK_FLAGS;
    let link = match program {
        Program::CgroupSkb(p) => attach_skb(p, cgroup, name).map_err(failed)?.try_into(),
        Program::CgroupSock(p) => {
            let id = p.attach(cgroup, mode).map_err(failed)?;
            CgroupSock::take_link(p, id).map_err(failed)?.try_into()
        }
        Program::CgroupSockAddr(p) => {
            let id = p.attach(cgroup, mode).map_err(failed)?;
            CgroupSockAddr::take_link(p, id).map_err(failed)?.try_into()
        }
        Program::SockOps(p) => {
            let id = p.attach(cgroup, mode).map_err(failed)?;
            SockOps::take_link(p, id).map_err(failed)?.try_into()
        }
        _ => return Err(failed(ProgramError::UnexpectedProgramType)),
    };
    link.map_err(|source| BpfError::Link { name, source })
}

fn attach_skb(
    program: &mut CgroupSkb,
    cgroup: impl AsFd,
    name: &str,
) -> Result<aya::programs::cgroup_skb::CgroupSkbLink, ProgramError> {
    let direction =
        if name.ends_with("egress") { CgroupSkbAttachType::Egress } else { CgroupSkbAttachType::Ingress };
    let id = program.attach(cgroup, direction, LINK_FLAGS)?;
    program.take_link(id)
}
