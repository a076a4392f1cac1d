//! A company's forward proxy in the lab's world: CONNECT (but not to port 80) and absolute form, Basic credentials if wanted; it resolves
//! names that nobody else knows ([`hosts::BEHIND_PROXY`]), and remembers what it was asked.

use std::{
    convert::Infallible,
    io,
    net::IpAddr,
    sync::mpsc,
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, client, server, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use crate::{hosts, ns::Namespace, seen::Seen};

/// Its name; it listens on both addresses.
pub const NAME: &str = "proxy.test";
pub const PORT: u16 = 3128;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// `host:port`, or the whole URL.
    pub target: String,
    pub headers: hyper::HeaderMap,
}

/// Stops when dropped.
#[derive(Debug)]
pub struct ForwardProxy {
    asked: Seen<Asked>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

impl ForwardProxy {
    /// Listens in `world`. `authorization`: the Proxy-Authorization without which everything is a 407.
    ///
    /// # Panics
    /// If its addresses cannot be listened on.
    #[must_use]
    pub fn start(world: &Namespace, authorization: Option<&str>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let asked = Seen::default();
        let state = State { asked: asked.clone(), authorization: authorization.map(str::to_owned) };
        let thread = world.within(move || {
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.expect("start the proxy's runtime");
                runtime.block_on(async {
                    for addr in hosts::host(NAME).addrs() {
                        let listener = TcpListener::bind((addr, PORT)).await.expect("listen as a proxy");
                        tokio::spawn(accept(listener, state.clone()));
                    }
                    ready.send(()).expect("the lab waits for its proxy");
                    let _ = stopped.await;
                });
                runtime.shutdown_background();
            })
        });
        is_ready.recv().expect("the proxy failed to start; its panic is above");
        Self { asked, stop: Some(stop), thread: Some(thread) }
    }

    /// Everything it was asked.
    #[must_use]
    pub fn asked(&self) -> &Seen<Asked> {
        &self.asked
    }

    /// Method and target of everything it was asked.
    #[must_use]
    pub fn targets(&self) -> Vec<String> {
        self.asked.all().into_iter().map(|asked| format!("{} {}", asked.method, asked.target)).collect()
    }

    /// `http://proxy.test:3128`
    #[must_use]
    pub fn url() -> String {
        format!("http://{NAME}:{PORT}")
    }
}

impl Drop for ForwardProxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[derive(Clone)]
struct State {
    asked: Seen<Asked>,
    authorization: Option<String>,
}

async fn accept(listener: TcpListener, state: State) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        let service = service_fn(move |request| answer(state.clone(), request));
        let builder = server::conn::http1::Builder::new();
        let serving = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
        tokio::spawn(serving);
    }
}

async fn answer(state: State, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (method, target) = (request.method().to_string(), request.uri().to_string());
    state.asked.push(Asked { method, target, headers: request.headers().clone() });
    let given = request.headers().get(header::PROXY_AUTHORIZATION).and_then(|value| value.to_str().ok());
    if state.authorization.is_some() && given != state.authorization.as_deref() {
        let mut response = status(StatusCode::PROXY_AUTHENTICATION_REQUIRED);
        let challenge = header::HeaderValue::from_static("Basic realm=\"corp\"");
        response.headers_mut().insert(header::PROXY_AUTHENTICATE, challenge);
        return Ok(response);
    }
    let passed = match *request.method() {
        // As squid's SSL_ports does.
        Method::CONNECT if request.uri().port_u16() == Some(80) => Ok(status(StatusCode::FORBIDDEN)),
        Method::CONNECT => connect(request).await,
        _ => pass_on(request).await,
    };
    Ok(passed.unwrap_or_else(|_| status(StatusCode::BAD_GATEWAY)))
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
}

async fn connect(request: Request<Incoming>) -> io::Result<Response<Body>> {
    let mut server = dial(&request, 443).await?;
    tokio::spawn(async move {
        if let Ok(client) = hyper::upgrade::on(request).await {
            let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut server).await;
        }
    });
    Ok(status(StatusCode::OK))
}

async fn pass_on(mut request: Request<Incoming>) -> io::Result<Response<Body>> {
    let server = dial(&request, 80).await?;
    request.headers_mut().remove(header::PROXY_AUTHORIZATION);
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(io::Error::other)?;
    let (mut sender, connection) =
        client::conn::http1::handshake(TokioIo::new(server)).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    Ok(response.map(BodyExt::boxed_unsync))
}

async fn dial<B>(request: &Request<B>, port: u16) -> io::Result<TcpStream> {
    let unknown = || io::Error::from(io::ErrorKind::NotFound);
    let authority = request.uri().authority().ok_or_else(unknown)?;
    let host = authority.host();
    let port = authority.port_u16().unwrap_or(port);
    let hidden = hosts::BEHIND_PROXY.iter().find(|(name, _)| *name == host).map(|(_, target)| *target);
    let name = hidden.unwrap_or(host);
    let address = match name.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(literal) => Some(literal),
        Err(_) => hosts::HOSTS.iter().find(|host| host.name == name).and_then(|host| host.addrs().last()),
    };
    TcpStream::connect((address.ok_or_else(unknown)?, port)).await
}
