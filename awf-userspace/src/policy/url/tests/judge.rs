//! What URL rules mean beside rules for hosts.

use super::{ask, policy};
use crate::policy::{
    Builder, DomainName, Host, List, Place, Policy, Protocol, Reason, Rule, Target, UrlRule,
};

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

fn reason(policy: &Policy, name: &str, at: Option<&str>, port: u16, protocol: Protocol) -> Option<Reason> {
    let at = at.map(|ip| ip.parse().unwrap());
    policy.decide(Some(&host(name)), at, port, protocol).err().map(|denied| denied.reason)
}

#[test]
fn a_url_rule_alone_opens_its_host_and_nothing_else_of_it() {
    let policy = policy(&[], &["https://x.test/a/**"]);
    assert!(!policy.allows_nothing() && policy.may_resolve() && policy.knows_port(443));
    assert!(policy.judge_name(&DomainName::parse("x.test").unwrap()).is_allow());
    let route = policy.decide(Some(&host("x.test")), None, 443, Protocol::Tls).unwrap();
    assert!(route.urls);
    assert_eq!(reason(&policy, "x.test", None, 443, Protocol::Http), Some(Reason::ProtocolNotAllowed));
    assert_eq!(reason(&policy, "x.test", None, 80, Protocol::Http), Some(Reason::ProtocolNotAllowed));
    // A rule for the host would not open what URL rules close.
    for (port, protocol, flag) in [
        (80, Protocol::Http, "--allow-urls http://x.test/**"),
        (443, Protocol::Http, "--allow-urls http://x.test:443/**"),
        (80, Protocol::Tls, "--allow-urls https://x.test:80/**"),
    ] {
        let denied = policy.decide(Some(&host("x.test")), None, port, protocol).unwrap_err();
        assert_eq!(denied.allow_with.as_deref(), Some(flag));
    }
    assert_eq!(
        policy.decide(Some(&host("x.test")), None, 443, Protocol::Other).unwrap_err().allow_with,
        None
    );
    assert_eq!(reason(&policy, "y.test", None, 443, Protocol::Tls), Some(Reason::NotInAllowlist));
    assert_eq!(ask(&policy, "GET https://x.test/a/b").unwrap().target.to_string(), "/a/b");
    assert_eq!(ask(&policy, "GET https://x.test/b").unwrap_err().reason, Reason::UrlNotAllowed);
}

/// As those who come from gh-aw-firewall write it: the host in both lists.
#[test]
fn a_rule_for_the_whole_host_does_not_lift_the_filter() {
    for domain in ["x.test", "=x.test", "https://x.test", "x.test:443", "tcp://x.test:443", "*.test"] {
        let domain = if domain == "*.test" { "test" } else { domain };
        let policy = policy(&[domain], &["https://x.test/a/**"]);
        assert!(policy.filters_urls(&host("x.test"), 443), "{domain}");
        assert!(policy.decide(Some(&host("x.test")), None, 443, Protocol::Tls).unwrap().urls, "{domain}");
        assert_eq!(ask(&policy, "GET https://x.test/b").unwrap_err().reason, Reason::UrlNotAllowed);
        let other = reason(&policy, "x.test", None, 443, Protocol::Other);
        let expected =
            if domain.starts_with("tcp") { Reason::UrlNotAllowed } else { Reason::ProtocolNotAllowed };
        assert_eq!(other, Some(expected), "{domain}");
        // What no URL rule is about is as it was.
        if domain == "test" {
            assert!(!policy.decide(Some(&host("y.test")), None, 443, Protocol::Tls).unwrap().urls);
        }
    }
}

/// Upstream forgets hosts that a wildcard allows.
#[test]
fn wildcard_hosts_are_filtered_too() {
    for urls in ["https://*.x.test/a/**", "https://x.test/a/**", "https://b-*.x.test/a/**"] {
        let policy = policy(&["*.x.test", "plain.test"], &[urls, "https://plain.test/p"]);
        assert!(ask(&policy, "GET https://b-1.x.test/a/c").is_ok(), "{urls}");
        assert_eq!(
            ask(&policy, "GET https://b-1.x.test/c").unwrap_err().reason,
            Reason::UrlNotAllowed,
            "{urls}"
        );
        assert_eq!(ask(&policy, "GET https://plain.test/a/c").unwrap_err().reason, Reason::UrlNotAllowed);
    }
}

#[test]
fn the_other_port_of_the_web_is_not_left_open() {
    let narrowed = policy(&["x.test"], &["https://x.test/a/**"]);
    let denied = narrowed.decide(Some(&host("x.test")), None, 80, Protocol::Http).unwrap_err();
    assert_eq!(denied.reason, Reason::UrlNotAllowed);
    assert_eq!(denied.allow_with.as_deref(), Some("--allow-urls http://x.test/**"));
    assert!(narrowed.decide(Some(&host("y.x.test")), None, 80, Protocol::Http).is_err());
    // Who names the other scheme or port means it.
    for domain in ["http://x.test", "x.test:80"] {
        let policy = policy(&["x.test", domain], &["https://x.test/a/**"]);
        let route = policy.decide(Some(&host("x.test")), None, 80, Protocol::Http).unwrap();
        assert!(!route.urls && &*route.rule == domain);
    }
    let clear = policy(&["x.test", "https://x.test"], &["http://x.test/a/**"]);
    assert!(clear.decide(Some(&host("x.test")), None, 443, Protocol::Tls).is_ok());
    // TLS on the port of a clear-text rule is judged by URL rules, of which none is for it.
    assert!(clear.decide(Some(&host("x.test")), None, 80, Protocol::Tls).unwrap().urls);
    assert_eq!(ask(&clear, "GET https://x.test:80/a/b").unwrap_err().reason, Reason::UrlNotAllowed);
    // A port of its own says nothing of the web's.
    let apart = policy(&["x.test"], &["https://x.test:8443/a/**"]);
    assert!(!apart.decide(Some(&host("x.test")), None, 443, Protocol::Tls).unwrap().urls);
}

#[test]
fn block_rules_beat_url_rules() {
    let mut builder = Builder::default();
    builder.url(UrlRule::parse("https://x.test/**", Place::Flag("--allow-urls")).unwrap());
    builder.rule(Rule::parse("b.x.test", List::Block, Place::Flag("--block-domains")).unwrap());
    let policy = builder.build();
    assert_eq!(reason(&policy, "b.x.test", None, 443, Protocol::Tls), Some(Reason::Blocked));
    assert_eq!(reason(&policy, "x.test", None, 443, Protocol::Tls), None);
}

#[test]
fn address_rules_do_not_lift_the_filter_of_a_name() {
    let policy = policy(
        &["198.51.100.0/24", "tcp://198.51.100.7:8443"],
        &["https://x.test/a", "http://x.test:8443/a"],
    );
    let ip = Some("198.51.100.7");
    // By name, though its address is allowed as a whole.
    assert!(
        policy
            .decide(Some(&host("x.test")), ip.map(|ip| ip.parse().unwrap()), 443, Protocol::Tls)
            .unwrap()
            .urls
    );
    assert_eq!(reason(&policy, "x.test", ip, 443, Protocol::Http), Some(Reason::ProtocolNotAllowed));
    assert_eq!(reason(&policy, "x.test", ip, 8443, Protocol::Tls), Some(Reason::ProtocolNotAllowed));
    assert_eq!(reason(&policy, "x.test", ip, 8443, Protocol::Other), Some(Reason::ProtocolNotAllowed));
    // As an address, and under names that have no URL rules, it is the address rule's own affair.
    assert_eq!(reason(&policy, "198.51.100.7", None, 443, Protocol::Tls), None);
    assert_eq!(reason(&policy, "y.test", ip, 443, Protocol::Tls), None);
}

/// A name that leads to such an address is none that the rule names.
#[test]
fn a_url_rule_for_an_address_lets_no_name_lead_there() {
    let policy = policy(&["x.test"], &["http://10.1.2.3/metrics"]);
    let ip = "10.1.2.3".parse().unwrap();
    assert_eq!(policy.may_dial(ip, 80).unwrap_err().reason, Reason::ForbiddenAddress);
    assert!(!policy.may_answer(ip));
    assert_eq!(policy.may_dial_literal(ip, 80), Ok(()));
    assert_eq!(policy.may_dial_literal(ip, 443).unwrap_err().reason, Reason::ForbiddenAddress);
    assert!(policy.may_dial_literal("10.1.2.4".parse().unwrap(), 80).is_err());
    assert!(ask(&policy, "GET http://10.1.2.3/metrics").is_ok());
    assert!(ask(&policy, "GET http://10.1.2.3/").is_err());
    // Under whatever Host: the address is what is dialled.
    let mut route = policy.decide(Some(&host("other.test")), Some(ip), 80, Protocol::Http).unwrap();
    let asked = (Protocol::Http, "GET", "/secret");
    assert!(route.urls && policy.decide_url(Some(&host("other.test")), &mut route, asked).is_err());
}

#[test]
fn a_port_of_the_hosts_loopback_is_opened_and_filtered() {
    let policy = policy(&[], &["http://localhost:3000/api/**"]);
    assert_eq!(policy.host_ports().collect::<Vec<_>>(), [3000]);
    for name in ["localhost", "127.0.0.1", "::1", "host.docker.internal"] {
        let target = host(name);
        assert!(policy.filters_urls(&target, 3000), "{name}");
        let judge = |protocol| policy.judge(&Target { host: &target, port: 3000, protocol }).is_allow();
        assert!(judge(Protocol::Http) && !judge(Protocol::Other) && !judge(Protocol::Tls), "{name}");
    }
    let with_flag = policy
        .with_host_ports([crate::policy::host_ports::Grant::by_flag("--allow-host-ports", 3000..=3000)]);
    let target = Target { host: &host("localhost"), port: 3000, protocol: Protocol::Other };
    assert_eq!(with_flag.judge(&target).denied().unwrap().reason, Reason::UrlNotAllowed);
}

#[test]
fn methods_and_queries_belong_to_their_own_rule() {
    let policy = policy(&[], &["GET:https://x.test/a/**", "POST:https://x.test/b?c=*"]);
    for (request, allowed) in [
        ("GET https://x.test/a/x", true),
        ("POST https://x.test/a/x", false),
        ("HEAD https://x.test/a/x", false),
        ("get https://x.test/a/x", false),
        ("POST https://x.test/b?c=1", true),
        ("GET https://x.test/b?c=1", false),
        ("POST https://x.test/b?c=1&d=2", false),
        ("OPTIONS https://x.test*", false),
    ] {
        assert_eq!(ask(&policy, request).is_ok(), allowed, "{request}");
    }
}

#[test]
fn a_refusal_says_why_and_the_flag_to_paste_works() {
    let rules = ["GET:https://x.test/a/**", "https://x.test/b?c=1", "http://10.1.2.3:8080/m"];
    let policy = policy(&[], &rules);
    for (request, says, flag) in [
        ("POST https://x.test/a/b", "is for GET", Some("--allow-urls https://x.test/a/b")),
        ("GET https://x.test/b?token=5", "another query", Some("--allow-urls https://x.test/b")),
        ("GET https://x.test/c", "no URL rule matches it", Some("--allow-urls https://x.test/c")),
        ("GET https://x.test/c,d?e", "no URL rule matches it", Some("--allow-urls https://x.test/c%2Cd")),
        (
            "GET https://sub.x.test/a/..%2fc",
            "some servers read it as /c",
            Some("--allow-urls https://sub.x.test/a/..%2Fc"),
        ),
        ("GET http://10.1.2.3:8080/", "no URL rule matches it", Some("--allow-urls http://10.1.2.3:8080/")),
        ("GET https://x.test/*", "no URL rule matches it", None),
        ("GET https://x.test/d;e", "no URL rule matches it", None),
        ("GET https://x.test/%zz", "two hexadecimal digits", None),
        ("OPTIONS https://x.test*", "asks for no URL", None),
    ] {
        let denied = ask(&policy, request).expect_err(request);
        assert!(denied.message.contains(says), "{request}: {}", denied.message);
        assert_eq!(denied.allow_with.as_deref(), flag, "{request}");
        if let Some(rule) = flag.and_then(|flag| flag.strip_prefix("--allow-urls ")) {
            let widened = super::policy(&[], &[rules[0], rules[1], rules[2], rule]);
            ask(&widened, request).unwrap_or_else(|denied| panic!("{request} with {rule}: {denied:?}"));
        }
    }
    let long = format!("GET https://x.test/{}", "a".repeat(7000));
    assert!(ask(&policy, &long).unwrap_err().message.len() < 600);
}

/// Without URL rules nothing is asked twice and nothing is changed.
#[test]
fn a_host_without_url_rules_is_not_touched() {
    let policy = policy(&["x.test"], &["https://y.test/a"]);
    let mut route = policy.decide(Some(&host("x.test")), None, 443, Protocol::Tls).unwrap();
    assert!(!route.urls);
    let asked = (Protocol::Tls, "GET", "/a/../%zz#\\");
    assert_eq!(policy.decide_url(Some(&host("x.test")), &mut route, asked), Ok(None));
}
