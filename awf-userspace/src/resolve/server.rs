//! [`NameServer`]: where names are asked for and how, as it was configured.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use crate::policy::DomainName;

/// A name server and the way to ask it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameServer {
    /// UDP, and TCP for what does not fit.
    Plain(SocketAddr),
    /// UDP only.
    Udp(SocketAddr),
    /// TCP only.
    Tcp(SocketAddr),
    /// DNS over TLS (RFC 7858).
    Tls { at: At, port: u16, certificate: CertificateName },
    /// DNS over HTTPS (RFC 8484); the path begins with `/`.
    Https { at: At, port: u16, certificate: CertificateName, path: String },
}

/// Where an encrypted server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    Address(IpAddr),
    /// To be looked up, in clear text, where the host looks names up.
    Name(DomainName),
}

/// Whom its certificate must be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateName {
    Name(DomainName),
    Address(IpAddr),
}

impl NameServer {
    /// Whether nobody between can read or change what is asked.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls { .. } | Self::Https { .. })
    }

    /// Whether its own address has to be looked up first.
    #[must_use]
    pub fn needs_lookup(&self) -> bool {
        matches!(self, Self::Tls { at: At::Name(_), .. } | Self::Https { at: At::Name(_), .. })
    }
}

impl From<SocketAddr> for NameServer {
    fn from(address: SocketAddr) -> Self {
        Self::Plain(address)
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(ip) => ip.fmt(f),
        }
    }
}

impl fmt::Display for NameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(at) => write!(f, "{at}"),
            Self::Udp(at) => write!(f, "udp://{at}"),
            Self::Tcp(at) => write!(f, "tcp://{at}"),
            Self::Tls { at, port, certificate } => {
                write!(f, "tls://{}", Authority(at, *port))?;
                match (at, certificate) {
                    (At::Address(at), CertificateName::Address(ip)) if at == ip => Ok(()),
                    (At::Name(at), CertificateName::Name(name)) if at == name => Ok(()),
                    _ => write!(f, "#{certificate}"),
                }
            }
            Self::Https { at, port, certificate, path } => {
                let named = match certificate {
                    CertificateName::Name(name) => At::Name(name.clone()),
                    CertificateName::Address(ip) => At::Address(*ip),
                };
                write!(f, "https://{}{path}", Authority(&named, *port))?;
                match at {
                    At::Address(ip) if *at != named => write!(f, "#{ip}"),
                    _ => Ok(()),
                }
            }
        }
    }
}

struct Authority<'a>(&'a At, u16);

impl fmt::Display for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            At::Address(ip) => SocketAddr::new(*ip, self.1).fmt(f),
            At::Name(name) => write!(f, "{name}:{}", self.1),
        }
    }
}
