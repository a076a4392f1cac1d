//! connect4 and connect6: TCP goes to the proxy, port 53 to the stub, other UDP nowhere.

use awf_common::{
    Addr, EventKind, Refusal,
    decide::{self, Action, ECONNREFUSED, ENETUNREACH, ENOBUFS, EPROTONOSUPPORT, Transport},
    event::Counter,
};
use aya_ebpf::{EbpfContext as _, macros::cgroup_sock_addr, programs::SockAddrContext};

use crate::{
    context::{self, Hook},
    emit, listener,
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
    let protocol = context::protocol(ctx);
    let Some(transport) = decide::transport(protocol) else {
        return context::refuse(EPROTONOSUPPORT);
    };
    let origin = context::origin(ctx, dst, port, hook);
    let socket = context::socket(ctx);
    let elsewhere = decide::is_elsewhere(origin.netns, &globals);
    let (action, mut verdict) = if elsewhere {
        (Action::Direct, Verdict::elsewhere(&dst, transport))
    } else {
        let action = decide::destination(&dst, port, transport, maps::is_host_port(port), &globals);
        (action, Verdict::of(action, transport))
    };
    if !decide::device(context::device(socket)) {
        verdict = Verdict::DEVICE;
    }
    // A number: of the action's variants the compiler would copy what is not there.
    let rewritten = context::rewrite_port(action, &globals).unwrap_or_default();
    if !elsewhere && verdict.errno == 0 {
        if globals.shared_netns != 0 && !is_served(ctx, &dst, port, rewritten, transport) {
            verdict = Verdict::UNSERVED;
        }
        // At every connect, also a direct one: a reused socket must not carry the origin of its last use.
        if verdict.errno == 0 && !maps::store(&CL_ORIGIN, socket, &origin) {
            verdict = Verdict::STORAGE;
        }
        // An explicit proxy connection is direct, and has an owner to be named all the same.
        if verdict.kind == 0 && verdict.errno == 0 && port == globals.proxy_port {
            verdict.kind = EventKind::Connect as u32;
        }
    }
    if verdict.kind != 0 {
        emit::emit(verdict.kind, verdict.refusal, protocol, 0, &origin);
    }
    if verdict.errno != 0 {
        maps::count(verdict.counter);
        return context::refuse(verdict.errno);
    }
    if rewritten != 0 {
        context::set(ctx, hook, &context::loopback_like(&dst), rewritten);
    }
    1
}

/// Whether a listener of ours is where this connect() ends: for a shared network, where others listen, too. `rewritten`:
/// the port that it is led to, 0 if it is left alone.
#[inline(always)]
fn is_served(ctx: &SockAddrContext, dst: &Addr, port: u16, rewritten: u16, transport: Transport) -> bool {
    let aside = rewritten != 0 || dst.is_unspecified();
    let addr = if aside { context::loopback_like(dst) } else { *dst };
    let port = if rewritten != 0 { rewritten } else { port };
    listener::is_there(ctx.as_ptr(), &addr, port, transport)
}

/// What comes of a connect(), as numbers: one place reports and one returns, which keeps the verifier from walking
/// the same code once for every case.
struct Verdict {
    /// [`EventKind`]; 0 for nothing to report.
    kind: u32,
    refusal: u32,
    errno: i32,
    counter: Counter,
}

impl Verdict {
    const DIRECT: Self =
        Self { kind: 0, refusal: Refusal::None as u32, errno: 0, counter: Counter::CallsRefused };
    const ELSEWHERE: Self = Self::refused(Refusal::OtherNetwork, ENETUNREACH, Counter::CallsRefused);
    const DEVICE: Self = Self::refused(Refusal::Device, ENETUNREACH, Counter::CallsRefused);
    /// Nobody is left to hear of it: it is counted.
    const UNSERVED: Self =
        Self { kind: 0, ..Self::refused(Refusal::None, ECONNREFUSED, Counter::CallsRefused) };
    const STORAGE: Self = Self::refused(Refusal::Storage, ENOBUFS, Counter::StorageFailed);

    const fn refused(refusal: Refusal, errno: i32, counter: Counter) -> Self {
        Self { kind: EventKind::Refused as u32, refusal: refusal as u32, errno, counter }
    }

    #[inline(always)]
    const fn elsewhere(dst: &Addr, transport: Transport) -> Self {
        match (decide::elsewhere(dst), transport) {
            (Action::Direct, _) => Self::DIRECT,
            (_, Transport::Tcp) => Self::ELSEWHERE,
            // Nothing was sent: as anywhere else.
            (action, Transport::Udp) => Self::of(action, transport),
        }
    }

    #[inline(always)]
    const fn of(action: Action, transport: Transport) -> Self {
        let kind = match action {
            Action::Proxy => EventKind::Connect as u32,
            Action::Resolver => EventKind::Dns as u32,
            Action::Direct => 0,
            Action::Refuse { errno } => {
                return Self::refused(decide::connect_refusal(transport), errno, Counter::CallsRefused);
            }
        };
        Self { kind, refusal: Refusal::None as u32, errno: 0, counter: Counter::CallsRefused }
    }
}
