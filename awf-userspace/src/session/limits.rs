//! What this process raises for itself while a command runs, and gives back to the command: the command must not be
//! able to use up its descriptors, nor have it chosen when memory runs out.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::error::SessionError;
use crate::{config::Deadlines, jail::Restore, proxy, sys::signalfd::SignalMask};

/// Enough for the proxy's connections, one descriptor for the command and one for the server; below `fs.nr_open` everywhere.
const DESCRIPTORS: u64 = 64 * 1024;
/// With fewer a run does not begin.
const LEAST: u64 = 80;
/// Kept back from the proxy's connections: 512 questions and 128 connections of the resolver, 64 pipes with two ends,
/// [`proxy::Limits::attempts`], the audit, the kernel's maps, and what ends the run.
const RESERVE: usize = 1024;
/// `oom_score_adj`: half of all memory in our favour. Not -1000: a leak of ours must not take the machine down.
const OOM_SCORE: i32 = -500;
/// What the command gets more of where we can have no less.
const BEFORE_US: i32 = 200;
const OOM_FILE: &str = "/proc/self/oom_score_adj";

/// What was raised, and what it was before.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnLimits {
    nofile: Option<(u64, u64)>,
    oom_score_adj: Option<i32>,
    descriptors: u64,
}

impl OwnLimits {
    /// Raises them. What cannot be raised stays, and is allowed for.
    #[must_use]
    pub(super) fn raise() -> Self {
        let (nofile, descriptors) = raise_descriptors();
        Self { nofile, oom_score_adj: lower_oom_score(), descriptors }
    }

    /// That a run can begin with them.
    ///
    /// # Errors
    /// [`SessionError::Descriptors`].
    pub(super) fn suffice(&self) -> Result<(), SessionError> {
        let limit = self.descriptors;
        if limit < LEAST { Err(SessionError::Descriptors { limit, least: LEAST }) } else { Ok(()) }
    }

    /// What `__init` has to put back.
    #[must_use]
    pub(super) fn restore(&self, sigmask: SignalMask) -> Restore {
        Restore { sigmask, nofile: self.nofile, oom_score_adj: self.oom_score_adj }
    }

    /// The proxy's limits: no more sockets than there are descriptors for, and the user's `deadlines`.
    #[must_use]
    pub(super) fn proxy(&self, deadlines: &Deadlines) -> proxy::Limits {
        let limits = proxy::Limits::default();
        let descriptors = usize::try_from(self.descriptors).unwrap_or(usize::MAX);
        let reserve = RESERVE.min(descriptors / 2);
        proxy::Limits {
            sockets: limits.sockets.min(descriptors - reserve),
            attempts: limits.attempts.min(reserve / 8),
            first_byte: deadlines.first_byte.unwrap_or(limits.first_byte),
            head_time: deadlines.head.unwrap_or(limits.head_time),
            keep_alive: deadlines.keep_alive.unwrap_or(limits.keep_alive),
            resolve: deadlines.resolve.unwrap_or(limits.resolve),
            connect: deadlines.connect.unwrap_or(limits.connect),
            idle: deadlines.idle.unwrap_or(limits.idle),
            lifetime: deadlines.lifetime.unwrap_or(limits.lifetime),
            ..limits
        }
    }
}

/// The limit before, if it was changed, and the one now.
fn raise_descriptors() -> (Option<(u64, u64)>, u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let (soft, hard) = (current.unwrap_or(u64::MAX), maximum.unwrap_or(u64::MAX));
    if soft >= DESCRIPTORS {
        return (None, soft);
    }
    // Privileged, the hard limit can be raised as well; in some containers it cannot.
    for (soft_now, hard_now) in [(DESCRIPTORS, hard.max(DESCRIPTORS)), (hard.min(DESCRIPTORS), hard)] {
        let wanted = Rlimit { current: Some(soft_now), maximum: Some(hard_now) };
        if setrlimit(Resource::Nofile, wanted).is_ok() {
            return (Some((soft, hard)), soft_now);
        }
    }
    log::warn!("RLIMIT_NOFILE stays at {soft}: few connections at once are possible");
    (None, soft)
}

fn lower_oom_score() -> Option<i32> {
    let before: i32 = fs::read_to_string(OOM_FILE).ok()?.trim().parse().ok()?;
    if before <= OOM_SCORE {
        return None;
    }
    match fs::write(OOM_FILE, OOM_SCORE.to_string()) {
        Ok(()) => Some(before),
        Err(e) => {
            // Without CAP_SYS_RESOURCE, as in a container: the command goes first then, which needs none (proc_oom_score_adj(5)).
            log::debug!("{OOM_FILE}: {e}");
            Some((before + BEFORE_US).min(1000))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_fit_into_the_descriptors() {
        let of = |descriptors| {
            let limits = OwnLimits { nofile: None, oom_score_adj: None, descriptors };
            limits.proxy(&Deadlines::default())
        };
        assert_eq!(of(DESCRIPTORS).sockets, proxy::Limits::default().sockets);
        // A server for each of 8,400 connections, and 1,600 that need none.
        assert!(of(20_000).sockets >= 2 * 8_400 + 1_600);
        assert_eq!((of(256).sockets, of(256).attempts), (128, 16));
    }
}
