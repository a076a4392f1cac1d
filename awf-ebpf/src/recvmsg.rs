//! recvmsg4 and recvmsg6: an answer of the stub comes from the server that was asked, or musl and c-ares style
//! resolvers drop it.

use awf_common::decide;
use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};

use crate::{
    context::{self, Hook},
    maps::{self, CL_ORIGIN},
};

#[cgroup_sock_addr(recvmsg4)]
pub(crate) fn recvmsg4(ctx: SockAddrContext) -> i32 {
    recvmsg(&ctx, Hook::V4)
}

#[cgroup_sock_addr(recvmsg6)]
pub(crate) fn recvmsg6(ctx: SockAddrContext) -> i32 {
    recvmsg(&ctx, Hook::V6)
}

/// These hooks cannot refuse: the return value is always 1.
#[inline(always)]
fn recvmsg(ctx: &SockAddrContext, hook: Hook) -> i32 {
    let globals = maps::globals();
    if !decide::from_resolver(&context::address(ctx, hook), context::port(ctx), &globals) {
        return 1;
    }
    if let Some(asked) = maps::stored(&CL_ORIGIN, context::socket(ctx)) {
        // SAFETY: the storage of a live socket, checked to be there.
        let (addr, port) = unsafe { ((*asked).addr, (*asked).port) };
        context::set(ctx, hook, &addr, port);
    }
    1
}
