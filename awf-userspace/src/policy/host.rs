//! Who is to be reached: a name, or an address literal.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{DomainName, NameError};

/// Who is to be reached: a name, or an address literal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    Name(DomainName),
    /// Never an IPv4-mapped IPv6 address when made by [`Host::parse`] or [`Host::from`].
    Ip(IpAddr),
}

impl Host {
    /// Parses what stands before the port of an authority (RFC 3986, 3.2.2), and bare IPv6 addresses.
    ///
    /// # Errors
    /// See [`NameError`]: zone ids, odd spellings of IPv4, and everything [`DomainName::parse`] refuses.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(NameError::Ipv6)?;
            return parse_v6(inner);
        }
        if text.contains(':') {
            return parse_v6(text);
        }
        match text.parse::<Ipv4Addr>() {
            Ok(ip) => Ok(Self::Ip(ip.into())),
            Err(_) => DomainName::parse(text).map(Self::Name),
        }
    }

    /// The name, if it is one.
    #[must_use]
    pub fn name(&self) -> Option<&DomainName> {
        match self {
            Self::Name(name) => Some(name),
            Self::Ip(_) => None,
        }
    }
}

fn parse_v6(text: &str) -> Result<Host, NameError> {
    if text.contains('%') {
        return Err(NameError::ZoneId);
    }
    text.parse::<Ipv6Addr>().map(|ip| Host::from(IpAddr::from(ip))).map_err(|_| NameError::Ipv6)
}

impl From<DomainName> for Host {
    fn from(name: DomainName) -> Self {
        Self::Name(name)
    }
}

impl From<IpAddr> for Host {
    /// An IPv4-mapped IPv6 address is the IPv4 address.
    fn from(ip: IpAddr) -> Self {
        Self::Ip(ip.to_canonical())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}
