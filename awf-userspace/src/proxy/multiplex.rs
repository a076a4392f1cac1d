//! Server connections that carry many requests at once: HTTP/2 in clear text, one to each server.

use std::{error::Error as _, net::IpAddr, sync::Arc};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::Mutex;

use super::{
    asking, body::Passing, connection::Link, context::Route, deny::Refusal, entry::Entry, http2::Windows,
    seat::Permit, secure::Alpn, upstream, wire::Wire,
};
use crate::{
    policy::{Host, Reason},
    upstream_proxy::Use,
};

/// Servers that the requests of one connection may be spread over at a time; the oldest is given up for another.
const MAX_SERVERS: usize = 8;
/// How often a request is sent again: many wait for a server that takes few at once, and some let a connection live for
/// seconds only.
const AGAIN: u32 = 3;
/// Bytes of the headers of one response.
const MAX_HEADERS: u32 = 64 * 1024;

/// A connection to one server, made when it is first needed.
type Slot = Arc<Mutex<Way>>;

/// How far a connection has come. Nothing is said on it before a request was allowed.
#[derive(Debug, Default)]
enum Way {
    #[default]
    None,
    /// Dialled, with the upstream proxy it leads through.
    Open(Wire, Option<String>),
    Shared(Shared),
}

#[derive(Clone, Debug)]
struct Shared {
    ip: Option<IpAddr>,
    /// The upstream proxy on the way.
    via: Option<String>,
    sender: SendRequest<Passing>,
}

/// The servers of one connection of the command.
#[derive(Debug, Default)]
pub(super) struct Upstreams(std::sync::Mutex<Vec<(Host, u16, Slot)>>);

impl Upstreams {
    /// With `stream`, which leads to `host` on `port`; `entry` was told how.
    pub(super) fn on(stream: impl Into<Wire>, host: Host, port: u16, entry: &Entry) -> Self {
        let way = Way::Open(stream.into(), entry.record.via.clone());
        Self(vec![(host, port, Arc::new(Mutex::new(way)))].into())
    }

    /// Sends `request` along `route`.
    ///
    /// # Errors
    /// The answer the command gets instead.
    pub(super) async fn send(
        &self,
        link: &Link,
        windows: Windows,
        route: &Route,
        mut request: Request<Passing>,
        entry: &mut Entry,
    ) -> Result<Response<Incoming>, Refusal> {
        let slot = self.slot(route);
        let mut again = AGAIN;
        loop {
            // Freed once it is there: a request spends its life waiting for the answer.
            let mut shared = Box::pin(connected(link, windows, &slot, route, entry)).await?;
            entry.record.ip = shared.ip;
            entry.record.via.clone_from(&shared.via);
            match shared.sender.try_send_request(request).await {
                Ok(response) => {
                    asking::answered(link, response.status(), entry);
                    return Ok(response);
                }
                // The server said goodbye just then. What it has not seen goes again.
                Err(mut error) => match error.take_message().filter(|_| again > 0) {
                    Some(unsent) => (request, again) = (unsent, again - 1),
                    None => {
                        let failed = failed(&route.dial, route.port, error.error());
                        return Err(asking::explain(link, failed));
                    }
                },
            }
        }
    }

    fn slot(&self, route: &Route) -> Slot {
        let mut servers = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = servers.iter().find(|(host, port, _)| *host == route.dial && *port == route.port);
        if let Some((.., slot)) = known {
            return Arc::clone(slot);
        }
        if servers.len() >= MAX_SERVERS {
            servers.remove(0);
        }
        let slot = Slot::default();
        servers.push((route.dial.clone(), route.port, Arc::clone(&slot)));
        slot
    }
}

/// The connection in `slot`, made now if there is none that can be used.
async fn connected(
    link: &Link,
    windows: Windows,
    slot: &Slot,
    route: &Route,
    entry: &mut Entry,
) -> Result<Shared, Refusal> {
    let mut slot = slot.lock().await;
    // Each server has its own, until its last request has ended: who is given up for another may be busy still.
    let mut permit = None;
    let (stream, via) = match std::mem::take(&mut *slot) {
        Way::Shared(shared) if !shared.sender.is_closed() => {
            *slot = Way::Shared(shared.clone());
            return Ok(shared);
        }
        Way::Open(stream, via) => (stream, via),
        // Requests in absolute form are HTTP/1: through an upstream proxy this takes a tunnel.
        Way::None | Way::Shared(_) => {
            let context = &link.context;
            permit = Some(context.sockets.one()?);
            let (host, port) = (&route.dial, route.port);
            let stream = match &link.secure {
                Some(secure) => secure.dial(context, (host, port), Alpn::Http2, entry).await?,
                None => upstream::dial(context, host, port, Use::Http, entry).await?.into(),
            };
            (stream, entry.record.via.clone())
        }
    };
    let shared = Shared {
        via,
        ..handshake(stream, permit, windows, route).await.map_err(|failed| asking::explain(link, failed))?
    };
    *slot = Way::Shared(shared.clone());
    Ok(shared)
}

async fn handshake(
    stream: Wire,
    permit: Option<Permit>,
    windows: Windows,
    route: &Route,
) -> Result<Shared, Refusal> {
    let ip = stream.peer_ip();
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        // Until its settings say how many it takes.
        .initial_max_send_streams(1)
        .initial_stream_window_size(windows.stream)
        .initial_connection_window_size(windows.connection)
        .max_send_buf_size(windows.send)
        .max_header_list_size(MAX_HEADERS);
    let handshake = builder.handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|error| failed(&route.dial, route.port, &error))?;
    // Ends by itself with the last sender and the last body.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            log::debug!("server connection: {error}");
        }
        drop(permit);
    });
    Ok(Shared { ip, via: None, sender })
}

fn failed(host: &Host, port: u16, error: &hyper::Error) -> Refusal {
    let message = format!("{host} port {port} gave no answer in HTTP/2: {error}");
    let untouched = error.source().and_then(|error| error.downcast_ref::<h2::Error>()).is_some_and(|error| {
        let goodbye = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        error.is_remote() && (goodbye || error.reason() == Some(h2::Reason::REFUSED_STREAM))
    });
    Refusal { untouched, ..Refusal::unreachable(Reason::ConnectFailed, message) }
}
