//! cgroup_skb, both ways: what is on the wire, whatever the socket calls said.

use awf_common::{
    EventKind, Origin, Refusal, SockKey,
    decide::{self, Direction, ETH_P_IP, Header},
    event::Counter,
};
use aya_ebpf::{
    helpers::generated::{bpf_sk_fullsock, bpf_skb_load_bytes},
    macros::cgroup_skb,
    programs::SkBuffContext,
};

use crate::{
    emit,
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

/// The loopback device of every network namespace (LOOPBACK_IFINDEX, include/net/flow.h). A socket bound to another
/// device sends packets from `::1` to `::1` out on the wire.
const LOOPBACK: u32 = 1;

#[inline(always)]
fn filter(ctx: &SkBuffContext, direction: Direction) -> i32 {
    let globals = maps::globals();
    let ethertype = u16::from_be(ctx.skb.protocol() as u16);
    let mut header = Header([0; 11]);
    // SAFETY: the context is valid while the program runs.
    let by_loopback = unsafe { (*ctx.skb.skb).ifindex } == LOOPBACK;
    if by_loopback
        && load(ctx, &mut header, ethertype)
        && decide::packet(ethertype, &header, direction, &globals)
    {
        if matches!(direction, Direction::Egress)
            && let Some((addr, port)) = decide::query(ethertype, &header, &globals)
        {
            sign(ctx, SockKey { netns: 0, addr, port: u32::from(port), reserved: 0 });
        }
        return 1;
    }
    report(ethertype, &header, direction);
    0
}

/// Reads as much of the IP header as there is: 24 bytes of IPv4 with its ports, 44 of IPv6.
#[inline(always)]
fn load(ctx: &SkBuffContext, header: &mut Header, ethertype: u16) -> bool {
    let len = if ethertype == ETH_P_IP { 24 } else { size_of::<Header>() as u32 };
    // SAFETY: `header` is at least as long as what is asked for.
    unsafe { bpf_skb_load_bytes(ctx.skb.skb.cast(), 0, header.0.as_mut_ptr().cast(), len) == 0 }
}

/// Remembers who sent a query to the stub, under the source address the stub will see.
#[inline(always)]
fn sign(ctx: &SkBuffContext, mut key: SockKey) {
    // SAFETY: the context is valid while the program runs; the union has one reading.
    let sk = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if sk.is_null() {
        return;
    }
    // SAFETY: a non-null socket of the context.
    let sk = unsafe { bpf_sk_fullsock(sk) };
    let Some(origin) = maps::stored(&CL_ORIGIN, sk.cast()) else { return };
    // SAFETY: the storage of a live socket, checked to be there.
    let origin = unsafe { &*origin };
    key.netns = origin.netns;
    let _ = QUERIES.insert(key, origin, 0);
}

/// Counts every dropped packet; tells of the 1st, 2nd, 4th, 8th … only, so that a flood cannot fill the ring.
#[inline(always)]
fn report(ethertype: u16, header: &Header, direction: Direction) {
    let dropped = maps::count(Counter::PacketsDropped);
    if dropped & dropped.wrapping_sub(1) != 0 {
        return;
    }
    let (addr, port, protocol) = decide::peer(ethertype, header, direction);
    let family = if ethertype == ETH_P_IP { 4 } else { 6 };
    // The packet may leave on a softirq: the current task is not the sender.
    let origin =
        Origin { addr, port, family, tgid: 0, cookie: 0, netns: 0, uid: 0, reserved: 0, comm: [0; 2] };
    emit::emit(EventKind::Refused as u32, Refusal::Packet as u32, protocol, 0, &origin);
}
