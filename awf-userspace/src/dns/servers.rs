//! The name servers the host uses, out of the text of its resolv.conf(5).

use std::net::{IpAddr, SocketAddr};

/// The port of DNS over UDP and TCP (RFC 1035, 4.2).
pub const PORT: u16 = 53;

/// More are not asked, as in glibc (MAXNS).
const SERVERS_MAX: usize = 3;

/// What a resolv.conf says of name servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostServers {
    /// In their order.
    pub servers: Vec<SocketAddr>,
    /// Lines that name none, with what is wrong with each.
    pub unusable: Vec<String>,
}

/// The servers of `text`; `path` is for messages.
///
/// Search domains and options are left out on purpose: names that reach the resolver are complete, because
/// the command's own libc has applied the search list of the command's own resolv.conf. A loopback address
/// (systemd-resolved's 127.0.0.53) is as good as any: what we ask, we ask from the host's network, not from
/// the command's. What is no address is left out, as in glibc, which says nothing of it.
#[must_use]
pub fn parse_resolv_conf(text: &str, path: &str) -> HostServers {
    let mut found = HostServers::default();
    for (index, line) in text.lines().enumerate() {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        let value = words.next().unwrap_or_default();
        match value.parse::<IpAddr>() {
            Ok(ip) => found.servers.push(SocketAddr::new(ip, PORT)),
            Err(_) => {
                let line = index + 1;
                found.unusable.push(format!(
                    "line {line} of {path}: {value:?} is not an address that can be asked, and is left out"
                ));
            }
        }
    }
    found.servers.truncate(SERVERS_MAX);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Vec<String>, Vec<String>) {
        let found = parse_resolv_conf(text, "/etc/resolv.conf");
        (found.servers.iter().map(ToString::to_string).collect(), found.unusable)
    }

    #[test]
    fn servers_are_taken_in_order_and_the_rest_is_not() {
        let text = "# made by hand\n; nameserver 192.0.2.9\nsearch lan.test\n\tnameserver\t192.0.2.1 # first\r\n\
                    nameserver 2001:db8::1\noptions ndots:5\nnameserver 127.0.0.53\nnameserver 192.0.2.4\n";
        let (servers, unusable) = parse(text);
        assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:53", "127.0.0.53:53"]);
        assert_eq!(unusable, [""; 0]);
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_place_and_the_rest_is_used() {
        for text in ["", "nameservers 192.0.2.1", "search lan.test"] {
            assert_eq!(parse(text), (vec![], vec![]), "{text:?}");
        }
        let (servers, unusable) =
            parse("nameserver fe80::1%eth0\nnameserver dns.test\nnameserver 192.0.2.1\nnameserver\n");
        assert_eq!(servers, ["192.0.2.1:53"]);
        let begins =
            ["line 1 of /etc/resolv.conf: \"fe80::1%eth0\"", "line 2 of", "line 4 of /etc/resolv.conf: \"\""];
        assert_eq!(unusable.len(), begins.len(), "{unusable:?}");
        assert!(unusable.iter().zip(begins).all(|(line, begin)| line.starts_with(begin)), "{unusable:?}");
    }
}
