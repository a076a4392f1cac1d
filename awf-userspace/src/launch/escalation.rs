//! What a signal or a deadline makes of a running CMD: pure, so that every order of events can be tested.

use std::time::{Duration, Instant};

use rustix::process::Signal as Named;

use super::child::Exit;
use super::signals::Signal;
use super::supervise::{Limits, Outcome};

/// What to do to CMD now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    Send(Named),
    /// Everything in the cgroup, at once.
    Kill,
}

/// Why CMD was asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    TimeLimit,
    Request(i32),
}

/// Running, asked to end, or killed.
#[derive(Debug)]
pub(super) struct Escalation {
    grace: Duration,
    cause: Option<Cause>,
    deadline: Option<Instant>,
    killed: bool,
}

impl Escalation {
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        // A limit beyond the clock's range is none.
        let deadline = limits.timeout.and_then(|timeout| now.checked_add(timeout));
        Self { grace: limits.grace, cause: None, deadline, killed: false }
    }

    /// When [`Self::on_deadline`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Forwarded. An INT or TERM sent to awf-bpf itself (by a runner, a supervisor) means
    /// "end": it starts the grace, and a second one ends it. One from the terminal means what CMD makes of it.
    pub(super) fn on_signal(&mut self, signal: Signal, now: Instant) -> Action {
        let Some(named) = signal.named() else { return Action::Nothing };
        if signal.from_tty || (named != Named::INT && named != Named::TERM) {
            return Action::Send(named);
        }
        match self.cause {
            None => {
                self.cause = Some(Cause::Request(signal.signo));
                self.deadline = now.checked_add(self.grace);
                Action::Send(named)
            }
            Some(_) => self.kill(),
        }
    }

    pub(super) fn on_deadline(&mut self, now: Instant) -> Action {
        if self.cause.is_some() {
            return self.kill();
        }
        self.cause = Some(Cause::TimeLimit);
        self.deadline = now.checked_add(self.grace);
        Action::Send(Named::TERM)
    }

    pub(super) fn outcome(&self, exit: Exit) -> Outcome {
        match (self.cause, exit) {
            (Some(Cause::TimeLimit), _) => Outcome::TimedOut,
            // We killed it because it was asked to end: the request is the reason, not our SIGKILL.
            (Some(Cause::Request(signo)), Exit::Signal(9)) if self.killed => Outcome::Signaled(signo),
            (_, Exit::Code(code)) => Outcome::Exited(code),
            (_, Exit::Signal(signo)) => Outcome::Signaled(signo),
        }
    }

    fn kill(&mut self) -> Action {
        self.killed = true;
        self.deadline = None;
        Action::Kill
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);
    const TERM: Signal = Signal { signo: libc::SIGTERM, from_tty: false };
    const INT: Signal = Signal { signo: libc::SIGINT, from_tty: false };
    const CTRL_C: Signal = Signal { signo: libc::SIGINT, from_tty: true };
    const HUP: Signal = Signal { signo: libc::SIGHUP, from_tty: false };

    fn running(timeout: Option<Duration>) -> (Escalation, Instant) {
        let now = Instant::now();
        (Escalation::new(&Limits { timeout, grace: GRACE }, now), now)
    }

    #[test]
    fn ctrl_c_is_cmds_own_affair() {
        let (mut run, now) = running(None);
        assert_eq!(
            (run.on_signal(CTRL_C, now), run.on_signal(CTRL_C, now)),
            (Action::Send(Named::INT), Action::Send(Named::INT))
        );
        assert_eq!(run.deadline(), None);
        assert_eq!(run.outcome(Exit::Signal(2)), Outcome::Signaled(2));
    }

    #[test]
    fn a_request_is_forwarded_then_enforced() {
        let (mut run, now) = running(None);
        assert_eq!(run.on_signal(TERM, now), Action::Send(Named::TERM));
        assert_eq!(run.deadline(), Some(now + GRACE));
        assert_eq!(run.on_deadline(now + GRACE), Action::Kill);
        assert_eq!(run.deadline(), None);
        assert_eq!(run.outcome(Exit::Signal(9)), Outcome::Signaled(libc::SIGTERM));
    }

    #[test]
    fn a_second_request_kills_at_once() {
        let (mut run, now) = running(None);
        assert_eq!(run.on_signal(INT, now), Action::Send(Named::INT));
        assert_eq!(run.on_signal(TERM, now), Action::Kill);
        assert_eq!(run.outcome(Exit::Signal(9)), Outcome::Signaled(libc::SIGINT));
    }

    #[test]
    fn a_command_that_obeys_keeps_its_own_code() {
        let (mut run, now) = running(None);
        run.on_signal(TERM, now);
        assert_eq!(run.outcome(Exit::Code(3)), Outcome::Exited(3));
        assert_eq!(run.outcome(Exit::Signal(9)), Outcome::Signaled(9), "killed by somebody else");
    }

    #[test]
    fn other_signals_only_travel() {
        let (mut run, now) = running(None);
        assert_eq!(run.on_signal(HUP, now), Action::Send(Named::HUP));
        assert_eq!(run.deadline(), None);
    }

    #[test]
    fn the_time_limit_is_124_whatever_cmd_answers() {
        let (mut run, now) = running(Some(GRACE));
        assert_eq!(run.on_deadline(now), Action::Send(Named::TERM));
        assert_eq!(run.outcome(Exit::Code(0)), Outcome::TimedOut);
        assert_eq!(run.on_deadline(now), Action::Kill);
        assert_eq!(run.outcome(Exit::Signal(9)), Outcome::TimedOut);
    }

    #[test]
    fn a_request_during_the_limits_grace_kills() {
        let (mut run, now) = running(Some(GRACE));
        run.on_deadline(now);
        assert_eq!(run.on_signal(TERM, now), Action::Kill);
        assert_eq!(run.outcome(Exit::Signal(9)), Outcome::TimedOut);
    }

    #[test]
    fn an_endless_limit_is_none() {
        assert_eq!(running(Some(Duration::MAX)).0.deadline(), None);
    }
}
