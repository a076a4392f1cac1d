//! `http://[user[:password]@]host[:port]`: where an upstream proxy is.

use std::fmt;

use percent_encoding::percent_decode_str;

use super::{Credentials, CredentialsError};
use crate::policy::{Host, NameError};

/// The port when the URL names none: Squid's, and what gh-aw-firewall takes.
pub const DEFAULT_PORT: u16 = 3128;

/// An HTTP proxy on the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamProxy {
    pub host: Host,
    pub port: u16,
    pub credentials: Option<Credentials>,
}

/// Why a text is not the URL of a proxy that can be used. No variant repeats what stands before an `@`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyUrlError {
    #[error("{0}:// proxies are not supported; only http:// is, as in http://proxy.example.com:3128")]
    Scheme(String),
    #[error(
        "TLS to the proxy (https://) is not supported; write http://, also for a proxy that carries https"
    )]
    Tls,
    #[error("{text:?} is not the host of a proxy: {why}")]
    Host { text: String, why: NameError },
    #[error("{0:?} is not a port from 1 to 65535")]
    Port(String),
    #[error("nothing may stand behind host and port, but {0:?} does")]
    Rest(String),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

impl UpstreamProxy {
    /// Reads the URL of a proxy as proxy variables hold it: `http://` and a final `/` may be left out.
    ///
    /// # Errors
    /// See [`ProxyUrlError`].
    pub fn parse(text: &str) -> Result<Self, ProxyUrlError> {
        let text = text.trim();
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => {
                check_scheme(scheme)?;
                rest
            }
            _ => text,
        };
        // Of several `@` the last one ends the credentials: what a password holds unescaped is still one.
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (Some(credentials), rest),
            None => (None, rest),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        if !matches!(tail, "" | "/") {
            return Err(ProxyUrlError::Rest(tail.to_owned()));
        }
        let (host, port) = split_port(authority)?;
        let host = Host::parse(host).map_err(|why| ProxyUrlError::Host { text: host.to_owned(), why })?;
        let credentials = credentials.filter(|text| !text.is_empty()).map(user_and_password).transpose()?;
        Ok(Self { host, port, credentials })
    }

    /// `host:port`, as in messages and in the record. Never the credentials.
    #[must_use]
    pub fn place(&self) -> String {
        match self.host {
            Host::Ip(ip) if ip.is_ipv6() => format!("[{ip}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for UpstreamProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = if self.credentials.is_some() { " (with credentials)" } else { "" };
        write!(f, "http://{}{with}", self.place())
    }
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

fn check_scheme(scheme: &str) -> Result<(), ProxyUrlError> {
    match scheme.to_ascii_lowercase().as_str() {
        "http" => Ok(()),
        "https" => Err(ProxyUrlError::Tls),
        other => Err(ProxyUrlError::Scheme(other.to_owned())),
    }
}

fn split_port(authority: &str) -> Result<(&str, u16), ProxyUrlError> {
    let colon = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
    let Some(at) = colon else { return Ok((authority, DEFAULT_PORT)) };
    let (host, port) = (&authority[..at], &authority[at + 1..]);
    if host.contains(':') && !host.starts_with('[') {
        return Err(ProxyUrlError::Host { text: authority.to_owned(), why: NameError::Ipv6 });
    }
    parse_port(port).map(|port| (host, port)).ok_or_else(|| ProxyUrlError::Port(port.to_owned()))
}

/// A decimal port, without sign or blanks.
pub(super) fn parse_port(text: &str) -> Option<u16> {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

/// Both percent-encoded (RFC 3986, 3.2.1). A user alone has an empty password.
fn user_and_password(text: &str) -> Result<Credentials, CredentialsError> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let decoded = |text| percent_decode_str(text).collect::<Vec<u8>>();
    Credentials::new(&decoded(user), &decoded(password))
}
