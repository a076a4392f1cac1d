//! sock_create: only sockets whose every use has a hook.

use awf_common::{
    Addr, EventKind, Refusal, birth,
    decide::{self, ENOBUFS, EPROTONOSUPPORT},
    event::Counter,
};
use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_get_netns_cookie, bpf_get_socket_cookie},
    macros::cgroup_sock,
    programs::SockContext,
};

use crate::{
    context, emit,
    maps::{self, BIRTH},
};

#[cgroup_sock(sock_create)]
pub(crate) fn sock_create(ctx: SockContext) -> i32 {
    // SAFETY: the context is valid while the program runs; each field is read at its own constant offset.
    let (family, socket_type, protocol) =
        unsafe { ((*ctx.sock).family, (*ctx.sock).type_, (*ctx.sock).protocol) };
    if decide::socket(family, socket_type, protocol) {
        let globals = maps::globals();
        if globals.shared_netns == 0 {
            return 1;
        }
        // SAFETY: the helper reads the socket of this valid context.
        let netns = unsafe { bpf_get_netns_cookie(ctx.as_ptr()) };
        let birth = if decide::is_elsewhere(netns, &globals) { birth::ELSEWHERE } else { birth::INSIDE };
        if maps::store(&BIRTH, ctx.as_ptr(), &birth) {
            return 1;
        }
        maps::count(Counter::StorageFailed);
        return context::refuse(ENOBUFS);
    }
    maps::count(Counter::SocketsRefused);
    // SAFETY: the helper reads the socket of this valid context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    let family = if family == decide::AF_INET6 { 6 } else { 4 };
    let origin = emit::origin(Addr([0; 4]), 0, family, cookie, 0);
    emit::emit(EventKind::Refused as u32, Refusal::Socket as u32, protocol, socket_type, &origin);
    context::refuse(EPROTONOSUPPORT)
}
