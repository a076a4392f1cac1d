//! One audit record, its id, and the trait through which it is handed in.

use std::{fmt, net::IpAddr, sync::Arc};

use serde::Serialize;

use crate::policy::Reason;

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    Allow,
    Deny,
    /// `--mode audit`: a denial that was let through.
    WouldDeny,
}

/// Which part of the firewall saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A connection through the proxy: exactly one each, written when it ends.
    Connection,
    /// One HTTP request on a connection; the connection's own record follows.
    Request,
    /// A DNS query.
    Dns,
    /// Something the kernel programs refused before it became a connection.
    Kernel,
    /// A rule that was added or taken back while the run went on.
    Policy,
}

/// Names one event of one run, `<run>-17`: short enough to be typed into `awf-bpf explain`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventId(Arc<str>);

impl EventId {
    /// The `number`th event of `run`.
    #[must_use]
    pub fn new(run: &str, number: u64) -> Self {
        Self(format!("{run}-{number}").into())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Takes the records of whoever decides.
pub trait Recorder: Send + Sync + 'static {
    /// The id of an event about to be decided, so that a refusal can name it before its record is written.
    fn next_id(&self) -> EventId;

    /// Keeps `record`. Never drops it in silence: what could not be kept is counted, logged and reported at
    /// the end of the run.
    fn record(&self, id: EventId, record: Record);

    /// `false` once records are being lost: from then on nothing more should be allowed
    /// ([`Reason::AuditFailed`]), since nobody would know of it.
    fn is_keeping(&self) -> bool {
        true
    }
}

/// The process behind an event, as well as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessInfo {
    pub pid: u32,
    pub ppid: Option<u32>,
    pub uid: Option<u32>,
    /// The kernel's 15-byte name; always known.
    pub comm: String,
    pub exe: Option<String>,
    pub argv: Option<Vec<String>>,
    /// Executables of the ancestors, nearest first.
    pub ancestors: Vec<String>,
    /// The step of the job that it belongs to, where there is a job.
    pub step: Option<String>,
}

/// One event. What is not known is `None` and absent from the JSON line. `schema`, `timestamp`, `id` and
/// `run` are added by the sink.
#[derive(Clone, Debug)]
pub struct Record {
    pub event: EventKind,
    pub decision: Decision,
    pub reason: Reason,
    /// The rule that decided, as the user wrote it.
    pub rule: Option<String>,
    /// The flag that would allow it (denials only; for the summary and the denial's body).
    pub allow_with: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    /// The address dialled upstream; for a refusal, the one the command asked for.
    pub ip: Option<IpAddr>,
    /// The upstream proxy it went through, `host:port`; `ip` is then the proxy's.
    pub via: Option<String>,
    /// 4 or 6: of the command's own socket.
    pub family: Option<u8>,
    /// `tls`, `http`, `connect`, `tcp`, `udp`, `dns`, `raw` ...
    pub proto: Option<&'static str>,
    pub method: Option<String>,
    pub url: Option<String>,
    pub status: Option<u16>,
    /// How a client left that was shown our certificate and had not said anything: the alert's name, or `closed`.
    pub tls_alert: Option<&'static str>,
    /// What a user should know of it: what to do, or where to look.
    pub detail: Option<String>,
    pub bytes_up: Option<u64>,
    pub bytes_down: Option<u64>,
    pub ms: Option<u64>,
    /// Of a connection whose decision is that of its HTTP requests, each with a record before this one: how many.
    /// The decision is the worst of theirs, and has been counted with them.
    pub requests: Option<u64>,
    /// How many equal events this record stands for, if more than one.
    pub count: Option<u64>,
    pub process: Option<ProcessInfo>,
}

impl Record {
    /// A record that tells no more than what was decided, and why.
    #[must_use]
    pub fn new(event: EventKind, decision: Decision, reason: Reason) -> Self {
        Self {
            event,
            decision,
            reason,
            rule: None,
            allow_with: None,
            host: None,
            port: None,
            ip: None,
            via: None,
            family: None,
            proto: None,
            method: None,
            url: None,
            status: None,
            tls_alert: None,
            detail: None,
            bytes_up: None,
            bytes_down: None,
            ms: None,
            requests: None,
            count: None,
            process: None,
        }
    }
}
