//! Who is calling, and events to userspace.

use core::mem::MaybeUninit;

use awf_common::{Addr, Event, Origin, event::Counter};
use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_get_current_uid_gid,
    generated::{bpf_get_current_comm, bpf_ktime_get_boot_ns},
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

/// The origin of a packet: it may leave on a softirq, where the current task is not the sender.
#[inline(always)]
pub(crate) const fn nobodys(addr: Addr, port: u16, family: u16, cookie: u64, uid: u32) -> Origin {
    Origin { addr, port, family, tgid: 0, cookie, netns: 0, uid, reserved: 0, comm: [0; 2] }
}

/// The current process's name; empty when the kernel does not tell.
#[inline(always)]
fn comm() -> [u64; 2] {
    // Not zeroed first: the compiler's memset is a loop of bytes, which the verifier walks.
    let mut words = MaybeUninit::<[u64; 2]>::uninit();
    // SAFETY: the helper fills all of the given number of bytes, the size of `words`, with zeroes when it fails.
    unsafe {
        bpf_get_current_comm(words.as_mut_ptr().cast(), size_of_val(&words) as u32);
        words.assume_init()
    }
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
