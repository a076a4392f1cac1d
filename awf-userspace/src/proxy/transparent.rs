//! A connection to an address that the command dialled itself.

use std::{net::SocketAddr, time::Duration};

use tokio::net::TcpStream;

use super::{
    agree::{hidden, named},
    connection::{Link, Tunnel, dial, h2c, http, join, refuse, tls_opened},
    context::{Route, denied},
    deny::Refusal,
    entry::Entry,
    exchange::Kept,
    farewell::Farewell,
    intercept::Place,
    judge::Mode,
    listen::{Spoken, late, listen, patience},
    multiplex::Upstreams,
    tunnel::Leg,
};
use crate::policy::{Denied, Host, Protocol, Reason};

/// What is waited for to come from a client whom nothing it says would help: only how to tell it.
const HEARING: Duration = Duration::from_millis(500);

/// A server that was dialled before the command has said anything.
struct Early {
    route: Route,
    stream: Result<TcpStream, Refusal>,
}

/// The command dialled `dst` itself.
pub(super) async fn serve(link: &Link, mut client: Leg, dst: SocketAddr, mut entry: Entry) -> Option<Tunnel> {
    let (context, port) = (&link.context, dst.port());
    entry.target(&Host::from(dst.ip()), port);
    let (early, settled) = early(link, dst, &mut entry).await;
    let stream = early.as_ref().ok().and_then(|early| early.stream.as_ref().ok());
    let patience = match &settled {
        Some(_) if Farewell::greeting(port).is_some() => Duration::ZERO,
        Some(_) => HEARING,
        None => patience(link, Some(port), stream.is_some()),
    };
    let spoken = listen(&mut client, stream, patience, &context.limits, &link.flow).await;
    let early = if entry.renew_rules() { still(early, dst, &entry) } else { early };
    let refused = match (spoken, early) {
        (Ok(Spoken::Tls(sni)), early) => return tls(link, client, sni, dst, early, entry).await,
        (Ok(Spoken::Hidden(outer)), early) => return ech(link, client, outer, dst, early, entry).await,
        (Ok(Spoken::Http1), early) => {
            let kept = match early {
                Ok(Early { route, stream: Ok(stream) }) => {
                    Kept::on(link, stream, route.dial, route.port).await.ok()
                }
                _ => None,
            };
            return http(link, client, Mode::Transparent(dst), entry, kept).await;
        }
        (Ok(Spoken::Http2), early) => {
            let upstreams = match early {
                Ok(Early { route, stream: Ok(stream) }) => {
                    Upstreams::on(stream, route.dial, route.port, &entry)
                }
                _ => Upstreams::default(),
            };
            return h2c(link, client, Mode::Transparent(dst), entry, (upstreams, None)).await;
        }
        (Ok(_), Ok(Early { stream: Ok(stream), .. })) => return join(link, client, stream, entry),
        (Ok(Spoken::Silent { bytes }), Err(denied)) => late(bytes, Some(port), patience, denied).into(),
        (Ok(_), Err(denied)) => denied.into(),
        (Ok(_), Ok(Early { stream: Err(refusal), .. })) => refusal,
        (Err(denied), _) => denied.into(),
    };
    refuse(link, client, &settled.unwrap_or(refused), Some(port), entry).await
}

/// Dials where any protocol may be spoken, since the server may be the first to speak. Beside the server, or why
/// there is none: the refusal of everything that is neither TLS nor HTTP, if it is settled already.
async fn early(link: &Link, dst: SocketAddr, entry: &mut Entry) -> (Result<Early, Denied>, Option<Refusal>) {
    if let Some((host, denied)) = entry.rules.closed_port(dst) {
        entry.target(&host, dst.port());
        return (Err(denied.clone()), Some(denied.into()));
    }
    match entry.rules.decide_other(dst) {
        Ok(route) => {
            let stream = dial(link, &route, entry).await;
            entry.target(&route.dial, route.port);
            let failed = stream.as_ref().err().cloned();
            (Ok(Early { route, stream }), failed)
        }
        Err(denied) => (Err(denied), None),
    }
}

/// `early`, if the policy of now would dial it, too.
fn still(early: Result<Early, Denied>, dst: SocketAddr, entry: &Entry) -> Result<Early, Denied> {
    let (early, route) = (early?, entry.rules.decide_other(dst)?);
    if route.dial == early.route.dial {
        return Ok(early);
    }
    let message =
        format!("the policy was changed while {dst} was waited for: it leads to {} now", route.dial);
    Err(denied(Reason::NotInAllowlist, message))
}

async fn tls(
    link: &Link,
    client: Leg,
    sni: Option<String>,
    dst: SocketAddr,
    early: Result<Early, Denied>,
    mut entry: Entry,
) -> Option<Tunnel> {
    entry.record.proto = Some("tls");
    let mut place = None;
    let opened = async {
        let named = named(sni, &Host::from(dst.ip()))?;
        if let Some(name) = &named {
            entry.target(name, dst.port());
        }
        let host = named.clone().unwrap_or_else(|| Host::from(dst.ip()));
        place = Some(Place { host, port: dst.port(), at: Some(dst.ip()) });
        let decided = entry.rules.decide(named.as_ref(), Some(dst.ip()), dst.port(), Protocol::Tls);
        match (decided, early) {
            (Ok(route), Ok(early)) if route.dial == early.route.dial => Ok((early.route, early.stream?)),
            (Ok(route), early) => {
                drop(early);
                let stream = dial(link, &route, &mut entry).await?;
                Ok((route, stream))
            }
            (Err(denied), Ok(early)) if named.is_none() && denied.reason != Reason::Blocked => {
                if let Some(place) = &mut place {
                    place.host = early.route.dial.clone();
                }
                Ok((early.route, early.stream?))
            }
            (Err(denied), _) => Err(denied.into()),
        }
    };
    let opened = opened.await;
    tls_opened(link, client, opened, place, entry).await
}

/// TLS whose server name is hidden: as good as a protocol without one.
async fn ech(
    link: &Link,
    client: Leg,
    outer: Option<String>,
    dst: SocketAddr,
    early: Result<Early, Denied>,
    mut entry: Entry,
) -> Option<Tunnel> {
    entry.record.proto = Some("tls");
    let at = Host::from(dst.ip().to_canonical());
    let place = Place::inside(outer.as_deref(), &Host::from(dst.ip()), dst.port());
    if link.takes(&place, &entry.rules.policy) {
        return tls(link, client, outer, dst, early, entry).await;
    }
    let judged = named(outer, &at).and_then(|outer| {
        let given = link.context.resolver.names_of(dst.ip().to_canonical()).into_iter().next();
        let host = given.map_or(at, Host::Name);
        entry.target(outer.as_ref().unwrap_or(&host), dst.port());
        let early = hidden(&entry.rules, outer.as_ref(), &host, dst.port(), early)?;
        entry.target(&early.route.dial, early.route.port);
        Ok((early.route, early.stream?))
    });
    tls_opened(link, client, judged, Some(place), entry).await
}
