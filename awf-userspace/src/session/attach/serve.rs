//! The daemon's life: what it makes, in the order of it, what it waits for, and its end.

use std::{path::Path, sync::Arc};

use awf_common::{Globals, PortSet};
use tokio::{
    runtime::Runtime,
    sync::{mpsc, oneshot},
};

use super::{
    AttachError, AttachPlan, OnFailure, daemon,
    ground::Ground,
    place::Place,
    probe, sockets, tree, unit, watch,
    word::{Message, Ready, Step, Word},
};
use crate::{
    audit::JsonSink,
    bpf::{Births, Programs, mark_listeners},
    netns,
    policy::LivePolicy,
    session::{
        control::{self, Asked, Reply, Request, Shown},
        front::{Front, FrontPlan, Servers},
        limits::OwnLimits,
        live_rules::LiveRules,
        prepare::{self, NameServing},
        run::runtime,
        selftest::{self, Others},
    },
};

/// From the first step to the last.
///
/// # Errors
///
/// Names the step that failed; what is left is what [`OnFailure`] says.
pub(super) fn run(plan: AttachPlan, id: &str, word: &mut Word) -> Result<(), AttachError> {
    let limits = OwnLimits::raise();
    word.step(Step::Daemon)?;
    match unit::enter(id) {
        Ok(_) => {}
        Err(why) => word.say(&Message::Note(format!("the daemon has no scope of systemd's: {why}")))?,
    }
    let place = Place::of(&plan.target, id)?;
    let audit = Arc::new(prepare::audit(plan.audit_dir.as_deref(), id, plan.invoker)?);
    let log_dir = audit.path().parent().unwrap_or(Path::new("/")).to_owned();
    daemon::log_to(&log_dir)?;
    let ground = Ground::lay(id, &plan, place)?;
    let mut life = Life { plan, ground, audit, moving: false };
    let runtime = runtime()?;
    match life.begin(&limits, &runtime, word) {
        Ok(run) => life.live(run, &runtime),
        Err(e) => {
            life.fail(&e);
            Err(e)
        }
    }
}

/// A run of a daemon's.
struct Life {
    plan: AttachPlan,
    ground: Ground,
    audit: Arc<JsonSink>,
    /// Whether processes are behind the firewall, or were to be.
    moving: bool,
}

/// What serves a run that has begun.
struct Serving {
    rules: LiveRules<JsonSink>,
    front: Front,
    servers: Servers,
    asked: mpsc::Receiver<Asked>,
    ended: mpsc::Receiver<()>,
}

impl Life {
    fn begin(
        &mut self,
        limits: &OwnLimits,
        runtime: &Runtime,
        word: &mut Word,
    ) -> Result<Serving, AttachError> {
        self.ground.record.audit = Some(self.audit.path().to_owned());
        self.ground.note()?;
        word.step(Step::State)?;
        let network = netns::start(self.ground.proxy()?, false)?.finish()?;
        word.step(Step::Listeners)?;
        let mut host_ports = Box::new(PortSet::EMPTY);
        self.plan.policy.host_ports().for_each(|port| host_ports.insert(port));
        let globals = Globals {
            proxy_port: network.proxy_addr.port(),
            dns_port: network.dns_port,
            shared_netns: 1,
            reserved: [0; 3],
            netns: network.cookie,
        };
        let programs = Programs::start_loading_guarded(globals, host_ports)?.finish()?;
        // A cgroup as a whole is behind them at once, and refused all until the policy is open.
        self.moving = !self.ground.record.is_made();
        self.ground.enforce(programs)?;
        mark_listeners(self.ground.kernel()?, network.sockets())?;
        let mut births = Births::new(self.ground.kernel()?)?;
        word.step(Step::Programs)?;
        let test = selftest::new(network.proxy.len())?;
        let policy = Arc::new(LivePolicy::denying());
        let own = prepare::own_addresses()?;
        let front = self.front(limits, Arc::clone(&policy), &network, &own)?;
        let servers = {
            let _reactor = runtime.enter();
            front.serve(network, test.clone(), Others::Wait)?
        };
        word.step(Step::Serving)?;
        probe::run(&self.ground.place.agent, self.ground.id(), &test)?;
        word.step(Step::Tested)?;
        self.moving = true;
        let processes = self.gather()?;
        word.step(Step::Moved)?;
        let old_sockets = sockets::settle(&self.ground.place.agent, &mut births, self.plan.sockets)?;
        word.step(Step::Sockets)?;
        for (process, policy_of) in &self.plan.own {
            policy.set_for_process(*process, policy_of.clone().with_own_addresses(own.iter().copied()));
        }
        let base = self.plan.policy.clone().with_own_addresses(own);
        let rules = LiveRules::new(base, false, policy, Arc::clone(&self.audit));
        rules.open();
        word.step(Step::Open)?;
        let asked = self.listen(runtime)?;
        let ended = watch::start(&self.ground.place.agent, self.ground.record.is_made())?;
        if let Some(worker) = self.plan.steps_of {
            watch::end_with(worker, &self.ground.place.agent)?;
        }
        word.say(&Message::Ready(Ready { audit: self.audit.path().to_owned(), processes, old_sockets }))?;
        Ok(Serving { rules, front, servers, asked, ended })
    }

    fn front(
        &mut self,
        limits: &OwnLimits,
        policy: Arc<LivePolicy>,
        network: &netns::CommandNetwork,
        own: &[std::net::IpAddr],
    ) -> Result<Front, AttachError> {
        let serving = NameServing {
            servers: self.plan.name_servers.as_deref(),
            isolated: false,
            needless: !self.plan.upstream_proxies.is_empty(),
        };
        let plan = FrontPlan {
            policy,
            upstream: Arc::new(prepare::upstream(&serving)),
            upstream_proxies: prepare::upstream_proxies(&self.plan.upstream_proxies, own),
            interception: None,
            limits: limits.proxy(&self.plan.deadlines),
            audit: Arc::clone(&self.audit),
            steps_of: self.plan.steps_of,
        };
        Ok(Front::join(plan, self.ground.kernel()?, network)?)
    }

    /// Moves who is to be moved, and writes down who has to go back somewhere else.
    fn gather(&mut self) -> Result<usize, AttachError> {
        let Some(home) = self.ground.place.home.clone() else {
            return Ok(crate::cgroup::members(&self.ground.place.agent, true)?.len());
        };
        let moved = tree::gather(&self.ground.place.moves, &self.ground.place.agent, &home)?;
        if !moved.strays.is_empty() {
            self.ground.record.strays = moved.strays;
            self.ground.note()?;
        }
        Ok(moved.processes)
    }

    fn listen(&self, runtime: &Runtime) -> Result<mpsc::Receiver<Asked>, AttachError> {
        let (sender, asked) = mpsc::channel(16);
        let _reactor = runtime.enter();
        let failed = |e: control::ControlError| AttachError::Control {
            id: self.ground.id().to_owned(),
            why: e.to_string(),
        };
        let listener = control::listen(self.ground.dir()).map_err(failed)?;
        tokio::spawn(control::serve(listener, sender));
        Ok(asked)
    }

    /// Serves until it is told to end, or nobody is left to be served.
    fn live(mut self, mut run: Serving, runtime: &Runtime) -> Result<(), AttachError> {
        loop {
            let event = runtime.block_on(async {
                tokio::select! {
                    Some(asked) = run.asked.recv() => Some(asked),
                    Some(()) = run.ended.recv() => None,
                    // Who cannot be told to end serves on: the end would open the network.
                    else => std::future::pending().await,
                }
            });
            let reply = match event {
                None => None,
                Some(Asked { request: Request::Detach {}, reply, .. }) => Some(reply),
                Some(Asked { request: Request::Show {}, reply, .. }) => {
                    let _ = reply.send(Reply::Shown(Shown::of(&self.audit)));
                    continue;
                }
                Some(Asked { request: Request::Policy(request), peer, reply }) => {
                    let _ = reply.send(Reply::Policy(run.rules.answer(&request, &peer)));
                    continue;
                }
            };
            match self.ground.free() {
                Ok(()) => return self.end(run, reply, runtime),
                // It goes on, enforced, and may be asked again.
                Err(e) => match reply {
                    Some(reply) => drop(reply.send(Reply::Error(e.to_string()))),
                    None => return self.lost(run, &e, runtime),
                },
            }
        }
    }

    /// Nobody is left, but something of theirs is that cannot be removed: it is `gc`'s.
    fn lost(self, run: Serving, error: &AttachError, runtime: &Runtime) -> Result<(), AttachError> {
        log::error!("{error}; `awf-bpf gc` clears what is left");
        run.front.stop();
        runtime.block_on(run.servers.end());
        self.finish_audit();
        Ok(())
    }

    /// After the processes are free: what was begun may end, and is on record.
    fn end(
        self,
        run: Serving,
        reply: Option<oneshot::Sender<Reply>>,
        runtime: &Runtime,
    ) -> Result<(), AttachError> {
        run.front.stop();
        runtime.block_on(run.servers.end());
        drop(run.front);
        self.finish_audit();
        let removed = self.ground.remove();
        let answer = match &removed {
            Ok(()) => Reply::Detached {},
            Err(e) => Reply::Error(e.to_string()),
        };
        if let Some(reply) = reply
            && reply.send(answer).is_ok()
        {
            // The answer is written before the process ends: its end is what the asker waits for.
            runtime.block_on(control::written());
        }
        removed
    }

    fn finish_audit(&self) {
        if let Err(e) = self.audit.finish() {
            log::error!("{e}");
        }
    }

    /// A start that failed.
    fn fail(self, error: &AttachError) {
        let refuse = self.moving && self.plan.on_failure == OnFailure::Refuse;
        self.finish_audit();
        if refuse {
            log::error!(
                "{error}; run {} refuses its processes everything until it is detached",
                self.ground.id()
            );
            return;
        }
        if let Err(e) = self.ground.undo() {
            log::error!("{e}; `awf-bpf gc` clears what is left");
        }
    }
}
