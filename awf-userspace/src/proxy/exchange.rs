//! One HTTP/1 request to a server and its response; the connection is kept for the next request to the same
//! place.

use std::net::IpAddr;

use http::{Method, Request, Response};
use hyper::{
    body::{Body, Incoming},
    client::conn::http1::{Builder, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::{
    body::Passing,
    context::{Context, Route},
    deny::Refusal,
    entry::Entry,
    upstream,
};
use crate::policy::{Host, Reason};

/// Headers of one response; more than any server sends.
const MAX_HEADERS: usize = 256;
/// How long a kept connection gets to become idle after its response has ended.
const SETTLE: std::time::Duration = std::time::Duration::from_secs(1);

/// A server connection on which requests can be sent.
#[derive(Debug)]
pub(super) struct Kept {
    host: Host,
    port: u16,
    ip: Option<IpAddr>,
    sender: SendRequest<Passing>,
}

impl Kept {
    /// Speaks HTTP on `stream`, which leads to `host` on `port`.
    pub(super) async fn on(stream: TcpStream, host: Host, port: u16) -> Result<Self, Refusal> {
        let ip = stream.peer_addr().ok().map(|address| address.ip());
        let mut builder = Builder::new();
        builder.preserve_header_case(true).max_headers(MAX_HEADERS);
        let handshake = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| failed(&host, port, &error))?;
        // Ends by itself: with the sender, or with the body of its last response.
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                log::debug!("server connection: {error}");
            }
        });
        Ok(Self { host, port, ip, sender })
    }

    /// Itself, if it leads where `route` does and is ready for another request.
    async fn ready_for(mut self, route: &Route) -> Option<Self> {
        let fits = self.host == route.dial && self.port == route.port;
        let ready = fits && matches!(timeout(SETTLE, self.sender.ready()).await, Ok(Ok(())));
        ready.then_some(self)
    }
}

/// Sends `request` along `route`, on the connection in `kept` if it fits, and leaves the one used there.
///
/// # Errors
/// The answer the command gets instead.
pub(super) async fn send(
    context: &Context,
    kept: &mut Option<Kept>,
    route: &Route,
    mut request: Request<Passing>,
    entry: &mut Entry,
) -> Result<Response<Incoming>, Refusal> {
    if let Some(old) = kept.take()
        && let Some(mut old) = old.ready_for(route).await
    {
        entry.record.ip = old.ip;
        let spare = repeatable(&request);
        match old.sender.try_send_request(request).await {
            Ok(response) => {
                *kept = Some(old);
                return Ok(response);
            }
            // The server closed the idle connection just then. What it cannot have acted on goes again.
            Err(mut error) => match error.take_message().or(spare) {
                Some(again) => request = again,
                None => return Err(failed(&route.dial, route.port, error.error())),
            },
        }
    }
    let stream = upstream::dial(context, &route.dial, route.port).await?;
    let mut fresh = Kept::on(stream, route.dial.clone(), route.port).await?;
    entry.record.ip = fresh.ip;
    let sent = fresh.sender.send_request(request).await;
    let response = sent.map_err(|error| failed(&route.dial, route.port, &error))?;
    *kept = Some(fresh);
    Ok(response)
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

fn failed(host: &Host, port: u16, error: &hyper::Error) -> Refusal {
    Refusal::unreachable(Reason::ConnectFailed, format!("{host} port {port} gave no answer: {error}"))
}
