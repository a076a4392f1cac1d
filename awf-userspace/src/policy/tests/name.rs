//! Names from users and from the wire, hostile ones first.

use crate::policy::{DomainName, Host, NameError};

fn name(text: &str) -> Result<String, NameError> {
    DomainName::parse(text).map(|name| name.to_string())
}

#[test]
fn case_trailing_dot_and_unicode_are_settled_at_the_door() {
    for (text, expected) in [
        ("GitHub.COM", "github.com"),
        ("github.com.", "github.com"),
        ("_dmarc.example.com", "_dmarc.example.com"),
        ("r3---sn-a.example.com", "r3---sn-a.example.com"),
        ("localhost", "localhost"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("github\u{3002}com", "github.com"),
        ("github\u{ff0e}com\u{ff61}", "github.com"),
        ("ｇｉｔｈｕｂ.com", "github.com"),
        ("0x7f.example", "0x7f.example"),
        ("1.2.3.4.example", "1.2.3.4.example"),
        ("3com", "3com"),
    ] {
        assert_eq!(name(text).as_deref(), Ok(expected), "{text:?}");
    }
}

#[test]
fn what_is_not_a_name_is_refused() {
    for text in [
        "",
        ".",
        "..",
        "a..b",
        ".a",
        "a.b..",
        "a b",
        "a\0.b",
        "github.com\0.evil.test",
        "a\n",
        "a/b",
        "a@b",
        "a:b",
        "a%2eb",
        "*.a",
        "a,b",
        "a\u{7f}",
        "a\u{200b}\0",
        "xn--\u{fc}.test",
        "\u{202e}moc.test",
        "[::1]",
        "::1",
        "a\u{2028}b.test",
    ] {
        assert!(name(text).is_err(), "{text:?} gave {:?}", name(text));
    }
}

#[test]
fn every_spelling_of_an_ipv4_address_is_an_address() {
    for text in [
        "1.2.3.4",
        "127.1",
        "127.0.1",
        "0x7f.1",
        "0X7F.0.0.1",
        "2130706433",
        "0x7f000001",
        "017700000001",
        "0177.0.0.1",
        "1.2.3.4.",
        "1.2.3",
        "1.2.3.4.5",
        "example.0x",
        "example.12",
        "256.1.1.1",
        "１２７.0.0.1",
        "127\u{3002}1",
        "①②⑦.1",
    ] {
        assert_eq!(name(text), Err(NameError::Address), "{text:?}");
    }
}

#[test]
fn lengths_are_those_of_dns() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));
    assert_eq!(longest.len(), 253);
    assert_eq!(name(&longest).unwrap(), longest);
    assert_eq!(name(&format!("{longest}.")).unwrap(), longest);
    assert_eq!(name(&format!("{longest}c")), Err(NameError::TooLong(254)));
    assert_eq!(name(&format!("{label}a.test")), Err(NameError::LabelTooLong(format!("{label}a"))));
    assert!(matches!(name(&"ü.".repeat(1 << 16)), Err(NameError::TooLong(_))));
    // Characters that IDNA drops do not make a longer name fit.
    assert!(name(&format!("{longest}{}c", "\u{ad}".repeat(9))).is_err());
}

#[test]
fn wire_bytes_are_not_interpreted() {
    assert_eq!(DomainName::from_wire(b"Example.COM.").unwrap().as_str(), "example.com");
    assert_eq!(DomainName::from_wire("bücher.example".as_bytes()), Err(NameError::BadCharacter('\u{c3}')));
    assert!(DomainName::from_wire(b"a.\xff.test").is_err());
    for byte in 0..=255u8 {
        let ok = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        assert_eq!(
            DomainName::from_wire(&[b'a', byte, b'a', b'.', b't']).is_ok(),
            ok || byte == b'.',
            "{byte}"
        );
    }
}

#[test]
fn a_dot_inside_a_label_makes_no_second_label() {
    let labels =
        |labels: &[&[u8]]| DomainName::from_labels(labels.iter().copied()).map(|name| name.to_string());
    assert_eq!(labels(&[b"API", b"example", b"com"]).as_deref(), Ok("api.example.com"));
    assert_eq!(labels(&[b"evil.test", b"example"]), Err(NameError::BadCharacter('.')));
    assert_eq!(labels(&[b"a\0", b"example"]), Err(NameError::BadCharacter('\0')));
    assert_eq!(labels(&[b"a", b"", b"com"]), Err(NameError::EmptyLabel));
    assert_eq!(labels(&[]), Err(NameError::Empty));
    assert!(labels(&[&[b'a'; 64], b"com"]).is_err());
    assert!(labels(&[&[b'a'; 63][..]; 5]).is_err());
}

#[test]
fn below_is_at_a_label_boundary() {
    let name = |text| DomainName::parse(text).unwrap();
    assert!(name("a.b.example.com").is_below(&name("example.com")));
    assert!(!name("example.com").is_below(&name("example.com")));
    assert!(!name("evilexample.com").is_below(&name("example.com")));
    assert_eq!(name("a.b.c").suffixes().collect::<Vec<_>>(), ["a.b.c", "b.c", "c"]);
}

#[test]
fn hosts_are_names_or_addresses() {
    for (text, shown) in [
        ("example.com", "example.com"),
        ("198.51.100.7", "198.51.100.7"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("[::ffff:c633:6407]", "198.51.100.7"),
    ] {
        assert_eq!(Host::parse(text).unwrap().to_string(), shown, "{text:?}");
    }
    assert_eq!(Host::parse("fe80::1%eth0"), Err(NameError::ZoneId));
    assert_eq!(Host::parse("[fe80::1%25eth0]"), Err(NameError::ZoneId));
    for text in [
        "[::1",
        "[]",
        "[198.51.100.7]",
        "::1]",
        "[::1]:443",
        "x.com:443",
        "127.1",
        "01.2.3.4",
        "1.2.3.4.",
        ":",
    ] {
        assert!(Host::parse(text).is_err(), "{text:?}");
    }
}
