//! The words of a refusal: why, the nearest rule, and the flag to paste.

use std::{fmt, net::IpAddr};

use super::{
    AddressClass, Denied, DomainName, Host, Policy, Protocol, Reason, Target, Verdict,
    index::Hit,
    parse::{rule_for_ip, rule_for_name},
    rule::{Scheme, WEB_PORTS},
};

pub(super) fn blocked(host: impl fmt::Display, rule: Hit<'_>) -> Denied {
    Denied {
        reason: Reason::Blocked,
        rule: Some(rule.text()),
        message: format!("{host} is blocked by the rule {rule}; a block rule beats every allow rule"),
        allow_with: None,
    }
}

/// `nearest`: of the allow rules about the host, none of which allows this port and protocol.
pub(super) fn not_allowed(policy: &Policy, target: &Target<'_>, nearest: Option<Hit<'_>>) -> Denied {
    let Target { host, port, protocol } = *target;
    let mut denied = match (nearest, host) {
        (Some(rule), _) => wrong_service(target, rule),
        (None, Host::Name(name)) => unknown_name(policy, name),
        (None, Host::Ip(ip)) => unknown_address(*ip),
    };
    denied.allow_with = allow_with(host, port, protocol).filter(|_| !is_no_rules(host));
    denied
}

/// A rule is about the host, but on another port or for another protocol.
fn wrong_service(target: &Target<'_>, rule: Hit<'_>) -> Denied {
    let Target { host, port, protocol } = *target;
    let service = rule.service();
    let explicit = matches!(service.scheme, Scheme::Https | Scheme::Http);
    let wrong_protocol = !service.allows_protocol(protocol);
    let reason = if wrong_protocol && (explicit || service.allows_port(port)) {
        Reason::ProtocolNotAllowed
    } else {
        Reason::PortNotAllowed
    };
    let message = format!(
        "{} to {host} port {port} is not allowed: the rule {rule} is about {service}",
        spoken(protocol)
    );
    Denied { reason, rule: Some(rule.text()), message, allow_with: None }
}

/// No allow rule matches the name.
pub(super) fn unknown_name(policy: &Policy, name: &DomainName) -> Denied {
    let (rule, message) = if policy.allows_nothing_alone() {
        (None, format!("{name} is not allowed: the policy allows nothing"))
    } else if let Some(rule) = policy.allow.neighbour(name) {
        (Some(rule.text()), format!("{name} is not allowed: the rule {rule} does not match it"))
    } else {
        (None, format!("{name} is not allowed: no rule names it"))
    };
    let allow_with = rule_for_name(name, "", "").map(|rule| format!("--allow-domains {rule}"));
    Denied { reason: Reason::NotInAllowlist, rule, message, allow_with }
}

fn unknown_address(ip: IpAddr) -> Denied {
    Denied {
        reason: Reason::AddressNotAllowed,
        rule: None,
        message: format!(
            "{ip} is not allowed: no rule names this address, and rules for names say nothing of it"
        ),
        allow_with: None,
    }
}

/// A name leads to an address that names must not lead to.
pub(super) fn forbidden(ip: IpAddr, port: u16, class: AddressClass) -> Denied {
    let host = Host::Ip(ip);
    // A public address is forbidden for one reason only.
    let what = if class.is_global() { "an address of this host".to_owned() } else { class.to_string() };
    let remedy = match class {
        AddressClass::Loopback | AddressClass::Unspecified => {
            "no other name leads there; this host's services are `localhost`".to_owned()
        }
        AddressClass::Multicast => "nothing can connect to it".to_owned(),
        _ => format!("it is dialled only if a rule names the address and port {port}"),
    };
    Denied {
        reason: Reason::ForbiddenAddress,
        rule: None,
        message: format!("{ip} is {what}; {remedy}"),
        allow_with: allow_with(&host, port, Protocol::Tls).filter(|_| !is_no_rules(&host)),
    }
}

/// Nobody should paste a way to the machine's credentials, and no address rule leads to loopback.
fn is_no_rules(host: &Host) -> bool {
    let class =
        |ip: &IpAddr| matches!(AddressClass::of(*ip), AddressClass::Metadata | AddressClass::Loopback);
    matches!(host, Host::Ip(ip) if class(ip))
}

/// The flag that allows exactly this; the tests parse it and judge again.
fn allow_with(host: &Host, port: u16, protocol: Protocol) -> Option<String> {
    let web = WEB_PORTS.contains(&port);
    match host {
        Host::Name(name) => {
            let rule = match protocol {
                Protocol::Other if web => rule_for_name(name, &format!(":{port}"), "tcp://"),
                _ if web => rule_for_name(name, "", ""),
                _ => rule_for_name(name, &format!(":{port}"), ""),
            };
            rule.map(|rule| format!("--allow-domains {rule}"))
        }
        Host::Ip(ip) => {
            let text = rule_for_ip(*ip, Some(port).filter(|_| !web || protocol == Protocol::Other))?;
            let scheme = if web && protocol == Protocol::Other { "tcp://" } else { "" };
            Some(format!("--allow-ip {scheme}{text}"))
        }
    }
}

pub(super) fn spoken(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tls => "TLS",
        Protocol::Http => "clear-text HTTP",
        Protocol::Other => "a protocol that is neither TLS nor HTTP",
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow(allowed) => write!(f, "allowed by {}", allowed.rule),
            Self::Deny(denied) => f.write_str(&denied.message),
        }
    }
}
