//! The ports of the host's loopback that are open to the command as `localhost`: which texts name them, and which
//! hosts are meant. What is open is in [`super::host_grants`].

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
};

pub use super::host_grants::Grant;
use super::{DomainName, Host};

/// What Docker calls the host, and awf's documentation with it.
pub(super) const DOCKER_NAME: &str = "host.docker.internal";

/// Ports of login, mail, file, database and container services: gh-aw-firewall's two lists, and Docker's own API,
/// which makes its clients root. They are opened one by one and on purpose.
const SENSITIVE: [(u16, &str); 23] = [
    (22, "SSH"),
    (23, "Telnet"),
    (25, "SMTP"),
    (110, "POP3"),
    (143, "IMAP"),
    (445, "SMB"),
    (1433, "SQL Server"),
    (1521, "Oracle"),
    (2375, "Docker"),
    (2376, "Docker"),
    (3306, "MySQL"),
    (3389, "RDP"),
    (5432, "PostgreSQL"),
    (5984, "CouchDB"),
    (6379, "Redis"),
    (6984, "CouchDB"),
    (8086, "InfluxDB"),
    (8088, "InfluxDB"),
    (9200, "Elasticsearch"),
    (9300, "Elasticsearch"),
    (27017, "MongoDB"),
    (27018, "MongoDB"),
    (28017, "MongoDB"),
];

/// On these the command reaches awf-bpf itself: its resolver, and its proxy in a namespace of the command's own.
pub const RESERVED: [u16; 2] = [53, 1021];

/// Why a text opens no port of the host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortProblem {
    #[error("is neither a port (1 to 65535, without leading zeros) nor a range of them, like 8000-8010")]
    NotPorts,
    #[error("ends before it begins; write {1}-{0}")]
    Reversed(u16, u16),
    #[error("is no single port; ranges belong in --allow-host-ports")]
    Range,
    #[error("opens port {0} ({1}); if the command shall reach that, add --allow-host-service-ports {0}")]
    Sensitive(u16, &'static str),
    #[error("opens port {0}, on which the command reaches awf-bpf itself")]
    Reserved(u16),
}

/// Parses one entry of `--allow-host-ports`: `N` or `N-M`.
///
/// # Errors
/// What is no range, and ranges that hold a port which must be named alone, or cannot be had.
pub fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, PortProblem> {
    let ports = range(text)?;
    match SENSITIVE.iter().find(|(port, _)| ports.contains(port)) {
        Some((port, service)) => Err(PortProblem::Sensitive(*port, service)),
        None => Ok(ports),
    }
}

/// Parses one entry of `--allow-host-service-ports`: `N`.
///
/// # Errors
/// What is no port, and ranges.
pub fn parse_service_port(text: &str) -> Result<u16, PortProblem> {
    let ports = range(text)?;
    if text.contains('-') { Err(PortProblem::Range) } else { Ok(*ports.start()) }
}

fn range(text: &str) -> Result<RangeInclusive<u16>, PortProblem> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    if last < first {
        return Err(PortProblem::Reversed(first, last));
    }
    match RESERVED.iter().find(|port| (first..=last).contains(port)) {
        Some(port) => Err(PortProblem::Reserved(*port)),
        None => Ok(first..=last),
    }
}

fn port(text: &str) -> Result<u16, PortProblem> {
    let digits = !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or(PortProblem::NotPorts)
}

/// The flag that opens `port` of the host's loopback; `None` where none does.
#[must_use]
pub fn flag_for(port: u16) -> Option<String> {
    match parse_ports(&port.to_string()) {
        Ok(_) => Some(format!("--allow-host-ports {port}")),
        Err(PortProblem::Sensitive(..)) => Some(format!("--allow-host-service-ports {port}")),
        Err(_) => None,
    }
}

/// Whether a rule that is written with this name is about the host's loopback.
pub(super) fn is_rule_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    ["localhost", DOCKER_NAME].iter().any(|local| name.eq_ignore_ascii_case(local))
}

/// Whether `name` means the host's loopback: `localhost` and the names below it (RFC 6761, 6.3), and
/// `host.docker.internal`.
#[must_use]
pub fn is_local_name(name: &DomainName) -> bool {
    name.labels().next_back() == Some("localhost") || name.as_str() == DOCKER_NAME
}

/// Whether `ip` means the host's loopback: `127.0.0.1`, `::1`, and the unspecified addresses, which connect() takes
/// for them. The rest of 127.0.0.0/8 does not: resolvers and the like listen there.
#[must_use]
pub fn is_local_ip(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST || ip.is_unspecified()
}

/// Whether `host` means the host's loopback.
#[must_use]
pub fn is_local(host: &Host) -> bool {
    match host {
        Host::Name(name) => is_local_name(name),
        Host::Ip(ip) => is_local_ip(*ip),
    }
}
