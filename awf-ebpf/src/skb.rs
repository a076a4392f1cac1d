//! cgroup_skb, both ways: what is on the wire, whatever the socket calls said.

use core::{ffi::c_void, mem::MaybeUninit, ptr};

use awf_common::{
    EventKind, Refusal, SockKey, birth,
    decide::{self, Direction, ETH_P_IP, ETH_P_IPV6, End, Ends, Header, Header4, Header6},
    event::Counter,
};
use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_TCP_LISTEN, BPF_TCP_SYN_SENT, bpf_sock},
    helpers::{
        bpf_get_socket_cookie,
        generated::{bpf_get_socket_uid, bpf_sk_fullsock, bpf_skb_load_bytes},
    },
    macros::cgroup_skb,
    programs::SkBuffContext,
};

use crate::{
    emit, listener,
    maps::{self, CL_ORIGIN, QUERIES},
};

#[cgroup_skb(egress)]
pub(crate) fn skb_egress(ctx: SkBuffContext) -> i32 {
    filter(&ctx, Direction::Egress)
}

#[cgroup_skb(ingress)]
pub(crate) fn skb_ingress(ctx: SkBuffContext) -> i32 {
    filter(&ctx, Direction::Ingress)
}

#[inline(always)]
fn filter(ctx: &SkBuffContext, direction: Direction) -> i32 {
    let mut globals = maps::globals();
    let elsewhere = globals.shared_netns != 0 && maps::birth(socket(ctx)) == birth::ELSEWHERE;
    if elsewhere {
        globals = decide::globals_elsewhere(&globals);
    }
    // A socket bound to another device sends packets from `::1` to `::1` out on the wire.
    // SAFETY: the context is valid while the program runs.
    let by_loopback = unsafe { (*ctx.skb.skb).ifindex } == decide::LOOPBACK_IFINDEX;
    let ethertype = u16::from_be(ctx.skb.protocol() as u16);
    let (ends, family, passes) = match ethertype {
        ETH_P_IP => match load::<6>(ctx, 0) {
            Some(h) => (Ends::of4(&h), 4, decide::packet4(&h, direction, &globals)),
            None => return drop_unread(),
        },
        ETH_P_IPV6 => match load6(ctx) {
            Some(h) => (Ends::of6(&h), 6, decide::packet6(&h, direction, &globals)),
            None => return drop_unread(),
        },
        _ => return drop_unread(),
    };
    let is_dialled = globals.shared_netns != 0 && is_dialled(ctx, &ends, direction);
    if !passes || !by_loopback || is_dialled {
        report(ctx, family, ends.peer(direction), ends.protocol);
        return 0;
    }
    if matches!(direction, Direction::Egress) && !elsewhere {
        let is_query = decide::is_query(&ends, &globals);
        if globals.shared_netns != 0 && begins(ctx, is_query) && !is_served(ctx, &ends) {
            maps::count(Counter::PacketsDropped);
            return 0;
        }
        if is_query {
            sign(ctx, ends.src);
        }
    }
    1
}

/// Whether somebody else of the machine dials the command, or writes to it: from the port of a listener of ours at an address
/// that we do not have, as `127.0.0.2`, or after us. Nobody has to, and who answers has got out.
#[inline(always)]
fn is_dialled(ctx: &SkBuffContext, ends: &Ends, direction: Direction) -> bool {
    if ends.protocol == decide::IPPROTO_UDP && matches!(direction, Direction::Ingress) {
        return !listener::is_there(ctx.as_ptr(), &ends.src.addr, ends.src.port, decide::Transport::Udp);
    }
    state(ctx) == BPF_TCP_LISTEN
}

/// The state of the packet's socket; 0 if it has none.
#[inline(always)]
fn state(ctx: &SkBuffContext) -> u32 {
    let sk = socket(ctx).cast::<bpf_sock>();
    // SAFETY: a full socket, whose fields the verifier lets be read.
    if sk.is_null() { 0 } else { unsafe { (*sk).state } }
}

/// The socket of a packet, null if it is none that can carry a mark.
#[inline(always)]
fn socket(ctx: &SkBuffContext) -> *mut c_void {
    // SAFETY: the context is valid while the program runs; the union has one reading.
    let sk = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if sk.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: a non-null socket of the context.
    unsafe { bpf_sk_fullsock(sk) }.cast()
}

/// Whether the packet is the first of a connection, perhaps sent again, or a datagram. Between the connect() and this
/// our listener may have gone.
#[inline(always)]
fn begins(ctx: &SkBuffContext, is_query: bool) -> bool {
    is_query || state(ctx) == BPF_TCP_SYN_SENT
}

#[inline(always)]
fn is_served(ctx: &SkBuffContext, ends: &Ends) -> bool {
    let (at, transport) = (&ends.dst, decide::transport(ends.protocol));
    transport.is_some_and(|transport| listener::is_there(ctx.as_ptr(), &at.addr, at.port, transport))
}

/// Reads an IPv6 header and the ports, also those behind what the kernel inserts itself.
#[inline(always)]
fn load6(ctx: &SkBuffContext) -> Option<Header6> {
    let header = load::<11>(ctx, 0)?;
    if !decide::is_big_tcp(&header) {
        return Some(header);
    }
    let ports = load::<1>(ctx, decide::BIG_TCP_PORTS)?;
    Some(decide::plain_tcp(header, ports.0[0]))
}

/// Reads an IP header and the ports after it, or another part at `offset`; `None` when the packet is shorter.
#[inline(always)]
fn load<const WORDS: usize>(ctx: &SkBuffContext, offset: u32) -> Option<Header<WORDS>> {
    // Not zeroed first: the compiler's memset is a loop of bytes, which the verifier walks.
    let mut header = MaybeUninit::<Header<WORDS>>::uninit();
    let len = size_of::<Header<WORDS>>() as u32;
    // SAFETY: the helper writes exactly `len` bytes, the size of `header`, or fails.
    unsafe {
        let result = bpf_skb_load_bytes(ctx.skb.skb.cast(), offset, header.as_mut_ptr().cast(), len);
        (result == 0).then(|| header.assume_init())
    }
}

/// Too short, or not IP: there is nothing to tell of it.
#[inline(always)]
fn drop_unread() -> i32 {
    maps::count(Counter::PacketsDropped);
    0
}

/// Remembers who sent a query to the stub, under the source address the stub will see.
#[inline(always)]
fn sign(ctx: &SkBuffContext, src: End) {
    let Some(origin) = maps::stored(&CL_ORIGIN, socket(ctx)) else { return };
    // SAFETY: the storage of a live socket, checked to be there.
    let origin = unsafe { &*origin };
    let key = SockKey { netns: origin.netns, addr: src.addr, port: u32::from(src.port), reserved: 0 };
    let _ = QUERIES.insert(key, origin, 0);
}

/// Counts every dropped packet; tells of the 1st, 2nd, 4th, 8th … only, so that a flood cannot fill the ring.
#[inline(always)]
fn report(ctx: &SkBuffContext, family: u16, peer: End, protocol: u32) {
    let dropped = maps::count(Counter::PacketsDropped);
    if dropped & dropped.wrapping_sub(1) != 0 {
        return;
    }
    // SAFETY: the helpers read the socket of this valid context.
    let (cookie, uid) =
        unsafe { (bpf_get_socket_cookie(ctx.skb.skb.cast()), bpf_get_socket_uid(ctx.skb.skb)) };
    let origin = emit::nobodys(peer.addr, peer.port, family, cookie, uid);
    emit::emit(EventKind::Refused as u32, Refusal::Packet as u32, protocol, 0, &origin);
}

const _: () = assert!(size_of::<Header4>() == 24 && size_of::<Header6>() == 44);
