//! Whom an HTTP request is for, and which of its headers end at the proxy. Pure.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri,
    header::{CONNECTION, HOST, TE, TRANSFER_ENCODING, UPGRADE},
};

use super::tokens;
use crate::policy::{Host, NameError, Reason};

/// How the request names its target (RFC 9112 section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `CONNECT host:port`
    Connect,
    /// `GET http://host/path`
    Absolute,
    /// `GET /path` or `OPTIONS *`, the host in the Host header.
    Origin,
}

/// Under which scheme requests come on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    /// Inside TLS.
    Https,
}

impl Scheme {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that an authority need not name.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Whom a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    pub form: Form,
    /// `None`: neither the target nor a Host header names one.
    pub host: Option<Host>,
    /// As written; for the absolute form of HTTP/1 its default.
    pub port: Option<u16>,
}

/// Why it cannot be told whom a request is for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    #[error("{text:?} is not a host: {why}")]
    Host { text: String, why: NameError },
    #[error("{0:?} is not a port from 1 to 65535")]
    Port(String),
    #[error("{0:?} carries credentials; they do not belong in a target")]
    Credentials(String),
    #[error("the Host header is not plain text")]
    HostHeader,
    #[error("there are several Host headers")]
    Hosts,
    #[error("CONNECT needs `host:port` as its target, not {0:?}")]
    Connect(String),
    #[error("CONNECT inside HTTP/2 is not passed on; send it in HTTP/1.1, straight to the proxy")]
    StreamConnect,
    #[error("the target {0:?} is neither a path nor a URL")]
    Target(String),
    #[error("the proxy does not fetch {0}:// URLs; use CONNECT, as clients do for https")]
    Scheme(String),
    #[error("the connection is TLS, the request inside is for a {0}:// URL")]
    OtherScheme(String),
    #[error("the target says {target} and the Host header {host}")]
    Mismatch { target: String, host: String },
}

impl DestinationError {
    /// The reason in the closed list.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Scheme(_) | Self::StreamConnect => Reason::ProtocolNotAllowed,
            Self::Mismatch { .. } | Self::OtherScheme(_) => Reason::NameMismatch,
            _ => Reason::Malformed,
        }
    }
}

/// Reads whom a request is for.
///
/// # Errors
/// When target and Host header disagree, or one of them is not what it should be.
pub fn destination(
    scheme: Scheme,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Destination, DestinationError> {
    let header = host_header(headers)?;
    let (form, target) = match (uri.scheme_str(), uri.authority()) {
        (None, Some(target)) if method == Method::CONNECT => {
            let (host, port) = authority(target.as_str())?;
            let port = port.ok_or_else(|| DestinationError::Connect(uri.to_string()))?;
            (Form::Connect, (host, port))
        }
        _ if method == Method::CONNECT => return Err(DestinationError::Connect(uri.to_string())),
        (Some(other), Some(target)) if other == scheme.as_str() => {
            let (host, port) = authority(target.as_str())?;
            (Form::Absolute, (host, port.unwrap_or(scheme.port())))
        }
        (Some(other), _) => return Err(foreign(scheme, other)),
        (None, None) if uri.path().starts_with('/') || uri.path() == "*" => {
            let (host, port) = header.map_or((None, None), |(host, port)| (Some(host), port));
            return Ok(Destination { form: Form::Origin, host, port });
        }
        (None, _) => return Err(DestinationError::Target(uri.to_string())),
    };
    let (host, port) = target;
    if let Some((named, at)) = header {
        // CONNECT has no default port to compare with.
        let at = at.unwrap_or(if form == Form::Connect { port } else { scheme.port() });
        if named != host || at != port {
            let (target, host) = (host_value(&host, port, 0), host_value(&named, at, 0));
            return Err(DestinationError::Mismatch { target, host });
        }
    }
    Ok(Destination { form, host: Some(host), port: Some(port) })
}

fn foreign(scheme: Scheme, other: &str) -> DestinationError {
    match scheme {
        Scheme::Http => DestinationError::Scheme(other.to_owned()),
        Scheme::Https => DestinationError::OtherScheme(other.to_owned()),
    }
}

/// Reads whom a request of HTTP/2 is for (RFC 9113 section 8.3.1): `:authority`, with which Host must agree.
///
/// # Errors
/// The same, and for CONNECT, which HTTP/2 has for one stream only.
pub fn stream_destination(
    scheme: Scheme,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Destination, DestinationError> {
    if method == Method::CONNECT {
        return Err(DestinationError::StreamConnect);
    }
    if let Some(other) = uri.scheme_str().filter(|other| *other != scheme.as_str()) {
        return Err(foreign(scheme, other));
    }
    let default = scheme.port();
    let header = host_header(headers)?;
    let target = uri.authority().map(|target| authority(target.as_str())).transpose()?;
    if let (Some((host, port)), Some((named, at))) = (&target, &header)
        && (host != named || port.unwrap_or(default) != at.unwrap_or(default))
    {
        let (target, host) =
            (host_value(host, port.unwrap_or(default), 0), host_value(named, at.unwrap_or(default), 0));
        return Err(DestinationError::Mismatch { target, host });
    }
    let form = if target.is_some() { Form::Absolute } else { Form::Origin };
    let (host, port) = target.or(header).map_or((None, None), |(host, port)| (Some(host), port));
    Ok(Destination { form, host, port })
}

/// `None` without a Host header, or with an empty one.
fn host_header(headers: &HeaderMap) -> Result<Option<(Host, Option<u16>)>, DestinationError> {
    let mut values = headers.get_all(HOST).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(DestinationError::Hosts);
    }
    match value.to_str().map_err(|_| DestinationError::HostHeader)? {
        "" => Ok(None),
        text => authority(text).map(Some),
    }
}

/// Splits `host[:port]`.
fn authority(text: &str) -> Result<(Host, Option<u16>), DestinationError> {
    if text.contains('@') {
        // What stands before it may be a password: it is not repeated.
        let host = text.rsplit('@').next().unwrap_or_default();
        return Err(DestinationError::Credentials(format!("...@{host}")));
    }
    let colon = text.rfind(':').filter(|at| !text[*at..].contains(']'));
    let (host, port) = match colon {
        Some(at) => (&text[..at], Some(port(&text[at + 1..])?)),
        None => (text, None),
    };
    if host.contains(':') && !host.starts_with('[') {
        return Err(DestinationError::Host { text: text.to_owned(), why: NameError::Ipv6 });
    }
    let host = Host::parse(host).map_err(|why| DestinationError::Host { text: host.to_owned(), why })?;
    Ok((host, port))
}

fn port(text: &str) -> Result<u16, DestinationError> {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let port = if digits { text.parse().ok() } else { None };
    port.filter(|port| *port != 0).ok_or_else(|| DestinationError::Port(text.to_owned()))
}

/// The Host header for `host`; its port only when it is not `default`.
#[must_use]
pub fn host_value(host: &Host, port: u16, default: u16) -> String {
    let host = match host {
        Host::Ip(ip) if ip.is_ipv6() => format!("[{ip}]"),
        host => host.to_string(),
    };
    if port == default { host } else { format!("{host}:{port}") }
}

/// Whether a request asks for WebSocket and nothing else.
#[must_use]
pub fn wants_websocket(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::GET && is_websocket(headers)
}

/// Whether these headers, of a request or of a response, are about WebSocket and no other upgrade.
#[must_use]
pub fn is_websocket(headers: &HeaderMap) -> bool {
    tokens::is_websocket(values(headers, UPGRADE), values(headers, CONNECTION))
}

/// The protocol that a request wants its connection to become, if it is one that nobody here can judge. Offers of
/// `h2c` and TLS (RFC 2817) are none: they need not be taken, and are left out.
#[must_use]
pub fn foreign_upgrade(headers: &HeaderMap) -> Option<String> {
    if !tokens::tokens(values(headers, CONNECTION)).any(|token| token.eq_ignore_ascii_case(b"upgrade")) {
        return None;
    }
    let known = |token: &[u8]| {
        let token = token.to_ascii_lowercase();
        [&b"websocket"[..], b"h2c"].contains(&&token[..]) || token.starts_with(b"tls/")
    };
    if tokens::tokens(values(headers, UPGRADE)).any(known) {
        return None;
    }
    let wanted = tokens::tokens(values(headers, UPGRADE)).next()?;
    Some(wanted.escape_ascii().to_string())
}

/// Puts back what [`strip_hop_by_hop`] has removed from a message about WebSocket.
pub fn mark_websocket(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

fn values(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    headers.get_all(name).into_iter().map(HeaderValue::as_bytes)
}

/// Removes what concerns one connection only (RFC 9110 section 7.6.1), and everything meant for a proxy.
/// `TE: trailers` is kept: both sides of this proxy pass trailers on.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens::tokens(values(headers, CONNECTION))
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .collect();
    let trailers = tokens::tokens(values(headers, TE)).any(|token| token.eq_ignore_ascii_case(b"trailers"));
    let proxys: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("proxy-")).cloned().collect();
    for name in named.into_iter().chain(proxys).chain([CONNECTION, TE, TRANSFER_ENCODING, UPGRADE]) {
        headers.remove(name);
    }
    for name in ["keep-alive", "http2-settings"] {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

#[cfg(test)]
mod tests;
