//! getpeername4 and getpeername6: the command sees what it dialled.

use awf_common::decide;
use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};

use crate::{
    context::{self, Hook},
    maps::{self, CL_ORIGIN},
};

#[cgroup_sock_addr(getpeername4)]
pub(crate) fn getpeername4(ctx: SockAddrContext) -> i32 {
    getpeername(&ctx, Hook::V4)
}

#[cgroup_sock_addr(getpeername6)]
pub(crate) fn getpeername6(ctx: SockAddrContext) -> i32 {
    getpeername(&ctx, Hook::V6)
}

/// These hooks cannot refuse: the return value is always 1.
#[inline(always)]
fn getpeername(ctx: &SockAddrContext, hook: Hook) -> i32 {
    let globals = maps::globals();
    if !decide::from_listener(&context::address(ctx, hook), context::port(ctx), &globals) {
        return 1;
    }
    if let Some(dialled) = maps::stored(&CL_ORIGIN, context::socket(ctx)) {
        // SAFETY: the storage of a live socket, checked to be there.
        let (addr, port) = unsafe { ((*dialled).addr, (*dialled).port) };
        context::set(ctx, hook, &addr, port);
    }
    1
}
