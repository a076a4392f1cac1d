//! The child side of CMD's start: a fresh, single-threaded `__init` process that gives up everything, step by step,
//! and becomes CMD. What it was told comes in a sealed memfd, what went wrong leaves by the status pipe; it prints
//! nothing, because its standard streams are CMD's.
//!
//! What is not here yet: an own root, pid namespace and /proc, and a terminal of its own. Until then CMD sees the
//! host's files with the rights of its user, minus what [`hide`] covers.

pub mod accounts;
pub mod cwd;
pub mod error;
pub mod hide;
pub mod identity;
pub mod landlock;
pub mod lifeline;
pub mod mounts;
pub mod privileges;
pub mod program;
pub mod restore;
pub mod seccomp;
pub mod selftest;
pub mod spec;
pub mod status;
pub mod stdio;
pub mod unix_sockets;

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

pub use error::JailError;
pub use identity::Identity;
pub use spec::{InitSpec, Restore, SelfTest};

use crate::sys::inherit;
use status::Status;

/// First argument of a process that is to become CMD.
pub const INIT_ARG: &str = "__init";

/// Exit code of an `__init` that failed; the parent takes the real reason from the status pipe.
const SETUP_FAILED: u8 = 125;

/// `awf-bpf __init`: becomes CMD, or reports why not. Must be the first thing the process does.
pub fn init_main() -> ExitCode {
    let Ok(inherited) = inherit::take() else {
        // Started by hand: there is nobody to report to.
        return ExitCode::from(SETUP_FAILED);
    };
    let mut status = Status::new(inherited.status);
    let Err(error) = become_command(inherited.spec, inherited.netns, &mut status);
    status.failed(&error);
    ExitCode::from(SETUP_FAILED)
}

/// The order matters: what needs privileges first, then the privileges themselves, then the filters that even the
/// last steps are subject to.
fn become_command(
    spec: OwnedFd,
    netns: Option<OwnedFd>,
    status: &mut Status,
) -> Result<Infallible, JailError> {
    lifeline::die_with_parent()?;
    let spec = InitSpec::receive(spec)?;
    lifeline::check_parent(spec.parent)?;
    stdio::check()?;

    mounts::enter_network(netns, spec.private_network)?;
    if let Some(test) = &spec.self_test {
        selftest::run(test)?;
    }

    mounts::private_view()?;
    mounts::freeze_cgroupfs()?;
    hide::apply(&spec.hide, &spec.hide_sockets, spec.home_tmpfs.as_deref(), &spec.identity)?;

    restore::limits(&spec.restore)?;
    privileges::make_unreadable()?;
    privileges::empty_bounding_set()?;
    privileges::lock_securebits()?;
    identity::assume(&spec.identity)?;
    privileges::drop_capabilities()?;
    privileges::no_new_privileges()?;
    // Changing the uid cleared it.
    lifeline::die_with_parent()?;
    lifeline::check_parent(spec.parent)?;

    let found = cwd::enter(&spec.cwd, &spec.identity.home)?;
    status.note(found.note());
    status.note(landlock::scope()?.note());

    let program = program::Prepared::new(&spec.argv, &spec.env)?;
    status.close_all_others()?;
    seccomp::install(spec.private_network)?;
    restore::signals(&spec.restore)?;
    status.about_to_exec();
    program.exec()
}
