//! The run as a story: lay the ground, enforce, serve, launch, wait, clear.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use awf_common::{Globals, PortSet};
use tokio::{net::TcpListener, runtime::Runtime, sync::Notify, task::JoinHandle};

use super::{
    Ground, SessionError,
    diagnosis::{Diagnosis, Facts},
    join::{KernelView, Refusals},
    limits::OwnLimits,
    prepare, selftest,
    state::new_id,
};
use crate::{
    audit::{JsonSink, Summary},
    bpf::{self, BpfError, Events, Loading, Origins, Processes, Programs, Ring},
    cgroup::limits::Limits,
    config::{Chroot, NetworkMode, SessionPlan},
    dns::{DnsError, DnsStub, StandIns, Upstream},
    jail::{InitSpec, SelfTest},
    launch::{self, BlockedSignals, LaunchSpec, Outcome, Signals, Starting, Terminal, terminal::Console},
    netns::{self, CommandNetwork},
    policy::LivePolicy,
    proxy::{Interception, Proxy},
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
    // In a namespace of its own the command's side has known ports: the programs can be loaded meanwhile.
    let own = plan.network == NetworkMode::Isolated;
    let loading = own.then(|| load(&plan, netns::PROXY_PORT, netns::DNS_PORT)).transpose()?;
    let id = new_id()?;
    let command = prepare::command(&plan, &id)?;
    let interception = command.tls().map(|tls| tls.interception(&plan.tls)).transpose()?;
    let interception = interception.zip(command.tls().map(|tls| tls.facts(&plan)));
    let upstream = Arc::new(prepare::upstream(&plan));
    super::reap_quietly();

    let mut ground = Ground::lay(id)?;
    let wanted = Limits { memory: plan.memory_limit, pids: plan.pids_limit };
    ground.limit(wanted, plan.jail.chroot == Chroot::Auto)?;
    let network = netns::start(ground.cgroup().proxy(), own)?.finish()?;
    let audit = Arc::new(prepare::audit(&plan, ground.id())?);
    let loading = match loading {
        Some(loading) => loading,
        None => load(&plan, network.proxy_addr.port(), network.dns_port)?,
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

fn load(plan: &SessionPlan, proxy_port: u16, dns_port: u16) -> Result<Loading, BpfError> {
    let shared_netns = u8::from(plan.network == NetworkMode::Host);
    let mut host_ports = Box::new(PortSet::EMPTY);
    plan.policy.host_ports().for_each(|port| host_ports.insert(port));
    Programs::start_loading(Globals { proxy_port, dns_port, shared_netns, reserved: [0; 3] }, host_ports)
}

/// Two threads: one connection must not wait for another's resolver.
fn runtime() -> Result<Runtime, SessionError> {
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
    kernel: Arc<KernelView>,
    proxy: Arc<Proxy>,
    stub: Arc<DnsStub<JsonSink>>,
    /// Dropped last: it records what the kernel refused up to the end.
    _events: Events,
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
        let processes = Arc::new(Processes::new(!prepare::in_first_pid_namespace()));
        let refusals = Refusals::new(Arc::clone(audit));
        let kernel = ground.kernel()?;
        let origins = Origins::new(kernel.take_origins()?, network.cookie);
        let take = move |notice| refusals.take(notice);
        let ring = Arc::new(Ring::new(kernel.take_events()?, processes, take));
        let events = Events::start(Arc::clone(&ring))?;
        let kernel = Arc::new(KernelView::new(origins, ring));
        let own = prepare::own_addresses()?;
        let upstream_proxies = prepare::upstream_proxies(&plan, &own);
        let policy = Arc::new(LivePolicy::new(plan.policy.clone().with_own_addresses(own)));
        let source = Arc::<KernelView>::clone(&kernel);
        let stub = DnsStub::new(Arc::clone(&policy), upstream, Arc::clone(audit), source);
        let proxies = upstream_proxies.clone();
        let mut stand_ins = StandIns::new(move |name| proxies.carries(name));
        if interception.is_some() {
            stand_ins = stand_ins.for_refused(prepare::tells_of_refusal());
        }
        let stub = Arc::new(stub.with_stand_ins(stand_ins));
        let (interception, facts) = interception.unzip();
        let proxy = Arc::new(Proxy::new(
            policy,
            Arc::clone(&kernel),
            Arc::clone(&stub),
            Arc::new(Diagnosis::new(Arc::clone(audit), facts)),
            upstream_proxies,
            interception,
            limits.proxy(&plan.deadlines),
        ));
        Ok(Self { plan, kernel, proxy, stub, _events: events })
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
        let servers = self.start_servers(network, test)?;
        let ended = self.supervise((starting, terminal.as_ref()), &mut signals, ground).await;
        // Whatever became of it: nothing of the command may outlive its servers.
        ground.kill()?;
        self.proxy.stop();
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

    /// Starts the stub and the proxy; their first work is to answer the self-test.
    fn start_servers(&self, network: CommandNetwork, test: SelfTest) -> Result<Servers, SessionError> {
        let dns_port = network.dns_port;
        let own = network.netns().is_some();
        let (proxy, udp, tcp) = network.into_parts();
        if !own {
            // The stub is among the host's services then.
            for ip in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
                self.proxy.keep_from(SocketAddr::new(ip, dns_port));
            }
        }
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let stub = Arc::clone(&self.stub).serve(udp, tcp, async move { stopped.notified().await });
        let listeners = proxy.into_iter().map(TcpListener::from_std).collect::<Result<Vec<_>, _>>();
        let listeners = listeners.map_err(SessionError::Listener)?;
        let (kernel, proxy) = (Arc::clone(&self.kernel), Arc::clone(&self.proxy));
        let serve = async move {
            selftest::answer(&listeners, &*kernel, &test).await?;
            let serving = listeners.into_iter().map(|l| tokio::spawn(Arc::clone(&proxy).serve(l)));
            for task in serving.collect::<Vec<_>>() {
                let _ = task.await;
            }
            Ok(())
        };
        Ok(Servers { stop, stub: tokio::spawn(stub), proxy: tokio::spawn(serve) })
    }

    async fn supervise(
        &self,
        (starting, terminal): (Starting, Option<&Terminal>),
        signals: &mut Signals,
        ground: &Ground,
    ) -> Result<(Outcome, Option<Console>), SessionError> {
        let mut child = starting.run(terminal).await?;
        child.notes().iter().for_each(|note| log::info!("{note}"));
        let limits = launch::Limits { timeout: self.plan.timeout, ..launch::Limits::default() };
        let kill = || {
            if let Err(e) = ground.kill_now() {
                log::error!("{e}");
            }
        };
        let outcome = launch::supervise(&mut child, signals, limits, kill).await;
        Ok((outcome.map_err(SessionError::Wait)?, child.take_console()))
    }
}

/// The tasks that face the command.
struct Servers {
    stop: Arc<Notify>,
    stub: JoinHandle<Result<(), DnsError>>,
    proxy: JoinHandle<Result<(), SessionError>>,
}

impl Servers {
    fn abort(self) {
        self.proxy.abort();
        self.stub.abort();
    }

    /// Ends them; connections that are still open get their record.
    async fn end(self) {
        self.stop.notify_one();
        match self.proxy.await {
            Ok(Err(e)) => log::error!("{e}"),
            Err(e) if e.is_panic() => log::error!("the proxy's task failed: {e}"),
            _ => {}
        }
        match self.stub.await {
            Ok(Err(e)) => log::error!("{e}"),
            Err(e) if e.is_panic() => log::error!("the DNS stub's task failed: {e}"),
            _ => {}
        }
    }
}
