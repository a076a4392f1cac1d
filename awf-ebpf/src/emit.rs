//! Who is calling, and events to userspace.

use awf_common::{Addr, Event, EventKind, Origin, Refusal, event::Counter};
use aya_ebpf::helpers::{
    bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid, generated::bpf_ktime_get_boot_ns,
};

use crate::maps::{EVENTS, count};

/// The origin of a call by the current process.
#[inline(always)]
pub(crate) fn origin(addr: Addr, port: u16, family: u16, cookie: u64, netns: u64) -> Origin {
    Origin {
        addr,
        port,
        family,
        tgid: (bpf_get_current_pid_tgid() >> 32) as u32,
        cookie,
        netns,
        uid: bpf_get_current_uid_gid() as u32,
        reserved: 0,
        comm: bpf_get_current_comm().unwrap_or_default(),
    }
}

/// Sends an event; a full ring is counted, never waited for.
#[inline(always)]
pub(crate) fn emit(kind: EventKind, refusal: Refusal, protocol: u32, socket_type: u32, origin: &Origin) {
    // SAFETY: the helper takes nothing and reads a clock.
    let time = unsafe { bpf_ktime_get_boot_ns() };
    let event =
        Event { origin: *origin, time, kind: kind as u32, refusal: refusal as u32, protocol, socket_type };
    if EVENTS.output(event, 0).is_err() {
        count(Counter::EventsLost);
    }
}
