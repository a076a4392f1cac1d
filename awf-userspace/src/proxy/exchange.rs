//! One HTTP/1 request to a server and its response; the connection is kept for the next request to the same
//! place.

use std::{net::IpAddr, sync::Arc, time::Duration};

use http::{Method, Request, Response, StatusCode, header::HOST};
use hyper::{
    body::{Body, Incoming},
    client::conn::http1::{Builder, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{task::JoinHandle, time::timeout};

use super::{
    asking,
    body::Passing,
    chain,
    connection::Link,
    context::Route,
    deny::Refusal,
    entry::Entry,
    flow::{self, LARGE},
    paced::Paced,
    request,
    secure::Alpn,
    upstream,
    wire::Wire,
};
use crate::{
    policy::{Host, Reason},
    upstream_proxy::{UpstreamProxy, Use},
};

/// Headers of one response; more than any server sends.
const MAX_HEADERS: usize = 256;
/// Bytes of the head of one response.
const MAX_HEAD: usize = 64 * 1024;
/// How long a kept connection gets to become idle after its response has ended.
const SETTLE: Duration = Duration::from_secs(1);

/// Who reads what is sent on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// One server, straight or at the end of a tunnel.
    Server { host: Host, port: u16 },
    /// An upstream proxy, which serves any target: each request names its own.
    Proxy(Arc<UpstreamProxy>),
}

impl Place {
    fn server(route: &Route) -> Self {
        Self::Server { host: route.dial.clone(), port: route.port }
    }

    /// Where a new connection for `request` has to lead. What cannot be asked in absolute form goes through a tunnel:
    /// WebSocket, `OPTIONS *`, and a Host that is not the one allowed: the route is an address that may be reached
    /// under any name, but a proxy would go by the name.
    fn of<B>(link: &Link, route: &Route, request: &Request<B>) -> Self {
        if link.secure.is_some() {
            return Self::server(route);
        }
        let allowed = request::host_value(&route.dial, route.port, 80);
        let foreign = request.headers().get(HOST).is_none_or(|host| *host != *allowed);
        let tunnel = foreign || request::is_websocket(request.headers()) || request.uri().path() == "*";
        match link.context.upstream.of(Use::Http, &route.dial, route.port) {
            Some(proxy) if !tunnel => Self::Proxy(Arc::clone(proxy)),
            _ => Self::server(route),
        }
    }

    fn failed(&self, link: &Link, error: &hyper::Error) -> Refusal {
        asking::explain(link, self.reason(link, error))
    }

    fn reason(&self, link: &Link, error: &hyper::Error) -> Refusal {
        match self {
            _ if link.flow.is_crowded() => flow::crowded(),
            Self::Server { host, port } if error.is_parse_too_large() => {
                let what = "has no end, or too many headers";
                let message = format!("the head of what {host} port {port} answers {what}");
                Refusal::unreachable(Reason::LimitExceeded, message)
            }
            Self::Server { host, port } => {
                let message = format!("{host} port {port} gave no answer: {error}");
                Refusal::unreachable(Reason::ConnectFailed, message)
            }
            Self::Proxy(proxy) => chain::failed(proxy, &error.to_string()),
        }
    }
}

/// A server connection on which requests can be sent.
#[derive(Debug)]
pub(super) struct Kept {
    place: Place,
    ip: Option<IpAddr>,
    sender: SendRequest<Passing>,
    task: AbortOnDrop,
}

/// A server connection, whose socket is not left open by what the server does not read.
#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Kept {
    /// Speaks HTTP on `stream`, which leads to `host` on `port`.
    pub(super) async fn on(
        link: &Link,
        stream: impl Into<Wire>,
        host: Host,
        port: u16,
    ) -> Result<Self, Refusal> {
        Self::at(link, stream.into(), Place::Server { host, port }).await
    }

    async fn at(link: &Link, stream: Wire, place: Place) -> Result<Self, Refusal> {
        let ip = stream.peer_ip();
        let mut builder = Builder::new();
        builder
            .preserve_header_case(true)
            // What other clients and proxies take from old servers (RFC 9112 sections 5.1 and 5.2).
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .max_headers(MAX_HEADERS)
            .max_header_size(MAX_HEAD)
            .max_buf_size(LARGE);
        let handshake = builder.handshake(TokioIo::new(Paced::new(stream, Arc::clone(&link.flow)))).await;
        let (sender, connection) = handshake.map_err(|error| place.failed(link, &error))?;
        let task = AbortOnDrop(tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                log::debug!("server connection: {error}");
            }
        }));
        Ok(Self { place, ip, sender, task })
    }

    /// Closes its socket, now.
    pub(super) async fn close(mut self) {
        self.task.0.abort();
        // It was aborted, or had ended before.
        let _ = (&mut self.task.0).await;
    }

    /// Closes its socket once what is on its way to the server has been written, or `time` is over: a server may answer
    /// before it has read the request.
    pub(super) async fn end(self, time: Duration) {
        let Self { sender, mut task, .. } = self;
        drop(sender);
        // Aborted then, as it is dropped.
        let _ = timeout(time, &mut task.0).await;
    }

    /// A new one to `place`; there is no other.
    async fn to(link: &Link, place: Place, entry: &mut Entry) -> Result<Self, Refusal> {
        let context = &link.context;
        link.seat.take()?;
        let stream = match (&place, &link.secure) {
            (Place::Server { host, port }, Some(secure)) => {
                secure.dial(context, (host, *port), Alpn::Http1, entry).await?
            }
            (Place::Server { host, port }, None) => {
                upstream::dial(context, host, *port, Use::Http, entry).await?.into()
            }
            (Place::Proxy(proxy), _) => {
                entry.record.via = Some(proxy.place());
                chain::open(context, proxy).await?.into()
            }
        };
        Self::at(link, stream, place).await
    }

    /// Itself, if it leads to `place`, or straight where `route` does, and is ready for another request; else it is
    /// closed.
    async fn ready_for(mut self, route: &Route, place: &Place) -> Option<Self> {
        let fits = self.place == *place || self.place == Place::server(route);
        let ready = fits && matches!(timeout(SETTLE, self.sender.ready()).await, Ok(Ok(())));
        if ready {
            return Some(self);
        }
        self.close().await;
        None
    }

    /// Makes `request` one for who reads it here, each time anew: a proxy serves any target.
    fn prepare(&self, request: &mut Request<Passing>, route: &Route, entry: &mut Entry) {
        entry.record.ip = self.ip;
        if let Place::Proxy(proxy) = &self.place {
            entry.record.via = Some(proxy.place());
            chain::address(request, route, proxy);
        }
    }

    /// Leaves itself in `kept`, for the next request. That a proxy wants credentials is our affair, not the command's,
    /// who must not be asked for them.
    fn keep(
        self,
        link: &Link,
        kept: &mut Option<Self>,
        response: Response<Incoming>,
        entry: &mut Entry,
    ) -> Result<Response<Incoming>, Refusal> {
        if let (Place::Proxy(proxy), StatusCode::PROXY_AUTHENTICATION_REQUIRED) =
            (&self.place, response.status())
        {
            return Err(chain::refused(proxy, "a request", response.status()));
        }
        *kept = Some(self);
        asking::answered(link, response.status(), entry);
        Ok(response)
    }
}

/// Sends `request` along `route`, on the connection in `kept` if it fits, and leaves the one used there.
///
/// # Errors
/// The answer the command gets instead.
pub(super) async fn send(
    link: &Link,
    kept: &mut Option<Kept>,
    route: &Route,
    mut request: Request<Passing>,
    entry: &mut Entry,
) -> Result<Response<Incoming>, Refusal> {
    let context = &*link.context;
    let place = Place::of(link, route, &request);
    if matches!(place, Place::Proxy(_)) {
        upstream::may_ask(context, &entry.rules.policy, &route.dial, route.port)?;
    }
    if let Some(old) = kept.take()
        && let Some(mut old) = old.ready_for(route, &place).await
    {
        old.prepare(&mut request, route, entry);
        let spare = repeatable(&request);
        link.flow.expect_answer();
        match old.sender.try_send_request(request).await {
            Ok(response) => {
                link.flow.answered();
                return old.keep(link, kept, response, entry);
            }
            // The server closed the idle connection just then. What it cannot have acted on goes again.
            Err(mut error) => match error.take_message().or(spare) {
                Some(again) => {
                    old.close().await;
                    request = again;
                }
                None => return Err(old.place.failed(link, error.error())),
            },
        }
    }
    // Freed once it is there: a request spends its life waiting for the answer.
    let mut fresh = Box::pin(Kept::to(link, place, entry)).await?;
    fresh.prepare(&mut request, route, entry);
    link.flow.expect_answer();
    let sent = fresh.sender.send_request(request).await;
    let response = sent.map_err(|error| fresh.place.failed(link, &error))?;
    link.flow.answered();
    fresh.keep(link, kept, response, entry)
}

/// A copy of a request that may be sent twice (RFC 9110 section 9.2.2) and has no body.
fn repeatable(request: &Request<Passing>) -> Option<Request<Passing>> {
    let idempotent = [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE];
    if !request.body().is_end_stream() || !idempotent.contains(request.method()) {
        return None;
    }
    let mut copy = Request::new(Passing::empty());
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    Some(copy)
}
