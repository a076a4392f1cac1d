//! The audit record of one connection or request, written exactly once however it ends: when its [`Entry`] is
//! dropped. What the requests of a connection came to goes into the connection's own record as well.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError, atomic::Ordering::Relaxed},
    time::Instant,
};

use super::{
    Owner,
    activity::Traffic,
    context::{Context, Rules, denied},
    distrust::{FirstWord, Unheard},
    seat::Permit,
};
use crate::{
    audit::{Decision, EventId, EventKind, Record},
    policy::{Denied, Host, Reason},
};

/// What an open port of the host's loopback is recorded as, whatever it was called.
const LOCALHOST: &str = "localhost";

/// Who is on the command's end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) owner: Option<Owner>,
    /// What was dialled.
    pub(super) dst: Option<SocketAddr>,
}

/// What the requests of one connection came to.
#[derive(Debug, Default)]
struct Requests {
    count: u64,
    bytes_up: u64,
    bytes_down: u64,
    /// The latest that was refused, else the latest.
    worst: Option<Record>,
}

impl Requests {
    fn add(&mut self, request: &Record) {
        self.count += 1;
        self.bytes_up += request.bytes_up.unwrap_or_default();
        self.bytes_down += request.bytes_down.unwrap_or_default();
        let refused = self.worst.as_ref().is_some_and(|worst| worst.decision == Decision::Deny);
        if !refused || request.decision == Decision::Deny {
            self.worst = Some(request.clone());
        }
    }

    /// Puts them into the record of their connection.
    fn sum_up(&self, connection: &mut Record) {
        let add = |bytes: &mut Option<u64>, more| *bytes = Some(bytes.unwrap_or_default() + more);
        add(&mut connection.bytes_up, self.bytes_up);
        add(&mut connection.bytes_down, self.bytes_down);
        let Some(worst) = &self.worst else { return };
        // A CONNECT after them has no record but this one.
        let own = connection.method.is_some();
        if own && (connection.decision == Decision::Deny || worst.decision != Decision::Deny) {
            return;
        }
        *connection = Record {
            event: connection.event,
            method: None,
            url: None,
            status: None,
            bytes_up: connection.bytes_up,
            bytes_down: connection.bytes_down,
            ms: connection.ms,
            requests: Some(self.count),
            ..worst.clone()
        };
    }
}

/// A record in the making.
#[derive(Debug)]
pub(super) struct Entry {
    context: Arc<Context>,
    peer: Peer,
    /// By what is judged what this is the record of.
    pub(super) rules: Rules,
    id: EventId,
    start: Instant,
    pub(super) traffic: Arc<Traffic>,
    /// Boxed: an entry is moved through every future of its connection.
    pub(super) record: Box<Record>,
    /// For a long head of an HTTP/2 stream.
    pub(super) room: Option<Permit>,
    /// Of TLS that ends here.
    pub(super) unheard: Option<Box<Unheard>>,
    /// Shared by a connection and its requests.
    requests: Arc<Mutex<Requests>>,
    /// What time of the connection ran out, if one did.
    ended: Arc<OnceLock<Reason>>,
    /// The connection of a request beside others: recorded behind the last of them.
    beside: Option<Arc<Self>>,
    /// The connection of a request that nothing comes after: recorded behind it.
    connection: Option<Box<Self>>,
}

impl Entry {
    /// Until something is decided it counts as refused because the proxy stopped.
    pub(super) fn new(context: &Arc<Context>, event: EventKind, peer: Peer) -> Self {
        let record = Record {
            port: peer.dst.map(|dst| dst.port()),
            ip: peer.dst.map(|dst| dst.ip().to_canonical()),
            family: peer.dst.map(|dst| if dst.is_ipv4() { 4 } else { 6 }),
            proto: Some("tcp"),
            ..Record::new(event, Decision::Deny, Reason::Shutdown)
        };
        Self {
            context: Arc::clone(context),
            peer,
            rules: context.rules(peer.owner.as_ref()),
            id: context.recorder.next_id(),
            start: Instant::now(),
            traffic: Arc::default(),
            record: Box::new(record),
            room: None,
            unheard: None,
            requests: Arc::default(),
            ended: Arc::default(),
            beside: None,
            connection: None,
        }
    }

    /// The entry of a request on this connection, for the same place until it names its own.
    pub(super) fn request(&self) -> Self {
        let mut entry = Self::new(&self.context, EventKind::Request, self.peer);
        entry.record.host.clone_from(&self.record.host);
        entry.record.port = self.record.port;
        entry.record.via.clone_from(&self.record.via);
        entry.requests = Arc::clone(&self.requests);
        entry.ended = Arc::clone(&self.ended);
        entry
    }

    /// The entry of one of many requests at once on `connection`.
    pub(super) fn request_of(connection: &Arc<Self>) -> Self {
        let mut entry = connection.request();
        entry.beside = Some(Arc::clone(connection));
        entry
    }

    /// What is judged from here on is judged by the policy of now, since the command was waited for; whether that is
    /// another one.
    pub(super) fn renew_rules(&mut self) -> bool {
        let now = self.context.rules(self.peer.owner.as_ref());
        let changed = !Arc::ptr_eq(&now.policy, &self.rules.policy);
        self.rules = now;
        changed
    }

    /// Set, it is why this connection and what is going on there ended.
    pub(super) fn ended(&self) -> Arc<OnceLock<Reason>> {
        Arc::clone(&self.ended)
    }

    /// Of TLS that ends here: what the command first says in it.
    pub(super) fn first_word(&self) -> Option<Arc<FirstWord>> {
        self.unheard.as_ref().map(|unheard| Arc::clone(&unheard.word))
    }

    /// The connection goes on as this request, and ends with it.
    pub(super) fn continues(&mut self, connection: Option<Self>) {
        self.connection = connection.map(Box::new);
    }

    /// Of a connection that speaks HTTP: from now on its requests decide.
    pub(super) fn speaks_http(&mut self) {
        self.deny(&denied(Reason::Malformed, "the connection ended in the middle of a request head"));
        self.record.proto = Some("http");
        self.record.method = None;
        self.record.status = None;
    }

    /// Of a connection that speaks HTTP/2: the same, but it may end before a request without being broken.
    pub(super) fn speaks_http2(&mut self) {
        self.speaks_http();
        self.record.decision = Decision::Allow;
        self.record.reason = Reason::NothingSent;
    }

    pub(super) fn id(&self) -> &EventId {
        &self.id
    }

    pub(super) fn target(&mut self, host: &Host, port: u16) {
        let local = self.rules.policy.host_addresses(host, port).is_some();
        self.record.host = Some(if local { LOCALHOST.to_owned() } else { host.to_string() });
        self.record.port = Some(port);
    }

    pub(super) fn allow(&mut self, rule: &str) {
        self.record.decision = Decision::Allow;
        self.record.reason = Reason::Allowed;
        self.record.rule = Some(rule.to_owned());
        self.record.allow_with = None;
    }

    pub(super) fn deny(&mut self, denied: &Denied) {
        self.record.decision = Decision::Deny;
        self.record.reason = denied.reason;
        self.record.rule = denied.rule.as_deref().map(str::to_owned);
        self.record.allow_with.clone_from(&denied.allow_with);
    }

    /// Allowed, but it came to nothing.
    pub(super) fn fail(&mut self, reason: Reason) {
        self.record.reason = reason;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(unheard) = self.unheard.take() {
            unheard.note(self);
        }
        let mut record = Record::clone(&self.record);
        record.bytes_up = Some(self.traffic.up.load(Relaxed));
        record.bytes_down = Some(self.traffic.down.load(Relaxed));
        record.ms = Some(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX));
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        match record.event {
            EventKind::Request => requests.add(&record),
            _ => requests.sum_up(&mut record),
        }
        let open = match record.reason {
            Reason::Allowed | Reason::Shutdown => true,
            Reason::Malformed => record.event == EventKind::Connection && requests.count == 0,
            _ => false,
        };
        drop(requests);
        if let Some(reason) = self.ended.get().filter(|_| open) {
            record.reason = *reason;
        }
        // Asked for this late because the process is better known now, and nobody waits for it.
        record.process = self.peer.owner.as_ref().map(|owner| self.context.origins.process(owner));
        self.context.recorder.record(self.id.clone(), record);
    }
}
