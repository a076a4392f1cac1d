//! sock_ops: hands the origin from the connecting socket to the accepted one at establishment, so that no lookup
//! by a port that may have been reused is needed.

use awf_common::{
    Addr, SockKey, birth,
    decide::{self, AF_INET6},
};
use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_TCP_CONNECT_CB, bpf_sock_ops},
    helpers::bpf_get_netns_cookie,
    macros::sock_ops,
    programs::SockOpsContext,
};
use core::{ffi::c_void, ptr};

use crate::maps::{self, AC_ORIGIN, BIRTH, CL_ORIGIN, PENDING};

/// On the command's cgroup: the SYN is about to leave, the source port is known; or a socket that it will accept has come
/// to be.
#[sock_ops]
pub(crate) fn sockops_connect(ctx: SockOpsContext) -> u32 {
    match ctx.op() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => remember(&ctx),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => bear(&ctx),
        _ => {}
    }
    1
}

/// On the proxy's cgroup: the accepted socket exists, accept() has not returned it yet.
#[sock_ops]
pub(crate) fn sockops_accept(ctx: SockOpsContext) -> u32 {
    if ctx.op() == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB {
        hand_over(&ctx);
    }
    1
}

#[inline(always)]
fn remember(ctx: &SockOpsContext) {
    let (port, globals) = (remote_port(ctx), maps::globals());
    if port != globals.proxy_port && port != globals.dns_port {
        return;
    }
    let Some(origin) = maps::stored(&CL_ORIGIN, socket(ctx)) else { return };
    let key = SockKey { netns: netns(ctx), addr: local(ctx), port: ctx.local_port(), reserved: 0 };
    // SAFETY: the storage of a live socket, checked to be there.
    let origin = unsafe { &*origin };
    // A failed insert leaves the accepted socket without an origin, which closes it.
    let _ = PENDING.insert(key, origin, 0);
}

/// No program sees an accepted socket made: it is of its listener's network. Unmarked it is dropped all it sends.
#[inline(always)]
fn bear(ctx: &SockOpsContext) {
    if decide::is_elsewhere(netns(ctx), &maps::globals()) {
        maps::store(&BIRTH, socket(ctx), &birth::ELSEWHERE);
    }
}

#[inline(always)]
fn hand_over(ctx: &SockOpsContext) {
    let key =
        SockKey { netns: netns(ctx), addr: remote(ctx), port: u32::from(remote_port(ctx)), reserved: 0 };
    // SAFETY: the value is copied before the entry is removed.
    let Some(origin) = (unsafe { PENDING.get(key) }).copied() else { return };
    let _ = PENDING.remove(key);
    maps::store(&AC_ORIGIN, socket(ctx), &origin);
}

#[inline(always)]
fn socket(ctx: &SockOpsContext) -> *mut c_void {
    // SAFETY: the context is valid while the program runs; the union has one reading.
    unsafe { (*ctx.ops).__bindgen_anon_2.sk }.cast()
}

#[inline(always)]
fn netns(ctx: &SockOpsContext) -> u64 {
    // SAFETY: the helper reads the socket of this valid context.
    unsafe { bpf_get_netns_cookie(ctx.as_ptr()) }
}

/// The peer's port, host byte order: the kernel keeps it in network order in the upper half.
#[inline(always)]
fn remote_port(ctx: &SockOpsContext) -> u16 {
    // SAFETY: the context is valid while the program runs.
    u16::from_be((unsafe { ptr::read_volatile(&raw const (*ctx.ops).remote_port) } >> 16) as u16)
}

#[inline(always)]
fn local(ctx: &SockOpsContext) -> Addr {
    if ctx.family() == AF_INET6 { local6(ctx.ops) } else { Addr::v4(local4(ctx.ops)) }
}

#[inline(always)]
fn remote(ctx: &SockOpsContext) -> Addr {
    if ctx.family() == AF_INET6 { remote6(ctx.ops) } else { Addr::v4(remote4(ctx.ops)) }
}

// Each field is read in a function of its own: LLVM otherwise merges the reads of two branches into one at a
// computed offset, which the verifier refuses.

#[inline(never)]
fn local4(ops: *mut bpf_sock_ops) -> u32 {
    // SAFETY: the context is valid while the program runs.
    unsafe { ptr::read_volatile(&raw const (*ops).local_ip4) }
}

#[inline(never)]
fn local6(ops: *mut bpf_sock_ops) -> Addr {
    // SAFETY: the context is valid while the program runs.
    unsafe {
        Addr([
            ptr::read_volatile(&raw const (*ops).local_ip6[0]),
            ptr::read_volatile(&raw const (*ops).local_ip6[1]),
            ptr::read_volatile(&raw const (*ops).local_ip6[2]),
            ptr::read_volatile(&raw const (*ops).local_ip6[3]),
        ])
    }
}

#[inline(never)]
fn remote4(ops: *mut bpf_sock_ops) -> u32 {
    // SAFETY: the context is valid while the program runs.
    unsafe { ptr::read_volatile(&raw const (*ops).remote_ip4) }
}

#[inline(never)]
fn remote6(ops: *mut bpf_sock_ops) -> Addr {
    // SAFETY: the context is valid while the program runs.
    unsafe {
        Addr([
            ptr::read_volatile(&raw const (*ops).remote_ip6[0]),
            ptr::read_volatile(&raw const (*ops).remote_ip6[1]),
            ptr::read_volatile(&raw const (*ops).remote_ip6[2]),
            ptr::read_volatile(&raw const (*ops).remote_ip6[3]),
        ])
    }
}
