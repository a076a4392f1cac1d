//! The requests of one HTTP/2 connection, many at once: each is judged by itself, as those of HTTP/1 are.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{
    HeaderMap, Request, Response,
    header::HOST,
    request::Parts,
    uri::{self, PathAndQuery, Uri},
};
use hyper::{body::Incoming, rt::Executor as _, upgrade::OnUpgrade};

use super::{
    body::{Passing, Source},
    connection::Link,
    context::denied,
    deny::{self, Refusal},
    entry::Entry,
    flow::{self, SHORT_HEAD},
    head::MAX_HEADERS,
    held::Held,
    http2::{Inline, Windows},
    judge::{Judged, Mode, expired, judge, unreadable},
    multiplex::Upstreams,
    request::{self, Scheme},
    websocket::{self, Opened, Server},
};
use crate::policy::{Denied, Reason};

#[derive(Debug)]
pub(super) struct Streams {
    link: Link,
    mode: Mode,
    upstreams: Upstreams,
    windows: Windows,
    /// What goes on beside the requests, to the connection's end.
    tasks: Inline,
    held: Held,
    seen: AtomicU64,
    /// Held by each request, so that it is recorded last.
    connection: Arc<Entry>,
}

impl Streams {
    pub(super) fn new(
        link: Link,
        mode: Mode,
        entry: Entry,
        upstreams: Upstreams,
        (windows, tasks): (Windows, Inline),
    ) -> Self {
        let held = Held::new(&link.context.limits, windows, tasks.clone());
        let (seen, connection) = (AtomicU64::new(0), Arc::new(entry));
        Self { link, mode, upstreams, windows, tasks, held, seen, connection }
    }

    /// How many requests there were.
    pub(super) fn seen(&self) -> u64 {
        self.seen.load(Relaxed)
    }

    /// Whether a request is under way.
    pub(super) fn is_open(&self) -> bool {
        Arc::strong_count(&self.connection) > 1
    }

    /// Puts `denied`, which ended the connection, on record beside its requests.
    pub(super) fn blame(&self, denied: &Denied) {
        Entry::request_of(&self.connection).deny(denied);
    }

    /// Answers `request`; a failure is an answer.
    ///
    /// # Errors
    /// What the stream is reset with instead, when the server said that it has not looked at the request.
    pub(super) async fn handle(&self, request: Request<Incoming>) -> Result<Response<Passing>, h2::Error> {
        self.seen.fetch_add(1, Relaxed);
        let (mut parts, body) = request.into_parts();
        let body = Source::held(body, &self.held);
        let client = parts.extensions.remove::<OnUpgrade>();
        let mut entry = Entry::request_of(&self.connection);
        entry.record.proto = Some(self.mode.scheme().as_str());
        let headers = parts.headers.clone();
        let answered = match websocket::wanted(&mut parts) {
            Ok(true) => self.websocket(&mut parts, client, &mut entry).await,
            Ok(false) => self.pass_on(&mut parts, body, &mut entry).await.map(Answer::Response),
            Err(refusal) => Err(refusal),
        };
        entry.record.method = Some(parts.method.to_string());
        Ok(match answered {
            Ok(Answer::Response(mut response)) => {
                request::strip_hop_by_hop(response.headers_mut());
                entry.record.status = Some(response.status().as_u16());
                response.map(|body| Passing::down(body, entry, None))
            }
            Ok(Answer::Whole(response)) => {
                entry.record.status = Some(response.status().as_u16());
                response
            }
            Ok(Answer::WebSocket { response, server, client }) => {
                entry.record.status = Some(response.status().as_u16());
                self.tasks.execute(server.join(client, entry));
                response.map(|()| Passing::empty())
            }
            Err(Refusal { untouched: true, denied, .. }) => {
                entry.fail(denied.reason);
                return Err(h2::Reason::REFUSED_STREAM.into());
            }
            Err(refusal) => deny::answer_stream(&refusal, &headers, entry),
        })
    }

    async fn pass_on(
        &self,
        parts: &mut Parts,
        body: Source,
        entry: &mut Entry,
    ) -> Result<Response<Incoming>, Refusal> {
        let (Judged { host, route }, head) = self.judged(parts, entry)?;
        let head = head.map(|()| Passing::up(body, &entry.traffic, None));
        let response = {
            // Pinned here: select! would hold it twice.
            let sending = pin!(self.upstreams.send(&self.link, self.windows, &route, head, entry));
            tokio::select! {
                sent = sending => sent?,
                reason = self.link.activity.expired(Duration::ZERO) => return Err(expired(reason, &host)),
            }
        };
        self.make_room(response.headers(), entry)?;
        Ok(response)
    }

    async fn websocket(
        &self,
        parts: &mut Parts,
        client: Option<OnUpgrade>,
        entry: &mut Entry,
    ) -> Result<Answer, Refusal> {
        let (Judged { host, route }, head) = self.judged(parts, entry)?;
        let opened = tokio::select! {
            opened = websocket::open(&self.link, &route, head, entry) => opened?,
            reason = self.link.activity.expired(Duration::ZERO) => return Err(expired(reason, &host)),
        };
        match (opened, client) {
            (Opened::Answered(response), _) => Ok(Answer::Whole(response)),
            (Opened::Switched { response, server }, Some(client)) => {
                Ok(Answer::WebSocket { response, server, client })
            }
            (Opened::Switched { .. }, None) => {
                let message = "this stream cannot become a WebSocket";
                Err(Refusal::bad_request(denied(Reason::Malformed, message)))
            }
        }
    }

    /// The request as the server gets it, if it may go there.
    fn judged(&self, parts: &mut Parts, entry: &mut Entry) -> Result<(Judged, Request<()>), Refusal> {
        self.measure(&parts.headers)?;
        self.make_room(&parts.headers, entry)?;
        let to = request::stream_destination(self.mode.scheme(), &parts.method, &parts.uri, &parts.headers);
        let to = to.map_err(unreadable)?;
        if let Some(host) = &to.host {
            entry.target(host, to.port.unwrap_or_else(|| self.mode.port()));
        }
        let judged = judge(&self.mode, to, parts, entry)?;
        let scheme = self.mode.scheme();
        let authority = request::host_value(&judged.host, judged.route.port, scheme.port());
        let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        entry.record.url = Some(format!("{}://{authority}{path}", scheme.as_str()));
        entry.allow(&judged.route.rule);
        let head = outgoing(parts, scheme, &authority, path)?;
        Ok((judged, head))
    }

    /// Of long heads there are so many at once, here as in HTTP/1.
    fn make_room(&self, headers: &HeaderMap, entry: &mut Entry) -> Result<(), Refusal> {
        if size(headers) > SHORT_HEAD && entry.room.is_none() {
            entry.room = self.link.context.shares.long_head();
            if entry.room.is_none() {
                return Err(flow::crowded());
            }
        }
        Ok(())
    }

    /// The bounds of HTTP/1 heads, for HTTP/2.
    fn measure(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let limit = self.link.context.limits.head;
        let size = size(headers);
        let message = match headers.len() {
            count if count > MAX_HEADERS => format!("the request has more than {MAX_HEADERS} headers"),
            _ if size > limit => format!("the request head is longer than {limit} bytes"),
            _ => return Ok(()),
        };
        Err(Refusal::bad_request(denied(Reason::LimitExceeded, message)))
    }
}

/// What a request comes to.
enum Answer {
    Response(Response<Incoming>),
    /// Of a server that refuses a WebSocket.
    Whole(Response<Passing>),
    WebSocket {
        response: Response<()>,
        server: Server,
        client: OnUpgrade,
    },
}

fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// The request as the server gets it: the judged name as its `:authority` and no Host, nothing meant for a proxy.
fn outgoing(
    parts: &mut Parts,
    scheme: Scheme,
    authority: &str,
    path: PathAndQuery,
) -> Result<Request<()>, Refusal> {
    let bad = || Refusal::bad_request(denied(Reason::Malformed, "the request target is not valid"));
    let mut out = Request::new(());
    out.method_mut().clone_from(&parts.method);
    let mut target = uri::Parts::default();
    target.scheme = Some(match scheme {
        Scheme::Http => uri::Scheme::HTTP,
        Scheme::Https => uri::Scheme::HTTPS,
    });
    target.authority = Some(authority.parse().map_err(|_| bad())?);
    target.path_and_query = Some(path);
    *out.uri_mut() = Uri::from_parts(target).map_err(|_| bad())?;
    *out.headers_mut() = std::mem::take(&mut parts.headers);
    request::strip_hop_by_hop(out.headers_mut());
    out.headers_mut().remove(HOST);
    Ok(out)
}
