//! The name servers the host uses, out of the text of its resolv.conf(5).

use std::net::{IpAddr, SocketAddr};

use super::DnsError;

/// The port of DNS over UDP and TCP (RFC 1035, 4.2).
pub const PORT: u16 = 53;

/// More are not asked, as in glibc (MAXNS).
const SERVERS_MAX: usize = 3;

/// The servers of `text` in their order; `path` is for messages.
///
/// Search domains and options are left out on purpose: names that reach the resolver are complete, because
/// the command's own libc has applied the search list of the command's own resolv.conf. A loopback address
/// (systemd-resolved's 127.0.0.53) is as good as any: what we ask, we ask from the host's network, not from
/// the command's.
///
/// # Errors
/// A server that is not an address, or no server at all. (glibc would then ask 127.0.0.1, a guess we do not
/// make.)
pub fn parse_resolv_conf(text: &str, path: &str) -> Result<Vec<SocketAddr>, DnsError> {
    let mut servers = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        let value = words.next().unwrap_or_default();
        let ip: IpAddr = value.parse().map_err(|_| DnsError::BadServer {
            path: path.to_owned(),
            line: index + 1,
            value: value.to_owned(),
        })?;
        servers.push(SocketAddr::new(ip, PORT));
    }
    servers.truncate(SERVERS_MAX);
    if servers.is_empty() {
        return Err(DnsError::NoServer { path: path.to_owned() });
    }
    Ok(servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<String>, String> {
        let servers = parse_resolv_conf(text, "/etc/resolv.conf").map_err(|e| e.to_string())?;
        Ok(servers.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn servers_are_taken_in_order_and_the_rest_is_not() {
        let text = "# made by hand\n; nameserver 192.0.2.9\nsearch lan.test\n\tnameserver\t192.0.2.1 # first\r\n\
                    nameserver 2001:db8::1\noptions ndots:5\nnameserver 127.0.0.53\nnameserver 192.0.2.4\n";
        assert_eq!(parse(text).unwrap(), ["192.0.2.1:53", "[2001:db8::1]:53", "127.0.0.53:53"]);
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_place() {
        for (text, expected) in [
            ("", "/etc/resolv.conf names no name server; use --dns-servers"),
            ("nameservers 192.0.2.1", "/etc/resolv.conf names no name server; use --dns-servers"),
            ("\nnameserver dns.test", "line 2 of /etc/resolv.conf: \"dns.test\" is not the address"),
            ("nameserver", "line 1 of /etc/resolv.conf: \"\" is not the address"),
            ("nameserver fe80::1%eth0", "line 1 of /etc/resolv.conf: \"fe80::1%eth0\" is not the address"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }
}
