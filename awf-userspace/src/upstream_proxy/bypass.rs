//! `no_proxy`: what is dialled straight away although there is a proxy.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

use super::url::parse_port;
use crate::policy::{DomainName, Host, NameError};

/// Hosts that need no proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bypass {
    all: bool,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    subject: Subject,
    /// `None`: any.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    /// The name and all below it.
    Name(DomainName),
    Net(IpNet),
}

/// One entry that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BypassError {
    #[error(
        "{text:?} is not a host: {why}; write example.com, 10.0.0.0/8 or [2001:db8::1], each with :PORT or without"
    )]
    Host { text: String, why: NameError },
    #[error("{0:?} is not a network such as 10.0.0.0/8 or 2001:db8::/32")]
    Net(String),
    #[error("{0:?} does not end in a port from 1 to 65535")]
    Port(String),
    #[error("{0:?}: a * stands alone, or for the labels in front, as in *.example.com")]
    Star(String),
}

impl Bypass {
    /// Reads a list in the grammar that curl and Go share: entries separated by commas or blanks; `*`; names, which
    /// mean all below them too, with a leading `.` or `*.` or without; addresses and networks, which match address
    /// literals only (no name is resolved for this); each but `*` and networks with `:PORT`.
    ///
    /// What is wrong is returned beside what is right.
    #[must_use]
    pub fn parse(text: &str) -> (Self, Vec<BypassError>) {
        let (mut bypass, mut errors) = (Self::default(), Vec::new());
        let items = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|item| !item.is_empty());
        for item in items {
            match item {
                "*" => bypass.all = true,
                item => match entry(item) {
                    Ok(entry) => bypass.entries.push(entry),
                    Err(error) => errors.push(error),
                },
            }
        }
        (bypass, errors)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.all && self.entries.is_empty()
    }

    /// Whether `host` on `port` needs no proxy.
    #[must_use]
    pub fn covers(&self, host: &Host, port: u16) -> bool {
        let fits = |entry: &Entry| {
            entry.port.is_none_or(|own| own == port)
                && match (&entry.subject, host) {
                    (Subject::Name(own), Host::Name(name)) => name.suffixes().any(|s| s == own.as_str()),
                    (Subject::Net(net), Host::Ip(ip)) => net.contains(&ip.to_canonical()),
                    _ => false,
                }
        };
        self.all || self.entries.iter().any(fits)
    }
}

impl fmt::Display for Bypass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.all {
            return f.write_str("*");
        }
        for (number, entry) in self.entries.iter().enumerate() {
            let separator = if number == 0 { "" } else { " " };
            match (&entry.subject, entry.port) {
                (Subject::Name(name), None) => write!(f, "{separator}{name}")?,
                (Subject::Name(name), Some(port)) => write!(f, "{separator}{name}:{port}")?,
                (Subject::Net(net), None) => write!(f, "{separator}{net}")?,
                (Subject::Net(net), Some(port)) => write!(f, "{separator}[{net}]:{port}")?,
            }
        }
        Ok(())
    }
}

fn entry(text: &str) -> Result<Entry, BypassError> {
    if let Some((address, _)) = text.split_once('/') {
        let net: IpNet = text.parse().map_err(|_| BypassError::Net(text.to_owned()))?;
        // An IPv4-mapped network would match nothing: addresses are compared in their shortest form.
        let mapped = address.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical() != ip);
        return match mapped {
            true => Err(BypassError::Net(text.to_owned())),
            false => Ok(Entry { subject: Subject::Net(net), port: None }),
        };
    }
    let (host, port) = split_port(text)?;
    let name = host.strip_prefix("*.").or_else(|| host.strip_prefix('.')).unwrap_or(host);
    if name.contains('*') {
        return Err(BypassError::Star(text.to_owned()));
    }
    let subject = match Host::parse(name) {
        Ok(Host::Name(name)) => Subject::Name(name),
        Ok(Host::Ip(ip)) => Subject::Net(ip.into()),
        Err(why) => return Err(BypassError::Host { text: text.to_owned(), why }),
    };
    Ok(Entry { subject, port })
}

/// Of several colons without brackets all belong to an IPv6 address.
fn split_port(text: &str) -> Result<(&str, Option<u16>), BypassError> {
    let bracketed = text.starts_with('[');
    match text.rfind(':') {
        Some(at) if bracketed && !text[at..].contains(']') || !bracketed && text.find(':') == Some(at) => {
            let port = parse_port(&text[at + 1..]).ok_or_else(|| BypassError::Port(text.to_owned()))?;
            Ok((&text[..at], Some(port)))
        }
        _ => Ok((text, None)),
    }
}
