//! Which upstream proxy (a company's) a connection goes through, if any. Pure values: `config` reads them out of
//! flags and variables, `proxy` goes by them.

mod bypass;
mod credentials;
mod url;

#[cfg(test)]
mod tests;

use std::{net::IpAddr, sync::Arc};

pub use bypass::{Bypass, BypassError};
pub use credentials::{Credentials, CredentialsError};
pub use url::{DEFAULT_PORT, ProxyUrlError, UpstreamProxy};

use crate::policy::{AddressClass, DomainName, Host, host_ports};

/// What a connection is for, as proxy variables tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Clear-text HTTP, and WebSocket without TLS: `http_proxy`.
    Http,
    /// TLS and everything else: `https_proxy`.
    Tunnel,
}

/// The upstream proxies of one run, and what does not go through them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamProxies {
    pub http: Option<Arc<UpstreamProxy>>,
    pub tunnel: Option<Arc<UpstreamProxy>>,
    pub bypass: Bypass,
    /// This host's own addresses and name, which mean something else to a proxy elsewhere.
    own: Vec<Host>,
}

/// Names of cloud metadata services. They lead to an address that must not be dialled, which only we check: a
/// proxy in the same cloud would dial its own.
const METADATA: [&str; 4] =
    ["metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"];

impl UpstreamProxies {
    #[must_use]
    pub fn new(http: Option<Arc<UpstreamProxy>>, tunnel: Option<Arc<UpstreamProxy>>, bypass: Bypass) -> Self {
        Self { http, tunnel, bypass, own: Vec::new() }
    }

    /// Adds what this host itself is called: never asked of a proxy.
    #[must_use]
    pub fn with_own(mut self, addresses: impl IntoIterator<Item = IpAddr>, name: Option<DomainName>) -> Self {
        self.own.extend(addresses.into_iter().map(Host::from).chain(name.map(Host::Name)));
        self
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.http.is_none() && self.tunnel.is_none()
    }

    /// Whether `name` goes through a proxy, for some use on some port.
    #[must_use]
    pub fn carries(&self, name: &DomainName) -> bool {
        // No entry of a bypass list is about port 0, so that those of one port only do not count.
        let host = Host::Name(name.clone());
        [Use::Http, Use::Tunnel].into_iter().any(|usage| self.of(usage, &host, 0).is_some())
    }

    /// What to tell the user, a line each; never credentials.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = match (&self.http, &self.tunnel) {
            (None, None) => return Vec::new(),
            (Some(http), Some(tunnel)) if http == tunnel => vec![http.to_string()],
            (http, tunnel) => {
                let show = |proxy: &Option<Arc<UpstreamProxy>>| {
                    proxy.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string)
                };
                vec![
                    format!("{} for clear-text HTTP", show(http)),
                    format!("{} for TLS and the rest", show(tunnel)),
                ]
            }
        };
        lines.extend((!self.bypass.is_empty()).then(|| format!("not for {}", self.bypass)));
        lines
    }

    /// The proxy to `host` on `port`; `None` means that it is dialled straight away.
    #[must_use]
    pub fn of(&self, usage: Use, host: &Host, port: u16) -> Option<&Arc<UpstreamProxy>> {
        let proxy = match usage {
            Use::Http => self.http.as_ref(),
            Use::Tunnel => self.tunnel.as_ref(),
        }?;
        let direct = is_local(host) || self.own.contains(host) || self.bypass.covers(host, port);
        (!direct).then_some(proxy)
    }
}

/// Whether `host` is another one seen from the proxy: loopback, link-local, multicast, metadata services. A rule
/// that opens one of them means the one here.
fn is_local(host: &Host) -> bool {
    use AddressClass::{LinkLocal, Loopback, Metadata, Multicast, Unspecified};
    match host {
        Host::Ip(ip) => {
            matches!(AddressClass::of(*ip), Loopback | LinkLocal | Metadata | Multicast | Unspecified)
        }
        Host::Name(name) => host_ports::is_local_name(name) || METADATA.contains(&name.as_str()),
    }
}
