//! The grammar of URL rules: what is read, what is refused and with which words.

use crate::policy::{Host, Note, Place, Problem, Protocol, UrlRule};

fn parse(text: &str) -> Result<UrlRule, (Problem, Option<String>)> {
    UrlRule::parse(text, Place::Flag("--allow-urls")).map_err(|error| (error.problem, error.advice))
}

#[test]
fn hosts_ports_and_schemes_are_those_of_domain_rules() {
    for (text, host, port, protocol) in [
        ("https://x.test/a", "x.test", 443, Protocol::Tls),
        ("https://x.test/a", "b.x.test", 443, Protocol::Tls),
        ("HTTPS://X.Test.:8443/a", "x.test", 8443, Protocol::Tls),
        ("http://x.test/a", "x.test", 80, Protocol::Http),
        ("https://=x.test/a", "x.test", 443, Protocol::Tls),
        ("=https://x.test/a", "x.test", 443, Protocol::Tls),
        ("GET:=https://x.test/a", "x.test", 443, Protocol::Tls),
        ("https://*.x.test/a", "b.c.x.test", 443, Protocol::Tls),
        ("https://api-*.x.test/a", "api-1.x.test", 443, Protocol::Tls),
        ("https://198.51.100.7/a", "198.51.100.7", 443, Protocol::Tls),
        ("http://[2001:db8::1]:8080/a", "2001:db8::1", 8080, Protocol::Http),
        ("https://b\u{fc}cher.test/a", "xn--bcher-kva.test", 443, Protocol::Tls),
        ("http://localhost:3000/a", "127.0.0.1", 3000, Protocol::Http),
    ] {
        let rule = parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        assert!(rule.names(&Host::parse(host).unwrap()), "{text} {host}");
        assert_eq!((rule.port(), rule.protocol()), (port, protocol), "{text}");
        assert_eq!(&**rule.text(), text);
    }
    for (text, host) in [
        ("https://=x.test/a", "b.x.test"),
        ("=https://x.test/a", "b.x.test"),
        ("https://*.x.test/a", "x.test"),
        ("https://x.test/a", "evilx.test"),
        ("https://api-*.x.test/a", "api-1.b.x.test"),
        ("https://198.51.100.7/a", "198.51.100.8"),
        ("http://localhost:3000/a", "x.test"),
    ] {
        assert!(!parse(text).unwrap().names(&Host::parse(host).unwrap()), "{text} {host}");
    }
}

#[test]
fn methods_stand_before_the_scheme() {
    let rule = parse("GET+HEAD:https://x.test/a").unwrap();
    assert!(rule.has_method("GET") && rule.has_method("HEAD"));
    assert!(!rule.has_method("POST") && !rule.has_method("get") && !rule.has_method(""));
    assert!(parse("https://x.test/a").unwrap().has_method("M-SEARCH"));
    for text in ["get", "Get", "GET+", "+GET", "", "*", "ANY", "GET POST", "GET,POST", "CONNECT", "GE(T"] {
        let (problem, advice) = parse(&format!("{text}:https://x.test/a")).expect_err(text);
        assert!(matches!(problem, Problem::Method(_) | Problem::Character(' ' | ',')), "{text}: {problem:?}");
        assert!(advice.is_some() || text.contains(','), "{text}");
    }
}

/// With what gh-aw-firewall refuses: no path, wildcards for all hosts, blanks, quotes, semicolons, fragments.
#[test]
fn what_is_no_url_rule_is_refused_with_a_remedy() {
    for (text, says) in [
        ("", "write `https://example.com/path`"),
        ("x.test/a", "write `https://x.test/a`; a comma within a URL is written %2C"),
        ("b", "write `https://example.com/path`"),
        ("https://x.test", "write `https://x.test/**` for every path"),
        ("https://x.test?a", "`--allow-domains x.test`"),
        ("GET:https://x.test", "write `GET:https://x.test/**`"),
        ("https://", "names no host"),
        ("https:///a", "names no host"),
        ("https://*/a", "would match everything"),
        ("https://*.*/a", "would match everything"),
        ("https://com/a", "public suffix"),
        ("https://*.com/a", "public suffix"),
        ("https://git*.com/a", "anybody may register one that fits"),
        ("https://.*/a", "empty label"),
        ("https://127.0.0.1.nip/..", "segments . or .."),
        ("https://x.test/a/../b", "write `/b`"),
        ("https://x.test/a/./b", "write `/a/b`"),
        ("https://x.test/a/%2e%2E/b", "write `/b`"),
        ("https://x.test/a b", "separate entries by commas"),
        ("\"https://x.test/a\"", "write it without quotes"),
        ("https://x.test/a;b", "contains ';'"),
        ("https://x.test/a`b", "without quotes"),
        ("https://x.test/a#b", "write `https://x.test/a`"),
        ("https://x.test/a\0", "contains '\\0'"),
        ("https://x.test/a\\b", "contains '\\\\'"),
        ("https://x.test/%zz", "a percent sign itself is written %25"),
        ("https://x.test/%00", "control character %00"),
        ("https://x.test/%c0%af", "another character"),
        ("https://x.test/b\u{fc}cher", "write `/b%C3%BCcher`"),
        ("ftp://x.test/a", "write `https://x.test/a`"),
        ("wss://x.test/a", "write `GET:https://x.test/a`"),
        ("tcp://x.test:22/a", "begin with https:// or http://"),
        ("https://u:p@x.test/a", "contains credentials"),
        ("https://x.test:0/a", "has the port \"0\""),
        ("https://x.test:99999/a", "has the port"),
        ("https://=198.51.100.7/a", "exact already"),
        ("https://127.1/a", "IPv4 address"),
        ("https://a.localhost/a", "write `localhost`"),
        ("https://x.onion/a", "never resolves"),
        ("http://localhost:22/a", "22"),
    ] {
        let error = UrlRule::parse(text, Place::Flag("--allow-urls")).expect_err(text).to_string();
        assert!(error.contains(says), "{text}: {error}");
        assert!(error.starts_with("--allow-urls: "), "{error}");
    }
}

#[test]
fn what_differs_from_what_a_reader_may_expect_is_noted() {
    for (text, notes) in [
        ("https://x.test/a", &[][..]),
        ("https://x.test/a/**", &[Note::StarInPath]),
        ("https://x.test/a/", &[Note::OnePage]),
        ("https://x.test/a/.*", &[Note::StarInPath, Note::DotStar]),
        ("https://*.gitea/a", &[Note::SingleLabel]),
    ] {
        assert_eq!(parse(text).unwrap().notes(), notes, "{text}");
    }
    assert!(Note::StarInPath.is_detail() && !Note::DotStar.is_detail() && !Note::OnePage.is_detail());
}
