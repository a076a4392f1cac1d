//! The grammar of rules: what is read, what it means, what is refused and with which words.

use super::{allow, block, matches};
use crate::policy::{List, Note, Place, Problem, Rule};

fn problem(text: &str) -> Problem {
    match allow(text) {
        Ok(rule) => panic!("{text:?} was accepted: {rule:?}"),
        Err(error) => error.problem,
    }
}

#[test]
fn plain_names_match_themselves_and_below_at_a_label_boundary() {
    for rule in [
        "github.com",
        "GitHub.com.",
        " github.com ",
        "github.com/",
        "github\u{3002}com",
        "HTTPS://github.com",
    ] {
        for host in ["github.com", "GITHUB.com", "github.com.", "api.github.com", "a.b.github.com"] {
            assert!(matches(rule, host), "{rule:?} {host:?}");
        }
        for host in ["evilgithub.com", "github.com.evil.test", "github.co", "com", "github.comm", "ithub.com"]
        {
            assert!(!matches(rule, host), "{rule:?} {host:?}");
        }
    }
}

#[test]
fn the_other_forms_match_what_the_table_says() {
    for (rule, yes, no) in [
        ("=x.test", &["x.test"][..], &["a.x.test", "test", "ax.test"][..]),
        ("*.x.test", &["a.x.test", "a.b.x.test", "a_b.x.test"], &["x.test", "ax.test"]),
        (
            "api-*.x.test",
            &["api-1.x.test", "api-.x.test", "API-b-c.x.test"],
            &["api.x.test", "api-1.evil.x.test", "a.api-1.x.test", "x.test"],
        ),
        ("*-api.x.test", &["a-api.x.test"], &["api.x.test", "a.b-api.x.test", "b-api.y.test"]),
        (
            "a*b*c.x.test",
            &["abc.x.test", "a1b2c.x.test", "abbc.x.test"],
            &["acb.x.test", "ab.x.test", "abcd.x.test"],
        ),
        ("*.api-*.x.test", &["a.api-1.x.test", "a.b.api-1.x.test"], &["api-1.x.test", "a.x.test"]),
        ("*.*.x.test", &["a.b.x.test", "a.b.c.x.test"], &["a.x.test", "x.test"]),
        ("v1.*.x.test", &["v1.a.x.test"], &["v1.x.test", "v1.a.b.x.test", "v2.a.x.test"]),
        ("gitea", &["gitea", "a.gitea"], &["gitea.test"]),
        ("*.corp", &["db.corp"], &["corp", "corp.test"]),
        ("b\u{fc}cher.test", &["xn--bcher-kva.test", "www.xn--bcher-kva.test"], &["bucher.test"]),
        ("*.b\u{fc}cher.test", &["www.xn--bcher-kva.test"], &["xn--bcher-kva.test"]),
        ("*.github.io", &["me.github.io"], &["github.io"]),
        ("*.githubusercontent.com", &["raw.githubusercontent.com"], &["githubusercontent.com"]),
    ] {
        for host in yes {
            assert!(matches(rule, host), "{rule} must match {host}");
        }
        for host in no {
            assert!(!matches(rule, host), "{rule} must not match {host}");
        }
    }
}

#[test]
fn refusals_of_breadth() {
    for text in ["*", "*.*", "**", "*.*.*", "https://*", "=*"] {
        assert_eq!(problem(text), Problem::Everything, "{text}");
    }
    for (text, suffix) in [
        ("com", "com"),
        ("*.com", "com"),
        ("co.uk", "co.uk"),
        ("*.co.uk", "co.uk"),
        ("COM.", "com"),
        ("=com", "com"),
        ("https://com", "com"),
        ("com:22", "com"),
        ("ck", "ck"),
        ("*.ck", "ck"),
        ("foo.ck", "foo.ck"),
        ("xn--p1ai", "xn--p1ai"),
        ("\u{440}\u{444}", "xn--p1ai"),
        ("uk", "uk"),
    ] {
        assert_eq!(problem(text), Problem::PublicSuffix(suffix.to_owned()), "{text}");
    }
    for text in ["*github.com", "git*.com", "*.*.com", "api.*.com", "*.g*.co.uk", "a.*.co.uk"] {
        assert_eq!(problem(text), Problem::RegistrableWildcard, "{text}");
    }
    for text in ["github.*", "*.github.*", "198.51.100.*", "com*"] {
        assert_eq!(problem(text), Problem::WildcardEnd, "{text}");
    }
    for text in ["0.0.0.0/0", "::/0", "128.0.0.0/1", "2000::/3", "[::]/0:443"] {
        assert_eq!(problem(text), Problem::TooWide, "{text}");
    }
    for accepted in ["=gov.uk", "www.ck", "foo.test", "10.0.0.0/8", "2001:db8::/32", "github.io"] {
        assert!(allow(accepted).is_ok(), "{accepted}");
    }
}

#[test]
fn what_is_too_broad_to_allow_may_be_blocked() {
    for text in ["com", "*.com", "co.uk", "*github*.com", "0.0.0.0/0", "::/0", "tcp://x.test"] {
        assert!(block(text).is_ok(), "{text}: {:?}", block(text));
    }
    assert_eq!(block("*").unwrap_err().problem, Problem::Everything);
}

#[test]
fn refusals_of_form() {
    for (text, expected) in [
        ("", Problem::Empty),
        ("   ", Problem::Empty),
        (".", Problem::Empty),
        ("https://", Problem::Empty),
        ("https://:443", Problem::Empty),
        (":443", Problem::Empty),
        ("=", Problem::Empty),
        ("a b.test", Problem::Character(' ')),
        ("a\tb.test", Problem::Character('\t')),
        ("\"x.test\"", Problem::Character('"')),
        ("'x.test'", Problem::Character('\'')),
        ("`x.test`", Problem::Character('`')),
        ("x.test\0", Problem::Character('\0')),
        ("x.te\0st", Problem::Character('\0')),
        ("x.test\u{1b}[0m", Problem::Character('\u{1b}')),
        ("x.test;y.test", Problem::Character(';')),
        ("x\\.test", Problem::Character('\\')),
        ("x.test#y", Problem::Character('#')),
        ("x.test/path", Problem::Path),
        ("https://x.test/a/b", Problem::Path),
        ("x.test?q=1", Problem::Path),
        ("x.test//", Problem::Path),
        ("x.test:443/path", Problem::Path),
        ("198.51.100.7/path", Problem::Path),
        ("user@x.test", Problem::Credentials),
        ("https://u:p@x.test/", Problem::Credentials),
        ("https://x.test@evil.test", Problem::Credentials),
        ("ftp://x.test", Problem::Scheme("ftp".into())),
        ("FTP://x.test", Problem::Scheme("ftp".into())),
        ("://x.test", Problem::Scheme(String::new())),
        ("wss://x.test", Problem::Scheme("wss".into())),
        ("x.test:0", Problem::Port("0".into())),
        ("x.test:65536", Problem::Port("65536".into())),
        ("x.test:", Problem::Port(String::new())),
        ("x.test:+22", Problem::Port("+22".into())),
        ("x.test:022", Problem::Port("022".into())),
        ("x.test:22:33", Problem::Port("22:33".into())),
        ("x.test:80-90", Problem::Port("80-90".into())),
        ("x.test:ssh", Problem::Port("ssh".into())),
        ("tcp://x.test", Problem::PortMissing),
        ("tcp://198.51.100.7", Problem::PortMissing),
        ("a**b.x.test", Problem::DoubleStar),
        ("**.x.test", Problem::DoubleStar),
        ("=*.x.test", Problem::ExactWildcard),
        ("b\u{fc}*.x.test", Problem::WildcardLabel),
        ("-", Problem::Hyphen("-".into())),
        ("--.test", Problem::Hyphen("--".into())),
        ("=-x.test", Problem::Hyphen("-x".into())),
        ("x-.test:22", Problem::Hyphen("x-".into())),
        ("-*.x.test", Problem::Hyphen("-*".into())),
        ("*.a*-.x.test", Problem::Hyphen("a*-".into())),
        ("(a|b)*.x.test", Problem::WildcardLabel),
        ("tcp://localhost", Problem::PortMissing),
        ("a.localhost", Problem::Localhost),
        ("*.localhost:3000", Problem::Localhost),
        ("x.onion", Problem::NeverResolves("onion")),
        ("=198.51.100.7", Problem::ExactAddress),
        ("198.51.100.7/33", Problem::Prefix("33".into())),
        ("2001:db8::/129", Problem::Prefix("129".into())),
        ("198.51.100.0/999", Problem::Prefix("999".into())),
        ("198.51.100.7/24", Problem::HostBits),
        ("2001:db8::1/32", Problem::HostBits),
        ("198.51.100.7:0", Problem::Port("0".into())),
        ("[2001:db8::1]:65536", Problem::Port("65536".into())),
        ("[2001:db8::1]443", Problem::Path),
    ] {
        assert_eq!(problem(text), expected, "{text:?}");
    }
}

#[test]
fn refusals_of_names() {
    for text in [
        "..",
        "a..test",
        "a.test..",
        ".x.test",
        "*..x.test",
        "*.x.test..",
        "127.1",
        "0x7f.1",
        "2130706433",
        "[::1",
        "[fe80::1%eth0]",
        "fe80::1%eth0",
        "[198.51.100.7]",
        "2001:db8::1:443:",
        "x=y.test",
        "https://=x.test",
        "(a|b).test",
        "x.test!",
        "*.1.2.3",
        "01.2.3.4",
        "1.2.3.4.5",
    ] {
        assert!(matches!(problem(text), Problem::Name(_)), "{text:?}: {:?}", problem(text));
    }
    let long = "a".repeat(64);
    for text in [
        format!("{long}.test"),
        format!("{long}*.x.test"),
        "a.".repeat(130),
        format!("*.{}test", "a.".repeat(125)),
    ] {
        assert!(matches!(problem(&text), Problem::Name(_)), "{text:?}: {:?}", problem(&text));
    }
}

#[test]
fn unreachable_addresses_are_refused() {
    for text in ["0.0.0.0", "224.0.0.1", "[ff02::1]:443", "::"] {
        assert!(matches!(problem(text), Problem::Unreachable(_)), "{text}");
    }
}

#[test]
fn an_error_names_value_place_reason_and_remedy() {
    let place = Place::Line { path: "allow.txt".into(), line: 7 };
    let error = Rule::parse("*github.com", List::Allow, place).unwrap_err();
    assert_eq!(
        error.to_string(),
        "allow.txt:7: \"*github.com\" has a * where names are registered: anybody may register one that fits; \
         `github.com` matches it and every subdomain of it"
    );
    for (text, advice) in [
        ("ftp://x.test", "write `x.test:21`"),
        ("https://u:p@x.test/", "write `x.test`"),
        ("x.test/path", "write `x.test`"),
        (".x.test", "write `x.test` (with its subdomains) or `*.x.test` (subdomains only)"),
        ("198.51.100.7/24", "write `198.51.100.0/24` for the network, `198.51.100.7` for the address"),
        ("[2001:db8::/32]:443", "write `[2001:db8::]/32:443`"),
        ("https://=x.test", "write `=x.test`"),
    ] {
        assert_eq!(allow(text).unwrap_err().advice.as_deref(), Some(advice), "{text}");
    }
    let shown = allow(&format!("\u{1b}{}", "x".repeat(9999))).unwrap_err().to_string();
    assert!(shown.len() < 300 && !shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn notes_say_what_a_reader_could_miss() {
    assert_eq!(allow("b\u{fc}cher.test").unwrap().notes(), [Note::ReadAs("xn--bcher-kva.test".into())]);
    assert_eq!(allow("gitea").unwrap().notes(), [Note::SingleLabel]);
    assert_eq!(allow("*.github.io").unwrap().notes(), [Note::Hosting("github.io".into())]);
    assert_eq!(block("https://x.test").unwrap().notes(), [Note::SchemeIgnored]);
    assert_eq!(allow("api-*.x.test").unwrap().notes(), [Note::StarInLabel]);
    assert_eq!(allow("https://x.test").unwrap().notes(), []);
    assert_eq!(allow("*.x.test").unwrap().notes(), []);
}

#[test]
fn address_lists_take_no_names_and_rulesets_may_be_exact() {
    let address = |text| Rule::parse_address(text, List::Allow, Place::Flag("--allow-ip"));
    assert!(address("10.0.0.0/8:5432").is_ok());
    assert_eq!(address("x.test").unwrap_err().problem, Problem::NotAddress);
    let exact = Rule::parse_exact("x.test", List::Allow, Place::Flag("--ruleset-file")).unwrap();
    assert_eq!(exact.subject, allow("=x.test").unwrap().subject);
}
