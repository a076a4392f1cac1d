//! On the root of all cgroups, for a run that was attached to processes which were there before it: a socket belongs
//! to the cgroup that it was made in, and passes no program of any other. What such sockets of the command do is refused
//! here, and those of everybody else pass.

use awf_common::{Addr, EventKind, Refusal, birth, decide::ENETUNREACH, event::Counter};
use aya_ebpf::{
    helpers::{
        bpf_get_socket_cookie,
        generated::{bpf_get_socket_uid, bpf_sk_fullsock},
    },
    macros::{cgroup_skb, cgroup_sock_addr},
    programs::{SkBuffContext, SockAddrContext},
};

use crate::{
    context::{self, Hook},
    emit, maps,
};

#[cgroup_sock_addr(connect4)]
pub(crate) fn guard_connect4(ctx: SockAddrContext) -> i32 {
    call(&ctx, Hook::V4)
}

#[cgroup_sock_addr(connect6)]
pub(crate) fn guard_connect6(ctx: SockAddrContext) -> i32 {
    call(&ctx, Hook::V6)
}

#[cgroup_sock_addr(sendmsg4)]
pub(crate) fn guard_sendmsg4(ctx: SockAddrContext) -> i32 {
    call(&ctx, Hook::V4)
}

#[cgroup_sock_addr(sendmsg6)]
pub(crate) fn guard_sendmsg6(ctx: SockAddrContext) -> i32 {
    call(&ctx, Hook::V6)
}

#[cgroup_skb(egress)]
pub(crate) fn guard_egress(ctx: SkBuffContext) -> i32 {
    packet(&ctx)
}

#[cgroup_skb(ingress)]
pub(crate) fn guard_ingress(ctx: SkBuffContext) -> i32 {
    packet(&ctx)
}

/// An old socket, whoever uses it; or one that a process of the command was handed by somebody outside.
#[inline(always)]
fn call(ctx: &SockAddrContext, hook: Hook) -> i32 {
    match maps::birth(context::socket(ctx)) {
        birth::INSIDE | birth::ELSEWHERE => return 1,
        birth::OLD => {}
        _ if maps::is_of_the_command() => {}
        _ => return 1,
    }
    maps::count(Counter::CallsRefused);
    let origin = context::origin(ctx, context::address(ctx, hook), context::port(ctx), hook);
    emit::emit(EventKind::Refused as u32, Refusal::OldSocket as u32, context::protocol(ctx), 0, &origin);
    context::refuse(ENETUNREACH)
}

/// Who sends a packet is not known here: only of what socket it is.
#[inline(always)]
fn packet(ctx: &SkBuffContext) -> i32 {
    // SAFETY: the context is valid while the program runs; the union has one reading.
    let sk = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if sk.is_null() {
        return 1;
    }
    // SAFETY: a non-null socket of the context.
    let sk = unsafe { bpf_sk_fullsock(sk) };
    if sk.is_null() || maps::birth(sk.cast()) != birth::OLD {
        return 1;
    }
    let dropped = maps::count(Counter::PacketsDropped);
    // As in `skb`: of a flood a few.
    if dropped & dropped.wrapping_sub(1) == 0 {
        report(ctx);
    }
    0
}

#[inline(always)]
fn report(ctx: &SkBuffContext) {
    // SAFETY: the helpers read the socket of this valid context.
    let (cookie, uid) =
        unsafe { (bpf_get_socket_cookie(ctx.skb.skb.cast()), bpf_get_socket_uid(ctx.skb.skb)) };
    let origin = emit::nobodys(Addr([0; 4]), 0, 4, cookie, uid);
    emit::emit(EventKind::Refused as u32, Refusal::OldSocket as u32, 0, 0, &origin);
}
