//! What every origin of the lab answers, by path.
//!
//! `/` a line naming the host; `/bytes/N` N bytes of a known pattern, streamed; `/upload` the number of bytes
//! received; `/echo` the body as it comes; `/headers` the request's head; `/status/N` that status; `/events`
//! server-sent events, each sent when `/events/next` is asked for; `/git/...` git smart HTTP; `/simple/...` and
//! `/npm/...`, `/crates/...`, `/modules/...`, `/gems/...`, `/composer/...` package registries; `/lab.Echo/...` a gRPC service, and
//! `/ws` a WebSocket, that answer each message with itself; `/deaf` nothing, and reads no body; `/api/...` JSON, as a
//! GitHub server's would be.

use std::{
    convert::Infallible,
    error::Error,
    io,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Body, Frame, Incoming, SizeHint},
};
use hyper_util::rt::TokioIo;
use tokio::sync::{Mutex, mpsc};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};

use crate::{git, packages, registries};

/// The body of every answer.
pub type AnyBody = UnsyncBoxBody<Bytes, hyper::Error>;

/// State of the site.
#[derive(Debug)]
pub struct Site {
    /// Where git and package files are made, once, when first asked for.
    pub(crate) files: PathBuf,
    /// Held while files are made, so that two requests do not make them at once.
    pub(crate) making: Mutex<()>,
    events: Mutex<Vec<mpsc::Sender<Bytes>>>,
}

impl Site {
    #[must_use]
    pub fn new(files: PathBuf) -> Self {
        Self { files, making: Mutex::default(), events: Mutex::default() }
    }
}

/// Answers one request.
///
/// # Errors
/// Never; a body that breaks off ends the connection.
pub async fn respond(site: Arc<Site>, request: Request<Incoming>) -> Result<Response<AnyBody>, Infallible> {
    let path = request.uri().path().to_owned();
    let (first, rest) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    Ok(match first {
        "" => text(format!("hello from {}\n", name(&request))),
        "bytes" => bytes(rest),
        "upload" => upload(request).await,
        "echo" => Response::new(request.into_body().boxed_unsync()),
        "headers" => text(format!("{:?} {:#?}\n", request.version(), request.headers())),
        "status" => status(rest, StatusCode::OK),
        "events" if rest == "next" => next_event(&site).await,
        "events" => events(&site).await,
        "api" => body("application/json", format!("{{\"message\":\"hello from {}\"}}", name(&request))),
        "lab.Echo" => grpc(request),
        "ws" => websocket(request),
        "deaf" => std::future::pending().await,
        "git" => git::respond(&site, request).await,
        "simple" | "npm" => packages::respond(&site, &path, &name(&request)).await,
        "crates" | "modules" | "gems" | "composer" => {
            registries::respond(&site, &path, &name(&request)).await
        }
        _ => status("404", StatusCode::NOT_FOUND),
    })
}

pub(crate) fn text(text: String) -> Response<AnyBody> {
    body("text/plain", text)
}

pub(crate) fn body(kind: &'static str, content: impl Into<Bytes>) -> Response<AnyBody> {
    let body = Full::new(content.into()).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind.parse().expect("a content type"));
    response
}

pub(crate) fn status(number: &str, otherwise: StatusCode) -> Response<AnyBody> {
    let status = StatusCode::from_bytes(number.as_bytes()).unwrap_or(otherwise);
    let mut response = text(format!("status {status}\n"));
    *response.status_mut() = status;
    response
}

/// To a client that has shown no certificate.
pub(crate) fn forbidden() -> Response<AnyBody> {
    status("403", StatusCode::FORBIDDEN)
}

fn name(request: &Request<Incoming>) -> String {
    let host = request.headers().get(hyper::header::HOST).and_then(|value| value.to_str().ok());
    request.uri().authority().map(|authority| authority.as_str()).or(host).unwrap_or("nobody").to_owned()
}

fn bytes(count: &str) -> Response<AnyBody> {
    match count.parse() {
        Ok(left) => Response::new(Pattern { left }.boxed_unsync()),
        Err(_) => status("400", StatusCode::BAD_REQUEST),
    }
}

/// A call's messages as they come, then the trailers of success.
fn grpc(request: Request<Incoming>) -> Response<AnyBody> {
    let mut trailers = hyper::HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().expect("a header"));
    let body = request.into_body().with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(body.boxed_unsync());
    let kind = "application/grpc".parse().expect("a content type");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    response
}

/// Says each message again, until it is told goodbye.
fn websocket(mut request: Request<Incoming>) -> Response<AnyBody> {
    let Some(key) = request.headers().get(hyper::header::SEC_WEBSOCKET_KEY) else {
        return status("426", StatusCode::UPGRADE_REQUIRED);
    };
    let accept = derive_accept_key(key.as_bytes()).parse().expect("base64");
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let stream = TokioIo::new(upgrade.await?);
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        while let Some(message) = socket.next().await {
            let message = message.map_err(io::Error::other)?;
            if message.is_text() || message.is_binary() {
                socket.send(message).await.map_err(io::Error::other)?;
            }
        }
        Ok::<(), Box<dyn Error + Send + Sync>>(())
    });
    let mut response = status("101", StatusCode::SWITCHING_PROTOCOLS);
    *response.body_mut() = Full::default().map_err(|never| match never {}).boxed_unsync();
    let headers = response.headers_mut();
    headers.remove(hyper::header::CONTENT_TYPE);
    for (name, value) in [(hyper::header::CONNECTION, "upgrade"), (hyper::header::UPGRADE, "websocket")] {
        headers.insert(name, value.parse().expect("a header"));
    }
    headers.insert(hyper::header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

async fn upload(request: Request<Incoming>) -> Response<AnyBody> {
    let mut body = request.into_body();
    let mut count = 0_u64;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return status("400", StatusCode::BAD_REQUEST) };
        count += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    text(format!("{count}\n"))
}

async fn events(site: &Site) -> Response<AnyBody> {
    let (sender, receiver) = mpsc::channel(16);
    site.events.lock().await.push(sender);
    let mut response = Response::new(Events(receiver).boxed_unsync());
    let kind = "text/event-stream".parse().expect("a content type");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    response
}

/// Sends one event to every open stream.
async fn next_event(site: &Site) -> Response<AnyBody> {
    let mut open = site.events.lock().await;
    for stream in open.iter() {
        // A stream whose client has left is no one's concern.
        let _ = stream.send(Bytes::from_static(b"data: tick\n\n")).await;
    }
    let count = open.len();
    open.retain(|stream| !stream.is_closed());
    text(format!("{count}\n"))
}

/// `left` bytes `0 1 2 … 255 0 1 …`, in pieces of 64 KiB.
struct Pattern {
    left: u64,
}

impl Body for Pattern {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        static PIECE: [u8; 1 << 16] = pattern();
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let len = self.left.min(PIECE.len() as u64);
        self.left -= len;
        let piece = Bytes::from_static(&PIECE[..usize::try_from(len).expect("at most 64 KiB")]);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

const fn pattern() -> [u8; 1 << 16] {
    let mut piece = [0; 1 << 16];
    let mut i = 0;
    while i < piece.len() {
        piece[i] = (i % 256) as u8;
        i += 1;
    }
    piece
}

struct Events(mpsc::Receiver<Bytes>);

impl Body for Events {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.0.poll_recv(cx).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}
