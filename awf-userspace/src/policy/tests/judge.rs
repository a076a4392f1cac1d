//! Verdicts: ports, protocols, block over allow, addresses, and the flag to paste.

use std::net::IpAddr;

use super::{allow, ask, policy};
use crate::policy::{
    DomainName, Host, List, Place, Policy, Protocol, Protocol::*, Reason, Rule, Target, Verdict,
};

const PROTOCOLS: [Protocol; 3] = [Tls, Http, Other];

fn reason(verdict: &Verdict) -> Reason {
    verdict.denied().map_or(Reason::Allowed, |denied| denied.reason)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Ports, and what may be spoken on each.
type Services = &'static [(u16, &'static [Protocol])];

#[test]
fn ports_and_protocols_are_those_of_the_table() {
    let services: &[(&str, Services)] = &[
        ("x.test", &[(443, &[Tls, Http]), (80, &[Tls, Http])]),
        ("https://x.test", &[(443, &[Tls])]),
        ("http://x.test", &[(80, &[Http])]),
        ("https://x.test:8443", &[(8443, &[Tls])]),
        ("http://x.test:8080", &[(8080, &[Http])]),
        ("x.test:443", &[(443, &[Tls, Http])]),
        ("x.test:80", &[(80, &[Tls, Http])]),
        ("x.test:22", &[(22, &[Tls, Http, Other])]),
        ("tcp://x.test:443", &[(443, &[Tls, Http, Other])]),
        ("tcp://x.test:5432", &[(5432, &[Tls, Http, Other])]),
    ];
    for (rule, allowed) in services {
        let policy = policy(&[rule], &[]);
        for port in [1, 22, 80, 443, 5432, 8080, 8443, 65535] {
            assert_eq!(policy.knows_port(port), allowed.iter().any(|(p, _)| *p == port), "{rule} {port}");
            for protocol in PROTOCOLS {
                let expected = allowed.iter().any(|(p, of)| *p == port && of.contains(&protocol));
                let got = ask(&policy, "a.x.test", port, protocol);
                assert_eq!(got.is_allow(), expected, "{rule} {port} {protocol:?}: {got}");
            }
        }
    }
}

#[test]
fn refusals_name_the_nearest_rule_and_why() {
    for (rule, host, port, protocol, expected) in [
        ("x.test", "y.test", 443, Tls, Reason::NotInAllowlist),
        ("x.test", "x.test", 8443, Tls, Reason::PortNotAllowed),
        ("x.test", "x.test", 22, Other, Reason::PortNotAllowed),
        ("x.test", "x.test", 443, Other, Reason::ProtocolNotAllowed),
        ("https://x.test", "x.test", 80, Http, Reason::ProtocolNotAllowed),
        ("https://x.test", "x.test", 443, Http, Reason::ProtocolNotAllowed),
        ("https://x.test", "x.test", 8443, Tls, Reason::PortNotAllowed),
        ("http://x.test", "x.test", 80, Tls, Reason::ProtocolNotAllowed),
        ("http://x.test", "x.test", 443, Tls, Reason::ProtocolNotAllowed),
        ("x.test:22", "x.test", 443, Tls, Reason::PortNotAllowed),
        ("*.x.test", "x.test", 443, Tls, Reason::NotInAllowlist),
        ("198.51.100.7", "198.51.100.8", 443, Tls, Reason::AddressNotAllowed),
        ("198.51.100.7", "198.51.100.7", 22, Other, Reason::PortNotAllowed),
        ("https://198.51.100.7", "198.51.100.7", 443, Http, Reason::ProtocolNotAllowed),
        ("x.test", "198.51.100.7", 443, Tls, Reason::AddressNotAllowed),
        ("198.51.100.7", "x.test", 443, Tls, Reason::NotInAllowlist),
    ] {
        let verdict = ask(&policy(&[rule], &[]), host, port, protocol);
        assert_eq!(reason(&verdict), expected, "{rule} {host}:{port} {protocol:?}: {verdict}");
    }
    let verdict = ask(&policy(&["*.x.test", "y.test"], &[]), "x.test", 443, Tls);
    let denied = verdict.denied().unwrap();
    assert_eq!(denied.rule.as_deref(), Some("*.x.test"));
    assert_eq!(
        denied.message,
        "x.test is not allowed: the rule *.x.test (--allow-domains) does not match it"
    );
    assert_eq!(denied.allow_with.as_deref(), Some("--allow-domains x.test"));
    let verdict = ask(&policy(&["https://x.test"], &[]), "x.test", 80, Http);
    assert_eq!(
        verdict.to_string(),
        "clear-text HTTP to x.test port 80 is not allowed: the rule https://x.test (--allow-domains) is about TLS on port 443"
    );
}

#[test]
fn block_beats_allow_always() {
    let policy = policy(
        &["x.test", "=bad.x.test", "tcp://bad.x.test:22", "y.test", "y.test:22", "10.0.0.0/8", "=z.test"],
        &["bad.x.test", "y.test:22", "https://z.test", "10.6.6.0/24", "10.7.7.7:443"],
    );
    for (host, port, protocol, expected) in [
        ("x.test", 443, Tls, Reason::Allowed),
        ("bad.x.test", 443, Tls, Reason::Blocked),
        ("a.bad.x.test", 80, Http, Reason::Blocked),
        ("bad.x.test", 22, Other, Reason::Blocked),
        ("notbad.x.test", 443, Tls, Reason::Allowed),
        ("y.test", 443, Tls, Reason::Allowed),
        ("y.test", 22, Other, Reason::Blocked),
        ("z.test", 80, Http, Reason::Blocked),
        ("10.1.1.1", 443, Tls, Reason::Allowed),
        ("10.6.6.6", 443, Tls, Reason::Blocked),
        ("::ffff:10.6.6.6", 443, Tls, Reason::Blocked),
        ("10.7.7.7", 443, Tls, Reason::Blocked),
        ("10.7.7.7", 80, Http, Reason::Allowed),
        // Blocked and not allowed at all: the block rule is what to know.
        ("b.bad.x.test", 9, Other, Reason::Blocked),
    ] {
        let verdict = ask(&policy, host, port, protocol);
        assert_eq!(reason(&verdict), expected, "{host}:{port} {protocol:?}: {verdict}");
    }
    let blocked = ask(&policy, "bad.x.test", 443, Tls);
    assert_eq!(blocked.denied().unwrap().allow_with, None);
    assert_eq!(blocked.denied().unwrap().rule.as_deref(), Some("bad.x.test"));
}

#[test]
fn a_name_resolves_if_some_service_of_it_is_allowed() {
    let policy = policy(
        &["x.test", "tcp://db.test:5432", "ssh.test:22", "https://y.test", "half.test"],
        &["bad.x.test", "ssh.test:22", "half.test:443", "evil.test"],
    );
    for (name, expected) in [
        ("x.test", Reason::Allowed),
        ("a.x.test", Reason::Allowed),
        ("bad.x.test", Reason::Blocked),
        ("db.test", Reason::Allowed),
        ("ssh.test", Reason::Blocked),
        ("half.test", Reason::Allowed),
        ("y.test", Reason::Allowed),
        ("evil.test", Reason::Blocked),
        ("other.test", Reason::NotInAllowlist),
    ] {
        let verdict = policy.judge_name(&DomainName::parse(name).unwrap());
        assert_eq!(reason(&verdict), expected, "{name}: {verdict}");
    }
}

#[test]
fn connect_is_judged_by_any_protocol() {
    let policy = policy(&["http://x.test", "ssh.test:22", "https://y.test"], &[]);
    let connect = |host: &str, port| policy.decide_any(&Host::parse(host).unwrap(), port);
    assert!(connect("x.test", 80).is_ok());
    assert!(connect("ssh.test", 22).is_ok());
    assert!(connect("y.test", 443).is_ok());
    assert_eq!(connect("y.test", 80).unwrap_err().reason, Reason::ProtocolNotAllowed);
    assert_eq!(connect("y.test", 8443).unwrap_err().reason, Reason::PortNotAllowed);
    assert_eq!(connect("z.test", 443).unwrap_err().reason, Reason::NotInAllowlist);
}

#[test]
fn names_lead_to_public_addresses_only_unless_an_address_rule_says_so() {
    let nothing = policy(&["x.test"], &[]);
    for text in ["198.51.100.7", "2001:db8::1", "203.0.113.9"] {
        assert_eq!(nothing.may_dial(ip(text), 443), Ok(()), "{text}");
    }
    for text in [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "fd00:ec2::254",
        "0.0.0.0",
    ] {
        assert_eq!(nothing.may_dial(ip(text), 443).unwrap_err().reason, Reason::ForbiddenAddress, "{text}");
    }
    let some = policy(
        &["10.0.0.0/8", "10.1.0.0/16:5432", "tcp://[fd00::1]:22", "169.254.0.0/16", "127.0.0.1:8080"],
        &["10.9.0.0/16"],
    );
    for (text, port, ok) in [
        ("10.0.0.1", 443, true),
        ("10.0.0.1", 80, true),
        ("10.0.0.1", 5432, false),
        ("10.1.0.1", 5432, true),
        ("::ffff:10.1.0.1", 5432, true),
        ("64:ff9b::a01:1", 5432, false),
        ("fd00::1", 22, true),
        ("fd00::2", 22, false),
        ("169.254.1.1", 80, true),
        ("169.254.169.254", 80, false),
        ("127.0.0.1", 8080, true),
        ("127.0.0.1", 443, false),
        ("10.9.0.1", 443, false),
        ("192.168.0.1", 443, false),
    ] {
        assert_eq!(some.may_dial(ip(text), port).is_ok(), ok, "{text} {port}");
    }
    assert_eq!(some.may_dial(ip("10.9.0.1"), 443).unwrap_err().reason, Reason::Blocked);
    assert!(policy(&["169.254.169.254"], &[]).may_dial(ip("169.254.169.254"), 80).is_ok());
}

#[test]
fn a_blocked_address_is_blocked_under_its_ipv6_disguises_and_own_addresses_are_not_public() {
    let policy =
        policy(&["x.test"], &["203.0.113.0/24"]).with_own_addresses([ip("198.51.100.7"), ip("2001:db8::7")]);
    for text in ["203.0.113.5", "::ffff:203.0.113.5", "64:ff9b::203.0.113.5", "2002:cb00:7105::1"] {
        assert_eq!(policy.may_dial(ip(text), 443).unwrap_err().reason, Reason::Blocked, "{text}");
    }
    for text in [
        "198.51.100.7",
        "::ffff:198.51.100.7",
        "::ffff:0:198.51.100.7",
        "64:ff9b::198.51.100.7",
        "2002:c633:6407::1",
        "2001:0:c633:6407::",
        "2001:0:c633:6408::39cc:9bf8",
        "2001:db8::5efe:198.51.100.7",
        "2001:db8::7",
    ] {
        assert_eq!(policy.may_dial(ip(text), 443).unwrap_err().reason, Reason::ForbiddenAddress, "{text}");
        assert!(!policy.may_answer(ip(text)), "{text}");
    }
    for text in ["198.51.100.8", "64:ff9b::198.51.100.8", "2002:c633:6408::1", "2001:db8::5efe:198.51.100.8"]
    {
        assert_eq!(policy.may_dial(ip(text), 443), Ok(()), "{text}");
    }
}

/// Pasting `allow_with` must allow the very thing that was refused.
#[test]
fn the_flag_to_paste_works() {
    let policy = policy(&["https://half.test"], &[]);
    for host in
        ["x.test", "a.b.x.test", "half.test", "198.51.100.7", "2001:db8::1", "10.0.0.1", "co.uk", "gitea"]
    {
        for port in [22, 80, 443, 8443] {
            for protocol in PROTOCOLS {
                let host = Host::parse(host).unwrap();
                let target = Target { host: &host, port, protocol };
                let verdict = policy.judge(&target);
                let Some(denied) = verdict.denied() else { continue };
                let flag = denied.allow_with.clone().unwrap_or_else(|| panic!("none for {host}:{port}"));
                let rule = match flag.split_once(' ').unwrap() {
                    ("--allow-domains", text) => allow(text),
                    ("--allow-ip", text) => Rule::parse_address(text, List::Allow, Place::Flag("--allow-ip")),
                    other => panic!("{other:?}"),
                };
                let widened = Policy::new([rule.unwrap()]);
                assert!(
                    widened.judge(&target).is_allow(),
                    "{flag} does not allow {host}:{port} {protocol:?}"
                );
                if let Host::Ip(ip) = host {
                    assert!(widened.may_dial(ip, port).is_ok(), "{flag} does not let {ip}:{port} be dialled");
                }
            }
        }
    }
}

#[test]
fn there_is_no_flag_to_paste_for_metadata_and_bare_suffixes() {
    let policy = policy(&["x.test"], &[]);
    for host in ["169.254.169.254", "fd00:ec2::254", "com"] {
        let verdict = ask(&policy, host, 80, Http);
        assert_eq!(verdict.denied().unwrap().allow_with, None, "{host}");
    }
    assert_eq!(policy.may_dial(ip("169.254.169.254"), 80).unwrap_err().allow_with, None);
    let denied = policy.may_dial(ip("10.0.0.1"), 5432).unwrap_err();
    assert_eq!(denied.allow_with.as_deref(), Some("--allow-ip 10.0.0.1:5432"));
}

#[test]
fn the_empty_policy_allows_nothing() {
    let empty = policy(&[], &["x.test"]);
    assert!(empty.allows_nothing());
    for host in ["x.test", "y.test", "198.51.100.7"] {
        for protocol in PROTOCOLS {
            assert!(!ask(&empty, host, 443, protocol).is_allow());
        }
    }
    assert_eq!(
        ask(&empty, "y.test", 443, Tls).to_string(),
        "y.test is not allowed: the policy allows nothing"
    );
}

/// Every name made of the labels of a rule and of hostile neighbours, against the definition in words.
#[test]
fn suffix_matching_agrees_with_its_definition() {
    let labels = ["github", "com", "evilgithub", "g", "githu", "test"];
    let tree = policy(&["github.com"], &[]);
    let below = policy(&["*.github.com"], &[]);
    let exact = policy(&["=github.com"], &[]);
    let mut names: Vec<Vec<&str>> = vec![vec![]];
    for _ in 0..4 {
        let longer = names.iter().flat_map(|name| labels.map(|label| [&name[..], &[label]].concat()));
        names.extend(longer.collect::<Vec<_>>());
    }
    for name in names.iter().filter(|name| !name.is_empty()) {
        let (is, under) = (**name == ["github", "com"], name.ends_with(&["github", "com"]));
        let text = name.join(".");
        let allowed = |policy: &Policy| ask(policy, &text, 443, Tls).is_allow();
        assert_eq!((allowed(&tree), allowed(&below), allowed(&exact)), (under, under && !is, is), "{text}");
    }
}
