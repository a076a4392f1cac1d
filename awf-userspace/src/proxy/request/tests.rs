//! Every form a target can take, and every way target and Host can disagree.

use super::*;
use crate::policy::DomainName;

fn name(text: &str) -> Host {
    Host::Name(DomainName::parse(text).unwrap())
}

fn read(method: &str, uri: &str, hosts: &[&str]) -> Result<Destination, DestinationError> {
    let mut headers = HeaderMap::new();
    for host in hosts {
        headers.append(HOST, host.parse().unwrap());
    }
    destination(Scheme::Http, &method.parse().unwrap(), &uri.parse().unwrap(), &headers)
}

fn found(form: Form, host: &str, port: impl Into<Option<u16>>) -> Result<Destination, DestinationError> {
    Ok(Destination { form, host: Some(Host::parse(host).unwrap()), port: port.into() })
}

fn reason(method: &str, uri: &str, hosts: &[&str]) -> Reason {
    read(method, uri, hosts).expect_err(uri).reason()
}

#[test]
fn reads_every_form() {
    assert_eq!(read("GET", "/x", &["A.test."]), found(Form::Origin, "a.test", None));
    assert_eq!(read("GET", "/x", &["a.test:8080"]), found(Form::Origin, "a.test", 8080));
    assert_eq!(read("OPTIONS", "*", &["a.test"]), found(Form::Origin, "a.test", None));
    assert_eq!(read("GET", "//b.test/x", &["a.test"]), found(Form::Origin, "a.test", None));
    assert_eq!(read("GET", "http://A.test./x", &["a.test"]), found(Form::Absolute, "a.test", 80));
    assert_eq!(read("GET", "http://a.test:80/x", &["a.test"]), found(Form::Absolute, "a.test", 80));
    assert_eq!(read("GET", "http://[2001:db8::1]:81/", &[]), found(Form::Absolute, "2001:db8::1", 81));
    assert_eq!(read("CONNECT", "A.Test.:443", &["a.test:443"]), found(Form::Connect, "a.test", 443));
    assert_eq!(read("CONNECT", "a.test:443", &["a.test"]), found(Form::Connect, "a.test", 443));
    assert_eq!(read("CONNECT", "[2001:db8::1]:443", &[]), found(Form::Connect, "2001:db8::1", 443));
    let mapped = read("CONNECT", "[::ffff:192.0.2.1]:443", &[]);
    assert_eq!(mapped, found(Form::Connect, "192.0.2.1", 443));
    let nameless = Ok(Destination { form: Form::Origin, host: None, port: None });
    assert_eq!(read("GET", "/", &[]), nameless);
    assert_eq!(read("GET", "/", &[""]), nameless);
}

#[test]
fn refuses_disagreement() {
    for (method, uri, host) in [
        ("GET", "http://a.test/", "b.test"),
        ("GET", "http://a.test/", "a.test:81"),
        ("GET", "http://a.test:81/", "a.test"),
        ("CONNECT", "a.test:443", "b.test:443"),
        ("CONNECT", "a.test:443", "a.test:444"),
    ] {
        assert_eq!(reason(method, uri, &[host]), Reason::NameMismatch, "{method} {uri} {host}");
    }
}

#[test]
fn refuses_what_is_no_target() {
    for (method, uri, hosts) in [
        ("GET", "http://u:p@a.test/", &["a.test"][..]),
        ("CONNECT", "u@a.test:443", &[]),
        ("CONNECT", "a.test", &[]),
        ("CONNECT", "/", &["a.test"]),
        ("CONNECT", "http://a.test:443/", &[]),
        ("CONNECT", "a.test:0", &[]),
        ("CONNECT", "127.1:443", &[]),
        ("GET", "a.test", &["a.test"]),
        ("GET", "/", &["a.test", "a.test"]),
        ("GET", "/", &["a.test:"]),
        ("GET", "/", &["a.test:80:80"]),
        ("GET", "/", &["a.test:+80"]),
        ("GET", "/", &["a.test:99999"]),
        ("GET", "/", &["2001:db8::1"]),
        ("GET", "/", &["a.test/"]),
        ("GET", "/", &["a.test b.test"]),
        ("GET", "/", &["a.test,b.test"]),
        ("GET", "/", &["0x7f.1"]),
        ("GET", "/", &["user@a.test"]),
    ] {
        assert_eq!(reason(method, uri, hosts), Reason::Malformed, "{method} {uri} {hosts:?}");
    }
    assert_eq!(reason("GET", "https://a.test/", &["a.test"]), Reason::ProtocolNotAllowed);
    assert_eq!(reason("GET", "ftp://a.test/", &["a.test"]), Reason::ProtocolNotAllowed);
    let password = read("GET", "http://u:secret@a.test/", &[]).unwrap_err().to_string();
    assert!(!password.contains("secret"), "{password}");
}

#[test]
fn writes_host_headers() {
    assert_eq!(host_value(&name("a.test"), 80, 80), "a.test");
    assert_eq!(host_value(&name("a.test"), 81, 80), "a.test:81");
    assert_eq!(host_value(&Host::parse("2001:db8::1").unwrap(), 81, 80), "[2001:db8::1]:81");
}

#[test]
fn strips_what_concerns_one_connection() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("connection", "close, X-Hop"),
        ("connection", "Host"),
        ("x-hop", "1"),
        ("x-end", "2"),
        ("host", "a.test"),
        ("proxy-authorization", "Basic x"),
        ("proxy-connection", "keep-alive"),
        ("keep-alive", "timeout=5"),
        ("te", "gzip, trailers"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABk"),
        ("transfer-encoding", "chunked"),
    ] {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    strip_hop_by_hop(&mut headers);
    let left: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(left, [("x-end", b"2".as_slice()), ("te", b"trailers")]);
}
