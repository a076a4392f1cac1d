//! What faces the command: proxy and stub, joined to the kernel side and the record, and the tasks that serve.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};

use super::{
    SessionError,
    diagnosis::{Diagnosis, Facts},
    join::{KernelView, Refusals},
    prepare,
    selftest::{self, Others},
};
use crate::{
    audit::JsonSink,
    bpf::{Events, Kernel, Origins, Processes, Ring, Steps},
    dns::{DnsError, DnsStub, StandIns, Upstream},
    jail::SelfTest,
    netns::CommandNetwork,
    policy::{LivePolicy, live::Process},
    proxy::{self, Interception, Proxy},
    upstream_proxy::UpstreamProxies,
};

/// What it goes by.
#[derive(Debug)]
pub(super) struct FrontPlan {
    pub(super) policy: Arc<LivePolicy>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) upstream_proxies: UpstreamProxies,
    pub(super) interception: Option<(Interception, Facts)>,
    pub(super) limits: proxy::Limits,
    pub(super) audit: Arc<JsonSink>,
    /// The process whose children are the steps of a job.
    pub(super) steps_of: Option<Process>,
}

/// Proxy and stub of a run whose kernel side is in place.
#[derive(Debug)]
pub(super) struct Front {
    kernel: Arc<KernelView>,
    proxy: Arc<Proxy>,
    stub: Arc<DnsStub<JsonSink>>,
    /// Dropped last: it records what the kernel refused up to the end.
    _events: Events,
}

impl Front {
    /// Joins them; nothing is served yet.
    ///
    /// # Errors
    ///
    /// When a map is missing, or the reader of events cannot be started.
    pub(super) fn join(
        plan: FrontPlan,
        kernel: &mut Kernel,
        network: &CommandNetwork,
    ) -> Result<Self, SessionError> {
        let FrontPlan { policy, upstream, upstream_proxies, interception, limits, audit, steps_of } = plan;
        let mut processes = Processes::new(!prepare::in_first_pid_namespace());
        if let Some(worker) = steps_of {
            processes = processes.with_steps(Steps::new(worker.tgid, worker.started));
        }
        let processes = Arc::new(processes);
        let refusals = Refusals::new(Arc::clone(&audit));
        let origins = Origins::new(kernel.take_origins()?, network.cookie);
        let take = move |notice| refusals.take(notice);
        let ring = Arc::new(Ring::new(kernel.take_events()?, processes, take));
        let events = Events::start(Arc::clone(&ring))?;
        let kernel = Arc::new(KernelView::new(origins, ring));
        let source = Arc::<KernelView>::clone(&kernel);
        let stub = DnsStub::new(Arc::clone(&policy), upstream, Arc::clone(&audit), source);
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
            Arc::new(Diagnosis::new(audit, facts)),
            upstream_proxies,
            interception,
            limits,
        ));
        Ok(Self { kernel, proxy, stub, _events: events })
    }

    /// Starts the stub and the proxy; their first work is to answer the self-test. Must run inside the runtime.
    ///
    /// # Errors
    ///
    /// When the runtime does not take a socket.
    pub(super) fn serve(
        &self,
        network: CommandNetwork,
        test: SelfTest,
        others: Others,
    ) -> Result<Servers, SessionError> {
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
            let mut early = selftest::answer(&listeners, &*kernel, &test, others).await?;
            let serving = listeners
                .into_iter()
                .map(|l| tokio::spawn(Arc::clone(&proxy).serve_after(std::mem::take(&mut early), l)));
            for task in serving.collect::<Vec<_>>() {
                let _ = task.await;
            }
            Ok(())
        };
        Ok(Servers { stop, stub: tokio::spawn(stub), proxy: tokio::spawn(serve) })
    }

    /// No connection is taken any more.
    pub(super) fn stop(&self) {
        self.proxy.stop();
    }
}

/// The tasks that face the command.
#[derive(Debug)]
pub(super) struct Servers {
    stop: Arc<Notify>,
    stub: JoinHandle<Result<(), DnsError>>,
    proxy: JoinHandle<Result<(), SessionError>>,
}

impl Servers {
    pub(super) fn abort(self) {
        self.proxy.abort();
        self.stub.abort();
    }

    /// Ends them; connections that are still open get their record.
    pub(super) async fn end(self) {
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
