//! URLs, bypass lists, and which proxy a host gets.

use super::*;
use crate::policy::Host;

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

fn place(text: &str) -> String {
    UpstreamProxy::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).place()
}

fn error(text: &str) -> String {
    UpstreamProxy::parse(text).expect_err(text).to_string()
}

fn header(text: &str) -> String {
    let proxy = UpstreamProxy::parse(text).unwrap();
    proxy.credentials.unwrap().header().to_str().unwrap().to_owned()
}

#[test]
fn urls_of_proxies() {
    for (text, expected) in [
        ("http://proxy.test:8080", "proxy.test:8080"),
        ("http://proxy.test:8080/", "proxy.test:8080"),
        ("HTTP://Proxy.Test", "proxy.test:3128"),
        ("proxy.test:8080", "proxy.test:8080"),
        ("proxy", "proxy:3128"),
        (" http://198.51.100.3:80 ", "198.51.100.3:80"),
        ("http://[2001:db8::3]:8080", "[2001:db8::3]:8080"),
        ("http://[2001:db8::3]", "[2001:db8::3]:3128"),
        ("user:p@ss@proxy.test:1", "proxy.test:1"),
        ("http://@proxy.test", "proxy.test:3128"),
    ] {
        assert_eq!(place(text), expected, "{text}");
    }
}

#[test]
fn what_is_no_proxy_is_refused_with_its_remedy() {
    for (text, says) in [
        ("socks5://proxy.test", "socks5:// proxies are not supported; only http:// is"),
        ("socks5h://u:pw@proxy.test:1080", "socks5h:// proxies are not supported"),
        ("https://proxy.test", "TLS to the proxy (https://) is not supported; write http://"),
        ("http://proxy.test:0", "\"0\" is not a port"),
        ("http://proxy.test:", "\"\" is not a port"),
        ("http://proxy.test:+80", "\"+80\" is not a port"),
        ("http://proxy.test:65536", "\"65536\" is not a port"),
        ("http://proxy.test/pac.js", "nothing may stand behind host and port, but \"/pac.js\" does"),
        ("http://", "is not the host of a proxy: the name is empty"),
        ("http://127.1:3128", "it ends in a number"),
        ("http://pro xy:3128", "which no host name may"),
        ("2001:db8::3:8080", "is not a valid IPv6 address"),
        ("http://:pw@proxy.test", "the credentials are not `user:password`"),
        ("http://a%3Ab:pw@proxy.test", "the credentials are not `user:password`"),
        ("http://u:p%0d%0aX:1@proxy.test", "the credentials hold a control character"),
        ("http://u:p%ff@proxy.test", "the credentials are not UTF-8"),
    ] {
        assert!(error(text).contains(says), "{text}: {}", error(text));
    }
}

/// RFC 7617, 2 and 2.1, whose examples these are.
#[test]
fn credentials_are_decoded_and_encoded() {
    assert_eq!(header("http://Aladdin:open%20sesame@proxy.test"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert_eq!(header("http://test:123%C2%A3@proxy.test"), "Basic dGVzdDoxMjPCow==");
    assert_eq!(header("http://test:123£@proxy.test"), "Basic dGVzdDoxMjPCow==");
    assert_eq!(header("http://user@proxy.test"), "Basic dXNlcjo=");
    let line = |bytes: &[u8]| Credentials::from_line(bytes).map(|c| c.header().to_str().unwrap().to_owned());
    assert_eq!(line(b"Aladdin:open sesame\r\n"), Ok("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==".into()));
    assert_eq!(line(b"Aladdin\n"), Err(CredentialsError::Form));
    assert_eq!(line(b"a:b\nc:d\n"), Err(CredentialsError::Control));
    assert_eq!(line(b"a:\xff"), Err(CredentialsError::NotUtf8));
    assert_eq!(line(&[b"a:".to_vec(), vec![b'x'; 5000]].concat()), Err(CredentialsError::TooLong));
}

#[test]
fn credentials_are_in_no_message() {
    for text in [
        "http://us3r:hunter2@proxy.test:0",
        "http://us3r:hunter2@pro xy",
        "http://us3r:hunter2@proxy.test/us",
        "http://us3r:hunter2%ff@proxy.test",
        "https://us3r:hunter2@proxy.test",
        "socks5://us3r:hunter2@proxy.test",
        "http://us3r:hunter2/@proxy.test:0",
        "us3r:hunter2://@proxy.test:0",
    ] {
        let failed = UpstreamProxy::parse(text).expect_err(text);
        let shown = format!("{failed} {failed:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("us3r"), "{text}: {shown}");
    }
    let proxy = UpstreamProxy::parse("http://us3r:hunter2@proxy.test").unwrap();
    let encoded = header("http://us3r:hunter2@proxy.test");
    let shown =
        format!("{proxy} {proxy:?} {:?} {}", proxy.credentials.as_ref().unwrap().header(), proxy.place());
    for secret in ["us3r", "hunter2", encoded.trim_start_matches("Basic ")] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("(with credentials)"), "{shown}");
}

#[test]
fn bypass_lists() {
    let list = "corp.test, .dot.test *.star.test,10.0.0.0/8,198.51.100.7,[2001:db8::1]:8443,2001:db8:9::/48 \
                2001:db8::2,port.test:8080,198.51.100.9:22";
    let (bypass, errors) = Bypass::parse(list);
    assert_eq!(errors, []);
    for (text, port, expected) in [
        ("corp.test", 443, true),
        ("CORP.test.", 443, true),
        ("a.b.corp.test", 443, true),
        ("xcorp.test", 443, false),
        ("dot.test", 443, true),
        ("a.dot.test", 443, true),
        ("star.test", 80, true),
        ("a.star.test", 80, true),
        ("10.255.0.1", 443, true),
        ("::ffff:10.255.0.1", 443, true),
        ("11.0.0.1", 443, false),
        ("198.51.100.7", 1, true),
        ("198.51.100.8", 1, false),
        ("2001:db8::1", 8443, true),
        ("2001:db8::1", 443, false),
        ("2001:db8:9::5", 443, true),
        ("2001:db8::2", 443, true),
        ("port.test", 8080, true),
        ("a.port.test", 8080, true),
        ("port.test", 443, false),
        ("198.51.100.9", 22, true),
        ("198.51.100.9", 23, false),
        ("test", 443, false),
    ] {
        assert_eq!(bypass.covers(&host(text), port), expected, "{text}:{port}");
    }
    assert!(Bypass::parse("*").0.covers(&host("any.test"), 443));
    assert!(!Bypass::parse("").0.covers(&host("any.test"), 443));
}

#[test]
fn what_means_nothing_in_a_bypass_list_is_named_and_the_rest_counts() {
    let (bypass, errors) = Bypass::parse(
        "a b.test,in*.test,10.0.0.0/33,x.test:0,::ffff:10.0.0.0/104,127.1,ok.test,fe80::1%eth0",
    );
    assert!(bypass.covers(&host("ok.test"), 1) && bypass.covers(&host("b.test"), 1));
    let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 6, "{texts:#?}");
    for name in ["in*.test", "10.0.0.0/33", "x.test:0", "::ffff:10.0.0.0/104", "127.1", "fe80::1%eth0"] {
        assert!(texts.iter().any(|text| text.starts_with(&format!("\"{name}\""))), "{name}: {texts:#?}");
    }
}

fn both(bypass: &str) -> UpstreamProxies {
    let proxy = |text| Some(Arc::new(UpstreamProxy::parse(text).unwrap()));
    let bypass = Bypass::parse(bypass).0;
    UpstreamProxies::new(proxy("http://clear.test"), proxy("http://tunnel.test"), bypass)
}

#[test]
fn each_use_has_its_proxy() {
    let proxies = both("direct.test");
    let of = |usage, name: &str| proxies.of(usage, &host(name), 443).map(|proxy| proxy.host.to_string());
    assert_eq!(of(Use::Http, "x.test").as_deref(), Some("clear.test"));
    assert_eq!(of(Use::Tunnel, "x.test").as_deref(), Some("tunnel.test"));
    assert_eq!(of(Use::Tunnel, "198.51.100.7").as_deref(), Some("tunnel.test"));
    assert_eq!(of(Use::Tunnel, "a.direct.test"), None);
    assert_eq!(UpstreamProxies::default().of(Use::Http, &host("x.test"), 80), None);
}

#[test]
fn names_that_a_proxy_carries_for_some_use_or_port() {
    let proxies = both("direct.test,port.test:443");
    let carries = |text: &str| proxies.carries(&DomainName::parse(text).unwrap());
    assert!(carries("x.test") && carries("port.test"));
    assert!(!carries("direct.test") && !carries("localhost") && !carries("metadata.google.internal"));
    assert!(!UpstreamProxies::default().carries(&DomainName::parse("x.test").unwrap()));
}

/// A rule that opens such a host means the one here; the proxy would dial its own.
#[test]
fn what_is_another_host_there_is_never_asked_of_a_proxy() {
    let own = "203.0.113.5".parse().unwrap();
    let proxies = both("").with_own([own], Some(DomainName::parse("build7").unwrap()));
    for text in [
        "localhost",
        "LocalHost.",
        "a.localhost",
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "0.0.0.0",
        "::",
        "169.254.1.1",
        "169.254.169.254",
        "fd00:ec2::254",
        "fe80::1",
        "224.0.0.1",
        "metadata.google.internal",
        "203.0.113.5",
        "::ffff:203.0.113.5",
        "Build7",
    ] {
        for usage in [Use::Http, Use::Tunnel] {
            assert_eq!(proxies.of(usage, &host(text), 80), None, "{text}");
        }
    }
    assert!(proxies.of(Use::Http, &host("203.0.113.6"), 80).is_some());
}
