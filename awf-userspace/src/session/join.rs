//! Joins the kernel side to the proxy, the stub and the audit, which do not know each other.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    os::fd::BorrowedFd,
    sync::{Arc, Mutex, PoisonError},
};

use awf_common::{Addr, Refusal};

use crate::{
    audit::{Decision, EventKind, ProcessInfo, Record, Recorder},
    bpf::{Caller, Notice, Origins, Ring},
    dns::QuerySource,
    policy::{Reason, host_ports},
    proxy::{Origin, OriginalDst, Owner},
};

/// The proxy's and the stub's view of the kernel side.
#[derive(Debug)]
pub(super) struct KernelView {
    origins: Origins,
    events: Arc<Ring>,
}

impl KernelView {
    pub(super) fn new(origins: Origins, events: Arc<Ring>) -> Self {
        Self { origins, events }
    }
}

impl QuerySource for KernelView {
    fn of_datagram(&self, source: SocketAddr) -> Option<ProcessInfo> {
        let origin = self.origins.of_query(source)?;
        Some(self.events.describe(&Caller::from(&origin)))
    }

    fn of_connection(&self, conn: BorrowedFd<'_>) -> Option<ProcessInfo> {
        let origin = self.origins.of_connection(conn)?;
        Some(self.events.describe(&Caller::from(&origin)))
    }

    fn started(&self, tgid: u32) -> Option<u64> {
        self.events.started(tgid)
    }
}

impl OriginalDst for KernelView {
    fn origin(&self, conn: BorrowedFd<'_>) -> Option<Origin> {
        let origin = self.origins.of_connection(conn)?;
        let Caller { cookie, tgid, uid, comm } = Caller::from(&origin);
        Some(Origin { dst: origin.socket_addr(), owner: Owner { cookie, tgid, uid, comm } })
    }

    fn process(&self, owner: &Owner) -> ProcessInfo {
        let Owner { cookie, tgid, uid, comm } = *owner;
        self.events.describe(&Caller { cookie, tgid, uid, comm })
    }

    fn started(&self, tgid: u32) -> Option<u64> {
        self.events.started(tgid)
    }
}

/// How many different refusals are told apart.
const KEYS: usize = 4096;

/// Turns what the kernel refused into audit records: of equal ones the 1st, 2nd, 4th, 8th …, so that a flood
/// fills neither the disk nor our time. The kernel's own counters count them all.
#[derive(Debug)]
pub(super) struct Refusals<A> {
    recorder: Arc<A>,
    seen: Mutex<HashMap<Option<Key>, u64>>,
}

/// Process, refusal, destination, protocol.
type Key = (u32, u32, (IpAddr, u16), u32);

impl<A: Recorder> Refusals<A> {
    pub(super) fn new(recorder: Arc<A>) -> Self {
        Self { recorder, seen: Mutex::default() }
    }

    /// Records `notice`, unless it is one too many of its kind.
    pub(super) fn take(&self, notice: Notice) {
        let origin = notice.event.origin;
        let at = (IpAddr::from(origin.addr), origin.port);
        if !self.is_due((origin.tgid, notice.event.refusal, at, notice.event.protocol)) {
            return;
        }
        let known = origin.addr != Addr([0; 4]);
        let record = Record {
            host: known.then(|| at.0.to_string()),
            port: known.then_some(origin.port),
            ip: known.then_some(at.0),
            family: Some(origin.family as u8),
            proto: Some(protocol(notice.event.protocol)),
            process: notice.process,
            allow_with: opened_by(notice.refusal, at),
            ..Record::new(EventKind::Kernel, Decision::Deny, reason(notice.refusal))
        };
        self.recorder.record(self.recorder.next_id(), record);
    }

    fn is_due(&self, key: Key) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Past the bound everything new is one kind.
        let key = if seen.len() < KEYS || seen.contains_key(&Some(key)) { Some(key) } else { None };
        let count = seen.entry(key).or_default();
        *count += 1;
        count.is_power_of_two()
    }
}

/// The flag that would have let it through.
fn opened_by(refusal: Refusal, (ip, port): (IpAddr, u16)) -> Option<String> {
    let local = refusal == Refusal::HostPort && host_ports::is_local_ip(ip);
    host_ports::flag_for(port).filter(|_| local)
}

fn reason(refusal: Refusal) -> Reason {
    match refusal {
        Refusal::UdpConnect => Reason::UdpConnectRefused,
        Refusal::UdpSend => Reason::UdpRefused,
        Refusal::Socket => Reason::SocketRefused,
        Refusal::Packet | Refusal::None => Reason::PacketRefused,
        Refusal::Storage => Reason::KernelMapFull,
        Refusal::HostPort => Reason::HostPortRefused,
        Refusal::Device => Reason::DeviceRefused,
        Refusal::OldSocket => Reason::OldSocket,
        Refusal::OtherNetwork => Reason::OtherNetwork,
    }
}

/// The name of an IP protocol number (IANA).
fn protocol(number: u32) -> &'static str {
    match number {
        1 => "icmp",
        6 => "tcp",
        17 => "udp",
        33 => "dccp",
        58 => "icmpv6",
        132 => "sctp",
        136 => "udplite",
        255 => "raw",
        262 => "mptcp",
        _ => "other",
    }
}
