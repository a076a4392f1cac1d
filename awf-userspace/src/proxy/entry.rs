//! The audit record of one connection or request, written exactly once however it ends: when its [`Entry`] is
//! dropped.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use super::{Owner, activity::Traffic, context::Context};
use crate::{
    audit::{Decision, EventId, EventKind, Record},
    policy::{Denied, Host, Reason},
};

/// Who is on the command's end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) owner: Option<Owner>,
    /// What was dialled.
    pub(super) dst: Option<SocketAddr>,
}

/// A record in the making.
#[derive(Debug)]
pub(super) struct Entry {
    context: Arc<Context>,
    peer: Peer,
    id: EventId,
    start: Instant,
    pub(super) traffic: Arc<Traffic>,
    /// Boxed: an entry is moved through every future of its connection.
    pub(super) record: Box<Record>,
}

impl Entry {
    /// Until something is decided it counts as refused because the proxy stopped.
    pub(super) fn new(context: &Arc<Context>, event: EventKind, peer: Peer) -> Self {
        let record = Record {
            event,
            decision: Decision::Deny,
            reason: Reason::Shutdown,
            rule: None,
            allow_with: None,
            host: None,
            port: peer.dst.map(|dst| dst.port()),
            ip: peer.dst.map(|dst| dst.ip().to_canonical()),
            family: peer.dst.map(|dst| if dst.is_ipv4() { 4 } else { 6 }),
            proto: Some("tcp"),
            method: None,
            url: None,
            status: None,
            bytes_up: None,
            bytes_down: None,
            ms: None,
            process: None,
        };
        Self {
            context: Arc::clone(context),
            peer,
            id: context.recorder.next_id(),
            start: Instant::now(),
            traffic: Arc::default(),
            record: Box::new(record),
        }
    }

    pub(super) fn id(&self) -> &EventId {
        &self.id
    }

    pub(super) fn target(&mut self, host: &Host, port: u16) {
        self.record.host = Some(host.to_string());
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
        let mut record = Record::clone(&self.record);
        record.bytes_up = Some(self.traffic.up.load(Relaxed));
        record.bytes_down = Some(self.traffic.down.load(Relaxed));
        record.ms = Some(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX));
        // Asked for this late because the process is better known now, and nobody waits for it.
        record.process = self.peer.owner.as_ref().map(|owner| self.context.origins.process(owner));
        self.context.recorder.record(self.id.clone(), record);
    }
}
