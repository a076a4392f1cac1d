//! One connection of the command, from accept to its record.

use std::{net::SocketAddr, os::fd::AsFd, sync::Arc};

use tokio::{net::TcpStream, sync::watch};

use super::{
    Origin,
    activity::Activity,
    context::{Context, Route, denied},
    deny::{self, Alert, Refusal},
    entry::{Entry, Peer},
    exchange::Kept,
    forward::Mode,
    http1::{self, Next},
    listen::{Spoken, listen},
    tunnel::{self, Leg},
    upstream,
};
use crate::{
    audit::{Decision, EventKind},
    policy::{Denied, Host, Protocol, Reason},
};

/// What the parts of one connection share.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) context: Arc<Context>,
    pub(super) peer: Peer,
    pub(super) activity: Arc<Activity>,
    pub(super) stop: watch::Receiver<bool>,
}

/// Ends when the proxy is told to stop.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The sender lives in the proxy; with the proxy gone everything stops, too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Serves one accepted connection.
pub(super) async fn run(context: Arc<Context>, stream: TcpStream, stop: watch::Receiver<bool>) {
    let Some(origin) = context.origins.origin(stream.as_fd()) else {
        let message = "the connection has no recorded destination: it is not the command's";
        return turn_away(&context, stream, &denied(Reason::NoOrigin, message));
    };
    let peer = Peer { owner: Some(origin.owner), dst: Some(origin.dst) };
    let entry = Entry::new(&context, EventKind::Connection, peer);
    if let Err(error) = stream.set_nodelay(true) {
        log::debug!("TCP_NODELAY: {error}");
    }
    let activity = Arc::new(Activity::new());
    let (idle, lifetime) = (context.limits.idle, context.limits.lifetime);
    let link = Link { context, peer, activity: Arc::clone(&activity), stop };
    tokio::select! {
        () = serve(&link, stream, origin, entry) => {}
        () = activity.expired(idle, lifetime) => log::debug!("connection to {} ended by its limits", origin.dst),
    }
}

/// Records `denied` for a connection that is not served, and resets it.
pub(super) fn turn_away(context: &Arc<Context>, stream: TcpStream, denied: &Denied) {
    let mut entry = Entry::new(context, EventKind::Connection, Peer { owner: None, dst: None });
    entry.deny(denied);
    deny::reset(stream);
}

async fn serve(link: &Link, stream: TcpStream, origin: Origin, entry: Entry) {
    let own = stream.local_addr().is_ok_and(|local| local == origin.dst);
    let client = Leg::new(stream);
    if own || link.context.is_own(origin.dst) {
        explicit(link, client, entry).await;
    } else {
        transparent(link, client, origin.dst, entry).await;
    }
}

/// The command speaks to the proxy as such.
async fn explicit(link: &Link, mut client: Leg, mut entry: Entry) {
    let refused = match listen(&mut client, None, &link.context.limits).await {
        Ok(Spoken::Http1) => return Box::pin(http(link, client, Mode::Explicit, entry, None)).await,
        Ok(Spoken::Tls(_)) => {
            let message = "the proxy is spoken to in clear text: its URL begins with http://, also for https";
            let refusal = Refusal::from(denied(Reason::ProtocolNotAllowed, message));
            return refuse_tls(link, client, &refusal, entry).await;
        }
        Ok(Spoken::Silent { .. }) => late(link),
        Ok(_) => denied(Reason::ProtocolNotAllowed, "the proxy speaks HTTP/1.1 only"),
        Err(denied) => denied,
    };
    refuse(client, &refused.into(), &mut entry);
}

/// The command dialled `dst` itself.
async fn transparent(link: &Link, mut client: Leg, dst: SocketAddr, mut entry: Entry) {
    let at = Host::from(dst.ip());
    let context = &link.context;
    entry.target(&at, dst.port());
    // Where any protocol may be spoken the server may be the first to speak: it is dialled now.
    let other = context.decide(None, Some(dst.ip()), dst.port(), Protocol::Other);
    let early = match &other {
        Ok(route) => match dial(link, route, &mut entry).await {
            Ok(stream) => Some(stream),
            Err(refusal) => return refuse(client, &refusal, &mut entry),
        },
        Err(_) => None,
    };
    let spoken = listen(&mut client, early.as_ref(), &context.limits).await;
    let refused = match (spoken, early, other) {
        (Ok(Spoken::Tls(sni)), early, _) => {
            return Box::pin(transparent_tls(link, client, sni, dst, early, entry)).await;
        }
        (Ok(Spoken::Http1), early, _) => {
            let kept = match early {
                Some(stream) => Kept::on(stream, at, dst.port()).await.ok(),
                None => None,
            };
            return Box::pin(http(link, client, Mode::Transparent(dst), entry, kept)).await;
        }
        (Ok(_), Some(upstream), Ok(_)) => return join(link, client, upstream, entry).await,
        (Ok(Spoken::Http2), ..) => http2(),
        (Ok(Spoken::Silent { .. }), ..) => late(link),
        (Ok(_), _, Err(denied)) | (Err(denied), ..) => denied,
        (Ok(_), None, Ok(_)) => denied(Reason::NoName, "the server was not dialled"),
    };
    refuse(client, &refused.into(), &mut entry);
}

async fn transparent_tls(
    link: &Link,
    client: Leg,
    sni: Option<String>,
    dst: SocketAddr,
    early: Option<TcpStream>,
    mut entry: Entry,
) {
    entry.record.proto = Some("tls");
    let opened = async {
        let named = named(sni, &Host::from(dst.ip()))?;
        if let Some(name) = &named {
            entry.target(name, dst.port());
        }
        let route = link.context.decide(named.as_ref(), Some(dst.ip()), dst.port(), Protocol::Tls);
        match (route, early) {
            (Ok(_), Some(early)) => Ok(early),
            (Ok(route), None) => dial(link, &route, &mut entry).await,
            (Err(denied), _) => Err(denied.into()),
        }
    };
    let opened = opened.await;
    match opened {
        Ok(upstream) => join(link, client, upstream, entry).await,
        Err(refusal) => refuse_tls(link, client, &refusal, entry).await,
    }
}

/// The command speaks through a CONNECT to `host`, which `upstream` leads to.
async fn connected(
    link: &Link,
    mut client: Leg,
    upstream: TcpStream,
    host: Host,
    port: u16,
    mut entry: Entry,
) {
    let context = &link.context;
    let other = context.decide(Some(&host), None, port, Protocol::Other);
    let spoken = listen(&mut client, other.is_ok().then_some(&upstream), &context.limits).await;
    let refused = match (spoken, other) {
        (Ok(Spoken::Tls(sni)), other) => match agrees(context, sni, &host, port, other.is_ok()) {
            Ok(()) => return join(link, client, upstream, entry).await,
            Err(refusal) => return refuse_tls(link, client, &refusal, entry).await,
        },
        (Ok(Spoken::Http1), _) => match Kept::on(upstream, host.clone(), port).await {
            Ok(kept) => {
                let mode = Mode::Connected(host, port);
                return Box::pin(http(link, client, mode, entry, Some(kept))).await;
            }
            Err(refusal) => refusal,
        },
        (Ok(_), Ok(_)) => return join(link, client, upstream, entry).await,
        (Ok(Spoken::Http2), Err(_)) => http2().into(),
        (Ok(Spoken::Silent { .. }), Err(_)) => late(link).into(),
        (Ok(_), Err(denied)) | (Err(denied), _) => denied.into(),
    };
    refuse(client, &refused, &mut entry);
}

/// Whether TLS with this server name may be spoken through a CONNECT to `host`. `other`: whether anything may.
fn agrees(
    context: &Context,
    sni: Option<String>,
    host: &Host,
    port: u16,
    other: bool,
) -> Result<(), Refusal> {
    let nameless = sni.is_none();
    match (named(sni, host)?, host) {
        (Some(name), Host::Name(_)) if name != *host => {
            let message = format!("the CONNECT was for {host}, the TLS inside is for {name}");
            return Err(denied(Reason::NameMismatch, message).into());
        }
        (Some(name), Host::Ip(_)) => match context.decide(Some(&name), None, port, Protocol::Tls) {
            Err(denied) if denied.reason == Reason::Blocked => return Err(denied.into()),
            _ => {}
        },
        (None, Host::Name(_)) if nameless && !other => {
            let message = format!("the CONNECT was for {host}, the TLS inside names no server (no SNI)");
            return Err(denied(Reason::NoName, message).into());
        }
        _ => {}
    }
    context.decide(Some(host), None, port, Protocol::Tls).map(|_| ()).map_err(Refusal::from)
}

/// The server name as a host. An address in its place, which RFC 6066 forbids but clients send, must be the one
/// that is spoken to anyway, and counts as no name.
fn named(sni: Option<String>, expected: &Host) -> Result<Option<Host>, Refusal> {
    let Some(sni) = sni else { return Ok(None) };
    match Host::parse(&sni) {
        Ok(name @ Host::Name(_)) => Ok(Some(name)),
        Ok(address) if address == *expected => Ok(None),
        Ok(address) => {
            let message = format!("the connection goes to {expected}, its TLS names {address}");
            Err(denied(Reason::NameMismatch, message).into())
        }
        Err(error) => Err(denied(Reason::Malformed, format!("the TLS server name: {error}")).into()),
    }
}

async fn http(link: &Link, client: Leg, mode: Mode, mut entry: Entry, kept: Option<Kept>) {
    entry.deny(&denied(Reason::Malformed, "the connection ended in the middle of a request head"));
    match Box::pin(http1::serve(link, client, mode, entry, kept)).await {
        None => {}
        Some(Next::Tunnel { client, upstream, entry }) => tunnel(link, client, upstream, entry).await,
        Some(Next::Connect { client, upstream, host, port, entry }) => {
            // A CONNECT inside a CONNECT is refused: this goes one level deep.
            Box::pin(connected(link, client, upstream, host, port, entry)).await;
        }
    }
}

async fn dial(link: &Link, route: &Route, entry: &mut Entry) -> Result<TcpStream, Refusal> {
    entry.allow(&route.rule);
    let stream = upstream::dial(&link.context, &route.dial, route.port).await?;
    entry.record.ip = stream.peer_addr().ok().map(|address| address.ip());
    Ok(stream)
}

async fn join(link: &Link, client: Leg, upstream: TcpStream, entry: Entry) {
    tunnel(link, client, Leg::new(upstream), entry).await;
}

async fn tunnel(link: &Link, client: Leg, upstream: Leg, entry: Entry) {
    if let Err(error) = tunnel::join(client, upstream, &entry.traffic, &link.activity).await {
        log::debug!("tunnel to {:?}: {error}", entry.record.host);
    }
}

fn refuse(client: Leg, refusal: &Refusal, entry: &mut Entry) {
    refusal.note(entry);
    if refusal.denied.reason == Reason::NothingSent {
        entry.record.decision = Decision::Allow;
    }
    deny::reset(client.stream);
}

async fn refuse_tls(link: &Link, client: Leg, refusal: &Refusal, mut entry: Entry) {
    refusal.note(&mut entry);
    deny::alert(client.stream, Alert::of(refusal), &link.context.limits).await;
}

fn late(link: &Link) -> Denied {
    let time = link.context.limits.first_byte;
    denied(Reason::Timeout, format!("nothing that could be judged was sent within {time:?}"))
}

fn http2() -> Denied {
    let message = "HTTP/2 without TLS is not passed on; use HTTP/1.1, or HTTP/2 over TLS";
    denied(Reason::ProtocolNotAllowed, message)
}
