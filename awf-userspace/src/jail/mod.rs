//! The child side of CMD's start: a fresh, single-threaded `__init` process that gives up everything, step by step,
//! and becomes CMD. What it was told comes in a sealed memfd, what went wrong leaves by the status pipe; it prints
//! nothing, because its standard streams are CMD's.
//!
//! With a [`rootfs::RootfsPlan`] it is the first process of a pid namespace and stays behind as CMD's [`init`]; CMD
//! sees that root alone. Without one (`--chroot off`) it becomes CMD itself, which sees the host's files with the
//! rights of its user, minus what [`hide`] covers; an init stays behind if it has a [`terminal`].

pub mod accounts;
pub mod core_dumps;
pub mod cwd;
pub mod error;
pub mod hide;
pub mod identity;
pub mod init;
pub mod landlock;
pub mod lifeline;
pub mod mounts;
pub mod other_networks;
pub mod privileges;
pub mod program;
pub mod restore;
pub mod root;
pub mod rootfs;
pub mod seccomp;
pub mod selftest;
pub mod spec;
pub mod status;
pub mod stdio;
pub mod survey;
pub mod terminal;
pub mod trust;
pub mod unix_sockets;
pub mod userns;

use std::os::fd::OwnedFd;
use std::process::ExitCode;

use core_dumps::CoreDumps;
pub use error::JailError;
pub use identity::Identity;
use init::Side;
pub use spec::{InitSpec, Restore, SelfTest};

use crate::sys::inherit::{self, Inherited};
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
    let Inherited { spec, status, ending, gate, netns, terminal } = inherited;
    let mut status = Status::new(status);
    match become_command((spec, gate), &ending, (netns, terminal), &mut status) {
        // CMD has ended; we were its init.
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            status.failed(&error);
            ExitCode::from(SETUP_FAILED)
        }
    }
}

/// What CMD sees of files and mounts.
fn view(spec: &InitSpec) -> Result<(), JailError> {
    mounts::private_view(spec.root.is_some())?;
    match &spec.root {
        Some(plan) => {
            root::enter(plan)?;
            hide::apply(&[], &plan.sockets, &hide::Below::default(), &spec.identity)
        }
        None => {
            mounts::freeze_kernel_fs()?;
            mounts::cover_terminals()?;
            let below = hide::Below { home: spec.home_tmpfs.as_deref(), trust: Some(&spec.trust) };
            hide::apply(&spec.hide, &spec.hide_sockets, &below, &spec.identity)
        }
    }
}

/// The order matters: what needs privileges first, then the filters that even the last steps are subject to, then
/// the privileges themselves.
fn become_command(
    (spec, gate): (OwnedFd, OwnedFd),
    ending: &OwnedFd,
    (netns, terminal): (Option<OwnedFd>, Option<OwnedFd>),
    status: &mut Status,
) -> Result<u8, JailError> {
    lifeline::die_with_parent()?;
    let spec = InitSpec::receive(spec)?;
    match spec.root {
        Some(_) => lifeline::check_reader(ending, spec.parent)?,
        None => lifeline::check_parent(spec.parent)?,
    }
    stdio::check()?;
    mounts::join(&spec.join)?;

    mounts::enter_network(netns, spec.private_network)?;
    view(&spec)?;
    // Up to here only files and mounts were touched: the programs may still be on their way.
    lifeline::pass(gate, spec.parent)?;
    if let Some(test) = &spec.self_test {
        selftest::run(test)?;
    }
    let terminal = terminal::begin_session(spec.terminal.as_ref(), terminal, spec.identity.uid)?;
    stdio::hand_over(&spec.identity)?;
    restore::limits(&spec.restore)?;
    let core_dumps = core_dumps::keep_in();
    let user_namespace = userns::make(&spec.identity)?;
    privileges::make_unreadable()?;
    privileges::empty_bounding_set()?;
    privileges::lock_securebits()?;
    privileges::no_new_privileges()?;
    let held = seccomp::Held { groups: !spec.private_network, core_limit: core_dumps == CoreDumps::Nobody };
    let filter = || Ok(seccomp::install(held)?);
    if (spec.root.is_some() || terminal.is_some())
        && let Side::Init(code) = init::split(ending, terminal, filter)?
    {
        return Ok(code);
    }
    let parent = rustix::process::getppid();
    if let Some(namespace) = user_namespace {
        userns::enter(namespace, &spec.identity)?;
    }
    // From here on nobody enters another namespace.
    filter()?;
    identity::assume(&spec.identity)?;
    privileges::drop_capabilities()?;
    // Changing the uid cleared it.
    lifeline::die_with_parent()?;
    lifeline::check_unchanged(parent)?;

    let found = cwd::enter(&spec.cwd, spec.cwd_must, &spec.identity.home)?;
    status.note(found.note());
    status.note(landlock::scope()?.note());
    status.note(core_dumps.note());
    let checks = spec.root.as_ref().map_or_else(|| spec.trust.checks(), |plan| plan.checks.clone());
    status.note(trust::verify(&checks)?);

    let program = program::Prepared::new(&spec.argv, &spec.env)?;
    status.close_all_others()?;
    restore::signals(&spec.restore)?;
    status.about_to_exec();
    match program.exec()? {}
}
