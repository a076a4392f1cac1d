//! The started hook: finds the Worker, decides what its job may reach, and has it held to that.
//!
//! ```text
//! the Worker is found        else: nobody is known to be held; the hook fails, and is no hook of a job
//! it has no run yet          else: the one it has holds on, this call fails
//! what is decided, or not    if not: the steps get nothing
//! attached                   else: refused by what is attached already, or the Worker is killed
//! ```

use std::{fs, time::Duration};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{
    JOB, LockError, Outcome,
    context::{Context, ContextError},
    is_of_hook, label, lock,
    policies::{self, PolicyError, REPOSITORY, WORKER_HOSTS},
    worker::{self, Stopped, Worker, WorkerError},
    worker_of, workflow,
};
use crate::{
    cgroup::{self, CgroupError},
    config::{HookSettings, ResolvedAttach},
    hook::{
        account::Account,
        escapes::{self, Escape, Way},
    },
    policy::{List, Policy},
    session::attach::{self, AttachError, AttachPlan, Attached, OldSockets, OnFailure, Target},
};

/// How long what an earlier job left may take to die.
const PATIENCE: Duration = Duration::from_secs(10);
/// Rules shown.
const SHOWN: usize = 20;
/// One pre-job at a time looks and attaches.
const LOCK: &str = "hook.lock";

/// Why a job has no network, or none of its own.
#[derive(Debug, thiserror::Error)]
enum PreError {
    #[error(transparent)]
    Worker(#[from] WorkerError),
    #[error("a run of awf-bpf ({0}) holds this job already; it goes on, and nothing was changed")]
    Held(String),
    #[error(
        "the hook that called was ended while its job was being attached: its steps may have begun outside"
    )]
    Late,
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("{path} is the runner's user's, who could leave it, and cannot be taken back: {source}")]
    Delegated { path: String, source: std::io::Error },
    #[error(transparent)]
    Attach(#[from] AttachError),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error(
        "{exe} is no Runner.Worker of a runner that awf-bpf hook install was told of (see awf-bpf hook status)"
    )]
    NotInstalled { exe: String },
    #[error("{}", .0.why)]
    Policy(PolicyError),
}

/// What was decided; `problem`: why the steps get nothing.
struct Decision {
    steps: Policy,
    /// The rest of the machine's policy file: name servers, deadlines and the like.
    machine: Option<ResolvedAttach>,
    own: Policy,
    context: Option<Context>,
    narrowed: bool,
    problem: Option<PreError>,
}

/// Has the job of the Worker above this process held to its policy.
#[must_use]
pub fn pre_job(sudo_uid: Option<&str>) -> (Outcome, Option<LastResort>) {
    let worker = match Worker::find(sudo_uid) {
        Ok(worker) => worker,
        Err(e) => return (failed(&e.into()), None),
    };
    // Who called must still wait for us: else the Worker went on, and what it has started meanwhile is not in the run.
    let mut stopped = None;
    let begun =
        hold(&worker, &mut stopped).and_then(|begun| worker.waits().then_some(begun).ok_or(PreError::Late));
    match begun {
        Ok((lines, None)) => (Outcome { lines, failed: false }, None),
        Ok((mut lines, Some(problem))) => {
            lines.extend(failed(&problem).lines);
            (Outcome { lines, failed: true }, None)
        }
        Err(e) => {
            let is_held = held(&worker).is_some() && !matches!(e, PreError::Late);
            let last = (!is_held).then(|| LastResort::new(&worker, stopped)).flatten();
            let mut outcome = failed(&e);
            if last.is_some() {
                outcome
                    .lines
                    .push(workflow::line("awf-bpf: nothing holds this job, so its Runner.Worker is killed"));
            }
            (outcome, last)
        }
    }
}

/// The end of a job that nothing holds: its steps run whatever the hook exits with (`if: always()`).
#[derive(Debug)]
pub struct LastResort {
    worker: std::os::fd::OwnedFd,
    /// Until it is killed.
    _stopped: Option<Stopped>,
}

impl LastResort {
    fn new(worker: &Worker, stopped: Option<Stopped>) -> Option<Self> {
        let pid = Pid::from_raw(worker.process.tgid.cast_signed())?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        worker.lives().then_some(Self { worker: pidfd, _stopped: stopped })
    }

    /// Kills the Worker, after what there is to say was said.
    pub fn take(self) {
        if let Err(e) = pidfd_send_signal(&self.worker, Signal::KILL) {
            log::error!("Runner.Worker could not be killed: {e}");
        }
    }
}

fn hold(worker: &Worker, stopped: &mut Option<Stopped>) -> Result<(Vec<String>, Option<PreError>), PreError> {
    // A step that calls takes no lock, which it could hold on to.
    let not_held = || held(worker).map_or(Ok(()), |run| Err(PreError::Held(run)));
    not_held()?;
    *stopped = worker.stop();
    let _one = lock(LOCK)?;
    not_held()?;
    if !worker.waits() {
        return Err(PreError::Late);
    }
    clear_stale();
    let service = cgroup::of_process(worker.process.tgid)?;
    let taken = escapes::cgroups::take_back(&service);
    taken.map_err(|source| PreError::Delegated { path: service.display().to_string(), source })?;
    let mut decision = decide(worker);
    let attached = attach::start(plan(worker, &decision))?;
    if let Err(e) = settle(worker) {
        // What holds is attached; only what the steps leave could not be ended.
        decision.problem.get_or_insert(e.into());
    }
    let lines = if decision.problem.is_none() { told(worker, &decision, &attached) } else { Vec::new() };
    Ok((lines, decision.problem))
}

/// The run that the Worker is in, its daemon dead or alive.
fn held(worker: &Worker) -> Option<String> {
    let dir = cgroup::of_process(worker.process.tgid).ok()?;
    let names = dir.components().filter_map(|part| part.as_os_str().to_str());
    names.filter_map(|name| name.strip_prefix(cgroup::PREFIX)).map(str::to_owned).next()
}

/// Ends what is left of jobs whose Worker is gone: their completed hook never ran, or a process survived it.
fn clear_stale() {
    let runs = attach::list().unwrap_or_else(|e| {
        log::warn!("looking for runs of earlier jobs: {e}");
        Vec::new()
    });
    for run in runs.iter().filter(|run| is_of_hook(run)) {
        if worker_of(run).is_some_and(|(pid, started)| worker::lives(pid, started)) {
            continue;
        }
        if let Err(e) = cgroup::kill(&run.cgroup, PATIENCE) {
            log::warn!("run {} of an earlier job: {e}", run.id);
            continue;
        }
        match attach::detach(&run.id) {
            // Empty, it ends by itself.
            Ok(_) | Err(AttachError::NoRun(_) | AttachError::NotAttached(_)) => {}
            Err(e) => log::warn!("run {} of an earlier job: {e}", run.id),
        }
    }
}

fn decide(worker: &Worker) -> Decision {
    let context = Context::of(worker.caller());
    let machine = policies::of_machine();
    let settings = machine.as_ref().map(|machine| machine.hook.clone()).unwrap_or_default();
    let own = policies::of_worker(context.as_ref().ok(), &settings);
    let mut decision = Decision {
        steps: Policy::default(),
        machine: machine.as_ref().ok().cloned(),
        own: Policy::default(),
        context: context.as_ref().ok().cloned(),
        narrowed: false,
        problem: None,
    };
    match own {
        Ok(own) => decision.own = own,
        Err(e) => {
            // It still has to tell GitHub how the job ended.
            decision.own =
                policies::of_worker(context.as_ref().ok(), &HookSettings::default()).unwrap_or_default();
            decision.problem = Some(PreError::Policy(e));
            return decision;
        }
    }
    match steps(worker, context, machine) {
        Ok((steps, narrowed)) => (decision.steps, decision.narrowed) = (steps, narrowed),
        Err(e) => decision.problem = Some(e),
    }
    decision
}

fn steps(
    worker: &Worker,
    context: Result<Context, ContextError>,
    machine: Result<ResolvedAttach, PolicyError>,
) -> Result<(Policy, bool), PreError> {
    if worker.runner.is_none() {
        return Err(PreError::NotInstalled { exe: worker.exe.display().to_string() });
    }
    let context = context?;
    let ResolvedAttach { policy, hook, .. } = machine.map_err(PreError::Policy)?;
    if !hook.allow_repository_policy {
        return Ok((policy, false));
    }
    match policies::of_repository(&context, worker.uid).map_err(PreError::Policy)? {
        Some(repository) => Ok((policy.narrowed_by(&repository), true)),
        None => Ok((policy, false)),
    }
}

fn plan(worker: &Worker, decision: &Decision) -> AttachPlan {
    let mut plan = AttachPlan::new(Target::Processes(vec![worker.process]), decision.steps.clone());
    plan.own = vec![(worker.process, decision.own.clone())];
    plan.steps_of = Some(worker.process);
    plan.on_failure = OnFailure::Refuse;
    if let Some(machine) = &decision.machine {
        plan.name_servers.clone_from(&machine.name_servers);
        plan.upstream_proxies = machine.upstream_proxies.clone();
        plan.deadlines = machine.deadlines;
        plan.audit_dir.clone_from(&machine.audit_dir);
        plan.sockets = if machine.keep_sockets { OldSockets::Keep } else { OldSockets::Cut };
    }
    let mut note = |name: &str, value: String| plan.labels.insert(name.to_owned(), value);
    note(label::KIND, label::HOOK.to_owned());
    note(label::WORKER, worker.process.tgid.to_string());
    note(label::STARTED, worker.process.started.to_string());
    if let Some(context) = &decision.context {
        note(label::RUN_ID, context.key.run_id.clone());
        note(label::ATTEMPT, context.key.attempt.clone());
        note(label::JOB, context.key.job.clone());
    }
    plan
}

/// Moves the Worker one cgroup down: what is born there can be killed as a whole while it lives on.
fn settle(worker: &Worker) -> Result<(), CgroupError> {
    let dir = cgroup::of_process(worker.process.tgid)?.join(JOB);
    fs::create_dir(&dir).map_err(|source| CgroupError::Make { path: dir.clone(), source })?;
    cgroup::enter(&dir, worker.process.tgid).map(|_| ())
}

fn failed(error: &PreError) -> Outcome {
    let why = error.to_string();
    let line = match error {
        PreError::Policy(PolicyError { line: Some(line), why }) => {
            let text = format!("{REPOSITORY} is not valid, so the steps of this job have no network: {why}");
            workflow::annotation_at("error", REPOSITORY, *line, &text)
        }
        PreError::Worker(_) | PreError::Held(_) => workflow::annotation("error", &why),
        _ => workflow::annotation("error", &format!("the steps of this job have no network: {why}")),
    };
    Outcome { lines: vec![line], failed: true }
}

fn told(worker: &Worker, decision: &Decision, attached: &Attached) -> Vec<String> {
    let mut lines = vec![format!(
        "::group::awf-bpf: the network of this job's steps is restricted (run {})",
        attached.id
    )];
    let mut say = |text: String| lines.push(workflow::line(&text));
    let narrowed = if decision.narrowed {
        format!(", narrowed by the repository's {REPOSITORY}")
    } else {
        String::new()
    };
    say(format!(
        "Enforced by the kernel on every process of the steps, IPv4 and IPv6: /etc/awf-bpf/policy.toml{narrowed}"
    ));
    if decision.steps.allows_nothing() {
        say("  nothing is allowed".into());
    }
    decision.steps.shown(SHOWN).into_iter().for_each(|rule| say(format!("  {rule}")));
    let own = decision.own.count(List::Allow);
    say(format!(
        "The runner's Worker itself (pid {}) reaches {own} hosts of GitHub's and of the machine's settings: {}, ...",
        worker.process.tgid,
        WORKER_HOSTS[..3].join(", ").replace('=', "")
    ));
    let cut = attached.old_sockets.iter().filter(|socket| socket.cut).count();
    if cut > 0 {
        say(format!("{cut} connections of the Worker's from before were ended; it makes new ones"));
    }
    attached.notes.iter().for_each(|note| say(format!("Note: {note}")));
    open_ways(worker).into_iter().for_each(&mut say);
    say(format!("Record: {}", attached.audit.display()));
    lines.push("::endgroup::".to_owned());
    lines
}

/// What is not enforced.
fn open_ways(worker: &Worker) -> Vec<String> {
    const MOST: usize = 20;
    let account = match Account::find(&worker.uid.to_string()) {
        Ok(account) => account,
        Err(e) => return vec![format!("It is not known what leads out of the job: {e}")],
    };
    let binary = std::env::current_exe().unwrap_or_default();
    let all = escapes::look(&account, worker.runner.as_deref(), &binary);
    let open = all.into_iter().filter(|escape| escape.way != Way::Closed);
    let shown = |escape: Escape| {
        let what = if escape.way == Way::Open {
            "NOT ENFORCED beyond"
        } else {
            "It is not known whether a step gets out by"
        };
        let remedy = escape.remedy.map_or(String::new(), |remedy| format!(" (to close it: {remedy})"));
        format!("{what} {}: {}{remedy}", escape.name, escape.found)
    };
    open.take(MOST).map(shown).collect()
}
