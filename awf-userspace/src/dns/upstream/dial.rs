//! Connections to name servers, as hickory wants them made; and whom they trust.

use std::{
    future::Future,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

use hickory_resolver::{
    ConnectionProvider, PoolContext,
    config::{ConnectionConfig, ProtocolConfig},
    net::{
        NetError,
        runtime::{RuntimeProvider, Spawn, TokioRuntimeProvider},
        tls::tls_client_connect,
        xfer::{DnsExchange, DnsMultiplexer},
    },
};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};

use super::https::Https;

/// Connects as hickory does, but names the server in the TLS handshake: hickory leaves that out for DNS over TLS, and
/// services that know their customers by that name do not answer then.
#[derive(Clone)]
pub(super) struct Dialer(pub(super) TokioRuntimeProvider);

type Connecting = Pin<Box<dyn Future<Output = Result<DnsExchange<TokioRuntimeProvider>, NetError>> + Send>>;

impl ConnectionProvider for Dialer {
    type Conn = DnsExchange<TokioRuntimeProvider>;
    type FutureConn = Connecting;
    type RuntimeProvider = TokioRuntimeProvider;

    fn new_connection(
        &self,
        ip: IpAddr,
        config: &ConnectionConfig,
        context: &PoolContext,
    ) -> Result<Connecting, NetError> {
        let server_name = match &config.protocol {
            ProtocolConfig::Tls { server_name } => server_name,
            ProtocolConfig::Https { server_name, path } => match server_name.parse() {
                Ok(named) => {
                    let at = SocketAddr::new(ip, config.port);
                    return Ok(self.https(at, named, Arc::clone(path), context));
                }
                Err(_) => return self.0.new_connection(ip, config, context),
            },
            _ => return self.0.new_connection(ip, config, context),
        };
        let name =
            ServerName::try_from(&**server_name).map_err(|e| NetError::from(e.to_string()))?.to_owned();
        let (at, tls) = (SocketAddr::new(ip, config.port), Arc::new(context.tls.clone()));
        let (connecting, sender) = tls_client_connect(at, name, tls, self.0.clone());
        let (timeout, most) = (context.options.timeout, context.options.max_active_requests);
        let mut handle = self.0.create_handle();
        Ok(Box::pin(async move {
            let stream = DnsMultiplexer::new(connecting.await?, sender);
            let stream = stream.with_timeout(timeout).with_max_active_requests(most);
            let (exchange, background) = DnsExchange::from_stream(stream);
            handle.spawn_bg(background);
            Ok(exchange)
        }))
    }

    fn runtime_provider(&self) -> &TokioRuntimeProvider {
        &self.0
    }
}

impl Dialer {
    fn https(&self, at: SocketAddr, named: Ipv6Addr, path: Arc<str>, context: &PoolContext) -> Connecting {
        let (tls, patience) = (context.tls.clone(), context.options.timeout);
        let mut handle = self.0.create_handle();
        Box::pin(async move {
            let (exchange, background) =
                DnsExchange::from_stream(Https::connect(at, named, path, tls, patience).await?);
            handle.spawn_bg(background);
            Ok(exchange)
        })
    }
}

/// Whose certificates are believed.
#[derive(Clone, Debug, Default)]
pub(in crate::dns) enum Roots {
    /// Those this host trusts; read when they are needed.
    #[default]
    Host,
    #[cfg(test)]
    Given(RootCertStore),
}

impl Roots {
    /// A TLS client that believes them.
    ///
    /// # Errors
    /// When there are none, in words.
    pub(super) fn client(&self) -> Result<ClientConfig, String> {
        let roots = match self {
            Self::Host => host_roots()?,
            #[cfg(test)]
            Self::Given(roots) => roots.clone(),
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

fn host_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        log::warn!("certificates that this host trusts: {error}");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err("this host trusts no certificate (install ca-certificates)".to_owned());
    }
    Ok(roots)
}
