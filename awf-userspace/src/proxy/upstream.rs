//! Dialling out: the only place of the proxy that connects to anything. By name, to the addresses the resolver
//! gives now and the policy lets through; never to an address because the command had it.

use std::{
    collections::VecDeque,
    future::pending,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::TcpStream,
    sync::Semaphore,
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

use super::{ResolveError, chain, context::Context, context::denied, deny::Refusal, entry::Entry};
use crate::{
    policy::{AddressClass, Denied, DomainName, Host, Policy, Reason, ends_at},
    sys::route,
    upstream_proxy::{UpstreamProxy, Use},
};

/// Addresses of one name that are tried at a time; a connection's share of descriptors counts on it.
const AT_ONCE: usize = 2;
/// How many head starts the older of them has before it is given up for a third.
const TURNS: u32 = 8;

/// Connects to `host` on `port`, straight or by a tunnel through the upstream proxy for this use; `entry` is told
/// where it went.
///
/// # Errors
/// 403 when no address may be dialled, 502 or 504 when none answers, or the upstream proxy will not.
pub(super) async fn dial(
    context: &Context,
    host: &Host,
    port: u16,
    usage: Use,
    entry: &mut Entry,
) -> Result<TcpStream, Refusal> {
    let proxy = context.upstream.of(usage, host, port);
    entry.record.via = proxy.map(|proxy| proxy.place());
    let stream = match proxy {
        Some(proxy) => {
            may_ask(context, &entry.rules.policy, host, port)?;
            chain::tunnel(context, proxy, host, port).await?
        }
        None => straight(context, &entry.rules.policy, host, port).await?,
    };
    entry.record.ip = stream.peer_addr().ok().map(|address| address.ip());
    Ok(stream)
}

/// Whether an upstream proxy may be asked for `host`. Where a name leads is the proxy's knowledge; of an address
/// everything is known here.
///
/// # Errors
/// The refusal that dialling the address would meet.
pub(super) fn may_ask(context: &Context, policy: &Policy, host: &Host, port: u16) -> Result<(), Refusal> {
    match host {
        Host::Ip(ip) => permitted(context, policy, host, &[*ip], port).map(drop),
        Host::Name(name) => match context.resolver.may_tell(name, &policy.chosen(name)) {
            Err(ResolveError::Refused { reason, why }) => Err(denied(reason, why).into()),
            _ => Ok(()),
        },
    }
}

/// Connects to an upstream proxy. The policy is not asked, because it is the operator who named it: on a company's
/// network its address is a private one, or even loopback (an agent on this host that adds what the proxy wants).
///
/// # Errors
/// 502, whatever the reason.
pub(super) async fn reach(context: &Context, proxy: &UpstreamProxy) -> Result<TcpStream, Refusal> {
    let found = match &proxy.host {
        Host::Ip(ip) => vec![*ip],
        Host::Name(name) => resolve(context, name, context.resolver.resolve_host_boxed(name))
            .await
            .map_err(|refusal| chain::failed(proxy, &refusal.denied.message))?,
    };
    let addresses: Vec<_> = found.into_iter().map(|ip| SocketAddr::new(ip, proxy.port)).collect();
    let stream = race(context, &addresses).await;
    stream.map_err(|error| chain::failed(proxy, &error.to_string()))
}

async fn straight(context: &Context, policy: &Policy, host: &Host, port: u16) -> Result<TcpStream, Refusal> {
    let addresses = match policy.host_addresses(host, port) {
        Some(loopback) => not_ours(context, host, &loopback, port)?,
        None => {
            let found = match host {
                Host::Ip(ip) => vec![*ip],
                Host::Name(name) => {
                    resolve(context, name, context.resolver.resolve_boxed(name, policy.chosen(name))).await?
                }
            };
            permitted(context, policy, host, &found, port)?
        }
    };
    let limits = &context.limits;
    match timeout(limits.connect, race(context, &addresses)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => {
            let message = format!("{host} port {port} cannot be reached: {error}");
            Err(Refusal::unreachable(Reason::ConnectFailed, message))
        }
        Err(_) => {
            let message = format!("{host} port {port} did not accept within {:?}", limits.connect);
            Err(Refusal::unreachable(Reason::ConnectTimeout, message))
        }
    }
}

async fn resolve(
    context: &Context,
    name: &DomainName,
    asking: impl Future<Output = Result<Vec<IpAddr>, ResolveError>>,
) -> Result<Vec<IpAddr>, Refusal> {
    let limit = context.limits.resolve;
    match timeout(limit, asking).await {
        Ok(Ok(found)) if !found.is_empty() => Ok(found),
        Ok(Ok(_)) => {
            let error = ResolveError::NoAddress(name.clone());
            Err(Refusal::unreachable(Reason::ResolveFailed, error.to_string()))
        }
        Ok(Err(ResolveError::Refused { reason, why })) => Err(denied(reason, why).into()),
        Ok(Err(error)) => Err(Refusal::unreachable(Reason::ResolveFailed, error.to_string())),
        Err(_) => {
            let message = format!("resolving {name} took more than {limit:?}");
            Err(Refusal::unreachable(Reason::ResolveTimeout, message))
        }
    }
}

/// Those of `found` that may be dialled; the refusal of the last one if none may.
fn permitted(
    context: &Context,
    policy: &Policy,
    host: &Host,
    found: &[IpAddr],
    port: u16,
) -> Result<Vec<SocketAddr>, Refusal> {
    let judged = |ip| match host {
        Host::Ip(_) => policy.may_dial_literal(ip, port),
        Host::Name(_) => policy.may_dial(ip, port),
    };
    let may_dial = |ip| match judged(ip) {
        Ok(()) if AddressClass::of(ip).is_global() && is_this_hosts(ip)? => policy.may_dial_own(ip, port),
        verdict => verdict,
    };
    those_allowed(found, port, |address| {
        outside_of_us(context, host, address)?;
        may_dial(address.ip())
    })
}

/// The host's loopback, but for our own listeners there.
fn not_ours(
    context: &Context,
    host: &Host,
    loopback: &[IpAddr],
    port: u16,
) -> Result<Vec<SocketAddr>, Refusal> {
    those_allowed(loopback, port, |address| outside_of_us(context, host, address))
}

fn those_allowed(
    found: &[IpAddr],
    port: u16,
    may_dial: impl Fn(SocketAddr) -> Result<(), Denied>,
) -> Result<Vec<SocketAddr>, Refusal> {
    let mut refused = None;
    let mut addresses = Vec::with_capacity(found.len());
    for ip in found.iter().map(IpAddr::to_canonical) {
        let address = SocketAddr::new(ip, port);
        match may_dial(address) {
            Ok(()) => addresses.push(address),
            Err(denied) => refused = Some(denied),
        }
    }
    match refused {
        Some(denied) if addresses.is_empty() => Err(denied.into()),
        _ => Ok(addresses),
    }
}

fn outside_of_us(context: &Context, host: &Host, address: SocketAddr) -> Result<(), Denied> {
    if context.is_own(address) {
        let message = format!("{host} port {} is awf-bpf itself", address.port());
        return Err(denied(Reason::ForbiddenAddress, message));
    }
    Ok(())
}

/// Whether packets to `ip` stay on this host or may come back to it (through a NAT64 for one), as its routing tables
/// say now: addresses come and go while a command runs.
fn is_this_hosts(ip: IpAddr) -> Result<bool, Denied> {
    let local = |end| {
        route::is_local(end).map_err(|error| {
            let message = format!("whether {end} is an address of this host cannot be told: {error}");
            denied(Reason::ForbiddenAddress, message)
        })
    };
    ends_at(ip).try_fold(false, |found, end| Ok(found || local(end)?))
}

async fn race(context: &Context, addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    race_with(&context.attempts, addresses, context.limits.attempt_delay).await
}

/// Happy eyeballs (RFC 8305 section 5): each address gets `delay` alone, or until the one before it has failed;
/// the first to accept wins. No more than [`AT_ONCE`] are tried at a time: a name may have hundreds of silent
/// addresses, and whoever asks for it often would use up our descriptors. A second one beside the first takes a
/// permit of `spare`; as long as there is none, it waits for the first to fail.
async fn race_with(
    spare: &Arc<Semaphore>,
    addresses: &[SocketAddr],
    delay: Duration,
) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    let mut running: VecDeque<AbortHandle> = VecDeque::new();
    let mut waiting = addresses.iter().copied().peekable();
    let mut failure = io::Error::new(io::ErrorKind::AddrNotAvailable, "it has no address");
    loop {
        let permit = if running.is_empty() { None } else { Arc::clone(spare).try_acquire_owned().ok() };
        let begun = (running.is_empty() || permit.is_some()).then(|| waiting.next()).flatten();
        if let Some(address) = begun {
            if running.len() >= AT_ONCE
                && let Some(oldest) = running.pop_front()
            {
                oldest.abort();
            }
            running.push_back(attempts.spawn(async move {
                let connected = connect(address).await;
                drop(permit);
                connected
            }));
        }
        let turn = if running.len() < AT_ONCE { delay } else { delay * TURNS };
        let more = waiting.peek().is_some();
        tokio::select! {
            ended = ended(&mut attempts) => match ended {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => failure = error,
                None => return Err(failure),
            },
            () = async { if more { sleep(turn).await } else { pending().await } } => {}
        }
        running.retain(|attempt| !attempt.is_finished());
    }
}

/// The next attempt that has come to an end of its own; `None` without one.
async fn ended(attempts: &mut JoinSet<io::Result<TcpStream>>) -> Option<io::Result<TcpStream>> {
    loop {
        match attempts.join_next().await? {
            Ok(ended) => return Some(ended),
            Err(given_up) if given_up.is_cancelled() => {}
            Err(panic) => return Some(Err(io::Error::other(panic))),
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use socket2::{Domain, Socket, Type};
    use tokio::net::TcpListener;

    use super::*;

    /// Of the addresses of this machine, and of none that is elsewhere, any form is this machine's.
    #[test]
    fn an_own_address_is_known_in_every_form() {
        let forms = |[a, b, c, d]: [u8; 4]| {
            let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            [
                [0x64, 0xff9b, 0, 0, 0, 0, high, low],
                [0, 0, 0, 0, 0xffff, 0, high, low],
                [0x2002, high, low, 0, 0, 0, 0, 1],
                [0x2001, 0, high, low, 0, 0, 0x34ff, 0x8ef6],
                [0x2001, 0, 0xcb00, 0x7109, 0, 0, !high, !low],
                [0x2001, 0xdb8, 0, 0, 0, 0x5efe, high, low],
            ]
        };
        for ip in crate::sys::ifaddrs::addresses().unwrap() {
            let IpAddr::V4(ip) = ip else { continue };
            for form in forms(ip.octets()) {
                assert!(is_this_hosts(IpAddr::from(form)).unwrap(), "{form:x?}");
            }
        }
        for form in forms([203, 0, 113, 8]) {
            assert!(!is_this_hosts(IpAddr::from(form)).unwrap(), "{form:x?}");
        }
    }

    const DELAY: Duration = Duration::from_millis(250);

    async fn race(addresses: &[SocketAddr], delay: Duration) -> io::Result<TcpStream> {
        race_with(&Arc::new(Semaphore::new(8)), addresses, delay).await
    }

    /// A listener whose queue is full: connecting to it neither succeeds nor fails.
    async fn black_hole() -> (Socket, Vec<TcpStream>) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut queued = Vec::new();
        while let Ok(Ok(stream)) = timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
            queued.push(stream);
        }
        (socket, queued)
    }

    fn refusing() -> SocketAddr {
        // Port 1 on a loopback address nobody else uses: nothing listens there.
        "127.83.1.9:1".parse().unwrap()
    }

    #[tokio::test]
    async fn a_silent_address_costs_its_head_start_only() {
        let (hole, _queued) = black_hole().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let silent = hole.local_addr().unwrap().as_socket().unwrap();
        let start = Instant::now();
        let stream = race(&[silent, good], DELAY).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert!(start.elapsed() >= DELAY && start.elapsed() < Duration::from_secs(3));
        assert!(stream.nodelay().unwrap());
    }

    /// The attack: a name with any number of silent addresses, each of which would hold a descriptor of ours.
    #[tokio::test]
    async fn silent_addresses_are_tried_two_at_a_time() {
        let (hole, _queued) = black_hole().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let silent = hole.local_addr().unwrap().as_socket().unwrap();
        let (start, delay) = (Instant::now(), Duration::from_millis(20));
        let stream = race(&[silent, silent, silent, silent, good], delay).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        let turns = delay + 3 * TURNS * delay;
        assert!(start.elapsed() >= turns && start.elapsed() < 8 * turns, "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn without_a_spare_descriptor_the_second_address_waits_for_the_first_to_fail() {
        let (hole, _queued) = black_hole().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (good, silent) =
            (listener.local_addr().unwrap(), hole.local_addr().unwrap().as_socket().unwrap());
        let (spare, delay) = (Arc::new(Semaphore::new(1)), Duration::from_millis(20));
        let taken = Arc::clone(&spare).try_acquire_owned().unwrap();
        let held = timeout(20 * delay, race_with(&spare, &[silent, good], delay)).await;
        assert!(held.is_err(), "a second one was tried");
        let stream = race_with(&spare, &[refusing(), good], Duration::from_secs(3600)).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        drop(taken);
        race_with(&spare, &[silent, good], delay).await.unwrap();
        let given_back = timeout(Duration::from_secs(10), spare.acquire()).await;
        assert!(given_back.is_ok(), "the permit of an attempt that was given up");
    }

    #[tokio::test]
    async fn a_refusing_address_costs_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let hour = Duration::from_secs(3600);
        let stream = timeout(Duration::from_secs(10), race(&[refusing(), refusing(), good], hour)).await;
        assert_eq!(stream.unwrap().unwrap().peer_addr().unwrap(), good);
        let failed = race(&[refusing(), refusing()], hour).await.unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::ConnectionRefused);
        assert!(race(&[], hour).await.is_err());
    }
}
