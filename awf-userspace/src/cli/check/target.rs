//! What is asked: a URL, a host, a host and its port.

use crate::policy::{Host, NameError, Protocol};

/// One thing that a command might want to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// As it is shown: without credentials.
    pub(crate) shown: String,
    pub(crate) host: Host,
    pub(crate) port: u16,
    /// `None`: whatever may be spoken there.
    pub(crate) protocol: Option<Protocol>,
    /// Path and query of a URL.
    pub(crate) page: Option<String>,
}

/// Why a text names nothing that can be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} {problem}")]
pub(crate) struct TargetError {
    text: String,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("names no host; write https://HOST/, HOST:PORT or HOST")]
    Empty,
    #[error("begins with {0}://; write https://, http:// or tcp://HOST:PORT")]
    Scheme(String),
    #[error("needs a port, because tcp:// has no usual one: tcp://HOST:PORT")]
    PortMissing,
    #[error("has the port {0:?}; ports are the numbers 1 to 65535")]
    Port(String),
    #[error("is a pattern or a network; name one host")]
    Pattern,
    #[error("is not a host: {0}")]
    Host(NameError),
}

/// The questions of one argument: two for a host without a port.
///
/// # Errors
/// What is not a host, with what to write.
pub(crate) fn parse(text: &str) -> Result<Vec<Question>, TargetError> {
    read(text.trim()).map_err(|problem| {
        let shown = text.chars().take(120).collect::<String>();
        TargetError { text: without_credentials(&shown), problem }
    })
}

fn read(text: &str) -> Result<Vec<Question>, Problem> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
        None => (None, text),
    };
    let service = scheme.as_deref().map(service).transpose()?;
    // A bare host may be followed by a path, too: people paste.
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let pattern = authority.contains('*') || (scheme.is_none() && is_network(rest));
    if pattern {
        return Err(Problem::Pattern);
    }
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = split_port(authority)?;
    if host.is_empty() {
        return Err(Problem::Empty);
    }
    let host = Host::parse(host).map_err(Problem::Host)?;
    let port = port.map(parse_port).transpose()?;
    let page = page(scheme.as_deref(), rest);
    let ask = |port, protocol| Question {
        shown: without_credentials(text),
        host: host.clone(),
        port,
        protocol,
        page: page.clone(),
    };
    Ok(match (service, port) {
        (Some((protocol, usual)), port) => {
            vec![ask(port.or(usual).ok_or(Problem::PortMissing)?, Some(protocol))]
        }
        (None, Some(443)) => vec![ask(443, Some(Protocol::Tls))],
        (None, Some(80)) => vec![ask(80, Some(Protocol::Http))],
        (None, Some(port)) => vec![ask(port, None)],
        (None, None) => vec![ask(443, Some(Protocol::Tls)), ask(80, Some(Protocol::Http))],
    })
}

/// What a client asks for who is given a URL of the web; a fragment stays with the client.
fn page(scheme: Option<&str>, rest: &str) -> Option<String> {
    scheme.filter(|scheme| ["https", "wss", "http", "ws"].contains(scheme))?;
    let sent = rest.split('#').next().unwrap_or_default();
    let page = &sent[sent.find(['/', '?']).unwrap_or(sent.len())..];
    Some(if page.starts_with('/') { page.to_owned() } else { format!("/{page}") })
}

/// What is spoken, and the usual port.
fn service(scheme: &str) -> Result<(Protocol, Option<u16>), Problem> {
    match scheme {
        "https" | "wss" => Ok((Protocol::Tls, Some(443))),
        "http" | "ws" => Ok((Protocol::Http, Some(80))),
        "ssh" => Ok((Protocol::Other, Some(22))),
        "git" => Ok((Protocol::Other, Some(9418))),
        "tcp" => Ok((Protocol::Other, None)),
        _ => Err(Problem::Scheme(scheme.chars().take(20).collect())),
    }
}

/// `198.51.100.0/24`, but not `example.com/24`.
fn is_network(text: &str) -> bool {
    text.split_once('/').is_some_and(|(host, _)| matches!(Host::parse(host), Ok(Host::Ip(_))))
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), Problem> {
    if let Some(end) = authority.find(']').filter(|_| authority.starts_with('[')) {
        let (host, after) = authority.split_at(end + 1);
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(Problem::Host(NameError::Ipv6)),
        };
    }
    match authority.matches(':').count() {
        0 => Ok((authority, None)),
        1 => Ok(authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)))),
        // A bare IPv6 address.
        _ => Ok((authority, None)),
    }
}

fn parse_port(text: &str) -> Result<u16, Problem> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(Problem::Port(text.chars().take(20).collect())),
    }
}

/// Also without a query, where tokens are.
fn without_credentials(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let separator = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{separator}{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Vec<(String, u16, Option<Protocol>)> {
        let questions = parse(text).unwrap_or_else(|error| panic!("{error}"));
        questions.into_iter().map(|q| (q.host.to_string(), q.port, q.protocol)).collect()
    }

    #[test]
    fn urls_hosts_and_ports_are_read() {
        use Protocol::{Http, Other, Tls};
        for (text, host, port, protocol) in [
            ("https://x.test/", "x.test", 443, Some(Tls)),
            ("HTTPS://X.test.:8443/a/b?q", "x.test", 8443, Some(Tls)),
            ("http://x.test", "x.test", 80, Some(Http)),
            ("wss://x.test/chat", "x.test", 443, Some(Tls)),
            ("tcp://db.test:5432", "db.test", 5432, Some(Other)),
            ("ssh://git@x.test/repo", "x.test", 22, Some(Other)),
            ("x.test:22", "x.test", 22, None),
            ("x.test:443", "x.test", 443, Some(Tls)),
            ("x.test:80", "x.test", 80, Some(Http)),
            ("https://[2001:db8::1]:8443/", "2001:db8::1", 8443, Some(Tls)),
            ("[2001:db8::1]:443", "2001:db8::1", 443, Some(Tls)),
            ("http://198.51.100.7/", "198.51.100.7", 80, Some(Http)),
            ("https://b\u{fc}cher.test", "xn--bcher-kva.test", 443, Some(Tls)),
            ("https://user:secret@x.test/", "x.test", 443, Some(Tls)),
        ] {
            assert_eq!(asked(text), [(host.to_owned(), port, protocol)], "{text}");
        }
        for text in ["x.test", "x.test/path", " x.test "] {
            assert_eq!(
                asked(text),
                [("x.test".into(), 443, Some(Tls)), ("x.test".into(), 80, Some(Http))],
                "{text}"
            );
        }
        assert_eq!(asked("2001:db8::1").len(), 2);
        let shown = parse("https://user:secret@x.test/?token=secret").unwrap().remove(0).shown;
        assert_eq!(shown, "https://x.test/");
    }

    #[test]
    fn what_is_no_target_is_refused_with_a_word() {
        for (text, says) in [
            ("", "names no host"),
            ("https://", "names no host"),
            (":443", "names no host"),
            ("ftp://x.test", "write https://"),
            ("tcp://x.test", "needs a port"),
            ("x.test:0", "has the port \"0\""),
            ("x.test:+22", "has the port"),
            ("x.test:65536", "has the port"),
            ("*.x.test", "is a pattern"),
            ("198.51.100.0/24", "is a pattern or a network"),
            ("127.1", "read it as an IPv4 address"),
            ("[::1", "IPv6"),
            ("[::1]443", "IPv6"),
            ("fe80::1%eth0", "zone id"),
            ("a..b", "empty label"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        let error = parse("https://user:secret@x.test:99999/?secret").unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
