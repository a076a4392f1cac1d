//! Which ports of the host's loopback are open, by which flag or rule, and the verdicts on what means it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
    sync::Arc,
};

use super::{
    Allowed, Denied, DomainName, Host, List, Policy, Protocol, Reason, Rule, RuleError, Target, Verdict,
    explain,
    host_ports::{flag_for, is_local, is_local_name},
    index::Hit,
    rule::{Scheme, Service},
};

/// Ports of the host's loopback, open by a flag or a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    ports: RangeInclusive<u16>,
    scheme: Scheme,
    rule: Arc<str>,
}

impl Grant {
    /// By `flag`, for any protocol.
    #[must_use]
    pub fn by_flag(flag: &str, ports: RangeInclusive<u16>) -> Self {
        let rule = if ports.start() == ports.end() {
            format!("{flag} {}", ports.start())
        } else {
            format!("{flag} {}-{}", ports.start(), ports.end())
        };
        Self { ports, scheme: Scheme::Tcp, rule: rule.into() }
    }

    /// The flag with its ports, or the rule, as written.
    #[must_use]
    pub fn rule(&self) -> &Arc<str> {
        &self.rule
    }

    /// Whether it is no rule's.
    pub(super) fn is_by_flag(&self) -> bool {
        self.rule.starts_with("--")
    }

    fn allows(&self, port: u16, protocol: Protocol) -> bool {
        let service = Service { scheme: self.scheme, port: Some(port) };
        self.ports.contains(&port) && service.allows_protocol(protocol)
    }
}

/// What is open of the host's loopback, and what rules block there.
#[derive(Clone, Debug, Default)]
pub(super) struct HostPorts {
    grants: Vec<Grant>,
    blocks: Vec<Rule>,
    /// Rules that only say what the grants open anyhow.
    bare: Vec<Rule>,
}

impl HostPorts {
    /// Adds a rule about the host's loopback.
    pub(super) fn rule(&mut self, rule: &Rule) {
        match (rule.list, rule.service.port) {
            (List::Block, _) => self.blocks.push(rule.clone()),
            (List::Allow, None) => self.bare.push(rule.clone()),
            (List::Allow, Some(port)) => {
                let (scheme, text) = (rule.service.scheme, Arc::clone(&rule.text));
                self.grants.push(Grant { ports: port..=port, scheme, rule: text });
            }
        }
    }

    /// The first block rule about `port`.
    pub(super) fn blocking(&self, port: u16) -> Option<&Rule> {
        self.blocks.iter().find(|rule| rule.service.blocks(port))
    }

    fn grant(&self, port: u16) -> Option<&Grant> {
        self.grants.iter().find(|grant| grant.ports.contains(&port))
    }
}

impl Policy {
    /// Opens ports of the host's loopback, beside those that rules open.
    #[must_use]
    pub fn with_host_ports(mut self, grants: impl IntoIterator<Item = Grant>) -> Self {
        self.host.grants.extend(grants);
        self
    }

    /// What is open of the host's loopback.
    #[must_use]
    pub fn host_grants(&self) -> &[Grant] {
        &self.host.grants
    }

    /// What is wrong with rules for `localhost` alone, if no port of the host is open.
    #[must_use]
    pub fn without_host_ports(&self) -> Vec<RuleError> {
        let bare = self.host.bare.iter().filter(|_| self.host.grants.is_empty());
        bare.map(Rule::opens_nothing).collect()
    }

    /// What is wrong with allow rules for addresses of loopback.
    #[must_use]
    pub fn own_loopback(&self) -> Vec<RuleError> {
        self.allow.whole().filter_map(|(_, rule)| rule.names_loopback()).collect()
    }

    /// [`Policy::host_ports`] by these rules alone.
    pub(super) fn host_ports_alone(&self) -> impl Iterator<Item = u16> {
        self.host.grants.iter().flat_map(|grant| grant.ports.clone())
    }

    /// [`Policy::host_addresses`] by these rules alone.
    pub(super) fn host_addresses_alone(&self, host: &Host, port: u16) -> Option<[IpAddr; 2]> {
        let open = is_local(host) && self.host.grant(port).is_some();
        if !open || self.blocking_local(host, port).is_some() {
            return None;
        }
        let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
        Some(if matches!(host, Host::Ip(IpAddr::V6(_))) { [v6, v4] } else { [v4, v6] })
    }

    /// The verdict for a target that means the host's loopback; `None` for any other, and for addresses that a rule
    /// of addresses is about.
    pub(super) fn judge_local(&self, target: &Target<'_>) -> Option<Verdict> {
        let Target { host, port, protocol } = *target;
        if !is_local(host) {
            return None;
        }
        if let Some(rule) = self.blocking_local(host, port) {
            return Some(Verdict::Deny(explain::blocked(host, rule)));
        }
        if let Some(grant) = self.host.grants.iter().find(|grant| grant.allows(port, protocol)) {
            return Some(Verdict::Allow(Allowed { rule: Arc::clone(&grant.rule) }));
        }
        let by_address = matches!(host, Host::Ip(ip) if self.matching_ip(*ip).next().is_some());
        (!by_address).then(|| Verdict::Deny(self.refuse_local(host, port, protocol)))
    }

    /// The verdict for the name of the host's loopback, whatever its port; `None` for any other.
    pub(super) fn judge_local_name(&self, name: &DomainName) -> Option<Verdict> {
        if !is_local_name(name) {
            return None;
        }
        let host = Host::Name(name.clone());
        let open = |grant: &&Grant| self.blocking_local(&host, *grant.ports.start()).is_none();
        Some(match self.host.grants.iter().find(open) {
            Some(grant) => Verdict::Allow(Allowed { rule: Arc::clone(&grant.rule) }),
            None => {
                let message = format!("{name} is this host, of which no port is open to the command");
                Verdict::Deny(Denied {
                    reason: Reason::HostPortRefused,
                    rule: None,
                    message,
                    allow_with: None,
                })
            }
        })
    }

    /// A block rule about the host's loopback, under whatever name or address.
    fn blocking_local<'a>(&'a self, host: &'a Host, port: u16) -> Option<Hit<'a>> {
        const V4: Host = Host::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        const V6: Host = Host::Ip(IpAddr::V6(Ipv6Addr::LOCALHOST));
        let by_name = self.host.blocking(port);
        by_name
            .map(Hit::Rule)
            .or_else(|| [host, &V4, &V6].into_iter().find_map(|host| self.blocking(host, port)))
    }

    fn refuse_local(&self, host: &Host, port: u16, protocol: Protocol) -> Denied {
        if let Some(grant) = self.host.grant(port) {
            let message = format!(
                "{} to {host} port {port} is not allowed: the rule {} is about {}",
                explain::spoken(protocol),
                grant.rule,
                Service { scheme: grant.scheme, port: Some(port) }
            );
            let (reason, rule) = (Reason::ProtocolNotAllowed, Some(Arc::clone(&grant.rule)));
            return Denied { reason, rule, message, allow_with: flag_for(port) };
        }
        let message = format!("port {port} of this host's loopback is not open to the command");
        Denied { reason: Reason::HostPortRefused, rule: None, message, allow_with: flag_for(port) }
    }
}
