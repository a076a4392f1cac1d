//! connect4 and connect6: TCP goes to the proxy, port 53 to the stub, other UDP nowhere.

use awf_common::{
    EventKind, Refusal,
    decide::{self, Action, ENOBUFS, EPROTONOSUPPORT, Transport},
    event::Counter,
};
use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};

use crate::{
    context::{self, Hook},
    emit,
    maps::{self, CL_ORIGIN},
};

#[cgroup_sock_addr(connect4)]
pub(crate) fn connect4(ctx: SockAddrContext) -> i32 {
    connect(&ctx, Hook::V4)
}

#[cgroup_sock_addr(connect6)]
pub(crate) fn connect6(ctx: SockAddrContext) -> i32 {
    connect(&ctx, Hook::V6)
}

#[inline(always)]
fn connect(ctx: &SockAddrContext, hook: Hook) -> i32 {
    let globals = maps::globals();
    let (dst, port) = (context::address(ctx, hook), context::port(ctx));
    let Some(transport) = decide::transport(context::protocol(ctx)) else {
        return context::refuse(EPROTONOSUPPORT);
    };
    let action = decide::destination(&dst, port, transport, &globals);
    let origin = context::origin(ctx, dst, port, hook);
    let protocol = context::protocol(ctx);
    if let Action::Refuse { errno } = action {
        maps::count(Counter::UdpRefused);
        emit::emit(EventKind::Refused, decide::udp_refusal(false), protocol, 0, &origin);
        return context::refuse(errno);
    }
    // At every connect, also a direct one: a reused socket must not carry the origin of its last use.
    if !maps::store(&CL_ORIGIN, context::socket(ctx), &origin) {
        maps::count(Counter::StorageFailed);
        emit::emit(EventKind::Refused, Refusal::Storage, protocol, 0, &origin);
        return context::refuse(ENOBUFS);
    }
    if let Some(port) = context::rewrite_port(action, &globals) {
        context::set(ctx, hook, &context::loopback_like(&dst), port);
    }
    match (action, transport) {
        (Action::Proxy, _) | (Action::Direct, Transport::Tcp) if reaches_proxy(action, port, &globals) => {
            emit::emit(EventKind::Connect, Refusal::None, protocol, 0, &origin);
        }
        (Action::Resolver, _) => emit::emit(EventKind::Dns, Refusal::None, protocol, 0, &origin),
        _ => {}
    }
    1
}

/// An explicit proxy connection is direct, and has an owner to be named all the same.
#[inline(always)]
fn reaches_proxy(action: Action, port: u16, globals: &awf_common::Globals) -> bool {
    matches!(action, Action::Proxy) || port == globals.proxy_port
}
