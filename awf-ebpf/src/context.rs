//! Reading and writing `struct bpf_sock_addr` (include/uapi/linux/bpf.h) word by word, as the verifier wants it.

use core::{ffi::c_void, ptr};

use awf_common::{Addr, Origin, decide::Action};
use aya_ebpf::{
    EbpfContext as _,
    bindings::bpf_sock,
    helpers::{bpf_get_netns_cookie, bpf_get_socket_cookie, generated::bpf_set_retval},
    programs::SockAddrContext,
};

use crate::emit;

/// Which of the two address fields a hook uses. Not the socket's family: a mapped destination on an IPv6 socket
/// can fire either, and sendmsg() may come with AF_UNSPEC.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    V4,
    V6,
}

/// The socket of a context, taken once: reading the field again gives the verifier a pointer it has not checked.
#[inline(always)]
pub(crate) fn socket(ctx: &SockAddrContext) -> *mut c_void {
    // SAFETY: the context is valid while the program runs; the union has one reading.
    unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk }.cast()
}

/// The device `socket` is bound to; 0 for none.
#[inline(always)]
pub(crate) fn device(socket: *mut c_void) -> u32 {
    if socket.is_null() {
        return 0;
    }
    // SAFETY: a non-null socket of the context, whose fields the verifier lets be read.
    unsafe { ptr::read_volatile(&raw const (*socket.cast::<bpf_sock>()).bound_dev_if) }
}

#[inline(always)]
pub(crate) fn protocol(ctx: &SockAddrContext) -> u32 {
    // SAFETY: the context is valid while the program runs.
    unsafe { (*ctx.sock_addr).protocol }
}

/// The address of the context.
#[inline(always)]
pub(crate) fn address(ctx: &SockAddrContext, hook: Hook) -> Addr {
    let sa = ctx.sock_addr;
    // SAFETY: the context is valid while the program runs; each word is read at its own constant offset.
    unsafe {
        match hook {
            Hook::V4 => Addr::v4(ptr::read_volatile(&raw const (*sa).user_ip4)),
            Hook::V6 => Addr([
                ptr::read_volatile(&raw const (*sa).user_ip6[0]),
                ptr::read_volatile(&raw const (*sa).user_ip6[1]),
                ptr::read_volatile(&raw const (*sa).user_ip6[2]),
                ptr::read_volatile(&raw const (*sa).user_ip6[3]),
            ]),
        }
    }
}

/// The port of the context, host byte order.
#[inline(always)]
pub(crate) fn port(ctx: &SockAddrContext) -> u16 {
    // SAFETY: the context is valid while the program runs.
    u16::from_be(unsafe { ptr::read_volatile(&raw const (*ctx.sock_addr).user_port) } as u16)
}

/// Writes address and port (host byte order) of the context.
#[inline(always)]
pub(crate) fn set(ctx: &SockAddrContext, hook: Hook, addr: &Addr, port: u16) {
    let sa = ctx.sock_addr;
    // SAFETY: the context is valid and these fields are writable in every hook that calls this; all four words
    // of an IPv6 address are written.
    unsafe {
        match hook {
            Hook::V4 => ptr::write_volatile(&raw mut (*sa).user_ip4, addr.0[3]),
            Hook::V6 => {
                ptr::write_volatile(&raw mut (*sa).user_ip6[0], addr.0[0]);
                ptr::write_volatile(&raw mut (*sa).user_ip6[1], addr.0[1]);
                ptr::write_volatile(&raw mut (*sa).user_ip6[2], addr.0[2]);
                ptr::write_volatile(&raw mut (*sa).user_ip6[3], addr.0[3]);
            }
        }
        ptr::write_volatile(&raw mut (*sa).user_port, u32::from(port.to_be()));
    }
}

/// The loopback address a destination is rewritten to: of the same family, mapped where it was mapped (an
/// IPV6_V6ONLY socket cannot reach a mapped one, and a mapped one is all an IPv4-bound socket can reach).
#[inline(always)]
pub(crate) fn loopback_like(dst: &Addr) -> Addr {
    if dst.as_v4().is_some() { Addr::LOOPBACK4 } else { Addr::LOOPBACK6 }
}

/// Fails the call with `errno` and gives the program's return value.
#[inline(always)]
pub(crate) fn refuse(errno: i32) -> i32 {
    // SAFETY: the helper takes a number; it is known to every hook that calls this (kernel >= 5.18).
    unsafe { bpf_set_retval(-errno) };
    0
}

/// Whether an [`Action`] changes the destination, and to which port.
#[inline(always)]
pub(crate) fn rewrite_port(action: Action, globals: &awf_common::Globals) -> Option<u16> {
    match action {
        Action::Proxy => Some(globals.proxy_port),
        Action::Resolver => Some(globals.dns_port),
        Action::Direct | Action::Refuse { .. } => None,
    }
}

/// What the current process asks for through this context.
#[inline(always)]
pub(crate) fn origin(ctx: &SockAddrContext, dst: Addr, port: u16, hook: Hook) -> Origin {
    let family = if hook == Hook::V4 { 4 } else { 6 };
    // SAFETY: the helpers read the socket of this valid context.
    let (cookie, netns) =
        unsafe { (bpf_get_socket_cookie(ctx.as_ptr()), bpf_get_netns_cookie(ctx.as_ptr())) };
    emit::origin(dst, port, family, cookie, netns)
}
