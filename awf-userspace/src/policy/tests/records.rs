//! Rules for records beside addresses, and the part of a name that was chosen.

use super::{super::RecordRule, *};
use crate::policy::{DomainName, Reason};

const TXT: u16 = 16;
const MX: u16 = 15;

fn record(text: &str) -> Result<RecordRule, RuleError> {
    RecordRule::parse(text, Place::Flag("--allow-dns"))
}

fn with_records(allowed: &[&str], blocked: &[&str], records: &[&str]) -> Policy {
    policy(allowed, blocked).with_records(records.iter().map(|text| record(text).unwrap()))
}

fn name(text: &str) -> DomainName {
    DomainName::parse(text).unwrap()
}

#[test]
fn a_rule_is_about_its_types_and_its_names() {
    let policy = with_records(
        &[],
        &["blocked.x.test", "tcp.x.test:22"],
        &["txt+MX:x.test", "SRV:_imap._tcp.y.test", "TXT:=z.test", "TXT:_acme-*.w.test", "CAA:co.uk.test"],
    );
    for (host, kind, expected) in [
        ("x.test", TXT, true),
        ("x.test", MX, true),
        ("_dmarc.x.test", TXT, true),
        ("x.test", 33, false),
        ("blocked.x.test", TXT, false),
        ("a.blocked.x.test", TXT, false),
        ("tcp.x.test", TXT, true),
        ("_imap._tcp.y.test", 33, true),
        ("y.test", 33, false),
        ("z.test", TXT, true),
        ("a.z.test", TXT, false),
        ("_acme-challenge.w.test", TXT, true),
        ("w.test", TXT, false),
    ] {
        assert_eq!(policy.judge_record(&name(host), kind).is_allow(), expected, "{host} {kind}");
    }
    assert!(!policy.judge_name(&name("x.test")).is_allow(), "records say nothing of addresses");
    assert!(!policy.allows_nothing());
}

#[test]
fn a_refused_type_says_how_to_allow_it_and_that_works() {
    let policy = with_records(&["x.test"], &[], &["TXT:y.test"]);
    for (host, kind) in [("x.test", MX), ("y.test", MX), ("a.x.test", 257)] {
        let verdict = policy.judge_record(&name(host), kind);
        let denied = verdict.denied().unwrap();
        assert_eq!(denied.reason, Reason::DnsTypeRefused, "{host}");
        let rule = denied.allow_with.as_deref().unwrap().strip_prefix("--allow-dns ").unwrap();
        assert!(with_records(&[], &[], &[rule]).judge_record(&name(host), kind).is_allow(), "{rule}");
    }
    for kind in [255, 252, 251, 12, 10, 48, 65_280] {
        let verdict = policy.judge_record(&name("x.test"), kind);
        assert_eq!(verdict.denied().unwrap().allow_with, None, "{kind}");
    }
    let verdict = policy.judge_record(&name("z.test"), TXT);
    assert_eq!(verdict.denied().unwrap().reason, Reason::NotInAllowlist);
}

#[test]
fn what_is_no_rule_is_refused_with_advice() {
    for (text, expected) in [
        ("example.com", "is not TYPE:NAME, like TXT:example.com; write `TXT:example.com`"),
        ("example.com:53", "is not TYPE:NAME"),
        ("https://example.com/", "write `TXT:example.com`"),
        ("TXT:", "names no host"),
        ("TXT:=", "names no host"),
        (":example.com", "write `TXT:example.com`"),
        ("TXT+:example.com", "the type \"\", which cannot be allowed"),
        ("A:example.com", "addresses are answered for every name of --allow-domains"),
        ("ANY:example.com", "types that can be: CAA, CNAME"),
        ("TXT+PTR:example.com", "the type \"PTR\""),
        ("NULL:example.com", "the type \"NULL\""),
        ("DNSKEY:example.com", "the type \"DNSKEY\""),
        ("TYPE16:example.com", "the type \"TYPE16\""),
        ("TXT:example.com:53", "write the bare name, `example.com`"),
        ("TXT:user@example.com", "names more than a name"),
        ("TXT:https://example.com", "names more than a name"),
        ("TXT:198.51.100.7", "is not a host name"),
        ("TXT:*", "would match everything"),
        ("TXT:com", "is too broad: com is a public suffix"),
        ("TXT:example.com MX:example.com", "contains ' '"),
    ] {
        let error = record(text).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn what_was_chosen_is_what_no_rule_writes_out() {
    let policy = with_records(
        &["example.com", "deep.a.example.org", "=exact.test", "github.io", "api-*.test.example.net", "corp"],
        &[],
        &["TXT:_dmarc.example.com"],
    );
    for (host, part, owner, zone) in [
        ("example.com", "", "example.com", None),
        ("a.b.example.com", "a.b", "example.com", None),
        ("_dmarc.example.com", "", "example.com", None),
        ("x.deep.a.example.org", "x", "example.org", None),
        ("exact.test", "", "exact.test", None),
        ("someone.github.io", "someone", "someone.github.io", Some("github.io")),
        ("x.someone.github.io", "x.someone", "someone.github.io", Some("github.io")),
        ("api-1.test.example.net", "api-1", "example.net", None),
        ("db.corp", "db", "db.corp", Some("corp")),
        ("corp", "", "corp", None),
        ("stranger.invalid", "stranger.invalid", "stranger.invalid", None),
    ] {
        let name = name(host);
        let chosen = policy.chosen(&name);
        assert_eq!((chosen.part, chosen.owner, chosen.zone), (part, owner, zone), "{host}");
    }
}
