//! The lab's origins: every served address, clear-text HTTP/1, TLS with HTTP/1 and HTTP/2, and a raw protocol;
//! all connections and requests are remembered.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::{ServerConfig, server::Acceptor};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::LazyConfigAcceptor;

use crate::{
    hosts::HOSTS,
    peculiar,
    pki::Pki,
    seen::Seen,
    site::{self, Site},
    tcp,
};

pub const CLEAR_PORTS: [u16; 2] = [80, 8080];
pub const TLS_PORTS: [u16; 2] = [443, 8443];

/// A TCP connection that was accepted, whatever came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    pub from: SocketAddr,
    /// The address of ours that was dialled.
    pub to: SocketAddr,
}

/// A request that was received.
#[derive(Clone, Debug)]
pub struct Received {
    pub connection: Connection,
    /// The name in the ClientHello; `None` on a clear-text port.
    pub sni: Option<String>,
    /// Host or `:authority`.
    pub authority: String,
    pub method: String,
    pub path: String,
    pub version: hyper::Version,
    pub headers: hyper::HeaderMap,
}

/// What all origins share.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    pub connections: Seen<Connection>,
    pub requests: Seen<Received>,
}

/// Listens on every port of every served address until the runtime ends.
pub async fn serve(origins: Origins, pki: &Pki, files: &Path) -> io::Result<()> {
    let config = pki.server_config(&[b"h2", b"http/1.1"]);
    let site = Arc::new(Site::new(files.to_owned()));
    let ports = CLEAR_PORTS.iter().chain(&TLS_PORTS).chain(&[tcp::PORT]);
    let addrs = HOSTS.iter().filter(|host| host.served).flat_map(|host| host.addrs());
    for (addr, port) in addrs.flat_map(|addr| ports.clone().map(move |port| (addr, *port))) {
        let listener = TcpListener::bind((addr, port)).await?;
        let origin = Origin {
            origins: origins.clone(),
            config: Arc::clone(&config),
            pki: pki.clone(),
            site: Arc::clone(&site),
        };
        tokio::spawn(origin.accept(listener));
    }
    Ok(())
}

#[derive(Clone)]
struct Origin {
    origins: Origins,
    config: Arc<ServerConfig>,
    pki: Pki,
    site: Arc<Site>,
}

impl Origin {
    async fn accept(self, listener: TcpListener) {
        while let Ok((stream, from)) = listener.accept().await {
            let Ok(to) = stream.local_addr() else { continue };
            let connection = Connection { from, to };
            self.origins.connections.push(connection);
            // Small writes must not wait for an acknowledgement: latency is measured through here.
            let _ = stream.set_nodelay(true);
            // A connection that ends in an error is the client's business; it is on record.
            let origin = self.clone();
            tokio::spawn(async move {
                let _ = origin.serve(stream, connection).await;
            });
        }
    }

    async fn serve(self, stream: TcpStream, connection: Connection) -> io::Result<()> {
        let port = connection.to.port();
        if port == tcp::PORT {
            return tcp::serve(stream).await;
        }
        if CLEAR_PORTS.contains(&port) {
            return self.http(stream, connection, None, false).await;
        }
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let sni = hello.client_hello().server_name().map(str::to_owned);
        let config = sni.as_deref().and_then(|name| self.pki.peculiar().config(name));
        let stream = hello.into_stream(config.unwrap_or_else(|| Arc::clone(&self.config))).await?;
        let forbidden = peculiar::asks(sni.as_deref()) && stream.get_ref().1.peer_certificates().is_none();
        self.http(stream, connection, sni, forbidden).await
    }

    async fn http<S>(
        self,
        stream: S,
        connection: Connection,
        sni: Option<String>,
        forbidden: bool,
    ) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(|request: Request<Incoming>| {
            self.origins.requests.push(received(&request, connection, sni.clone()));
            let site = Arc::clone(&self.site);
            async move { if forbidden { Ok(site::forbidden()) } else { site::respond(site, request).await } }
        });
        auto::Builder::new(TokioExecutor::new())
            .serve_connection_with_upgrades(TokioIo::new(stream), service)
            .await
            .map_err(io::Error::other)
    }
}

fn received(request: &Request<Incoming>, connection: Connection, sni: Option<String>) -> Received {
    let host = request.headers().get(hyper::header::HOST).and_then(|value| value.to_str().ok());
    let authority =
        request.uri().authority().map_or(host.unwrap_or_default(), |authority| authority.as_str());
    Received {
        connection,
        sni,
        authority: authority.to_owned(),
        method: request.method().to_string(),
        path: request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        version: request.version(),
        headers: request.headers().clone(),
    }
}
