//! A Landlock domain without file rules. Being in one already means: no ptrace, and no /proc/PID/{mem,environ,root},
//! of a process outside, even of the same uid. From ABI 6 (Linux 6.12) on it also cuts abstract unix sockets and
//! signals to processes outside. Stands in for the pid namespace, and stays useful beside it.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags};

use super::error::JailError;
use crate::sys::landlock::{RulesetAttr, abi, allow_beneath, create_ruleset, restrict_self};

/// `LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | LANDLOCK_SCOPE_SIGNAL`.
const SCOPE_ALL: u64 = 0b11;
const SCOPE_ABI: u32 = 6;
/// `LANDLOCK_ACCESS_FS_REFER`: denied in every domain that handles file access unless allowed (ABI 2).
const FS_REFER: u64 = 1 << 13;
const REFER_ABI: u32 = 2;

/// What the kernel could do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Full,
    NoTracing,
    Nothing,
}

impl Scope {
    pub(super) fn note(self) -> Option<String> {
        let text = match self {
            Self::Full => return None,
            Self::NoTracing => {
                "this kernel's Landlock does not scope abstract unix sockets and signals (Linux 6.12 does)"
            }
            Self::Nothing => {
                "this kernel has no Landlock: the command can trace other processes of its user, which are \
                 outside the firewall"
            }
        };
        Some(text.to_owned())
    }
}

/// Enters a domain. Needs no_new_privs.
pub(super) fn scope() -> Result<Scope, JailError> {
    let version = match abi() {
        Ok(version) => version,
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EOPNOTSUPP)) => 0,
        Err(error) => return Err(failed("landlock_create_ruleset")(error)),
    };
    match version {
        SCOPE_ABI.. => enter_scoped().map(|()| Scope::Full),
        REFER_ABI.. => enter_permissive().map(|()| Scope::NoTracing),
        _ => Ok(Scope::Nothing),
    }
}

fn enter_scoped() -> Result<(), JailError> {
    let attr = RulesetAttr { scoped: SCOPE_ALL, ..RulesetAttr::default() };
    let ruleset = create_ruleset(&attr).map_err(failed("landlock_create_ruleset"))?;
    restrict_self(ruleset.as_fd()).map_err(failed("landlock_restrict_self"))
}

/// Handles one kind of file access and allows it everywhere: only the domain itself restricts.
fn enter_permissive() -> Result<(), JailError> {
    let attr = RulesetAttr { handled_access_fs: FS_REFER, ..RulesetAttr::default() };
    let ruleset = create_ruleset(&attr).map_err(failed("landlock_create_ruleset"))?;
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| failed("open /")(e.into()))?;
    allow_beneath(ruleset.as_fd(), root.as_fd(), FS_REFER).map_err(failed("landlock_add_rule"))?;
    restrict_self(ruleset.as_fd()).map_err(failed("landlock_restrict_self"))
}

fn failed(call: &'static str) -> impl Fn(io::Error) -> JailError {
    move |source| JailError::Landlock { call, source }
}
