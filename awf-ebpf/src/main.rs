#![cfg_attr(target_arch = "bpf", no_std, no_main)]
use awf_common::{OrigDst, is_loopback4};
use aya_ebpf::{
    EbpfContext,
    helpers::bpf_get_socket_cookie,
    macros::{cgroup_sock_addr, map},
    maps::LruHashMap,
    programs::SockAddrContext,
};
#[map]
static ORIG: LruHashMap<u64, OrigDst> = LruHashMap::with_max_entries(65536, 0);
#[cgroup_sock_addr(connect4)]
pub fn connect4(ctx: SockAddrContext) -> i32 {
    let sa = ctx.sock_addr;
    let ip = unsafe { (*sa).user_ip4 };
    if is_loopback4(ip) {
        return 1;
    }
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    let mut addr = [0u8; 16];
    addr[..4].copy_from_slice(&ip.to_ne_bytes());
    let port = unsafe { (*sa).user_port } as u16;
    if ORIG.insert(cookie, OrigDst { addr, port, family: 2, pad: 0 }, 0).is_err() {
        return 0;
    }
    unsafe {
        (*sa).user_ip4 = u32::from_ne_bytes([127, 0, 0, 1]);
        (*sa).user_port = 8080u16.to_be() as u32;
    }
    1
}
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Lets the workspace build, lint and test this crate for the host.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
