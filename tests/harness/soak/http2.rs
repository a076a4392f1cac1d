//! As much of HTTP/2 in clear text as the soak needs, on both of its sides.

use std::{convert::Infallible, io};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http2::{SendRequest, handshake},
    server::conn::http2::Builder,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// Bytes of each answer.
pub const ANSWER: usize = 1000;

/// Requests go in here.
pub type Sender = SendRequest<Empty<Bytes>>;

/// Answers every request with [`ANSWER`] bytes, until the connection ends. `hosts` gets every authority.
///
/// # Errors
/// When the other side breaks off.
pub async fn serve(stream: TcpStream, hosts: impl Fn(&str) + Clone) -> io::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        hosts(request.uri().authority().map_or("", |authority| authority.as_str()));
        async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(&[b'x'; ANSWER])))) }
    });
    let serving = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
    serving.await.map_err(io::Error::other)
}

/// Speaks to a server, for as long as the sender lives.
///
/// # Errors
/// When it does not answer.
pub async fn connect(stream: TcpStream) -> io::Result<Sender> {
    let (sender, connection) =
        handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // How it ended is seen by whoever asks.
    tokio::spawn(async move { _ = connection.await });
    Ok(sender)
}

/// Asks for a page and reads it.
///
/// # Errors
/// When it does not come as it should.
pub async fn get(sender: &mut Sender, host: &str) -> io::Result<()> {
    let request = Request::get(format!("http://{host}/")).body(Empty::new()).map_err(io::Error::other)?;
    sender.ready().await.map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    if status.is_success() && body.len() == ANSWER {
        return Ok(());
    }
    Err(io::Error::other(format!("{status} and {} bytes", body.len())))
}
