//! A connection to an address that the command dialled itself.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::{
    agree::{hidden, named},
    connection::{Link, Tunnel, dial, http, http2, join, late, patience, refuse, refuse_tls},
    context::Route,
    entry::Entry,
    exchange::Kept,
    forward::Mode,
    listen::{Spoken, listen},
    tunnel::Leg,
};
use crate::policy::{Denied, Host, Protocol, Reason};

/// A server that was dialled before the command has said anything.
struct Early {
    route: Route,
    stream: TcpStream,
}

/// The command dialled `dst` itself.
pub(super) async fn serve(link: &Link, mut client: Leg, dst: SocketAddr, mut entry: Entry) -> Option<Tunnel> {
    entry.target(&Host::from(dst.ip()), dst.port());
    if let Some((host, denied)) = link.context.closed_port(dst) {
        entry.target(&host, dst.port());
        return refuse(client, &denied.into(), entry);
    }
    // Where any protocol may be spoken the server may be the first to speak: it is dialled now.
    let early = match link.context.decide_other(dst) {
        Ok(route) => match dial(link, &route, &mut entry).await {
            Ok(stream) => {
                entry.target(&route.dial, route.port);
                Ok(Early { route, stream })
            }
            Err(refusal) => return refuse(client, &refusal, entry),
        },
        Err(denied) => Err(denied),
    };
    let patience = patience(link, Some(dst.port()));
    let stream = early.as_ref().ok().map(|early| &early.stream);
    let spoken = listen(&mut client, stream, patience, &link.context.limits).await;
    let refused = match (spoken, early) {
        (Ok(Spoken::Tls(sni)), early) => return tls(link, client, sni, dst, early, entry).await,
        (Ok(Spoken::Hidden(outer)), early) => return ech(link, client, outer, dst, early, entry).await,
        (Ok(Spoken::Http1), early) => {
            let kept = match early {
                Ok(Early { route, stream }) => Kept::on(stream, route.dial, route.port).await.ok(),
                Err(_) => None,
            };
            return http(link, client, Mode::Transparent(dst), entry, kept).await;
        }
        (Ok(_), Ok(early)) => return join(client, early.stream, entry),
        (Ok(Spoken::Http2), Err(_)) => http2(),
        (Ok(Spoken::Silent { bytes }), Err(_)) => late(bytes, Some(dst.port()), patience),
        (Ok(_), Err(denied)) | (Err(denied), _) => denied,
    };
    refuse(client, &refused.into(), entry)
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
    let opened = async {
        let named = named(sni, &Host::from(dst.ip()))?;
        if let Some(name) = &named {
            entry.target(name, dst.port());
        }
        let decided = link.context.decide(named.as_ref(), Some(dst.ip()), dst.port(), Protocol::Tls);
        match (decided, early) {
            (Ok(route), Ok(early)) if route.dial == early.route.dial => Ok(early.stream),
            (Ok(route), _) => dial(link, &route, &mut entry).await,
            (Err(denied), Ok(early)) if named.is_none() && denied.reason != Reason::Blocked => {
                Ok(early.stream)
            }
            (Err(denied), _) => Err(denied.into()),
        }
    };
    let opened = opened.await;
    match opened {
        Ok(upstream) => join(client, upstream, entry),
        Err(refusal) => refuse_tls(link, client, &refusal, entry).await,
    }
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
    let judged = named(outer, &at).and_then(|outer| {
        let given = link.context.resolver.names_of(dst.ip().to_canonical()).into_iter().next();
        let host = given.map_or(at, Host::Name);
        entry.target(outer.as_ref().unwrap_or(&host), dst.port());
        let early = hidden(&link.context, outer.as_ref(), &host, dst.port(), early)?;
        entry.target(&early.route.dial, early.route.port);
        Ok(early.stream)
    });
    match judged {
        Ok(upstream) => join(client, upstream, entry),
        Err(refusal) => refuse_tls(link, client, &refusal, entry).await,
    }
}
