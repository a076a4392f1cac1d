//! The part of a rule that names addresses: `198.51.100.7`, `10.1.0.0/16:5432`, `[2001:db8::1]:443`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use super::{
    AddressClass, List, NameError,
    parse::{Refusal, refuse},
    problem::Problem,
};

/// The shortest prefix an allow rule may have, IPv4 and IPv6.
const WIDEST: (u8, u8) = (8, 16);

/// The network and the text of its port; `None` if `text` is not an address at all.
pub(super) fn parse(text: &str, list: List) -> Result<Option<(IpNet, Option<&str>)>, Refusal> {
    let Some((ip, rest)) = split_address(text)? else { return Ok(None) };
    let (prefix, port) = match rest.strip_prefix('/') {
        None => (None, rest),
        Some(rest) => {
            let (prefix, port) = rest.split_at(rest.find(':').unwrap_or(rest.len()));
            (Some(prefix), port)
        }
    };
    let port = match port.strip_prefix(':') {
        Some(port) => Some(port),
        None if port.is_empty() => None,
        None => return Err(Problem::Path.into()),
    };
    let net = network(ip, prefix)?;
    if list == List::Allow {
        check_breadth(net)?;
    }
    Ok(Some((net, port)))
}

/// The address at the start, and what follows it.
fn split_address(text: &str) -> Result<Option<(IpAddr, &str)>, Refusal> {
    if let Some(inner) = text.strip_prefix('[') {
        let (ip, rest) = inner.split_once(']').ok_or(NameError::Ipv6)?;
        // `[2001:db8::/32]:443` is what one writes first.
        if let Some((net, prefix)) = ip.split_once('/') {
            return refuse(Problem::Name(NameError::Ipv6), format!("write `[{net}]/{prefix}{rest}`"));
        }
        return Ok(Some((parse_v6(ip)?, rest)));
    }
    let (first, after) = text.split_at(text.find([':', '/']).unwrap_or(text.len()));
    if let Ok(ip) = first.parse::<Ipv4Addr>() {
        return Ok(Some((ip.into(), after)));
    }
    let hex = first.bytes().all(|b| b.is_ascii_hexdigit());
    if hex && after.matches(':').count() >= 2 {
        let (ip, rest) = text.split_at(text.find('/').unwrap_or(text.len()));
        return Ok(Some((parse_v6(ip)?, rest)));
    }
    Ok(None)
}

fn parse_v6(text: &str) -> Result<IpAddr, Refusal> {
    if text.contains('%') {
        return Err(NameError::ZoneId.into());
    }
    match text.parse::<Ipv6Addr>() {
        Ok(ip) => Ok(ip.into()),
        Err(_) => refuse(Problem::Name(NameError::Ipv6), "with a port it is written `[2001:db8::1]:443`"),
    }
}

fn network(ip: IpAddr, prefix: Option<&str>) -> Result<IpNet, Refusal> {
    let Some(text) = prefix else { return Ok(IpNet::from(ip.to_canonical())) };
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Problem::Path.into());
    }
    let bad = || Problem::Prefix(text.to_owned());
    let prefix: u8 = text.parse().map_err(|_| bad())?;
    let net = IpNet::new(ip, prefix).map_err(|_| bad())?;
    if net.trunc() != net {
        return refuse(
            Problem::HostBits,
            format!("write `{}` for the network, `{ip}` for the address", net.trunc()),
        );
    }
    // Targets are compared in canonical form, so rules must be in it.
    match (ip.to_canonical(), prefix) {
        (IpAddr::V4(v4), 96..) if ip.is_ipv6() => {
            Ok(Ipv4Net::new(v4, prefix - 96).map_err(|_| bad())?.into())
        }
        _ => Ok(net),
    }
}

fn check_breadth(net: IpNet) -> Result<(), Refusal> {
    let widest = if net.addr().is_ipv4() { WIDEST.0 } else { WIDEST.1 };
    if net.prefix_len() < widest {
        return refuse(Problem::TooWide, format!("name networks of /{widest} or smaller"));
    }
    let class = AddressClass::of(net.addr());
    if matches!(class, AddressClass::Unspecified | AddressClass::Multicast) {
        return Err(Problem::Unreachable(class).into());
    }
    Ok(())
}
