//! Whether one HTTP request, of whatever version, may go where it says.

use std::net::SocketAddr;

use http::{request::Parts, uri::PathAndQuery};

use super::{
    context::{Route, denied},
    deny::Refusal,
    entry::Entry,
    intercept::Place,
    overrides,
    request::{self, Destination, DestinationError, Form, Scheme},
};
use crate::{
    audit::mask,
    policy::{Denied, Host, Policy, Protocol, Reason},
};

/// How the command came to speak HTTP here.
#[derive(Clone, Debug)]
pub(super) enum Mode {
    /// It speaks to the proxy as such.
    Explicit,
    /// It dialled this address.
    Transparent(SocketAddr),
    /// It is inside a CONNECT to this host and port.
    Connected(Host, u16),
    /// It is inside TLS that ends here, in which we are in this place. `refusal`: what every request is
    /// answered with, if that is settled.
    Secure { place: Place, refusal: Option<Refusal> },
}

impl Mode {
    pub(super) fn port(&self) -> u16 {
        match self {
            Self::Explicit => 80,
            Self::Transparent(dst) => dst.port(),
            Self::Connected(_, port) | Self::Secure { place: Place { port, .. }, .. } => *port,
        }
    }

    pub(super) fn scheme(&self) -> Scheme {
        match self {
            Self::Secure { .. } => Scheme::Https,
            _ => Scheme::Http,
        }
    }

    /// Where every request is refused, a connection without any was for what is refused.
    pub(super) fn settle(&self, entry: &mut Entry) {
        match self {
            Self::Secure { refusal: Some(refusal), .. } => refusal.note(entry),
            // A CONNECT is heard out even so.
            Self::Connected(host, port) => {
                if let Err(denied) = entry.rules.decide_any(host, *port) {
                    entry.deny(&denied);
                }
            }
            _ => {}
        }
    }

    fn protocol(&self) -> Protocol {
        match self {
            Self::Secure { .. } => Protocol::Tls,
            _ => Protocol::Http,
        }
    }
}

/// A request that was judged: where it goes and under which name.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) host: Host,
    pub(super) route: Route,
}

/// Checks that the request agrees with the connection it came on, and asks the policy. Where only certain URLs are
/// allowed, `parts` has then the target that was judged.
pub(super) fn judge(
    mode: &Mode,
    to: Destination,
    parts: &mut Parts,
    entry: &mut Entry,
) -> Result<Judged, Refusal> {
    if let Mode::Secure { place, .. } = mode {
        // Of what is refused, too.
        let (host, port) = (to.host.as_ref().unwrap_or(&place.host), to.port.unwrap_or(place.port));
        entry.record.url = Some(url(Scheme::Https, host, port, parts));
    }
    let (at, port) = match mode {
        Mode::Explicit if to.form == Form::Origin => return Err(astray(&to)),
        Mode::Explicit => (None, to.port.unwrap_or(80)),
        Mode::Transparent(dst) => (Some(dst.ip()), dst.port()),
        Mode::Connected(_, port) => (None, *port),
        Mode::Secure { refusal: Some(refusal), .. } => return Err(refusal.clone()),
        Mode::Secure { place, .. } => (place.at, place.port),
    };
    let named = match (mode, to.host) {
        (Mode::Secure { place, .. }, Some(named)) if place.host != named => {
            let message = format!("the TLS is for {}, the request inside is for {named}", place.host);
            return Err(mismatch(message));
        }
        (Mode::Secure { place, .. }, _) => Some(place.host.clone()),
        (Mode::Connected(host, _), Some(named)) if *host != named => {
            return Err(mismatch(format!("the CONNECT was for {host}, the request inside is for {named}")));
        }
        (Mode::Connected(host, _), _) => Some(host.clone()),
        (_, named) => named,
    };
    if let Some(other) = to.port.filter(|other| *other != port) {
        let message = format!("the connection goes to port {port}, the request names port {other}");
        return Err(mismatch(message));
    }
    let host = named.clone().or_else(|| at.map(Host::from));
    if let Some(host) = &host {
        entry.target(host, port);
    }
    let mut route = entry.rules.decide(named.as_ref(), at, port, mode.protocol())?;
    let host = host.unwrap_or_else(|| route.dial.clone());
    if route.urls || named.as_ref().is_some_and(|named| entry.rules.policy.filters_urls(named, port)) {
        entry.record.url = Some(url(mode.scheme(), &host, port, parts));
        judge_url(&entry.rules.policy, mode, named.as_ref(), &mut route, parts)?;
    }
    Ok(Judged { host, route })
}

/// The URL that `parts` ask for, of `host`.
fn url(scheme: Scheme, host: &Host, port: u16, parts: &Parts) -> String {
    let authority = request::host_value(host, port, scheme.port());
    let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    format!("{}://{authority}{target}", scheme.as_str())
}

/// Judges the URL, and puts the target that was judged in place of the one received.
fn judge_url(
    policy: &Policy,
    mode: &Mode,
    named: Option<&Host>,
    route: &mut Route,
    parts: &mut Parts,
) -> Result<(), Refusal> {
    if let Some(name) = overrides::found(&parts.headers) {
        let message = format!(
            "the header {name} lets some servers take the request for another one: of {} port {} only certain URLs \
             are allowed",
            route.dial, route.port
        );
        return Err(denied(Reason::UrlNotAllowed, message).into());
    }
    let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let asked = (mode.protocol(), parts.method.as_str(), target);
    let sent = policy.decide_url(named, route, asked).map_err(url_refused)?;
    let sent = sent.and_then(|target| target.to_string().parse().ok());
    let Some(sent) = sent else {
        // There is a rule about the host, or it would not be asked; what it lets through is a target.
        return Err(denied(Reason::UrlNotAllowed, "the target that was judged cannot be sent").into());
    };
    parts.uri = sent;
    Ok(())
}

/// What was asked for may hold secrets, which neither the record nor a flag to paste may show.
fn url_refused(denied: Denied) -> Refusal {
    let allow_with = denied.allow_with.filter(|flag| mask::text(flag) == *flag);
    let denied = Denied { message: mask::text(&denied.message), allow_with, ..denied };
    match denied.reason {
        Reason::Malformed => Refusal::bad_request(denied),
        _ => denied.into(),
    }
}

/// The refusal of a request of which it cannot be told whom it is for.
pub(super) fn unreadable(error: DestinationError) -> Refusal {
    match error.reason() {
        reason @ (Reason::NameMismatch | Reason::ProtocolNotAllowed) => {
            denied(reason, error.to_string()).into()
        }
        reason => Refusal::bad_request(denied(reason, error.to_string())),
    }
}

/// A request without a URL, straight to the proxy: it must not come back to the proxy itself.
fn astray(to: &Destination) -> Refusal {
    let to = to.host.as_ref().map_or_else(String::new, |host| format!(" (Host: {host})"));
    let message = format!(
        "this is awf-bpf's proxy, not a web server{to}; a proxy is sent `GET http://host/path` or CONNECT, \
         as clients do with HTTP_PROXY and HTTPS_PROXY set to it"
    );
    Refusal::bad_request(denied(Reason::NoName, message))
}

/// The connection's time has run out while an answer was awaited.
pub(super) fn expired(reason: Reason, host: &Host) -> Refusal {
    let what = if reason == Reason::IdleTimeout {
        "nothing was sent for too long"
    } else {
        "the connection is too old"
    };
    Refusal::unreachable(reason, format!("{host} has not answered, and {what} (--deadline)"))
}

fn mismatch(message: String) -> Refusal {
    denied(Reason::NameMismatch, message).into()
}
