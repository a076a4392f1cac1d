//! The run as a story: lay the ground, enforce, serve, launch, wait, clear.

use std::{path::PathBuf, sync::Arc, time::Duration};

use awf_common::{Globals, PortSet};
use tokio::runtime::Runtime;

use super::{
    Ground, SessionError,
    diagnosis::Facts,
    front::{Front, FrontPlan},
    limits::OwnLimits,
    live_rules::LiveRules,
    prepare::{self, NameServing},
    selftest::{self, Others},
    state::new_id,
};
use crate::{
    audit::{JsonSink, Summary},
    bpf::{self, BpfError, Loading, Programs},
    cgroup::limits::Limits,
    config::{Chroot, NetworkMode, SessionPlan, TlsMode},
    dns::Upstream,
    jail::{InitSpec, SelfTest},
    launch::{self, BlockedSignals, LaunchSpec, Outcome, Signals, Starting, Terminal, terminal::Console},
    netns::{self, CommandNetwork},
    policy::LivePolicy,
    proxy::Interception,
};

/// How a run ended.
#[derive(Debug)]
pub struct Finished {
    pub outcome: Outcome,
    pub summary: Summary,
    /// The audit file.
    pub audit: PathBuf,
}

/// Runs `plan`'s command behind the firewall and waits for its end. To be called on the main thread: the command
/// dies with the thread that started it.
///
/// # Errors
///
/// Names the step that failed; the command was not run then, or is dead, and nothing of the run is left but what
/// `awf-bpf gc` is told to clear.
pub fn run(plan: SessionPlan) -> Result<Finished, SessionError> {
    let terminal = Terminal::look(plan.tty).map_err(SessionError::Terminal)?;
    let signals = match terminal {
        Some(_) => BlockedSignals::install_for_terminal(),
        None => BlockedSignals::install(),
    };
    let signals = signals.map_err(SessionError::Signals)?;
    let limits = OwnLimits::raise();
    limits.suffice()?;
    // In a namespace of its own the command's side has known ports: the programs can be loaded meanwhile.
    let own = plan.network == NetworkMode::Isolated;
    if let Some(run) = (!own).then(|| super::attach::behind(std::process::id())).flatten() {
        return Err(SessionError::Behind(run));
    }
    let loading = own.then(|| load(&plan, netns::PROXY_PORT, netns::DNS_PORT, 0)).transpose()?;
    let id = new_id()?;
    let command = prepare::command(&plan, &id)?;
    let interception = command.tls().map(|tls| tls.interception(&plan.tls)).transpose()?;
    let interception = interception.zip(command.tls().map(|tls| tls.facts(&plan)));
    let upstream = Arc::new(prepare::upstream(&NameServing::of(&plan)));
    super::reap_quietly();

    let mut ground = Ground::lay(id)?;
    let wanted = Limits { memory: plan.memory_limit, pids: plan.pids_limit };
    ground.limit(wanted, plan.jail.chroot == Chroot::Auto)?;
    let network = netns::start(ground.cgroup().proxy(), own)?.finish()?;
    let audit = Arc::new(prepare::audit(plan.audit_dir.as_deref(), ground.id(), prepare::invoker(&plan))?);
    let loading = match loading {
        Some(loading) => loading,
        None => load(&plan, network.proxy_addr.port(), network.dns_port, network.cookie)?,
    };
    let runtime = runtime()?;
    let test = selftest::new(network.proxy.len())?;
    let restore = limits.restore(signals.original_mask());
    let init = command.init(&plan, ground.id(), network.proxy_addr, &test, restore);
    // It makes the command's surroundings while the programs are loaded.
    let starting = start(init, &ground, &network, (&runtime, terminal.as_ref()))?;
    ground.enforce(loading.finish()?)?;
    if !own {
        bpf::mark_listeners(ground.kernel()?, network.sockets())?;
    }
    let run = Run::join(plan, &limits, &mut ground, &network, &audit, (upstream, interception))?;

    let outcome = runtime.block_on(run.serve((starting, terminal, test), signals, network, &ground));
    command.warn_of_startup_files();
    let counters = ground.counters();
    let cleared = ground.clear();
    drop(runtime);

    if let Err(e) = audit.finish() {
        log::error!("{e}");
    }
    let (outcome, ()) = (outcome?, cleared?);
    let mut summary = audit.summary();
    summary.kernel_drops = counters.packets_dropped;
    summary.lost_events = counters.events_lost;
    Ok(Finished { outcome, summary, audit: audit.path().to_owned() })
}

fn start(
    mut init: InitSpec,
    ground: &Ground,
    network: &CommandNetwork,
    (runtime, terminal): (&Runtime, Option<&Terminal>),
) -> Result<Starting, SessionError> {
    init.join = ground.limits().v1().map(Into::into).collect();
    let mut spec = LaunchSpec::new(ground.cgroup().agent(), network.netns(), init);
    spec.terminal = terminal;
    let _reactor = runtime.enter();
    Ok(launch::start(&spec)?)
}

fn load(plan: &SessionPlan, proxy_port: u16, dns_port: u16, cookie: u64) -> Result<Loading, BpfError> {
    let shared_netns = u8::from(plan.network == NetworkMode::Host);
    let mut host_ports = Box::new(PortSet::EMPTY);
    plan.policy.host_ports().for_each(|port| host_ports.insert(port));
    let globals = Globals { proxy_port, dns_port, shared_netns, reserved: [0; 3], netns: cookie };
    Programs::start_loading(globals, host_ports)
}

/// Two threads: one connection must not wait for another's resolver.
pub(super) fn runtime() -> Result<Runtime, SessionError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_io()
        .enable_time()
        .thread_name("awf-proxy")
        .build()
        .map_err(SessionError::Runtime)
}

/// A run whose kernel side is in place.
struct Run {
    plan: SessionPlan,
    front: Front,
    rules: LiveRules<JsonSink>,
    audit: Arc<JsonSink>,
}

impl Run {
    fn join(
        plan: SessionPlan,
        limits: &OwnLimits,
        ground: &mut Ground,
        network: &CommandNetwork,
        audit: &Arc<JsonSink>,
        (upstream, interception): (Arc<Upstream>, Option<(Interception, Facts)>),
    ) -> Result<Self, SessionError> {
        let own = prepare::own_addresses()?;
        let upstream_proxies = prepare::upstream_proxies(&plan.upstream_proxies, &own);
        let base = plan.policy.clone().with_own_addresses(own);
        let policy = Arc::new(LivePolicy::new(base.clone()));
        let looks_into_all = plan.tls.mode == TlsMode::On;
        let rules = LiveRules::in_force(base, looks_into_all, Arc::clone(&policy), Arc::clone(audit));
        let front = FrontPlan {
            upstream_proxies,
            policy,
            upstream,
            interception,
            limits: limits.proxy(&plan.deadlines),
            audit: Arc::clone(audit),
            steps_of: None,
        };
        let front = Front::join(front, ground.kernel()?, network)?;
        Ok(Self { plan, front, rules, audit: Arc::clone(audit) })
    }

    /// Serves the command from before it runs until it and all it left behind are dead.
    async fn serve(
        self,
        (starting, terminal, test): (Starting, Option<Terminal>, SelfTest),
        signals: BlockedSignals,
        network: CommandNetwork,
        ground: &Ground,
    ) -> Result<Outcome, SessionError> {
        let mut signals = Signals::listen(signals).map_err(SessionError::Signals)?;
        let Self { plan, front, rules, audit } = self;
        let servers = front.serve(network, test, Others::Fail)?;
        super::edits::serve(ground.dir()?, rules, audit)?;
        let ended = supervise((starting, terminal.as_ref()), &mut signals, ground, plan.timeout).await;
        // Whatever became of it: nothing of the command may outlive its servers.
        ground.kill()?;
        front.stop();
        let (outcome, console) = ended.map_or_else(|e| (Err(e), None), |(outcome, rest)| (Ok(outcome), rest));
        if let Some(console) = console {
            console.drain().await;
        }
        match outcome {
            Ok(_) => servers.end().await,
            // The self-test may never have come.
            Err(_) => servers.abort(),
        }
        outcome
    }
}

async fn supervise(
    (starting, terminal): (Starting, Option<&Terminal>),
    signals: &mut Signals,
    ground: &Ground,
    timeout: Option<Duration>,
) -> Result<(Outcome, Option<Console>), SessionError> {
    let mut child = starting.run(terminal).await?;
    child.notes().iter().for_each(|note| log::info!("{note}"));
    let limits = launch::Limits { timeout, ..launch::Limits::default() };
    let kill = || {
        if let Err(e) = ground.kill_now() {
            log::error!("{e}");
        }
    };
    let outcome = launch::supervise(&mut child, signals, limits, kill).await;
    Ok((outcome.map_err(SessionError::Wait)?, child.take_console()))
}
