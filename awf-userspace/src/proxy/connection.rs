//! One connection of the command, from accept to its record.

use std::{net::IpAddr, os::fd::AsFd, sync::Arc};

use tokio::{
    net::TcpStream,
    sync::{SemaphorePermit, watch},
};

use super::{
    Origin,
    activity::Activity,
    agree::{agrees, hidden, named},
    context::{Context, Route, denied},
    deny::{self, Alert, Refusal},
    entry::{Entry, Peer},
    exchange::Kept,
    flow::Flow,
    http1::{self, Next},
    http2,
    intercept::{self, Place},
    judge::Mode,
    listen::{Spoken, late, listen, patience},
    multiplex::Upstreams,
    parting::part,
    relay,
    seat::Seat,
    secure::Towards,
    transparent,
    tunnel::{self, Broken, Leg, Watch},
    upstream,
    wire::Wire,
};
use crate::{
    audit::{Decision, EventKind},
    policy::{Denied, Host, Policy, Protocol, Reason},
    upstream_proxy::Use,
};

/// What the parts of one connection share.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) context: Arc<Context>,
    pub(super) peer: Peer,
    pub(super) activity: Arc<Activity>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) seat: Arc<Seat>,
    pub(super) flow: Arc<Flow>,
    /// How servers are spoken to where that is TLS, of which the other end is with us.
    pub(super) secure: Option<Arc<Towards>>,
}

impl Link {
    /// Whether the TLS of `place` ends here if it is allowed: then the name of its ClientHello is nobody's but ours to
    /// go by, be another one hidden in it or not.
    pub(super) fn takes(&self, place: &Place, policy: &Policy) -> bool {
        let must = policy.filters_urls(&place.host, place.port);
        self.context.interception.as_ref().is_some_and(|all| all.takes(place, must))
    }
}

/// Two sockets that are to be joined.
#[derive(Debug)]
pub(super) struct Tunnel {
    pub(super) client: Leg,
    pub(super) upstream: Leg,
    pub(super) entry: Entry,
    pub(super) watch: Watch,
}

/// Ends when the proxy is told to stop.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The sender lives in the proxy; with the proxy gone everything stops, too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Serves one accepted connection.
pub(super) async fn run(context: Arc<Context>, stream: TcpStream, stop: watch::Receiver<bool>) {
    let Some(origin) = context.origins.origin(stream.as_fd()) else {
        if !context.is_stranger_due() {
            return deny::reset(stream);
        }
        let message = "the connection has no recorded destination: it is not the command's";
        return turn_away(&context, stream, &denied(Reason::NoOrigin, message));
    };
    let peer = Peer { owner: Some(origin.owner), dst: Some(origin.dst) };
    let entry = Entry::new(&context, EventKind::Connection, peer);
    if let Err(error) = stream.set_nodelay(true) {
        log::debug!("TCP_NODELAY: {error}");
    }
    let activity = Arc::new(Activity::new(context.limits.idle, context.limits.lifetime));
    let (linger, ended) = (context.limits.linger, entry.ended());
    let seat = Arc::new(Seat::new(context.sockets.clone()));
    let flow = Arc::new(Flow::new(&context.shares));
    let link = Link { context, peer, activity: Arc::clone(&activity), stop, seat, flow, secure: None };
    let served = async {
        // What it takes to get there is freed before the tunnel, in which a connection spends its life.
        let opened = Box::pin(open(&link, stream, origin, entry)).await;
        if let Some(Tunnel { client, upstream, mut entry, watch }) = opened {
            link.flow.end();
            match tunnel::join(client, upstream, watch, &entry.traffic, &link.activity).await {
                Ok(()) => {}
                Err(Broken::Expired(reason)) => entry.fail(reason),
                Err(Broken::Breach(breach)) => entry.deny(&denied(breach.reason(), breach.to_string())),
                Err(Broken::Io(error)) => log::debug!("tunnel to {:?}: {error}", entry.record.host),
            }
        }
    };
    // Known before what was going on is dropped, and recorded by that. Whoever could still say so has had the time
    // of `linger` for it.
    let expired = async {
        let _ = ended.set(activity.expired(linger).await);
    };
    tokio::select! {
        () = served => {}
        () = expired => {}
    }
}

/// Records `denied` for a connection that is not served, and resets it.
pub(super) fn turn_away(context: &Arc<Context>, stream: TcpStream, denied: &Denied) {
    let mut entry = Entry::new(context, EventKind::Connection, Peer { owner: None, dst: None });
    entry.deny(denied);
    deny::reset(stream);
}

/// Serves the connection until it has ended (`None`) or nothing is left but to join two sockets.
async fn open(link: &Link, stream: TcpStream, origin: Origin, entry: Entry) -> Option<Tunnel> {
    let own = stream.local_addr().is_ok_and(|local| local == origin.dst);
    let client = Leg::new(stream);
    if own || link.context.is_own(origin.dst) {
        explicit(link, client, entry).await
    } else {
        transparent::serve(link, client, origin.dst, entry).await
    }
}

/// The command speaks to the proxy as such.
async fn explicit(link: &Link, mut client: Leg, entry: Entry) -> Option<Tunnel> {
    let patience = patience(link, None, false);
    let refused = match listen(&mut client, None, patience, &link.context.limits, &link.flow).await {
        Ok(Spoken::Http1) => return http(link, client, Mode::Explicit, entry, None).await,
        Ok(Spoken::Http2) => {
            return h2c(link, client, Mode::Explicit, entry, (Upstreams::default(), None)).await;
        }
        Ok(Spoken::Tls(_) | Spoken::Hidden(_)) => {
            let message = "the proxy is spoken to in clear text: its URL begins with http://, also for https";
            let refusal = Refusal::from(denied(Reason::ProtocolNotAllowed, message));
            return refuse_tls(link, client, &refusal, entry).await;
        }
        Ok(Spoken::Silent { bytes }) => {
            late(bytes, None, patience, denied(Reason::NoName, "nothing was said to the proxy"))
        }
        Ok(_) => denied(Reason::ProtocolNotAllowed, "the proxy speaks HTTP only"),
        Err(denied) => denied,
    };
    refuse(link, client, &refused.into(), None, entry).await
}

/// The command speaks through a CONNECT to `host`, which `upstream` leads to; without it, that is dialled for what needs
/// a tunnel, and only TLS and HTTP may be spoken.
async fn connected(
    link: &Link,
    mut client: Leg,
    upstream: Option<TcpStream>,
    host: Host,
    port: u16,
    mut entry: Entry,
) -> Option<Tunnel> {
    let context = &link.context;
    let other = entry.rules.decide(Some(&host), None, port, Protocol::Other);
    // A CONNECT that was answered only so that the client hears why.
    let settled = upstream.is_none().then(|| entry.rules.decide_any(&host, port).err()).flatten();
    let patience = patience(link, Some(port), other.is_ok());
    let spoken = listen(
        &mut client,
        upstream.as_ref().filter(|_| other.is_ok()),
        patience,
        &context.limits,
        &link.flow,
    )
    .await;
    entry.renew_rules();
    let other = entry.rules.decide(Some(&host), None, port, Protocol::Other);
    let rules = &entry.rules;
    let refused = match (spoken, other) {
        (Ok(Spoken::Tls(sni)), other) => {
            let place = Place::inside(sni.as_deref(), &host, port);
            let judged = agrees(rules, sni, &host, port, other.is_ok());
            return tls(link, client, upstream, judged, place, entry).await;
        }
        (Ok(Spoken::Hidden(outer)), other) => {
            let place = Place::inside(outer.as_deref(), &host, port);
            let judged = match link.takes(&place, &rules.policy) {
                true => agrees(rules, outer.clone(), &host, port, other.is_ok()),
                false => Err(denied(Reason::NameMismatch, "").into()),
            };
            let judged = match judged {
                Err(refusal) if refusal.denied.reason == Reason::NameMismatch => named(outer, &host)
                    .and_then(|outer| Ok(hidden(rules, outer.as_ref(), &host, port, other)?)),
                judged => judged,
            };
            return tls(link, client, upstream, judged, place, entry).await;
        }
        (Ok(Spoken::Http1), _) => {
            let kept = match upstream {
                Some(upstream) => Kept::on(link, upstream, host.clone(), port).await.map(Some),
                None => Ok(None),
            };
            match kept {
                Ok(kept) => {
                    return Box::pin(http(link, client, Mode::Connected(host, port), entry, kept)).await;
                }
                Err(refusal) => refusal,
            }
        }
        (Ok(Spoken::Http2), _) => {
            let on = |upstream| Upstreams::on(upstream, host.clone(), port, &entry);
            let upstreams = upstream.map(on).unwrap_or_default();
            return h2c(link, client, Mode::Connected(host, port), entry, (upstreams, None)).await;
        }
        (Ok(_), Ok(route)) => match opened(link, upstream, &route, &mut entry).await {
            Ok(upstream) => return join(link, client, upstream, entry),
            Err(refusal) => refusal,
        },
        (Ok(Spoken::Silent { bytes }), Err(denied)) => late(bytes, Some(port), patience, denied).into(),
        (Ok(_), Err(denied)) | (Err(denied), _) => denied.into(),
    };
    refuse(link, client, &settled.map_or(refused, Refusal::from), Some(port), entry).await
}

/// TLS inside a CONNECT at `place`, once it was `judged`.
async fn tls(
    link: &Link,
    client: Leg,
    upstream: Option<TcpStream>,
    judged: Result<Route, Refusal>,
    place: Place,
    mut entry: Entry,
) -> Option<Tunnel> {
    let opened = match judged {
        Ok(route) => opened(link, upstream, &route, &mut entry).await.map(|upstream| (route, upstream)),
        Err(refusal) => Err(refusal),
    };
    tls_opened(link, client, opened, Some(place), entry).await
}

/// TLS whose way was `opened` or refused: intercepted at `place`, or else passed through or refused.
pub(super) async fn tls_opened(
    link: &Link,
    client: Leg,
    opened: Result<(Route, TcpStream), Refusal>,
    place: Option<Place>,
    entry: Entry,
) -> Option<Tunnel> {
    let (context, policy) = (&link.context, Arc::clone(&entry.rules.policy));
    let by_name = place.as_ref().is_some_and(|place| policy.filters_urls(&place.host, place.port));
    let must = by_name || opened.as_ref().is_ok_and(|(route, _)| route.urls);
    let given = |ip: IpAddr| context.resolver.names_of(ip.to_canonical());
    let covers = |place: &Place| {
        let dialled = opened.as_ref().map(|(route, _)| &route.dial);
        context.interception.as_ref().is_some_and(|all| all.covers(place, dialled, must, given))
    };
    match (place.filter(covers), opened) {
        (Some(place), opened) => Box::pin(intercept::serve(link, client, place, opened, entry)).await,
        // Not to be looked into after all: never passed through.
        (None, Ok((route, _))) if must => {
            let refusal = policy.unseen(&route.dial, route.port).into();
            refuse_tls(link, client, &refusal, entry).await
        }
        (None, Ok((_, upstream))) => join(link, client, upstream, entry),
        (None, Err(refusal)) => refuse_tls(link, client, &refusal, entry).await,
    }
}

/// The way along `route`: `upstream`, or dialled now.
async fn opened(
    link: &Link,
    upstream: Option<TcpStream>,
    route: &Route,
    entry: &mut Entry,
) -> Result<TcpStream, Refusal> {
    match upstream {
        Some(upstream) => {
            entry.allow(&route.rule);
            Ok(upstream)
        }
        None => dial(link, route, entry).await,
    }
}

pub(super) async fn http(
    link: &Link,
    client: impl Into<Leg<Wire>>,
    mode: Mode,
    mut entry: Entry,
    kept: Option<Kept>,
) -> Option<Tunnel> {
    entry.speaks_http();
    mode.settle(&mut entry);
    match http1::serve(link, client.into(), mode, entry, kept).await? {
        Next::Tunnel(tunnel) => Some(tunnel),
        Next::Relay { client, upstream, entry } => {
            relay::join(link, client, upstream, entry).await;
            None
        }
        // A CONNECT inside a CONNECT is refused: this goes one level deep.
        Next::Connect { client, upstream, host, port, entry } => {
            connected(link, client, upstream, host, port, entry).await
        }
    }
}

/// HTTP/2, in clear text or inside TLS; in `room`, if that was taken before.
pub(super) async fn h2c(
    link: &Link,
    client: impl Into<Leg<Wire>>,
    mode: Mode,
    entry: Entry,
    (upstreams, room): (Upstreams, Option<SemaphorePermit<'_>>),
) -> Option<Tunnel> {
    let Some(_room) = room.or_else(|| link.context.http2.try_acquire().ok()) else {
        let message = format!("more than {} HTTP/2 connections at once", link.context.limits.http2);
        let refusal = denied(Reason::LimitExceeded, message).into();
        match Leg::try_from(client.into()) {
            Ok(client) => return refuse(link, client, &refusal, None, entry).await,
            Err(_) => refusal.note(&mut { entry }),
        }
        return None;
    };
    Box::pin(http2::serve(link, client.into(), mode, entry, upstreams)).await;
    None
}

pub(super) async fn dial(link: &Link, route: &Route, entry: &mut Entry) -> Result<TcpStream, Refusal> {
    entry.allow(&route.rule);
    link.seat.take()?;
    upstream::dial(&link.context, &route.dial, route.port, Use::Tunnel, entry).await
}

pub(super) fn join(link: &Link, client: Leg, upstream: TcpStream, entry: Entry) -> Option<Tunnel> {
    let watch = Watch::over(&client.received, link.context.limits.hello);
    Some(Tunnel { client, upstream: Leg::new(upstream), entry, watch })
}

/// Refuses what is neither TLS nor HTTP, on `port`; `None` is the proxy's own.
pub(super) async fn refuse(
    link: &Link,
    client: Leg,
    refusal: &Refusal,
    port: Option<u16>,
    mut entry: Entry,
) -> Option<Tunnel> {
    refusal.note(&mut entry);
    if refusal.denied.reason == Reason::NothingSent {
        entry.record.decision = Decision::Allow;
    }
    match port {
        Some(port) => part(client, port, refusal, &link.context.limits).await,
        None => deny::reset(client.stream),
    }
    None
}

pub(super) async fn refuse_tls(
    link: &Link,
    client: Leg,
    refusal: &Refusal,
    mut entry: Entry,
) -> Option<Tunnel> {
    refusal.note(&mut entry);
    deny::alert(client.stream, Alert::of(refusal), &link.context.limits).await;
    None
}
