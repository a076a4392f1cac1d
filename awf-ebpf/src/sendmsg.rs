//! sendmsg4 and sendmsg6: every datagram that names its destination.

use awf_common::{
    EventKind, Refusal,
    decide::{self, Action, ECONNREFUSED, ENETUNREACH, ENOBUFS, EPROTONOSUPPORT, IPPROTO_UDP, Transport},
    event::Counter,
};
use aya_ebpf::{EbpfContext as _, macros::cgroup_sock_addr, programs::SockAddrContext};

use crate::{
    context::{self, Hook},
    emit, listener,
    maps::{self, CL_ORIGIN},
};

#[cgroup_sock_addr(sendmsg4)]
pub(crate) fn sendmsg4(ctx: SockAddrContext) -> i32 {
    sendmsg(&ctx, Hook::V4)
}

#[cgroup_sock_addr(sendmsg6)]
pub(crate) fn sendmsg6(ctx: SockAddrContext) -> i32 {
    sendmsg(&ctx, Hook::V6)
}

#[inline(always)]
fn sendmsg(ctx: &SockAddrContext, hook: Hook) -> i32 {
    if context::protocol(ctx) != IPPROTO_UDP {
        return context::refuse(EPROTONOSUPPORT);
    }
    let globals = maps::globals();
    let (dst, port) = (context::address(ctx, hook), context::port(ctx));
    let socket = context::socket(ctx);
    let origin = context::origin(ctx, dst, port, hook);
    let elsewhere = decide::is_elsewhere(origin.netns, &globals);
    let (mut action, mut refusal) = if elsewhere {
        (decide::elsewhere(&dst), Refusal::OtherNetwork as u32)
    } else {
        (decide::destination(&dst, port, Transport::Udp, false, &globals), Refusal::UdpSend as u32)
    };
    if !decide::device(context::device(socket)) {
        (action, refusal) = (Action::Refuse { errno: ENETUNREACH }, Refusal::Device as u32);
    }
    let to = if matches!(action, Action::Direct) {
        (dst, port)
    } else {
        (context::loopback_like(&dst), globals.dns_port)
    };
    if globals.shared_netns != 0
        && !elsewhere
        && !matches!(action, Action::Refuse { .. })
        && !listener::is_there(ctx.as_ptr(), &to.0, to.1, Transport::Udp)
    {
        maps::count(Counter::CallsRefused);
        return context::refuse(ECONNREFUSED);
    }
    if matches!(action, Action::Direct) {
        return 1;
    }
    if let Action::Refuse { errno } = action {
        maps::count(Counter::CallsRefused);
        emit::emit(EventKind::Refused as u32, refusal, IPPROTO_UDP, 0, &origin);
        return context::refuse(errno);
    }
    if !maps::store(&CL_ORIGIN, socket, &origin) {
        maps::count(Counter::StorageFailed);
        emit::emit(EventKind::Refused as u32, Refusal::Storage as u32, IPPROTO_UDP, 0, &origin);
        return context::refuse(ENOBUFS);
    }
    context::set(ctx, hook, &context::loopback_like(&dst), globals.dns_port);
    emit::emit(EventKind::Dns as u32, Refusal::None as u32, IPPROTO_UDP, 0, &origin);
    1
}
