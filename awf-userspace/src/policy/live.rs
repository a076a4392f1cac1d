//! [`LivePolicy`]: the policy of now, which may change while a run goes on, and be another one for single processes.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use super::Policy;

/// A process, told from later ones of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// The thread group, as seen from the initial pid namespace.
    pub tgid: u32,
    /// When it started, in clock ticks since boot: the 22nd field of /proc/PID/stat (proc_pid_stat(5)).
    pub started: u64,
}

/// The policies of a run. Whoever judges takes one, once for each judgement, and asks nothing but that: what is allowed
/// then is what one policy allows, however often it changes meanwhile.
///
/// Asking costs a lock that is held for as long as it takes to count a reference.
#[derive(Debug, Default)]
pub struct LivePolicy {
    state: RwLock<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    general: Arc<Policy>,
    /// By number; each with the start of the process that it is for.
    processes: HashMap<u32, (u64, Arc<Policy>)>,
}

impl LivePolicy {
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { state: RwLock::new(State { general: Arc::new(policy), processes: HashMap::new() }) }
    }

    /// Allows nothing, until something is set.
    #[must_use]
    pub fn denying() -> Self {
        Self::default()
    }

    /// The policy of whoever has none of its own.
    #[must_use]
    pub fn current(&self) -> Arc<Policy> {
        Arc::clone(&self.read().general)
    }

    /// The policy of `process`; without one of its own, or if it is not known who asks, that of all.
    #[must_use]
    pub fn of(&self, process: Option<Process>) -> Arc<Policy> {
        self.of_tgid(process.map(|process| process.tgid), |_| process.map(|process| process.started))
    }

    /// As [`LivePolicy::of`]. When the process started is asked for only where it matters; where it is not known, it is
    /// some process: a number that was used before gives no right to what its owner had.
    #[must_use]
    pub fn of_tgid(&self, tgid: Option<u32>, started: impl FnOnce(u32) -> Option<u64>) -> Arc<Policy> {
        let state = self.read();
        let Some((tgid, expected)) = tgid.and_then(|t| Some((t, state.processes.get(&t)?.0))) else {
            return Arc::clone(&state.general);
        };
        // It may take a file to know: not with the lock.
        drop(state);
        let is_it = started(tgid) == Some(expected);
        let state = self.read();
        let own = state.processes.get(&tgid).filter(|(start, _)| is_it && *start == expected);
        Arc::clone(own.map_or(&state.general, |(_, policy)| policy))
    }

    /// From now on `policy` is that of all, but of processes that have one of their own.
    pub fn set(&self, policy: Policy) {
        let policy = Arc::new(policy);
        let before = std::mem::replace(&mut self.write().general, policy);
        // A large policy takes its time to go.
        drop(before);
    }

    /// From now on `policy` is that of `process` alone.
    pub fn set_for_process(&self, process: Process, policy: Policy) {
        let own = (process.started, Arc::new(policy));
        let before = self.write().processes.insert(process.tgid, own);
        drop(before);
    }

    /// `process` is judged like all others again.
    pub fn forget_process(&self, process: Process) {
        let mut state = self.write();
        if state.processes.get(&process.tgid).is_some_and(|(started, _)| *started == process.started) {
            state.processes.remove(&process.tgid);
        }
    }

    /// Refuses everything from now on, to everybody.
    pub fn close(&self) {
        let before = std::mem::take(&mut *self.write());
        drop(before);
    }

    // Nothing is half done when a lock is poisoned: a writer puts in what was made before.
    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Policy> for LivePolicy {
    fn from(policy: Policy) -> Self {
        Self::new(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{DomainName, List, Place, Rule};

    fn allowing(names: &[&str]) -> Policy {
        let rule = |name: &&str| Rule::parse(name, List::Allow, Place::Flag("--allow-domains")).unwrap();
        Policy::new(names.iter().map(rule).collect::<Vec<_>>())
    }

    fn allows(policy: &Policy, name: &str) -> bool {
        policy.judge_name(&DomainName::parse(name).unwrap()).is_allow()
    }

    #[test]
    fn nothing_is_allowed_before_something_is_set_nor_after_the_close() {
        let live = LivePolicy::denying();
        let process = Process { tgid: 7, started: 100 };
        assert!(live.current().allows_nothing() && live.of(Some(process)).allows_nothing());
        live.set(allowing(&["a.test"]));
        live.set_for_process(process, allowing(&["b.test"]));
        assert!(allows(&live.current(), "a.test") && allows(&live.of(Some(process)), "b.test"));
        live.close();
        assert!(live.current().allows_nothing() && live.of(Some(process)).allows_nothing());
    }

    #[test]
    fn a_policy_of_a_process_is_its_own() {
        let live = LivePolicy::new(allowing(&["a.test"]));
        let worker = Process { tgid: 7, started: 100 };
        live.set_for_process(worker, allowing(&["b.test"]));
        assert!(allows(&live.of(Some(worker)), "b.test") && !allows(&live.of(Some(worker)), "a.test"));
        for other in [None, Some(Process { tgid: 8, ..worker })] {
            assert!(!allows(&live.of(other), "b.test") && allows(&live.of(other), "a.test"), "{other:?}");
        }
        live.set(allowing(&["c.test"]));
        assert!(!allows(&live.of(Some(worker)), "c.test"), "that of all is not that of the process");
        live.forget_process(Process { started: 99, ..worker });
        assert!(allows(&live.of(Some(worker)), "b.test"), "another process was forgotten");
        live.forget_process(worker);
        assert!(allows(&live.of(Some(worker)), "c.test"));
    }

    #[test]
    fn a_number_that_was_used_before_inherits_nothing() {
        let live = LivePolicy::new(allowing(&["a.test"]));
        live.set_for_process(Process { tgid: 7, started: 100 }, allowing(&["b.test"]));
        for started in [Some(101), Some(99), None] {
            let policy = live.of_tgid(Some(7), |_| started);
            assert!(!allows(&policy, "b.test") && allows(&policy, "a.test"), "{started:?}");
        }
        let asked = live.of_tgid(Some(8), |_| panic!("nobody needs to know"));
        assert!(allows(&asked, "a.test"));
    }
}
