//! Names and single rules.

use std::net::IpAddr;

use crate::policy::{
    DomainName, Host, List, Place, Policy, Protocol, Reason, Rule, Target,
    pattern::{Glob, Scope},
    rule::{Scheme, Subject},
};

const FLAG: Place = Place::Flag("--allow-domains");
/// Names that one input asks about.
const ASKED: usize = 16;

/// A name or an address that is read is written as it will be read again, in every form it comes in.
pub fn host(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        assert!(DomainName::from_wire(bytes).is_err());
        return;
    };
    let host = Host::parse(text);
    let Ok(name) = DomainName::parse(text) else {
        if let Ok(host) = host {
            assert_eq!(Host::parse(&host.to_string()), Ok(host), "{text:?}");
        }
        return;
    };
    assert_eq!(host, Ok(Host::Name(name.clone())), "{text:?}");
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    assert!(name.as_str().len() <= 253 && name.as_str().bytes().all(plain), "{name}");
    assert!(name.labels().all(|label| (1..=63).contains(&label.len())), "{name}");
    assert!(name.as_str().parse::<IpAddr>().is_err(), "{name}");
    assert_eq!(DomainName::parse(name.as_str()), Ok(name.clone()));
    assert_eq!(DomainName::from_labels(name.labels().map(str::as_bytes)), Ok(name.clone()));
    assert_eq!(DomainName::parse(&format!("{name}.").to_ascii_uppercase()), Ok(name.clone()));
    // What is ASCII is the name itself, but for case and one dot.
    if text.is_ascii() {
        assert_eq!(text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase(), name.as_str());
        assert_eq!(DomainName::from_wire(bytes), Ok(name));
    }
}

/// A rule that is read can be written so that it is read as the same, and is about what that says. `bytes`: the rule,
/// then a line for each name or address that is asked about.
pub fn rule(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let mut lines = text.split('\n');
    let text = lines.next().unwrap_or_default();
    let hosts: Vec<_> = lines.take(ASKED).filter_map(|line| Host::parse(line).ok()).collect();
    for list in [List::Allow, List::Block] {
        if let Ok(rule) = Rule::parse(text, list, FLAG) {
            check_rule(&rule, &hosts);
        }
    }
    if let Ok(rule) = Rule::parse_exact(text, List::Allow, FLAG) {
        check_rule(&rule, &hosts);
        // It is shown as what it is.
        let shown = Rule::parse(rule.text(), List::Allow, FLAG);
        assert_eq!(shown.map(|shown| shown.subject), Ok(rule.subject), "{text:?}");
    }
}

fn check_rule(rule: &Rule, hosts: &[Host]) {
    let written = written(rule);
    let again = Rule::parse(&written, rule.list, FLAG);
    let again = again.unwrap_or_else(|error| panic!("{rule} is read as {written:?}: {error}"));
    assert_eq!((&again.subject, again.service), (&rule.subject, rule.service), "{rule}: {written:?}");
    let policy = Policy::new([rule.clone()]);
    let bases = hosts.iter().cloned().chain(base(rule));
    for host in bases {
        check_host(rule, &policy, &host);
    }
}

/// The name that the rule is built on.
fn base(rule: &Rule) -> Option<Host> {
    match &rule.subject {
        Subject::Name(pattern) => Some(Host::Name(pattern.base.clone())),
        _ => None,
    }
}

fn check_host(rule: &Rule, policy: &Policy, host: &Host) {
    let meant = match (&rule.subject, host) {
        (Subject::Name(_), Host::Name(name)) => is_meant(rule, name.as_str()),
        (Subject::Net(net), Host::Ip(ip)) => {
            let bits = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => (u128::from(u32::from(ip)) << 96, true),
                IpAddr::V6(ip) => (u128::from(ip), false),
            };
            let ((net_bits, net_is_v4), (ip_bits, ip_is_v4)) = (bits(net.addr()), bits(*ip));
            let shift = 128 - u32::from(net.prefix_len());
            let same = net_bits.checked_shr(shift) == ip_bits.checked_shr(shift);
            net_is_v4 == ip_is_v4 && same
        }
        // Of the host's loopback there is more to say than a rule; see `host_ports`.
        (Subject::Local, _) => return,
        _ => false,
    };
    let ports = [rule.service.port.unwrap_or(443), 443, 80, 9];
    for (port, protocol) in
        ports.into_iter().flat_map(|port| [Protocol::Tls, Protocol::Http, Protocol::Other].map(|p| (port, p)))
    {
        let verdict = policy.judge(&Target { host, port, protocol });
        match rule.list {
            List::Allow => {
                let allowed = meant && is_open(rule, port, protocol);
                assert_eq!(verdict.is_allow(), allowed, "{rule}: {host}:{port} {protocol:?}: {verdict:?}");
            }
            List::Block => {
                let blocked = meant && rule.service.port.is_none_or(|own| own == port);
                let reason = verdict.denied().map(|denied| denied.reason);
                assert_eq!(reason == Some(Reason::Blocked), blocked, "{rule}: {host}:{port}: {verdict:?}");
            }
        }
    }
}

/// The table at [`crate::policy::rule::Service`], line by line.
fn is_open(rule: &Rule, port: u16, protocol: Protocol) -> bool {
    let web = protocol != Protocol::Other;
    match (rule.service.scheme, rule.service.port) {
        (Scheme::Web, None) => web && [80, 443].contains(&port),
        (Scheme::Https, own) => port == own.unwrap_or(443) && protocol == Protocol::Tls,
        (Scheme::Http, own) => port == own.unwrap_or(80) && protocol == Protocol::Http,
        (Scheme::Web, Some(own @ (80 | 443))) => port == own && web,
        (Scheme::Web | Scheme::Tcp, Some(own)) => port == own,
        (Scheme::Tcp, None) => false,
    }
}

/// The rule in the plainest form.
fn written(rule: &Rule) -> String {
    let scheme = match rule.service.scheme {
        Scheme::Web => "",
        Scheme::Https => "https://",
        Scheme::Http => "http://",
        Scheme::Tcp => "tcp://",
    };
    let port = rule.service.port.map_or_else(String::new, |port| format!(":{port}"));
    match &rule.subject {
        Subject::Name(pattern) => {
            let exact = if pattern.scope == Scope::Exact { "=" } else { "" };
            format!("{exact}{scheme}{}{port}", pattern_of(rule))
        }
        Subject::Net(net) if net.addr().is_ipv6() => {
            format!("{scheme}[{}]/{}{port}", net.addr(), net.prefix_len())
        }
        Subject::Net(net) => format!("{scheme}{net}{port}"),
        Subject::Local => format!("{scheme}localhost{port}"),
    }
}

/// The pattern of a rule for names.
fn pattern_of(rule: &Rule) -> String {
    let Subject::Name(pattern) = &rule.subject else { return String::new() };
    let before = match &pattern.scope {
        Scope::Tree | Scope::Exact => String::new(),
        Scope::Below => "*.".to_owned(),
        Scope::Labels { globs, deep } => {
            let globs = globs.iter().map(|glob: &Glob| format!("{}.", glob.as_str())).collect::<String>();
            format!("{}{globs}", if *deep { "*." } else { "" })
        }
    };
    format!("{before}{}", pattern.base)
}

/// Whether `name` belongs to the set that the rule's pattern describes.
fn is_meant(rule: &Rule, name: &str) -> bool {
    let pattern = pattern_of(rule);
    let exact = matches!(&rule.subject, Subject::Name(pattern) if pattern.scope == Scope::Exact);
    if !pattern.contains('*') {
        return name == pattern || !exact && name.ends_with(&format!(".{pattern}"));
    }
    let mut wanted: Vec<&str> = pattern.split('.').collect();
    let mut labels: Vec<&str> = name.split('.').collect();
    // A star alone, at the start, is one label or more.
    if wanted[0] == "*" {
        wanted.remove(0);
        if labels.len() <= wanted.len() {
            return false;
        }
        labels.drain(..labels.len() - wanted.len());
    }
    wanted.len() == labels.len() && wanted.iter().zip(&labels).all(|(w, l)| fits(w.as_bytes(), l.as_bytes()))
}

/// Whether a label fits, `*` standing for any characters: every way to read it is tried.
fn fits(wanted: &[u8], label: &[u8]) -> bool {
    match wanted {
        [] => label.is_empty(),
        [b'*', rest @ ..] => (0..=label.len()).any(|skip| fits(rest, &label[skip..])),
        [first, rest @ ..] => label.split_first().is_some_and(|(l, label)| l == first && fits(rest, label)),
    }
}
