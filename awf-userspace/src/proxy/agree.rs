//! Whether the names that one connection carries agree: what was dialled or CONNECTed to, and the server name of
//! the TLS inside.

use super::{
    context::{Route, Rules, denied},
    deny::Refusal,
};
use crate::policy::{Denied, Host, Protocol, Reason};

/// Whether TLS with this server name may be spoken through a CONNECT to `host`. `other`: whether anything may.
pub(super) fn agrees(
    rules: &Rules,
    sni: Option<String>,
    host: &Host,
    port: u16,
    other: bool,
) -> Result<Route, Refusal> {
    let nameless = sni.is_none();
    match (named(sni, host)?, host) {
        (Some(name), Host::Name(_)) if name != *host => {
            let message = format!("the CONNECT was for {host}, the TLS inside is for {name}");
            return Err(denied(Reason::NameMismatch, message).into());
        }
        (Some(name), Host::Ip(_)) => match rules.decide(Some(&name), None, port, Protocol::Tls) {
            // Its URL rules hold at every address of it.
            Err(denied) if denied.reason == Reason::Blocked || rules.policy.filters_urls(&name, port) => {
                return Err(denied.into());
            }
            _ => {}
        },
        (None, Host::Name(_)) if nameless && !other => {
            let message = format!("the CONNECT was for {host}, the TLS inside names no server (no SNI)");
            return Err(denied(Reason::NoName, message).into());
        }
        _ => {}
    }
    rules.decide(Some(host), None, port, Protocol::Tls).map_err(Refusal::from)
}

/// Whether TLS that hides its server name may be spoken on `port` of `host`, which it was dialled or CONNECTed to.
/// `outer`: its name in clear. `any`: whether any protocol may be spoken there, for nothing less covers this one.
pub(super) fn hidden<T>(
    rules: &Rules,
    outer: Option<&Host>,
    host: &Host,
    port: u16,
    any: Result<T, Denied>,
) -> Result<T, Denied> {
    if let Some(name) = outer {
        match rules.decide(Some(name), None, port, Protocol::Tls) {
            Err(denied) if denied.reason == Reason::Blocked => return Err(denied),
            _ if rules.policy.filters_urls(name, port) => return Err(rules.policy.unseen(name, port)),
            _ => {}
        }
    }
    any.map_err(|denied| match denied.reason {
        Reason::Blocked | Reason::AuditFailed => denied,
        _ => ech_refused(rules, host, port),
    })
}

fn ech_refused(rules: &Rules, host: &Host, port: u16) -> Denied {
    let message = format!(
        "the TLS to {host} hides its server name (Encrypted Client Hello, or GREASE that looks like it); turn ECH \
         off in the client, or allow any protocol there"
    );
    let any = rules.decide(Some(host), None, port, Protocol::Other);
    let allow_with = any.err().and_then(|denied| denied.allow_with);
    Denied { allow_with, ..denied(Reason::EchRefused, message) }
}

/// The server name as a host. An address in its place, which RFC 6066 forbids but clients send, must be the one
/// that is spoken to anyway, and counts as no name.
pub(super) fn named(sni: Option<String>, expected: &Host) -> Result<Option<Host>, Refusal> {
    let Some(sni) = sni else { return Ok(None) };
    match Host::parse(&sni) {
        Ok(name @ Host::Name(_)) => Ok(Some(name)),
        Ok(address) if address == *expected => Ok(None),
        Ok(address) => {
            let message = format!("the connection goes to {expected}, its TLS names {address}");
            Err(denied(Reason::NameMismatch, message).into())
        }
        Err(error) => Err(denied(Reason::Malformed, format!("the TLS server name: {error}")).into()),
    }
}
