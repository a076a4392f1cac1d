//! Who is calling, and events to userspace.

use awf_common::{Addr, Event, Origin, event::Counter};
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
        comm: comm(),
    }
}

/// The current process's name; empty when the kernel does not tell.
#[inline(always)]
fn comm() -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bpf_get_current_comm().unwrap_or_default();
    [u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u64::from_ne_bytes([i, j, k, l, m, n, o, p])]
}

/// Sends an event of an [`awf_common::EventKind`] with its [`awf_common::Refusal`]; a full ring is counted, never
/// waited for.
#[inline(always)]
pub(crate) fn emit(kind: u32, refusal: u32, protocol: u32, socket_type: u32, origin: &Origin) {
    let Some(mut entry) = EVENTS.reserve(0) else {
        count(Counter::EventsLost);
        return;
    };
    // SAFETY: the helper takes nothing and reads a clock.
    let time = unsafe { bpf_ktime_get_boot_ns() };
    entry.write(Event { origin: *origin, time, kind, refusal, protocol, socket_type });
    entry.submit(0);
}
