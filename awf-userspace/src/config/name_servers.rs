//! `--dns-servers` and `--dns-over-https`: from their text to [`NameServer`]s.

use std::net::{IpAddr, SocketAddr};

use super::{ConfigError, ExecArgs, file::ConfigFile, lists};
use crate::{
    policy::DomainName,
    resolve::{At, CertificateName, NameServer},
};

/// The port of DNS (RFC 1035, 4.2), of DNS over TLS (RFC 7858, 3.1) and of HTTPS.
const DNS_PORT: u16 = 53;
const TLS_PORT: u16 = 853;
const HTTPS_PORT: u16 = 443;
/// The usual path (RFC 8484, 4.1.1).
const PATH: &str = "/dns-query";

/// The servers of both flags, in their order; `None` is those of the host.
pub(super) fn servers(
    args: &ExecArgs,
    config: &ConfigFile,
    errors: &mut Vec<ConfigError>,
) -> Option<Vec<NameServer>> {
    let texts = args.outbound.dns_servers.iter().flat_map(|value| value.split(',')).map(str::trim);
    let mut servers = Vec::new();
    for empty in
        args.outbound.dns_servers.iter().filter(|value| lists::items(value.split(',')).next().is_none())
    {
        let why = "names no server; leave the flag out for those of the host".to_owned();
        errors.push(ConfigError::DnsServer { flag: "--dns-servers", text: empty.clone(), why });
    }
    for text in texts.filter(|text| !text.is_empty()) {
        match parse(text) {
            Ok(server) => servers.push(server),
            Err(why) => {
                errors.push(ConfigError::DnsServer { flag: "--dns-servers", text: text.to_owned(), why })
            }
        }
    }
    servers.extend(written(config, errors));
    if let Some(url) = &args.outbound.dns_over_https {
        let text = url.trim();
        let flag = "--dns-over-https";
        match parse(text) {
            Ok(server @ NameServer::Https { .. }) => servers.push(server),
            Ok(_) => {
                errors.push(ConfigError::DnsServer { flag, text: text.to_owned(), why: NOT_HTTPS.into() })
            }
            Err(why) => errors.push(ConfigError::DnsServer { flag, text: text.to_owned(), why }),
        }
    }
    if let Some(plain) = servers.iter().find(|server| !server.is_encrypted())
        && servers.iter().any(NameServer::is_encrypted)
    {
        // Who can break the encrypted connection would be handed the question.
        errors.push(ConfigError::DnsServersMixed(plain.to_string()));
    }
    (!servers.is_empty()).then_some(servers)
}

/// The servers of the configuration file.
pub(super) fn written(config: &ConfigFile, errors: &mut Vec<ConfigError>) -> Vec<NameServer> {
    let mut servers = Vec::new();
    for item in config.items("dns_servers") {
        for text in lists::items(item.text.split(',')) {
            match parse(text) {
                Ok(server) => servers.push(server),
                Err(why) => {
                    let why = format!("dns_servers: {text:?} {why}");
                    errors.push(ConfigError::Config { path: config.path.clone(), line: item.line, why });
                }
            }
        }
    }
    servers
}

const NOT_HTTPS: &str = "is not a URL that begins with https://; write https://dns.example.com/dns-query";
const NOT_ADDRESS: &str = "is not an address; write 198.51.100.53, 198.51.100.53:5353, [2001:db8::53]:53, \
                           tcp://ADDRESS, tls://ADDRESS#NAME or https://NAME/dns-query";

/// One server.
///
/// # Errors
/// What is wrong with it and what to write, to be put behind its text.
fn parse(text: &str) -> Result<NameServer, String> {
    let server = parse_any(text)?;
    let at = match &server {
        NameServer::Plain(at) | NameServer::Udp(at) | NameServer::Tcp(at) => Some(at.ip()),
        NameServer::Tls { at: At::Address(ip), .. } | NameServer::Https { at: At::Address(ip), .. } => {
            Some(*ip)
        }
        _ => None,
    };
    match at {
        Some(ip) if ip.is_unspecified() => Err(format!("has {ip}, which is no server's address")),
        _ => Ok(server),
    }
}

fn parse_any(text: &str) -> Result<NameServer, String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return address(text, DNS_PORT).map(NameServer::Plain).ok_or_else(|| not_address(text));
    };
    let plain = |make: fn(SocketAddr) -> NameServer| {
        let advice = || format!("names no address; write {scheme}://198.51.100.53");
        address(rest, DNS_PORT).map(make).ok_or_else(advice)
    };
    match scheme {
        "udp" => plain(NameServer::Udp),
        "tcp" => plain(NameServer::Tcp),
        "tls" => tls(rest),
        "https" => https(rest),
        "http" => Err("would ask in clear text; write https://".to_owned()),
        "quic" | "h3" => Err("is a transport that is not supported; write tls:// or https://".to_owned()),
        _ => Err("begins with none of udp://, tcp://, tls:// and https://".to_owned()),
    }
}

fn not_address(text: &str) -> String {
    let is_ip = |host: &str| host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    match text.rsplit_once(':') {
        Some((host, port)) if is_ip(host) => {
            format!("has the port {port:?}; ports are the numbers 1 to 65535")
        }
        _ => NOT_ADDRESS.to_owned(),
    }
}

fn tls(rest: &str) -> Result<NameServer, String> {
    let (authority, named) = rest.split_once('#').map_or((rest, None), |(at, name)| (at, Some(name)));
    let (at, port) = host(authority, TLS_PORT)?;
    let certificate = match named {
        None => own_name(&at),
        Some(name) => own_name(&host(name, 0)?.0),
    };
    Ok(NameServer::Tls { at, port, certificate })
}

fn https(rest: &str) -> Result<NameServer, String> {
    let (url, bootstrap) = rest.split_once('#').map_or((rest, None), |(url, at)| (url, Some(at)));
    let (authority, path) = url.find('/').map_or((url, PATH), |at| url.split_at(at));
    let path = if path == "/" { PATH } else { path };
    if let Some(odd) = path.chars().find(|c| !c.is_ascii_graphic() || "{}\"<>\\^`?".contains(*c)) {
        return Err(format!("has {odd:?} in its path; write it without, like https://{authority}{PATH}"));
    }
    let (named, port) = host(authority, HTTPS_PORT)?;
    let certificate = own_name(&named);
    let at = match bootstrap {
        None => named,
        Some(text) => {
            let ip = text.trim_matches(['[', ']']).parse();
            At::Address(ip.map_err(|_| format!("has {text:?} behind the #, which is not an address"))?)
        }
    };
    Ok(NameServer::Https { at, port, certificate, path: path.to_owned() })
}

fn own_name(at: &At) -> CertificateName {
    match at {
        At::Address(ip) => CertificateName::Address(*ip),
        At::Name(name) => CertificateName::Name(name.clone()),
    }
}

/// A name or an address, and a port.
fn host(text: &str, port: u16) -> Result<(At, u16), String> {
    if text.contains('@') {
        return Err("contains credentials (something before an @), which name servers do not take".to_owned());
    }
    if let Some(address) = address(text, port) {
        return Ok((At::Address(address.ip()), address.port()));
    }
    if text.starts_with('[') {
        return Err("has no IPv6 address in its brackets, or a bad port; write [2001:db8::53]:443".to_owned());
    }
    let (name, port) = match text.split_once(':') {
        None => (text, port),
        Some((name, number)) => {
            let number = number.parse().ok().filter(|port| *port != 0);
            (name, number.ok_or("has a port that is none of the numbers 1 to 65535")?)
        }
    };
    let name = DomainName::parse(name).map_err(|why| format!("names no host: {why}"))?;
    Ok((At::Name(name), port))
}

/// An address, with a port if it is not the usual one; IPv6 with a port in brackets.
fn address(text: &str, port: u16) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, port));
    }
    text.parse::<SocketAddr>().ok().filter(|addr| addr.port() != 0)
}
