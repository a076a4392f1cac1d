//! The time between CMD's start and its end: signals forwarded, the time limit kept, the cgroup killed when asked.

use std::future::pending;
use std::io;
use std::time::{Duration, Instant};

use rustix::process::Signal as Named;

use super::child::{Child, Exit};
use super::escalation::{Action, Escalation};
use super::signals::{Signal, Signals};
use super::terminal::{Console, Happened};

/// Between the polite request and the kill. GitHub's runner kills 10 s after its first signal, but sends a second
/// one at 7.5 s, which ends the grace.
pub const GRACE: Duration = Duration::from_secs(10);

/// How long CMD may run.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `--agent-timeout`.
    pub timeout: Option<Duration>,
    /// From SIGTERM to the kill.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { timeout: None, grace: GRACE }
    }
}

/// How the run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Exited(i32),
    /// By this signal; for a CMD we had to kill because awf-bpf was asked to end, by the signal that asked.
    Signaled(i32),
    TimedOut,
}

impl Outcome {
    /// awf-bpf's exit code: CMD's own, 128+N, or 124.
    pub fn code(self) -> u8 {
        match self {
            Self::Exited(code) => Exit::Code(code).code(),
            Self::Signaled(signo) => Exit::Signal(signo).code(),
            Self::TimedOut => 124,
        }
    }
}

/// Waits for CMD's end. `kill` ends everything in CMD's cgroup at once (`cgroup.kill`); CMD itself is killed with
/// it in any case. What CMD left running in its cgroup is the caller's to kill afterwards, and what is left to show of
/// its terminal to show.
///
/// # Errors
/// What waiting, reading signals and sending them say.
pub async fn supervise(
    child: &mut Child,
    signals: &mut Signals,
    limits: Limits,
    mut kill: impl FnMut(),
) -> io::Result<Outcome> {
    let mut console = child.console.take();
    let mut escalation = Escalation::new(&limits, Instant::now());
    loop {
        let deadline = escalation.deadline();
        let action = tokio::select! {
            // CMD's end first: a signal that arrives with it changes nothing any more.
            biased;
            exit = child.wait() => {
                let exit = exit?;
                child.console = console;
                return Ok(escalation.outcome(exit));
            }
            signal = signals.next() => {
                let signal = signal?;
                match of_terminal(&mut console, signal)? {
                    true => Action::Nothing,
                    false => escalation.on_signal(signal, Instant::now()),
                }
            }
            happened = next(&mut console) => {
                match (happened?, &mut console) {
                    (Happened::Stopped(signo), Some(console)) => console.on_stop(signo).await?,
                    (Happened::HungUp, Some(console)) => console.hang_up(),
                    (_, None) => {}
                }
                Action::Nothing
            }
            () = sleep_until(deadline) => escalation.on_deadline(Instant::now()),
        };
        match action {
            Action::Nothing => {}
            Action::Send(signal) => child.signal(signal)?,
            Action::Kill => {
                kill();
                child.signal(Named::KILL)?;
            }
        }
    }
}

fn of_terminal(console: &mut Option<Console>, signal: Signal) -> io::Result<bool> {
    match (console, signal.named()) {
        (Some(console), Some(named)) => console.on_signal(named, signal.from_tty),
        _ => Ok(false),
    }
}

async fn next(console: &mut Option<Console>) -> io::Result<Happened> {
    match console {
        Some(console) => console.next().await,
        None => pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => pending().await,
    }
}
