//! Whether a listener of ours is where the command is sent. In a shared network whoever comes after us could take its
//! port, and would be given what the command has to say: the links stay when we are dead, and nobody else is marked.

use core::{ffi::c_void, mem::MaybeUninit};

use awf_common::{Addr, decide::Transport};
use aya_ebpf::{
    bindings::bpf_sock_tuple,
    helpers::generated::{bpf_sk_lookup_tcp, bpf_sk_lookup_udp, bpf_sk_release},
};

use crate::maps::{self, LISTENERS};

/// `BPF_F_CURRENT_NETNS` (include/uapi/linux/bpf.h): the network namespace of the context's socket.
const HERE: u64 = u64::MAX;

/// Whether what listens at `addr:port` (host byte order) is ours. `ctx`: of a cgroup_sock_addr or cgroup_skb program.
#[inline(always)]
pub(crate) fn is_there(ctx: *mut c_void, addr: &Addr, port: u16, transport: Transport) -> bool {
    // `struct bpf_sock_tuple`: source and destination as a packet to the listener has them, the ports in one word.
    let ports = u32::from_be(u32::from(port)).to_ne_bytes();
    let ports = u32::from_ne_bytes([0, 0, ports[2], ports[3]]);
    match addr.as_v4() {
        Some(word) => look(ctx, &[word, word, ports], transport),
        None => {
            let [a, b, c, d] = addr.0;
            look(ctx, &[a, b, c, d, a, b, c, d, ports], transport)
        }
    }
}

#[inline(always)]
fn look<const WORDS: usize>(ctx: *mut c_void, tuple: &[u32; WORDS], transport: Transport) -> bool {
    // Through memory of its own: what the helper reads must be on the stack.
    let mut slot = MaybeUninit::<[u32; WORDS]>::uninit();
    let at = slot.write(*tuple) as *mut [u32; WORDS] as *mut bpf_sock_tuple;
    let size = size_of::<[u32; WORDS]>() as u32;
    // SAFETY: a context that knows the helper, and a tuple of the size that stands for its family.
    let sk = unsafe {
        match transport {
            Transport::Tcp => bpf_sk_lookup_tcp(ctx, at, size, HERE, 0),
            Transport::Udp => bpf_sk_lookup_udp(ctx, at, size, HERE, 0),
        }
    };
    if sk.is_null() {
        return false;
    }
    let ours = maps::stored(&LISTENERS, sk.cast()).is_some();
    // SAFETY: the reference that the look-up took.
    unsafe { bpf_sk_release(sk.cast()) };
    ours
}
