//! Why a program does not take the run's CA: what is recorded of a client that left is completed, on its way into the
//! record, by what that program reads, what is amiss there, and what to do.
//!
//! A program that takes the CA of other hosts and refuses one pins that host's own certificate, probably. Who leaves after
//! a whole handshake may also have had nothing to ask: it is believed the first time.

mod cause;
mod environments;
mod known;

use std::sync::{Arc, Mutex, PoisonError};

pub(super) use self::environments::Environments;

use self::{
    cause::{Cause, exclude},
    known::{Key, Known, Trusted},
};
use crate::{
    audit::{Decision, EventId, EventKind, ProcessInfo, Record, Recorder},
    ca::Setting,
    policy::Reason,
};

/// What of the run matters.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) environments: Arc<Environments>,
    /// What beats it.
    pub(super) settings: Vec<Setting>,
    /// Whether the machine's files are covered by the run's.
    pub(super) files: bool,
    /// See [`crate::ca::Trust::key_pin`].
    pub(super) key_pin: String,
}

/// Completes records, and hands them on.
#[derive(Debug)]
pub(super) struct Diagnosis<A> {
    recorder: Arc<A>,
    /// `None`: nothing is intercepted.
    facts: Option<Facts>,
    known: Mutex<Known>,
}

impl<A> Diagnosis<A> {
    pub(super) fn new(recorder: Arc<A>, facts: Option<Facts>) -> Self {
        Self { recorder, facts, known: Mutex::default() }
    }
}

impl<A: Recorder> Recorder for Diagnosis<A> {
    fn next_id(&self) -> EventId {
        self.recorder.next_id()
    }

    fn record(&self, id: EventId, mut record: Record) {
        if let Some((facts, process)) = self.facts.as_ref().zip(record.process.clone()) {
            let inside = record.event == EventKind::Request && record.proto == Some("https");
            if inside || record.tls_alert.is_some() {
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                match inside {
                    true => known.trusted(&Key::of(&process), &host(&record)),
                    false => complete(&mut record, &process, facts, &mut known),
                }
            }
        }
        self.recorder.record(id, record);
    }

    fn is_keeping(&self) -> bool {
        self.recorder.is_keeping()
    }
}

fn host(record: &Record) -> String {
    format!("{}:{}", record.host.as_deref().unwrap_or_default(), record.port.unwrap_or_default())
}

fn complete(record: &mut Record, process: &ProcessInfo, facts: &Facts, known: &mut Known) {
    let cause = Cause::of(process, facts);
    if record.reason != Reason::TlsUntrusted {
        // It was refused for a better reason; but why it could not read that may be worth knowing.
        record.detail = cause.map(|cause| cause.text(process, facts));
        return;
    }
    let (key, host) = (Key::of(process), host(record));
    let silent = record.decision == Decision::Allow;
    let trusted = known.look(&key, &host);
    if silent && (trusted == Trusted::Here || cause.is_none() && trusted == Trusted::Nowhere) {
        // The first time, or one of those that are opened in advance.
        if trusted == Trusted::Here || known.left(&key, &host) == 1 {
            record.reason = Reason::NothingSent;
            record.tls_alert = record.tls_alert.filter(|_| trusted == Trusted::Nowhere);
            return;
        }
    }
    let says_who = record.tls_alert == Some("unknown_ca");
    let pins = match &cause {
        Some(cause) => cause.pins(),
        None => silent || trusted == Trusted::Elsewhere && !says_who,
    };
    if pins {
        record.reason = Reason::TlsPinned;
    }
    record.detail = Some(match (cause, pins) {
        (Some(cause), _) => cause.text(process, facts),
        (None, true) => cause::of_pins(process, record, trusted == Trusted::Elsewhere),
        (None, false) => cause::of_none(process, record, facts),
    });
    if record.allow_with.is_none() {
        record.allow_with = exclude(record);
    }
}

#[cfg(test)]
mod tests;
