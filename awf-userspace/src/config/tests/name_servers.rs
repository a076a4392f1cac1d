//! `--dns-servers` and `--dns-over-https`.

use super::Case;

fn shown(flags: &[&str]) -> Vec<String> {
    let servers = Case::new(flags).resolved().plan.dns_servers.unwrap();
    servers.iter().map(ToString::to_string).collect()
}

#[test]
fn every_way_to_ask_can_be_written() {
    for (text, expected) in [
        ("198.51.100.53", "198.51.100.53:53"),
        ("udp://198.51.100.53", "udp://198.51.100.53:53"),
        ("tcp://[2001:db8::53]:5353", "tcp://[2001:db8::53]:5353"),
        ("udp://2001:db8::53", "udp://[2001:db8::53]:53"),
        ("tls://198.51.100.53", "tls://198.51.100.53:853"),
        ("tls://198.51.100.53:8853#Dns.Example.com", "tls://198.51.100.53:8853#dns.example.com"),
        ("tls://[2001:db8::53]#dns.example.com", "tls://[2001:db8::53]:853#dns.example.com"),
        ("tls://dns.example.com", "tls://dns.example.com:853"),
        ("tls://dns.example.com:8853#other.example.com", "tls://dns.example.com:8853#other.example.com"),
        ("https://dns.example.com/dns-query", "https://dns.example.com:443/dns-query"),
        ("https://dns.example.com", "https://dns.example.com:443/dns-query"),
        ("https://dns.example.com:8443/x/y#198.51.100.53", "https://dns.example.com:8443/x/y#198.51.100.53"),
        ("https://dns.example.com/#[2001:db8::53]", "https://dns.example.com:443/dns-query#2001:db8::53"),
        ("https://198.51.100.53/dns-query", "https://198.51.100.53:443/dns-query"),
        ("https://[2001:db8::53]", "https://[2001:db8::53]:443/dns-query"),
        ("https://[2001:db8::53]:8443/q#198.51.100.53", "https://[2001:db8::53]:8443/q#198.51.100.53"),
    ] {
        assert_eq!(shown(&["--dns-servers", text]), [expected], "{text}");
        // What is shown can be written.
        assert_eq!(shown(&["--dns-servers", expected]), [expected]);
    }
}

#[test]
fn what_is_no_server_is_refused_with_a_remedy() {
    for (text, expected) in [
        ("localhost", "is not an address; write 198.51.100.53"),
        ("198.51.100.53:0", "has the port"),
        ("198.51.100.53:", "has the port"),
        ("fe80::1%eth0", "is not an address"),
        ("198.51.100", "is not an address"),
        ("udp://dns.example.com", "names no address; write udp://198.51.100.53"),
        ("tcp://", "names no address; write tcp://198.51.100.53"),
        ("http://dns.example.com/dns-query", "would ask in clear text; write https://"),
        ("quic://198.51.100.53", "is a transport that is not supported"),
        ("dns://198.51.100.53", "begins with none of udp://, tcp://, tls:// and https://"),
        ("tls://", "names no host"),
        ("tls://198.51.100.53#", "names no host"),
        ("tls://dns.example.com:x", "has a port that is none of the numbers"),
        ("tls://dns.example.com:0", "has a port that is none of the numbers"),
        ("https://", "names no host"),
        ("https://[2001:db8::53/dns-query", "has no IPv6 address in its brackets"),
        ("https://[2001:db8::53]:0/dns-query", "has no IPv6 address in its brackets, or a bad port"),
        ("https://user@dns.example.com/", "contains credentials"),
        ("https://dns.example.com/dns-query{?dns}", "has '{' in its path"),
        ("https://dns.example.com/a b", "has ' ' in its path"),
        ("https://dns.example.com/#dns.example.com", "behind the #, which is not an address"),
    ] {
        let texts = Case::new(&["--dns-servers", text]).texts();
        assert_eq!(texts.len(), 1, "{text}: {texts:?}");
        assert!(texts[0].starts_with(&format!("--dns-servers: {text:?} ")), "{}", texts[0]);
        assert!(texts[0].contains(expected), "{}", texts[0]);
    }
}

#[test]
fn dns_over_https_is_a_name_server() {
    assert_eq!(shown(&["--dns-over-https", "https://dns.example.com/q"]), ["https://dns.example.com:443/q"]);
    for (text, expected) in [
        ("https://198.51.100.53/dns-query", "https://198.51.100.53:443/dns-query"),
        ("https://[2001:db8::1]/dns-query", "https://[2001:db8::1]:443/dns-query"),
    ] {
        assert_eq!(shown(&["--dns-over-https", text]), [expected]);
    }
    assert_eq!(shown(&["--dns-over-https"]), ["https://dns.google:443/dns-query"], "awf's default");
    let texts = Case::new(&["--dns-over-https", "198.51.100.53"]).texts();
    assert_eq!(
        texts,
        [
            "--dns-over-https: \"198.51.100.53\" is not a URL that begins with https://; write https://dns.example.com/dns-query"
        ]
    );
}

#[test]
fn clear_text_beside_encryption_is_refused() {
    for flags in [
        &["--dns-servers", "tls://198.51.100.53,198.51.100.54"][..],
        &["--dns-servers", "198.51.100.54", "--dns-over-https"],
    ] {
        let texts = Case::new(flags).texts();
        assert!(texts[0].contains("198.51.100.54:53 is asked in clear text beside encrypted"), "{texts:?}");
    }
    assert_eq!(shown(&["--dns-servers", "tls://198.51.100.53,https://dns.example.com"]).len(), 2);
}

#[test]
fn what_names_no_server_is_said_exactly() {
    for (text, says) in [
        ("", "names no server"),
        (" , ", "names no server"),
        ("0.0.0.0", "is no server's address"),
        ("tls://[::]", "is no server's address"),
        ("198.51.100.53:0", "has the port \"0\""),
        ("198.51.100.53:99999", "has the port \"99999\""),
        ("[2001:db8::53]:x", "has the port \"x\""),
    ] {
        let texts = Case::new(&["--dns-servers", text]).texts();
        assert!(texts.len() == 1 && texts[0].contains(says), "{text}: {texts:?}");
    }
    for flag in ["--allow-host-ports", "--allow-host-service-ports"] {
        let texts = Case::new(&[flag, ""]).texts();
        assert!(
            texts.len() == 1 && texts[0].starts_with(&format!("{flag}: \"\" is neither a port")),
            "{texts:?}"
        );
    }
}
