//! WebSocket on a stream of HTTP/2 (RFC 8441): towards the server it is one of HTTP/1.1 on a connection of its own, which
//! every server of WebSockets speaks, and judged as the GET that it is there.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONTENT_LENGTH, COOKIE, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION},
    request::Parts,
};
use http_body_util::{BodyExt as _, Limited};
use hyper::{ext::Protocol, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::{
    body::Passing,
    connection::Link,
    context::{Route, denied},
    deny::Refusal,
    entry::Entry,
    exchange::{self, Kept},
    flow::Flow,
    http1::server_leg,
    relay, request,
    seat::Seat,
    tunnel::Leg,
};
use crate::policy::Reason;

/// Bytes of what a server says instead.
const MAX_ANSWER: usize = 64 * 1024;

/// What is asked for by an extended CONNECT, if it is one; `parts` are then those of the GET that it stands for.
///
/// # Errors
/// For any other protocol than WebSocket.
pub(super) fn wanted(parts: &mut Parts) -> Result<bool, Refusal> {
    let Some(protocol) = parts.extensions.remove::<Protocol>() else { return Ok(false) };
    if parts.method != Method::CONNECT || protocol.as_str() != "websocket" {
        let message = format!("a stream for {:?} is not passed on: only WebSocket is", protocol.as_str());
        return Err(denied(Reason::ProtocolNotAllowed, message).into());
    }
    parts.method = Method::GET;
    Ok(true)
}

/// What came of it.
pub(super) enum Opened {
    Switched {
        response: Response<()>,
        server: Server,
    },
    /// The server's refusal.
    Answered(Response<Passing>),
}

/// A connection that has become a WebSocket, or is about to.
pub(super) struct Server {
    upgrade: OnUpgrade,
    kept: Option<Kept>,
    link: Link,
}

/// Asks the server at the end of `route` for a WebSocket in the words of `request`, a judged GET of HTTP/2.
///
/// # Errors
/// The answer the command gets instead.
pub(super) async fn open(
    link: &Link,
    route: &Route,
    request: Request<()>,
    entry: &mut Entry,
) -> Result<Opened, Refusal> {
    let request = upgrading(request)?;
    let awaited = acceptance(&request.headers()[SEC_WEBSOCKET_KEY]);
    // Its socket and what it holds are its own, beside those of other streams.
    let link = Link {
        flow: Arc::new(Flow::new(&link.context.shares)),
        seat: Arc::new(Seat::new(link.context.sockets.clone())),
        ..link.clone()
    };
    let mut kept = None;
    let mut response = exchange::send(&link, &mut kept, route, request, entry).await?;
    let upgrade = hyper::upgrade::on(&mut response);
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let accepted = response.headers().get(SEC_WEBSOCKET_ACCEPT).is_some_and(|value| *value == *awaited);
    let is_websocket = accepted && request::is_websocket(response.headers());
    request::strip_hop_by_hop(response.headers_mut());
    match (switches, is_websocket) {
        (true, true) => {
            response.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
            *response.status_mut() = StatusCode::OK;
            Ok(Opened::Switched { response: response.map(drop), server: Server { upgrade, kept, link } })
        }
        (false, _) if !response.status().is_success() => {
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| {
                Refusal::unreachable(Reason::ConnectFailed, format!("{} broke off: {error}", route.dial))
            })?;
            Ok(Opened::Answered(Response::from_parts(head, Passing::own(body.to_bytes()))))
        }
        // To the command a success would be the WebSocket.
        _ => {
            let message = format!("{} does not speak WebSocket there", route.dial);
            Err(Refusal::unreachable(Reason::ConnectFailed, message))
        }
    }
}

/// The same for a server of HTTP/1.1 (RFC 6455 section 4.1).
fn upgrading(request: Request<()>) -> Result<Request<Passing>, Refusal> {
    let bad = || Refusal::bad_request(denied(Reason::Malformed, "the request target is not valid"));
    let (mut parts, ()) = request.into_parts();
    let mut key = [0; 16];
    let no_numbers =
        |_| Refusal::unreachable(Reason::ConnectFailed, "there are no random numbers".to_owned());
    SystemRandom::new().fill(&mut key).map_err(no_numbers)?;
    let host = parts.uri.authority().ok_or_else(bad)?.as_str();
    let host = HeaderValue::from_str(host).map_err(|_| bad())?;
    let key = HeaderValue::from_str(&STANDARD.encode(key)).map_err(|_| bad())?;
    parts.uri = parts.uri.path_and_query().cloned().ok_or_else(bad)?.into();
    for (name, value) in [(HOST, host), (SEC_WEBSOCKET_KEY, key)] {
        parts.headers.insert(name, value);
    }
    // There is no body: what follows the head is the WebSocket's.
    parts.headers.remove(CONTENT_LENGTH);
    join_cookies(&mut parts.headers)?;
    parts.headers.entry(SEC_WEBSOCKET_VERSION).or_insert(HeaderValue::from_static("13"));
    request::mark_websocket(&mut parts.headers);
    parts.version = Version::HTTP_11;
    Ok(Request::from_parts(parts, Passing::empty()))
}

/// What a server answers to `key` that has understood what it is asked for (RFC 6455 section 4.2.2).
pub(super) fn acceptance(key: &HeaderValue) -> String {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let text = [key.as_bytes(), GUID].concat();
    STANDARD.encode(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &text))
}

/// HTTP/2 may have them in several lines, HTTP/1.1 has one (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) -> Result<(), Refusal> {
    let all: Vec<_> = headers.get_all(COOKIE).into_iter().map(HeaderValue::as_bytes).collect();
    if all.len() > 1 {
        let one = HeaderValue::from_bytes(&all.join(&b"; "[..]));
        let bad = |_| Refusal::bad_request(denied(Reason::Malformed, "the cookies are not valid"));
        headers.insert(COOKIE, one.map_err(bad)?);
    }
    Ok(())
}

impl Server {
    /// Joined to the stream of `client`, to the end of both.
    pub(super) async fn join(self, client: OnUpgrade, entry: Entry) {
        let Self { upgrade, kept, link } = self;
        let (server, client) = (server_leg(upgrade).await, client.await);
        // Its socket is the leg's by now.
        drop(kept);
        if let (Some(server), Ok(client)) = (server, client) {
            relay::join(&link, Leg::new(TokioIo::new(client)), server, entry).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 section 1.3.
    #[test]
    fn the_example_is_accepted() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(acceptance(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
