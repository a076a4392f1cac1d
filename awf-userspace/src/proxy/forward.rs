//! One HTTP request: whom it is for, whether that is allowed, its answer. Every request of a kept-alive
//! connection comes through here by itself.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use http::{
    HeaderValue, Method, Request, Response, StatusCode, Version, header, request::Parts, uri::PathAndQuery,
};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use tokio::net::TcpStream;

use super::{
    body::Passing,
    connection::Link,
    context::denied,
    deny::{self, Refusal},
    entry::Entry,
    exchange::{self, Kept},
    expecting,
    farewell::Farewell,
    flow,
    gate::Finding,
    head::HeadError,
    judge::{Judged, Mode, expired, judge, unreadable},
    request::{self, Destination, Form},
    upstream,
};
use crate::{
    audit::EventKind,
    policy::{Host, Protocol, Reason},
    upstream_proxy::Use,
};

/// The port on which clear text is to be expected.
const CLEAR: u16 = 80;

/// What a request turned its connection into.
#[derive(Debug)]
pub(super) enum After {
    WebSocket { client: OnUpgrade, upstream: OnUpgrade, entry: Entry },
    Connect { client: OnUpgrade, upstream: Option<TcpStream>, host: Host, port: u16, entry: Entry },
}

/// The requests of one connection.
#[derive(Debug)]
pub(super) struct Forward {
    link: Link,
    mode: Mode,
    kept: tokio::sync::Mutex<Option<Kept>>,
    after: Mutex<Option<After>>,
    finding: Arc<OnceLock<Finding>>,
    /// The connection's own entry, until a request takes it along; dropped last, since it sums up the others.
    connection: Mutex<Option<Entry>>,
}

impl Forward {
    pub(super) fn new(link: Link, mode: Mode, entry: Entry, kept: Option<Kept>) -> Self {
        let (connection, kept) = (Mutex::new(Some(entry)), tokio::sync::Mutex::new(kept));
        Self { link, mode, kept, after: Mutex::default(), finding: Arc::default(), connection }
    }

    pub(super) fn finding(&self) -> &Arc<OnceLock<Finding>> {
        &self.finding
    }

    pub(super) fn take_after(&self) -> Option<After> {
        self.after.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Answers `request`; never fails, a failure is an answer.
    pub(super) async fn handle(&self, request: Request<Incoming>) -> Response<Passing> {
        let (mut parts, body) = request.into_parts();
        let mut body = Some(body);
        let mut entry = self.entry(&parts);
        let result = match self.destination(&parts, &mut entry) {
            Ok(to) if to.form == Form::Connect => self.connect(&mut parts, to, &mut entry).await,
            Ok(to) => self.pass_on(&mut parts, &mut body, to, &mut entry).await,
            Err(refusal) => Err(refusal),
        };
        match result {
            Ok(Outcome::Response(response)) => {
                entry.record.status = Some(response.status().as_u16());
                response.map(|body| Passing::down(body, entry, Some(&self.link.flow)))
            }
            Ok(Outcome::After(response, after)) => {
                entry.record.status = Some(response.status().as_u16());
                entry.continues(self.connection().take());
                *self.after.lock().unwrap_or_else(PoisonError::into_inner) = Some(after.with(entry));
                response
            }
            Err(refusal) => {
                // What follows a request to tunnel, or a broken one, is no request.
                let over = matches!(refusal.denied.reason, Reason::IdleTimeout | Reason::LifetimeExceeded);
                let last = over || self.finding.get().is_some() || wants_tunnel(&parts);
                deny::answer(&refusal, &parts.headers, body, last, entry).await
            }
        }
    }

    fn entry(&self, parts: &Parts) -> Entry {
        let connect = parts.method == Method::CONNECT;
        // A CONNECT is the last request of its connection, and has no record but the connection's.
        let own =
            if connect { self.connection().take() } else { self.connection().as_ref().map(Entry::request) };
        let mut entry =
            own.unwrap_or_else(|| Entry::new(&self.link.context, EventKind::Request, self.link.peer));
        entry.record.proto = Some(if connect { "connect" } else { self.mode.scheme().as_str() });
        entry.record.method = self.finding.get().is_none().then(|| parts.method.to_string());
        entry
    }

    fn connection(&self) -> MutexGuard<'_, Option<Entry>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn destination(&self, parts: &Parts, entry: &mut Entry) -> Result<Destination, Refusal> {
        if let Some(finding) = self.finding.get() {
            return Err(found(finding));
        }
        let to = request::destination(self.mode.scheme(), &parts.method, &parts.uri, &parts.headers);
        let to = to.map_err(unreadable)?;
        if let Some(host) = &to.host {
            entry.target(host, to.port.unwrap_or_else(|| self.mode.port()));
        }
        Ok(to)
    }

    /// CONNECT: allowed as soon as anything could be spoken there; what is, is judged again. Dialled at once, unless an
    /// upstream proxy will have to be asked in a way that depends on it.
    async fn connect(
        &self,
        parts: &mut Parts,
        to: Destination,
        entry: &mut Entry,
    ) -> Result<Outcome, Refusal> {
        let (Mode::Explicit, Some(host), Some(port)) = (&self.mode, to.host, to.port) else {
            let message = "CONNECT works only straight to awf-bpf's proxy, not through another connection";
            return Err(denied(Reason::ProtocolNotAllowed, message).into());
        };
        let context = &self.link.context;
        let route = match entry.rules.decide_any(&host, port) {
            Ok(route) => route,
            // Inside its TLS the client reads why; of the answer to a CONNECT most show nothing.
            Err(denied) if context.interception.is_some() && Farewell::greeting(port).is_none() => {
                entry.deny(&denied);
                self.drop_kept().await;
                return tunnel(parts, None, host, port);
            }
            Err(denied) => return Err(denied.into()),
        };
        entry.allow(&route.rule);
        self.drop_kept().await;
        // Most upstream proxies open tunnels to port 443 only, and what is inside may need none. Where any protocol may
        // be spoken it may be the server who begins.
        let waits = port == CLEAR
            && context.upstream.of(Use::Http, &host, port).is_some()
            && entry.rules.decide(Some(&host), None, port, Protocol::Other).is_err();
        let upstream = match waits {
            true => None,
            false => {
                self.link.seat.take()?;
                Some(upstream::dial(context, &route.dial, port, Use::Tunnel, entry).await?)
            }
        };
        tunnel(parts, upstream, host, port)
    }

    /// After the last request.
    pub(super) async fn end(&self) {
        let kept = self.kept.lock().await.take();
        if let Some(kept) = kept {
            kept.end(self.link.context.limits.linger).await;
        }
    }

    /// The server's socket of the requests before, which nobody needs any more.
    async fn drop_kept(&self) {
        let kept = self.kept.lock().await.take();
        if let Some(kept) = kept {
            kept.close().await;
        }
    }

    async fn pass_on(
        &self,
        parts: &mut Parts,
        body: &mut Option<Incoming>,
        to: Destination,
        entry: &mut Entry,
    ) -> Result<Outcome, Refusal> {
        let Judged { host, route } = judge(&self.mode, to, parts, entry)?;
        if let Some(wanted) = request::foreign_upgrade(&parts.headers) {
            let message = format!("an upgrade to {wanted} is not passed on: only WebSocket is");
            return Err(denied(Reason::ProtocolNotAllowed, message).into());
        }
        let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let scheme = self.mode.scheme();
        let authority = request::host_value(&host, route.port, scheme.port());
        entry.record.url = Some(format!("{}://{authority}{path}", scheme.as_str()));
        entry.allow(&route.rule);
        let websocket = wants_tunnel(parts);
        let client = if websocket { parts.extensions.remove::<OnUpgrade>() } else { None };
        let mut head = outgoing(parts, &authority, websocket)?;
        let flow = Some(&self.link.flow);
        let body = body.take().map_or_else(Passing::empty, |body| {
            Passing::up(expecting::source(&mut head, body), &entry.traffic, flow)
        });
        let mut kept = self.kept.lock().await;
        // Pinned here: select! would hold it twice.
        let sending = pin!(exchange::send(&self.link, &mut kept, &route, head.map(|()| body), entry));
        let sent = tokio::select! {
            sent = sending => sent,
            reason = self.link.activity.expired(Duration::ZERO) => Err(expired(reason, &host)),
        };
        match (sent, self.finding.get()) {
            // The body broke off because the gate stopped it: the command's fault, not the server's.
            (Err(_), Some(finding)) => Err(found(finding)),
            (Err(refusal), None) => Err(refusal),
            (Ok(response), _) => answer(response, client, websocket, &host),
        }
    }
}

enum Outcome {
    Response(Response<Incoming>),
    After(Response<Passing>, Box<Pending>),
}

/// [`After`] without its entry.
enum Pending {
    WebSocket { client: OnUpgrade, upstream: OnUpgrade },
    Connect { client: OnUpgrade, upstream: Option<TcpStream>, host: Host, port: u16 },
}

impl Pending {
    fn with(self, entry: Entry) -> After {
        match self {
            Self::WebSocket { client, upstream } => After::WebSocket { client, upstream, entry },
            Self::Connect { client, upstream, host, port } => {
                After::Connect { client, upstream, host, port, entry }
            }
        }
    }
}

/// The answer that a CONNECT was heard.
fn tunnel(parts: &mut Parts, upstream: Option<TcpStream>, host: Host, port: u16) -> Result<Outcome, Refusal> {
    let client = parts.extensions.remove::<OnUpgrade>().ok_or_else(not_upgradable)?;
    let after = Box::new(Pending::Connect { client, upstream, host, port });
    Ok(Outcome::After(Response::new(Passing::empty()), after))
}

fn found(finding: &Finding) -> Refusal {
    let reason = match finding {
        Finding::Late(_) => Reason::HeadTimeout,
        Finding::Crowded => return flow::crowded(),
        Finding::Head(HeadError::TooLong(_) | HeadError::TooManyHeaders) => Reason::LimitExceeded,
        Finding::Head(_) | Finding::Body(_) => Reason::Malformed,
    };
    Refusal::bad_request(denied(reason, finding.to_string()))
}

/// What the server answered, as the command gets it. `client`: its side, if it may become a WebSocket.
fn answer(
    mut response: Response<Incoming>,
    client: Option<OnUpgrade>,
    websocket: bool,
    host: &Host,
) -> Result<Outcome, Refusal> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(client) = client.filter(|_| request::is_websocket(response.headers())) else {
            let message = format!("{host} switched to a protocol that was not asked for");
            return Err(Refusal::unreachable(Reason::ConnectFailed, message));
        };
        let upstream = hyper::upgrade::on(&mut response);
        request::strip_hop_by_hop(response.headers_mut());
        request::mark_websocket(response.headers_mut());
        let response = response.map(|_| Passing::empty());
        return Ok(Outcome::After(response, Box::new(Pending::WebSocket { client, upstream })));
    }
    response.extensions_mut().remove::<OnUpgrade>();
    // A proxy answers with its own version (RFC 9110 section 2.5), else an old server costs the connection.
    *response.version_mut() = Version::HTTP_11;
    if response.headers().contains_key(header::TRANSFER_ENCODING) {
        // Overridden by it (RFC 9112 section 6.3): the length of something else, by which the body would be cut.
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    request::strip_hop_by_hop(response.headers_mut());
    if websocket {
        // The gate holds back what follows a request to upgrade: there is no going on from here.
        deny::close(response.headers_mut());
    }
    Ok(Outcome::Response(response))
}

/// The request as the server gets it: origin form, the judged name as its Host, nothing meant for a proxy.
fn outgoing(parts: &mut Parts, authority: &str, websocket: bool) -> Result<Request<()>, Refusal> {
    let bad = |what| Refusal::bad_request(denied(Reason::Malformed, format!("the {what} is not valid")));
    let mut out = Request::new(());
    out.method_mut().clone_from(&parts.method);
    let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    *out.uri_mut() = path.parse().map_err(|_| bad("path"))?;
    *out.headers_mut() = std::mem::take(&mut parts.headers);
    *out.extensions_mut() = std::mem::take(&mut parts.extensions);
    out.extensions_mut().remove::<OnUpgrade>();
    let chunked = out.headers().contains_key(header::TRANSFER_ENCODING);
    request::strip_hop_by_hop(out.headers_mut());
    if chunked {
        // Else the library leaves out the body of a GET or HEAD, whose length it is not told.
        out.headers_mut().insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    out.headers_mut().insert(header::HOST, HeaderValue::from_str(authority).map_err(|_| bad("host"))?);
    if websocket {
        request::mark_websocket(out.headers_mut());
    }
    Ok(out)
}

fn wants_tunnel(parts: &Parts) -> bool {
    parts.method == Method::CONNECT
        || parts.version == Version::HTTP_11 && request::wants_websocket(&parts.method, &parts.headers)
}

fn not_upgradable() -> Refusal {
    Refusal::bad_request(denied(Reason::Malformed, "this connection cannot become a tunnel"))
}
