//! cgroup_skb, both ways: what is on the wire, whatever the socket calls said.

use awf_common::{
    Addr, EventKind, Origin, Refusal, SockKey,
    decide::{self, Direction, ETH_P_IP, HEADER},
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

#[inline(always)]
fn filter(ctx: &SkBuffContext, direction: Direction) -> i32 {
    let globals = maps::globals();
    let ethertype = u16::from_be(ctx.skb.protocol() as u16);
    let mut header = [0; HEADER];
    if load(ctx, &mut header, ethertype) && decide::packet(ethertype, &header, direction, &globals) {
        if matches!(direction, Direction::Egress) && decide::is_query(ethertype, &header, &globals) {
            sign(ctx, ethertype, &header);
        }
        return 1;
    }
    report(ethertype, &header, direction);
    0
}

/// Reads as much of the IP header as there is: 24 bytes of IPv4 with its ports, 44 of IPv6.
#[inline(always)]
fn load(ctx: &SkBuffContext, header: &mut [u8; HEADER], ethertype: u16) -> bool {
    let len = if ethertype == ETH_P_IP { 24 } else { HEADER as u32 };
    // SAFETY: `header` holds `HEADER` bytes, at least as many as are asked for.
    unsafe { bpf_skb_load_bytes(ctx.skb.skb.cast(), 0, header.as_mut_ptr().cast(), len) == 0 }
}

/// Remembers who sent a query to the stub, under the source address the stub will see.
#[inline(always)]
fn sign(ctx: &SkBuffContext, ethertype: u16, header: &[u8; HEADER]) {
    // SAFETY: the context is valid while the program runs; the union has one reading.
    let sk = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if sk.is_null() {
        return;
    }
    // SAFETY: a non-null socket of the context.
    let sk = unsafe { bpf_sk_fullsock(sk) };
    let Some(origin) = maps::stored(&CL_ORIGIN, sk.cast()) else { return };
    let (addr, port) = endpoint(ethertype, header, (12, 8), 0);
    // SAFETY: the storage of a live socket, checked to be there.
    let origin = unsafe { &*origin };
    let key = SockKey { netns: origin.netns, addr, port, reserved: 0 };
    let _ = QUERIES.insert(key, origin, 0);
}

/// Counts every dropped packet; tells of the 1st, 2nd, 4th, 8th … only, so that a flood cannot fill the ring.
#[inline(always)]
fn report(ethertype: u16, header: &[u8; HEADER], direction: Direction) {
    let dropped = maps::count(Counter::PacketsDropped);
    if dropped & dropped.wrapping_sub(1) != 0 {
        return;
    }
    let (addr, port) = match direction {
        Direction::Egress => endpoint(ethertype, header, (16, 24), 2),
        Direction::Ingress => endpoint(ethertype, header, (12, 8), 0),
    };
    let (family, protocol) = if ethertype == ETH_P_IP { (4, header[9]) } else { (6, header[6]) };
    // The packet may leave on a softirq: the current task is not the sender.
    let origin = Origin {
        addr,
        port: port as u16,
        family,
        tgid: 0,
        cookie: 0,
        netns: 0,
        uid: 0,
        reserved: 0,
        comm: [0; 16],
    };
    emit::emit(EventKind::Refused, Refusal::Packet, u32::from(protocol), 0, &origin);
}

/// The address at `at` (its offset in an IPv4 and in an IPv6 header) and the port at `port_at` of what follows.
#[inline(always)]
fn endpoint(ethertype: u16, header: &[u8; HEADER], at: (usize, usize), port_at: usize) -> (Addr, u32) {
    if ethertype == ETH_P_IP {
        return (Addr::v4(word(header, at.0)), port(header, 20 + port_at));
    }
    let at = at.1;
    let words = [word(header, at), word(header, at + 4), word(header, at + 8), word(header, at + 12)];
    (Addr(words), port(header, 40 + port_at))
}

#[inline(always)]
fn port(header: &[u8; HEADER], at: usize) -> u32 {
    u32::from(u16::from_be_bytes([header[at], header[at + 1]]))
}

#[inline(always)]
fn word(header: &[u8; HEADER], at: usize) -> u32 {
    u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}
