//! A policy narrowed by another: allowed is what both allow.

use std::net::IpAddr;

use super::{random::Random, *};
use crate::policy::{
    Builder, DomainName, Reason, RecordRule, UrlPass, UrlRequest, UrlRule, host_ports::Grant,
};

const HOSTS: [&str; 9] = [
    "x.test",
    "a.x.test",
    "b.a.x.test",
    "y.test",
    "localhost",
    "10.0.0.7",
    "198.51.100.7",
    "2001:db8::7",
    "127.0.0.1",
];
const PORTS: [u16; 4] = [443, 80, 22, 3000];
const PATHS: [&str; 4] = ["/", "/ok/1", "/ok/1?q", "/no"];

/// A policy of every kind of rule, out of few, so that two meet often.
fn some(random: &mut Random) -> Policy {
    let mut builder = Builder::default();
    let allowed = [
        "x.test",
        "=x.test",
        "*.x.test",
        "https://x.test",
        "http://a.x.test",
        "x.test:22",
        "tcp://y.test:443",
        "y.test",
        "10.0.0.0/8",
        "10.0.0.7:22",
        "198.51.100.0/24",
        "[2001:db8::7]:443",
        "localhost:3000",
        "https://localhost:3000",
    ];
    for _ in 0..=random.below(5) {
        builder.rule(allow(random.one(&allowed)).unwrap());
    }
    for _ in 0..random.below(2) {
        let blocked = ["a.x.test", "y.test:443", "10.0.0.7", "198.51.100.7:80", "localhost:3000", "*.y.test"];
        builder.rule(block(random.one(&blocked)).unwrap());
    }
    for _ in 0..random.below(2) {
        let urls =
            ["https://x.test/ok/**", "http://x.test/**", "GET:https://10.0.0.7/ok/1", "https://y.test/**"];
        builder.url(UrlRule::parse(random.one(&urls), FLAG).unwrap());
    }
    let records = ["TXT:x.test", "TXT+MX:a.x.test", "MX:y.test"];
    let record = |random: &mut Random| RecordRule::parse(random.one(&records), FLAG).unwrap();
    let records: Vec<_> = (0..random.below(5)).map(|_| record(random)).collect();
    let ports = (random.below(3) == 0).then(|| Grant::by_flag("--allow-host-ports", 3000..=3001));
    builder.build().with_records(records).with_host_ports(ports)
}

/// What is allowed by `narrow` is allowed by each, in each question that there is.
#[test]
fn what_the_narrowed_policy_allows_each_of_its_parts_allows() {
    let mut random = Random(11);
    let (mut allowed, mut refused) = ([0; 8], [0; 8]);
    for _ in 0..3000 {
        let parts = [some(&mut random), some(&mut random), some(&mut random)];
        let count = 2 + random.below(2);
        let narrow = parts[1..count].iter().fold(parts[0].clone(), |all, part| all.narrowed_by(part));
        let own = "198.51.100.7".parse().unwrap();
        let (narrow, parts) = match random.below(2) {
            0 => (narrow, parts),
            _ => (narrow.with_own_addresses([own]), parts.map(|part| part.with_own_addresses([own]))),
        };
        let parts = &parts[..count];
        // It also allows whatever all of its parts allow: else it would be too narrow to be of use.
        let mut check = |number: usize, ask: &dyn Fn(&Policy) -> bool, exact: bool| {
            let (own, all) = (ask(&narrow), parts.iter().all(ask));
            assert!(if exact { own == all } else { all || !own }, "question {number}: {own} {parts:#?}");
            let counted = if own { &mut allowed } else { &mut refused };
            counted[number] += 1;
        };
        let host = Host::parse(random.one(&HOSTS)).unwrap();
        let (port, at) = (PORTS[random.below(4)], Host::parse(random.one(&HOSTS[3..])).unwrap());
        let protocol = [Protocol::Tls, Protocol::Http, Protocol::Other][random.below(3)];
        let at = if let Host::Ip(ip) = at { Some(ip) } else { None };
        check(0, &|p| p.judge(&Target { host: &host, port, protocol }).is_allow(), true);
        check(1, &|p| p.decide(Some(&host), at, port, protocol).is_ok(), false);
        check(2, &|p| p.decide(None, at, port, protocol).is_ok(), true);
        let name = DomainName::parse("a.x.test").unwrap();
        check(3, &|p| p.judge_name(&name).is_allow() && p.decide_any(&host, port).is_ok(), false);
        check(4, &|p| p.judge_record(&name, [15, 16][random_bit(port)]).is_allow(), true);
        let ip = at.unwrap_or(own);
        check(5, &|p| p.may_dial(ip, port).is_ok() && p.may_answer(ip), true);
        check(6, &|p| p.host_addresses(&host, 3000).is_some() && p.host_ports().any(|p| p == 3000), true);
        let target = PATHS[random.below(4)];
        let request = UrlRequest { host: &host, port, protocol: Protocol::Tls, method: "GET", target };
        check(7, &|p| p.judge_url(&request).is_ok(), true);
        assert_eq!(narrow.filters_urls(&host, port), parts.iter().any(|p| p.filters_urls(&host, port)));
        assert!(
            narrow.may_dial_literal(ip, port).is_err()
                || parts.iter().all(|p| p.may_dial_literal(ip, port).is_ok())
        );
        assert!(
            narrow.may_dial_own(ip, port).is_err() || parts.iter().all(|p| p.may_dial_own(ip, port).is_ok())
        );
        assert!(!narrow.knows_port(port) || parts.iter().all(|p| p.knows_port(port)));
    }
    assert!(allowed.iter().chain(&refused).all(|count| *count > 30), "{allowed:?} {refused:?}");
}

fn random_bit(port: u16) -> usize {
    usize::from(port == 443)
}

#[test]
fn a_narrowed_policy_refuses_in_the_words_of_who_refuses() {
    let (wide, small) = (policy(&["x.test", "y.test"], &[]), policy(&["=x.test"], &["y.test"]));
    let both = wide.narrowed_by(&small);
    assert!(ask(&both, "x.test", 443, Protocol::Tls).is_allow());
    for (host, reason) in [("a.x.test", Reason::NotInAllowlist), ("y.test", Reason::Blocked)] {
        let verdict = ask(&both, host, 443, Protocol::Tls);
        assert_eq!(verdict.denied().map(|denied| denied.reason), Some(reason), "{host}");
        assert_eq!(verdict, ask(&small, host, 443, Protocol::Tls));
    }
    assert!(both.narrowed_by(&Policy::default()).allows_nothing());
    assert_eq!(both.shown(9).last().unwrap(), "narrowed by: block      y.test (--block-domains)");
}

/// Of a host with URL rules on one side, the other side's rule for the whole host opens no other URL.
#[test]
fn url_rules_of_either_hold() {
    let mut builder = Builder::default();
    builder.url(UrlRule::parse("https://x.test/ok/**", FLAG).unwrap());
    let (whole, urls) = (policy(&["x.test"], &[]), builder.build());
    let host = Host::parse("x.test").unwrap();
    let asked =
        |target| UrlRequest { host: &host, port: 443, protocol: Protocol::Tls, method: "GET", target };
    for both in [whole.narrowed_by(&urls), urls.narrowed_by(&whole)] {
        assert!(both.filters_urls(&host, 443) && both.secure_url_rule().is_some());
        let UrlPass { rule, .. } = both.judge_url(&asked("/ok/1")).unwrap().unwrap();
        assert_eq!(&*rule, "https://x.test/ok/**");
        assert!(both.judge_url(&asked("/no")).is_err());
        assert!(both.unseen(&host, 443).message.contains("https://x.test/ok/**"));
    }
}

/// Else whoever narrows a policy could say in a rule what is not to be charged as chosen.
#[test]
fn a_narrower_rule_does_not_make_a_name_cheaper() {
    let both = policy(&["x.test"], &[]).narrowed_by(&policy(&["=73656372657473.x.test"], &[]));
    let name = DomainName::parse("73656372657473.x.test").unwrap();
    assert_eq!(both.chosen(&name).part, "73656372657473");
}

/// An address of this host is as much its own to whoever narrows, whichever of the two was told of it.
#[test]
fn own_addresses_are_everybodys() {
    let own: IpAddr = "93.184.216.34".parse().unwrap();
    let told = || policy(&["x.test"], &[]).with_own_addresses([own]);
    let (named, plain) = (policy(&["93.184.216.34:443"], &[]), policy(&["x.test"], &[]));
    for both in [
        told().narrowed_by(&plain),
        plain.narrowed_by(&told()),
        named.narrowed_by(&plain).with_own_addresses([own]),
    ] {
        assert!(both.may_dial(own, 443).is_err());
    }
    assert!(plain.narrowed_by(&plain).may_dial(own, 443).is_ok());
    assert!(named.narrowed_by(&named).with_own_addresses([own]).may_dial(own, 443).is_ok());
}
