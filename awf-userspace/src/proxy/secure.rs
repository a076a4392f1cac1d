//! TLS to servers, for what is intercepted: checked against the roots of this host, with the protocols that the command
//! offered.

use std::{fmt, io, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, Error,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::{
    asking::{Asking, Nobody},
    context::Context,
    deny::Refusal,
    entry::Entry,
    foresight::Foresight,
    measured::{Crowded, Measured},
    upstream,
    vouching::Vouching,
    wire::Wire,
};
use crate::{
    policy::{Host, Reason},
    upstream_proxy::Use,
};

/// What is to be spoken inside (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alpn {
    Http1,
    Http2,
    /// Whatever the server likes better.
    Either,
    /// The command offered nothing.
    None,
}

impl Alpn {
    pub(super) const HTTP1: &[u8] = b"http/1.1";
    pub(super) const HTTP2: &[u8] = b"h2";
    /// In the registry beside the other, and offered by clients of that version (`curl -0`).
    pub(super) const HTTP1_0: &[u8] = b"http/1.0";

    fn offered(self) -> &'static [&'static [u8]] {
        match self {
            Self::Http1 => &[Self::HTTP1],
            Self::Http2 => &[Self::HTTP2],
            Self::Either => &[Self::HTTP2, Self::HTTP1],
            Self::None => &[],
        }
    }
}

/// How servers are spoken to: one for a run, so that sessions are resumed.
#[derive(Clone)]
pub struct Secure {
    configs: [Arc<ClientConfig>; 4],
    asking: Arc<Asking>,
    foresight: Arc<Foresight>,
}

impl fmt::Debug for Secure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secure").finish_non_exhaustive()
    }
}

impl Secure {
    /// Servers are to be vouched for by `known`.
    ///
    /// # Errors
    /// When the TLS library has no protocol.
    pub fn new(known: impl IntoIterator<Item = CertificateDer<'static>>) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let vouching = Arc::new(Vouching::new(known.into_iter().collect(), &provider));
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            // The chains are the library's to check all the same.
            .dangerous()
            .with_custom_certificate_verifier(vouching)
            .with_client_cert_resolver(Arc::new(Nobody));
        let speaking = |alpn: Alpn| {
            let mut config = config.clone();
            config.alpn_protocols = alpn.offered().iter().map(|name| name.to_vec()).collect();
            Arc::new(config)
        };
        let configs = [Alpn::Http1, Alpn::Http2, Alpn::Either, Alpn::None].map(speaking);
        Ok(Self { configs, asking: Arc::default(), foresight: Arc::default() })
    }

    pub(super) fn foresight(&self) -> &Foresight {
        &self.foresight
    }

    pub(super) fn asking(&self) -> &Asking {
        &self.asking
    }

    fn config(&self, alpn: Alpn) -> Arc<ClientConfig> {
        Arc::clone(&self.configs[alpn as usize])
    }

    /// The same, where the command was told already that `spoken` is what it speaks.
    ///
    /// # Errors
    /// Also when it does not.
    pub(super) async fn as_foreseen(
        &self,
        context: &Context,
        stream: TcpStream,
        (host, port): (&Host, u16),
        offered: Alpn,
        spoken: Alpn,
    ) -> Result<(Wire, Alpn), Refusal> {
        let asked = if offered == Alpn::Either { spoken } else { offered };
        match self.on(context, stream, (host, port), asked).await {
            Ok((wire, said)) if said == spoken => Ok((wire, said)),
            other => {
                self.foresight.forget(host, port);
                other.and_then(|_| Err(other_protocol(host, port)))
            }
        }
    }

    /// TLS on `stream`, which leads to `host` on `port`; and what is spoken inside.
    ///
    /// # Errors
    /// The answer the command gets instead: a server that cannot prove who it is is never spoken to.
    pub(super) async fn on(
        &self,
        context: &Context,
        stream: TcpStream,
        (host, port): (&Host, u16),
        alpn: Alpn,
    ) -> Result<(Wire, Alpn), Refusal> {
        let name = match host {
            Host::Name(name) => ServerName::try_from(name.to_string()).ok(),
            Host::Ip(ip) => Some(ServerName::from(*ip)),
        };
        let failed =
            |reason, what: String| Refusal::unreachable(reason, format!("TLS to {host} port {port}: {what}"));
        let name =
            name.ok_or_else(|| failed(Reason::ConnectFailed, "the name is none of a server".into()))?;
        let connecting =
            TlsConnector::from(self.config(alpn)).connect(name, Measured::new(stream, &context.shares));
        let time = context.limits.head_time;
        let stream = match self.asking.watch(host, timeout(time, connecting)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let (reason, what) = explain(&error);
                return Err(self.asking.explain(host, failed(reason, what)));
            }
            Err(_) => return Err(failed(Reason::ConnectTimeout, format!("no handshake within {time:?}"))),
        };
        let spoken = match stream.get_ref().1.alpn_protocol() {
            Some(Alpn::HTTP2) => Alpn::Http2,
            _ => Alpn::Http1,
        };
        if alpn == Alpn::Either {
            self.foresight.learn(host, port, spoken);
        }
        Ok((Wire::dialled(stream), spoken))
    }
}

/// The servers of one connection of the command, who knows them all as `host`.
#[derive(Debug)]
pub(super) struct Towards {
    pub(super) secure: Arc<Secure>,
    pub(super) host: Host,
}

impl Towards {
    /// A new connection to `dial` on `port`.
    ///
    /// # Errors
    /// The answer the command gets instead.
    pub(super) async fn dial(
        &self,
        context: &Context,
        (dial, port): (&Host, u16),
        alpn: Alpn,
        entry: &mut Entry,
    ) -> Result<Wire, Refusal> {
        let stream = upstream::dial(context, dial, port, Use::Tunnel, entry).await?;
        let (wire, spoken) = self.secure.on(context, stream, (&self.host, port), alpn).await?;
        if alpn == Alpn::Http2 && spoken != Alpn::Http2 {
            return Err(other_protocol(&self.host, port));
        }
        Ok(wire)
    }
}

fn other_protocol(host: &Host, port: u16) -> Refusal {
    let message = format!("{host} port {port} does not speak HTTP/2 any more");
    Refusal::unreachable(Reason::ConnectFailed, message)
}

/// What is wrong with a server, in words.
fn explain(error: &io::Error) -> (Reason, String) {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        Some(Error::InvalidCertificate(why)) => {
            let what = match why {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired".into(),
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    "is not valid yet".into()
                }
                CertificateError::UnknownIssuer => {
                    "is signed by nobody whom this host trusts (SSL_CERT_FILE adds somebody)".into()
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    "is for another name".into()
                }
                other => format!("is not accepted: {other}"),
            };
            (Reason::UpstreamCertificate, format!("its certificate {what}"))
        }
        Some(Error::AlertReceived(alert)) => {
            (Reason::ConnectFailed, format!("it refuses with the alert {alert:?}"))
        }
        _ if Crowded::is(error) => (Reason::LimitExceeded, error.to_string()),
        _ => (Reason::ConnectFailed, error.to_string()),
    }
}
