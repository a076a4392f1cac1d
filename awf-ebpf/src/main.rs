//! The cgroup programs of awf-bpf. Only glue: each reads its context, asks [`awf_common::decide`], and writes the
//! result into the context, the maps and the events. The host build exists so that the workspace is linted and
//! tested by plain cargo.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

mod connect;
mod context;
mod emit;
mod exec;
mod guard;
mod image;
mod listener;
mod maps;
mod name;
mod recvmsg;
mod sendmsg;
mod skb;
mod sock;
mod sockops;

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
