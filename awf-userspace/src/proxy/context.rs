//! What every connection of one proxy shares, and the one place where the policy is asked.

use std::{
    fmt,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Semaphore;

use super::{
    Limits, OriginalDst, Owner, Resolve, ResolveError, flow::Shares, intercept::Interception, seat::Sockets,
};
use crate::{
    audit::Recorder,
    policy::{Chosen, Denied, DomainName, Host, LivePolicy, Policy, Protocol, Reason},
    upstream_proxy::UpstreamProxies,
};

pub(super) use crate::policy::Route;

type Resolving<'a> = Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, ResolveError>> + Send + 'a>>;

/// [`Resolve`] behind a pointer, so that only [`Context::new`] is generic.
pub(super) trait AnyResolve: Send + Sync {
    fn resolve_boxed<'a>(&'a self, name: &'a DomainName, chosen: Chosen<'a>) -> Resolving<'a>;
    fn resolve_host_boxed<'a>(&'a self, name: &'a DomainName) -> Resolving<'a>;
    fn may_tell(&self, name: &DomainName, chosen: &Chosen<'_>) -> Result<(), ResolveError>;
    fn names_of(&self, ip: IpAddr) -> Vec<DomainName>;
}

impl<R: Resolve> AnyResolve for R {
    fn resolve_boxed<'a>(&'a self, name: &'a DomainName, chosen: Chosen<'a>) -> Resolving<'a> {
        Box::pin(self.resolve(name, chosen))
    }

    fn resolve_host_boxed<'a>(&'a self, name: &'a DomainName) -> Resolving<'a> {
        Box::pin(self.resolve_host(name))
    }

    fn may_tell(&self, name: &DomainName, chosen: &Chosen<'_>) -> Result<(), ResolveError> {
        Resolve::may_tell(self, name, chosen)
    }

    fn names_of(&self, ip: IpAddr) -> Vec<DomainName> {
        Resolve::names_of(self, ip)
    }
}

/// The policy, the seams and the limits.
pub(super) struct Context {
    policy: Arc<LivePolicy>,
    pub(super) origins: Arc<dyn OriginalDst>,
    pub(super) resolver: Arc<dyn AnyResolve>,
    pub(super) recorder: Arc<dyn Recorder>,
    pub(super) upstream: UpstreamProxies,
    pub(super) limits: Arc<Limits>,
    /// Where the proxy itself listens, and what else of ours is where host services are.
    own: RwLock<Vec<SocketAddr>>,
    /// For HTTP/2 connections; see [`Limits::http2`].
    pub(super) http2: Semaphore,
    /// See [`Limits::http2_large`].
    pub(super) http2_large: Semaphore,
    pub(super) shares: Shares,
    pub(super) sockets: Sockets,
    /// See [`Limits::attempts`].
    pub(super) attempts: Arc<Semaphore>,
    /// For TLS that ends here.
    pub(super) interception: Option<Arc<Interception>>,
    /// Connections that were nobody's.
    strangers: AtomicU64,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Context {
    pub(super) fn new<O: OriginalDst, R: Resolve, A: Recorder>(
        policy: Arc<LivePolicy>,
        origins: Arc<O>,
        resolver: Arc<R>,
        recorder: Arc<A>,
        upstream: UpstreamProxies,
        limits: Limits,
    ) -> Self {
        let (http2, sockets) = (Semaphore::new(limits.http2), Sockets::new(limits.sockets));
        let (http2_large, shares) = (Semaphore::new(limits.http2_large), Shares::new(&limits));
        let (attempts, limits) = (Arc::new(Semaphore::new(limits.attempts)), Arc::new(limits));
        Self {
            policy,
            origins,
            resolver,
            recorder,
            upstream,
            limits,
            own: RwLock::default(),
            http2,
            http2_large,
            shares,
            sockets,
            attempts,
            interception: None,
            strangers: AtomicU64::new(0),
        }
    }

    /// Whether one more connection without an origin is worth a record: of those of other users of the machine, who
    /// can make any number, the 1st, 2nd, 4th, 8th ...
    pub(super) fn is_stranger_due(&self) -> bool {
        (self.strangers.fetch_add(1, Ordering::Relaxed) + 1).is_power_of_two()
    }

    /// Remembers that `address` is a listener of ours.
    pub(super) fn listens_on(&self, address: SocketAddr) {
        self.own.write().unwrap_or_else(std::sync::PoisonError::into_inner).push(canonical(address));
    }

    /// Whether `address` is a listener of ours.
    pub(super) fn is_own(&self, address: SocketAddr) -> bool {
        let own = self.own.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        own.contains(&canonical(address))
    }

    #[cfg(test)]
    pub(super) fn live(&self) -> &LivePolicy {
        &self.policy
    }

    /// What is allowed now to who made a connection.
    pub(super) fn rules(self: &Arc<Self>, owner: Option<&Owner>) -> Rules {
        let tgid = owner.map(|owner| owner.tgid);
        let policy = self.policy.of_tgid(tgid, |tgid| self.origins.started(tgid));
        Rules { context: Arc::clone(self), policy }
    }

    /// Whether TLS that is allowed ends here, but for what may be spared.
    fn looks_into_all(&self) -> bool {
        self.interception.as_ref().is_some_and(|interception| interception.is_of_all())
    }
}

/// The policy of one judgement, taken once: nothing of that is asked of a later one.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    context: Arc<Context>,
    pub(super) policy: Arc<Policy>,
}

impl Rules {
    /// Whether, and by which rule, `protocol` may be spoken to `named` on `port`. `at`: the address that the
    /// command dialled, which an address rule may allow where the name is not allowed; without a name it is all
    /// there is.
    pub(super) fn decide(
        &self,
        named: Option<&Host>,
        at: Option<IpAddr>,
        port: u16,
        protocol: Protocol,
    ) -> Result<Route, Denied> {
        self.keeping()?;
        let route = self.policy.decide(named, at, port, protocol)?;
        if route.urls && protocol == Protocol::Tls && !self.context.looks_into_all() {
            return Err(self.policy.unseen(named.unwrap_or(&route.dial), port));
        }
        Ok(route)
    }

    /// Whether, and by which rule, any protocol at all may be spoken to `at`: as an address, or as a name for
    /// which the command was given it.
    pub(super) fn decide_other(&self, at: SocketAddr) -> Result<Route, Denied> {
        let by_address = self.decide(None, Some(at.ip()), at.port(), Protocol::Other);
        match by_address {
            Err(denied) if denied.reason != Reason::Blocked => {
                let names =
                    self.context.resolver.names_of(at.ip().to_canonical()).into_iter().map(Host::Name);
                names
                    .map(|name| self.decide(Some(&name), None, at.port(), Protocol::Other))
                    .find_map(Result::ok)
                    .ok_or(denied)
            }
            verdict => verdict,
        }
    }

    /// The refusal of everything that a connection to `at` could be for, when no rule is about its port: of the
    /// name for which the command was last given that address, else of the address. The ports of the web have no
    /// such refusal, since TLS and HTTP there are answered in their own words.
    pub(super) fn closed_port(&self, at: SocketAddr) -> Option<(Host, Denied)> {
        let local = self.policy.host_addresses(&Host::from(at.ip()), at.port()).is_some();
        if local || [80, 443].contains(&at.port()) || self.policy.knows_port(at.port()) {
            return None;
        }
        let ip = at.ip().to_canonical();
        let host = self.context.resolver.names_of(ip).into_iter().next().map_or(Host::Ip(ip), Host::Name);
        let denied = self.decide_any(&host, at.port()).err()?;
        Some((host, denied))
    }

    /// Whether anything at all may be spoken to `host` on `port`; see [`Policy::decide_any`].
    pub(super) fn decide_any(&self, host: &Host, port: u16) -> Result<Route, Denied> {
        self.keeping()?;
        self.policy.decide_any(host, port)
    }

    fn keeping(&self) -> Result<(), Denied> {
        if !self.context.recorder.is_keeping() {
            return Err(denied(
                Reason::AuditFailed,
                "the audit log cannot be written, so nothing is allowed",
            ));
        }
        Ok(())
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A refusal of the proxy's own, which no flag would lift.
pub(super) fn denied(reason: Reason, message: impl Into<String>) -> Denied {
    Denied { reason, rule: None, message: message.into(), allow_with: None }
}
