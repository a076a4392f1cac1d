//! The host's loopback: the grammar of ports, who means it, and what is open there.

use std::net::IpAddr;

use super::{allow, ask, policy};
use crate::policy::{
    Builder, DomainName, Host, List, Policy, Problem,
    Protocol::*,
    Reason, Rule,
    host_ports::{self, Grant, PortProblem, RESERVED, parse_ports, parse_service_port},
};

/// Every spelling of the host's loopback.
const LOCAL: [&str; 13] = [
    "localhost",
    "LOCALHOST.",
    "app.localhost",
    "host.docker.internal",
    "Host.Docker.Internal.",
    "127.0.0.1",
    "::1",
    "[::1]",
    "::ffff:127.0.0.1",
    "[::ffff:7f00:1]",
    "0.0.0.0",
    "::",
    "::ffff:0.0.0.0",
];

/// What is not it, though it looks like it.
const OTHERS: [&str; 11] = [
    "127.0.0.2",
    "127.0.0.53",
    "127.1.0.1",
    "::ffff:127.0.0.53",
    "::2",
    "::127.0.0.1",
    "64:ff9b::127.0.0.1",
    "localhost.test",
    "docker.internal",
    "a.host.docker.internal",
    "198.51.100.1",
];

fn open(ports: &[&str], allowed: &[&str], blocked: &[&str]) -> Policy {
    let grants = ports.iter().map(|text| Grant::by_flag("--allow-host-ports", parse_ports(text).unwrap()));
    policy(allowed, blocked).with_host_ports(grants.collect::<Vec<_>>())
}

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

#[test]
fn ports_are_numbers_and_ranges_without_leading_zeros() {
    for (text, first, last) in [
        ("1", 1, 1),
        ("80", 80, 80),
        ("65535", 65535, 65535),
        ("8000-8010", 8000, 8010),
        ("3000-3000", 3000, 3000),
    ] {
        assert_eq!(parse_ports(text), Ok(first..=last), "{text}");
    }
    for text in [
        "",
        "0",
        "65536",
        "080",
        "-80",
        "80-",
        "-",
        "1-2-3",
        "80 90",
        " 80",
        "+80",
        "8e1",
        "0x50",
        "http",
        "8000-08010",
        "0-80",
        "8000\u{2013}8010",
        "\u{ff18}\u{ff10}",
        "99999999999999999999",
        "80.0",
        "80,443",
    ] {
        assert_eq!(parse_ports(text), Err(PortProblem::NotPorts), "{text:?}");
        assert_eq!(parse_service_port(text), Err(PortProblem::NotPorts), "{text:?}");
    }
    assert_eq!(parse_ports("8010-8000"), Err(PortProblem::Reversed(8010, 8000)));
    assert_eq!(parse_service_port("8000-8001"), Err(PortProblem::Range));
    assert_eq!(parse_service_port("8000-8000"), Err(PortProblem::Range));
}

/// Both of gh-aw-firewall's lists.
#[test]
fn dangerous_ports_are_opened_by_name_only() {
    for port in [
        22, 23, 25, 110, 143, 445, 1433, 1521, 3306, 3389, 5432, 5984, 6379, 6984, 8086, 8088, 9200, 9300,
        27017, 27018, 28017, 2375,
    ] {
        for text in [port.to_string(), format!("{port}-{port}"), format!("{}-{port}", port - 1)] {
            assert!(
                matches!(parse_ports(&text), Err(PortProblem::Sensitive(at, _)) if at == port || at == port - 1),
                "{text}"
            );
        }
        assert_eq!(parse_service_port(&port.to_string()), Ok(port));
        assert_eq!(host_ports::flag_for(port), Some(format!("--allow-host-service-ports {port}")));
        let rule = allow(&format!("localhost:{port}")).unwrap_err().problem;
        assert!(matches!(rule, Problem::HostPort(PortProblem::Sensitive(at, _)) if at == port), "{rule:?}");
    }
    assert!(parse_ports("1-65535").is_err());
    for port in RESERVED {
        assert_eq!(parse_ports(&port.to_string()), Err(PortProblem::Reserved(port)));
        assert_eq!(parse_service_port(&port.to_string()), Err(PortProblem::Reserved(port)));
        assert_eq!(host_ports::flag_for(port), None);
        assert!(allow(&format!("localhost:{port}")).is_err());
    }
    assert_eq!(host_ports::flag_for(3000).as_deref(), Some("--allow-host-ports 3000"));
}

#[test]
fn a_range_ends_where_it_says_for_every_protocol_and_spelling() {
    let policy = open(&["8000-8010"], &[], &[]);
    for name in LOCAL {
        for (port, expected) in
            [(7999, false), (8000, true), (8005, true), (8010, true), (8011, false), (22, false)]
        {
            for protocol in [Tls, Http, Other] {
                let verdict = ask(&policy, name, port, protocol);
                assert_eq!(verdict.is_allow(), expected, "{name}:{port} {protocol:?}: {verdict}");
                if let Some(denied) = verdict.denied() {
                    assert_eq!(
                        (denied.reason, &denied.allow_with),
                        (Reason::HostPortRefused, &host_ports::flag_for(port))
                    );
                }
            }
            assert_eq!(policy.host_addresses(&host(name), port).is_some(), expected, "{name}:{port}");
        }
    }
    assert!(policy.host_ports().eq(8000..=8010));
}

/// The attack: another name or address for the same place, or a name that was made to lead there.
#[test]
fn nothing_else_means_the_hosts_loopback() {
    let policy = open(&["8000"], &["evil.test:8000"], &[]);
    for name in OTHERS {
        assert!(!ask(&policy, name, 8000, Other).is_allow(), "{name}");
        assert_eq!(policy.host_addresses(&host(name), 8000), None, "{name}");
    }
    // `evil.test A 127.0.0.1`: the name is allowed, the address is not dialled for it, nor given in an answer.
    assert!(ask(&policy, "evil.test", 8000, Other).is_allow());
    for ip in ["127.0.0.1", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1", "64:ff9b::7f00:1"] {
        let ip: IpAddr = ip.parse().unwrap();
        let denied = policy.may_dial(ip, 8000).unwrap_err();
        assert_eq!(denied.reason, Reason::ForbiddenAddress, "{ip}");
        // Not by a rule for the address: there is none.
        assert!(denied.message.ends_with("this host's services are `localhost`"), "{}", denied.message);
        assert!(!policy.may_answer(ip), "{ip}");
    }
}

#[test]
fn the_family_that_was_asked_for_is_dialled_first() {
    let policy = open(&["8000"], &[], &[]);
    for name in LOCAL {
        let found = policy.host_addresses(&host(name), 8000).unwrap().map(|ip| ip.to_string());
        let six = matches!(host(name), Host::Ip(IpAddr::V6(_)));
        assert_eq!(found, if six { ["::1", "127.0.0.1"] } else { ["127.0.0.1", "::1"] }, "{name}");
    }
}

#[test]
fn a_rule_for_localhost_with_a_port_opens_that_port() {
    for (rule, port, protocols) in [
        ("localhost:3000", 3000, &[Tls, Http, Other][..]),
        ("=localhost:3000", 3000, &[Tls, Http, Other]),
        ("Host.Docker.Internal:3000", 3000, &[Tls, Http, Other]),
        ("http://localhost:3000/", 3000, &[Http]),
        ("http://localhost", 80, &[Http]),
        ("https://localhost.", 443, &[Tls]),
        ("localhost:443", 443, &[Tls, Http]),
        ("tcp://localhost:443", 443, &[Tls, Http, Other]),
    ] {
        let policy = policy(&[rule], &[]);
        for name in LOCAL {
            for at in [80, 443, 3000, 3001] {
                for protocol in [Tls, Http, Other] {
                    let verdict = ask(&policy, name, at, protocol);
                    let expected = at == port && protocols.contains(&protocol);
                    assert_eq!(verdict.is_allow(), expected, "{rule}: {name}:{at} {protocol:?}: {verdict}");
                }
            }
        }
        assert!(policy.host_ports().eq([port]), "{rule}");
        assert!(!policy.may_resolve(), "{rule}");
        assert_eq!(policy.without_host_ports(), []);
    }
    let verdict = ask(&policy(&["http://localhost:3000"], &[]), "localhost", 3000, Other);
    assert_eq!(verdict.denied().map(|denied| denied.reason), Some(Reason::ProtocolNotAllowed));
}

#[test]
fn localhost_alone_needs_the_ports_from_elsewhere() {
    let errors = policy(&["localhost", "x.test"], &["localhost"]).without_host_ports();
    assert_eq!(errors.len(), 1);
    assert_eq!(
        errors[0].to_string(),
        "--allow-domains: \"localhost\" opens no port of this host by itself; add --allow-host-ports, as in \
         `--allow-host-ports 3000,8080`, or write `localhost:3000`"
    );
    assert!(ask(&open(&["8000"], &["localhost"], &[]), "localhost", 8000, Other).is_allow());
    assert!(!ask(&open(&["8000"], &["localhost"], &[]), "localhost", 80, Http).is_allow());
    assert_eq!(open(&["8000"], &["localhost"], &[]).without_host_ports(), []);
    for text in ["a.localhost", "*.localhost", "*.localhost:3000", "\u{ff4c}ocalhost"] {
        assert_eq!(allow(text).unwrap_err().problem, Problem::Localhost, "{text}");
    }
    assert!(Rule::parse_address("localhost", List::Allow, super::FLAG).is_err());
}

#[test]
fn block_beats_host_ports() {
    for rule in
        ["localhost:8000", "host.docker.internal:8000", "127.0.0.1:8000", "[::1]:8000", "127.0.0.0/8:8000"]
    {
        let policy = open(&["8000-8001"], &[], &[rule]);
        for name in LOCAL {
            let verdict = ask(&policy, name, 8000, Other);
            assert_eq!(verdict.denied().map(|denied| denied.reason), Some(Reason::Blocked), "{rule} {name}");
            assert_eq!(policy.host_addresses(&host(name), 8000), None, "{rule} {name}");
            assert!(ask(&policy, name, 8001, Other).is_allow(), "{rule} {name}");
        }
    }
    assert!(!ask(&open(&["8000"], &[], &["localhost"]), "localhost", 8000, Other).is_allow());
}

/// The attack: a name that leads to loopback, which an address rule opens and a block rule shuts by its name.
#[test]
fn a_block_of_localhost_holds_for_addresses_that_names_lead_to() {
    for rule in ["localhost:8000", "host.docker.internal", "localhost"] {
        let policy = open(&[], &["evil.test:8000", "127.0.0.1:8000", "[::1]:8000"], &[rule]);
        for ip in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            let ip = ip.parse().unwrap();
            for verdict in [policy.may_dial(ip, 8000), policy.may_dial_own(ip, 8000)] {
                assert_eq!(verdict.map_err(|denied| denied.reason), Err(Reason::Blocked), "{rule} {ip}");
            }
            assert!(!policy.may_answer(ip), "{rule} {ip}");
        }
    }
    let policy = open(&[], &["127.0.0.1:8000"], &["localhost:8001"]);
    assert!(policy.may_dial([127, 0, 0, 1].into(), 8000).is_ok());
}

/// Entries of list files are read by a shorter way.
#[test]
fn a_list_file_names_the_hosts_loopback_too() {
    for line in
        ["host.docker.internal", "HOST.docker.internal", "localhost", "=host.docker.internal", "x.localhost"]
    {
        let text = bytes::Bytes::copy_from_slice(line.as_bytes());
        let mut builder = Builder::default();
        let added = builder.sheet("f", List::Allow, text.clone()).entry(0..text.len(), 1);
        let policy = builder.build();
        assert!(added.is_err() || policy.without_host_ports().len() == 1, "{line}");
        assert!(!policy.may_resolve(), "{line}");
    }
}

#[test]
fn the_names_of_the_host_exist_if_a_port_is_open() {
    let name = DomainName::parse("host.docker.internal").unwrap();
    assert!(open(&["8000"], &[], &[]).judge_name(&name).is_allow());
    let verdict = policy(&["docker.internal"], &[]).judge_name(&name);
    assert_eq!(verdict.denied().map(|denied| denied.reason), Some(Reason::HostPortRefused));
}

/// `--allow-ip` opens exactly what it says, and is no host port.
#[test]
fn an_address_rule_for_loopback_is_about_that_address() {
    let policy = policy(&["127.0.0.1:8080", "127.0.0.53:5353"], &[]);
    for (name, port, expected) in [
        ("127.0.0.1", 8080, true),
        ("127.0.0.1", 8081, false),
        ("127.0.0.53", 5353, true),
        ("127.0.0.53", 8080, false),
        ("::1", 8080, false),
        ("0.0.0.0", 8080, false),
        ("localhost", 8080, false),
    ] {
        assert_eq!(ask(&policy, name, port, Other).is_allow(), expected, "{name}:{port}");
        assert_eq!(policy.host_addresses(&host(name), port), None);
    }
    assert_eq!(policy.host_ports().next(), None);
}
