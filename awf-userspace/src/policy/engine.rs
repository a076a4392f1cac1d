//! The compiled policy and its questions.

use std::{collections::HashSet, net::IpAddr, sync::Arc};

use super::{
    AddressClass, Allowed, Builder, Denied, DomainName, Host, Protocol, Reason, Rule, Target, Verdict,
    address::ends_at,
    explain,
    host_grants::HostPorts,
    host_ports::is_local_ip,
    index::{Hit, Index},
    records::Records,
    rule::Subject,
    url::Urls,
};

/// What may be reached. Block rules beat allow rules, always; what no rule allows is refused.
///
/// Cheap to ask: a judgement is one hash probe a label of the name.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    pub(super) allow: Arc<Index>,
    pub(super) block: Arc<Index>,
    /// The ports that allow rules are about.
    pub(super) ports: HashSet<u16>,
    pub(super) own: HashSet<IpAddr>,
    pub(super) host: HostPorts,
    pub(super) records: Records,
    pub(super) urls: Arc<Urls>,
    /// What each of these refuses is refused, too.
    pub(super) also: Vec<Arc<Self>>,
}

impl Policy {
    /// Compiles rules; each knows its list.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        let mut builder = Builder::default();
        rules.into_iter().for_each(|rule| builder.rule(rule));
        builder.build()
    }

    /// Adds this host's own addresses: a name may lead there by an address rule only, as with loopback.
    #[must_use]
    pub fn with_own_addresses(mut self, own: impl IntoIterator<Item = IpAddr>) -> Self {
        let own: Vec<_> = own.into_iter().map(|ip| ip.to_canonical()).collect();
        for also in &mut self.also {
            let narrower = Self::clone(also).with_own_addresses(own.iter().copied());
            *also = Arc::new(narrower);
        }
        self.own.extend(own);
        self
    }

    /// [`Policy::allows_nothing`] by these rules alone.
    pub(super) fn allows_nothing_alone(&self) -> bool {
        self.host_grants().is_empty() && self.allow.is_empty() && self.records.is_empty()
    }

    /// [`Policy::may_resolve`] by these rules alone.
    pub(super) fn may_resolve_alone(&self) -> bool {
        !self.records.is_empty()
            || !self.allow.lines.is_empty()
            || self.allow.whole().any(|(_, rule)| rule.subject != Subject::Local)
    }

    /// [`Policy::knows_port`] by these rules alone.
    pub(super) fn knows_port_alone(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }

    /// [`Policy::judge`] by these rules alone.
    pub(super) fn judge_alone(&self, target: &Target<'_>) -> Verdict {
        let verdict = self.judge_local(target).unwrap_or_else(|| self.judge_host(target));
        match &verdict {
            Verdict::Allow(_) if target.protocol == Protocol::Other => {
                self.only_urls(target).map_or(verdict, Verdict::Deny)
            }
            _ => verdict,
        }
    }

    fn judge_host(&self, target: &Target<'_>) -> Verdict {
        if let Some(rule) = self.blocking(target.host, target.port) {
            return Verdict::Deny(explain::blocked(target.host, rule));
        }
        // Of the rules about the host, one that has the port right is nearer than one that has only the host right.
        let (mut same_port, mut first) = (None, None);
        let (narrow, mut narrowed) = (self.urls.narrow(target.host, target.port), None);
        for rule in self.matching(target.host) {
            let service = rule.service();
            if service.allows(target.port, target.protocol) {
                if !(narrow && service.is_plain()) {
                    return Verdict::Allow(Allowed { rule: rule.text() });
                }
                narrowed = narrowed.or(Some(rule));
            }
            first = first.or(Some(rule));
            same_port = same_port.or(Some(rule).filter(|_| service.allows_port(target.port)));
        }
        Verdict::Deny(match narrowed {
            Some(rule) => self.other_port(target, rule),
            None => {
                let denied = explain::not_allowed(self, target, same_port.or(first));
                self.with_url_flag(target, denied)
            }
        })
    }

    /// The rule that allows `protocol` to `host:port`, with its place, for people to read; it does not say that no
    /// block rule is against it.
    #[must_use]
    pub fn allowing(&self, host: &Host, port: u16, protocol: Protocol) -> Option<String> {
        let mut rules = self.matching(host);
        rules.find(|rule| rule.service().allows(port, protocol)).map(|rule| rule.to_string())
    }

    /// [`Policy::judge_name`] by these rules alone.
    pub(super) fn judge_name_alone(&self, name: &DomainName) -> Verdict {
        if let Some(verdict) = self.judge_local_name(name) {
            return verdict;
        }
        let mut blocked = None;
        for rule in self.allow.matching(name) {
            for &port in rule.service().allowed_ports() {
                match self.blocking_name(name, port) {
                    None => return Verdict::Allow(Allowed { rule: rule.text() }),
                    Some(rule) => blocked = Some(rule),
                }
            }
        }
        // A block rule is worth naming also when nothing allows the name.
        let any_port = |rule: &Hit<'_>| rule.service().port.is_none();
        let blocked = blocked.or_else(|| self.block.matching(name).find(any_port));
        Verdict::Deny(match blocked {
            Some(rule) => explain::blocked(name, rule),
            None => explain::unknown_name(self, name),
        })
    }

    /// [`Policy::may_dial`] by these rules alone.
    pub(super) fn may_dial_alone(&self, ip: IpAddr, port: u16) -> Result<(), Denied> {
        let ip = ip.to_canonical();
        if let Some(rule) = self.blocking_ip(ip, port) {
            return Err(explain::blocked(ip, Hit::Rule(rule)));
        }
        if AddressClass::of(ip).is_global() && !self.is_own(ip) {
            return Ok(());
        }
        self.may_dial_own_alone(ip, port)
    }

    /// [`Policy::may_dial_own`] by these rules alone.
    pub(super) fn may_dial_own_alone(&self, ip: IpAddr, port: u16) -> Result<(), Denied> {
        let ip = ip.to_canonical();
        if let Some(rule) = self.blocking_ip(ip, port) {
            return Err(explain::blocked(ip, Hit::Rule(rule)));
        }
        if self.matching_ip(ip).any(|rule| !rule.for_urls && rule.service.allows_port(port)) {
            return Ok(());
        }
        Err(explain::forbidden(ip, port, AddressClass::of(ip)))
    }

    /// [`Policy::may_dial_literal`] by these rules alone.
    pub(super) fn may_dial_literal_alone(&self, ip: IpAddr, port: u16) -> Result<(), Denied> {
        let about = |rule: &Rule| rule.for_urls && rule.service.allows_port(port);
        match self.may_dial_alone(ip, port) {
            Err(denied) if denied.reason == Reason::ForbiddenAddress && self.matching_ip(ip).any(about) => {
                Ok(())
            }
            verdict => verdict,
        }
    }

    /// [`Policy::may_answer`] by these rules alone.
    pub(super) fn may_answer_alone(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let public = AddressClass::of(ip).is_global() && !self.is_own(ip);
        let may =
            |rule: &Rule| rule.service.allowed_ports().iter().any(|&p| self.may_dial_alone(ip, p).is_ok());
        public || self.matching_ip(ip).filter(|rule| !rule.for_urls).any(may)
    }

    /// Whether a packet to `ip` may end at an address that this host had at the start.
    fn is_own(&self, ip: IpAddr) -> bool {
        ends_at(ip).any(|ip| self.own.contains(&ip))
    }

    /// The first block rule about `host:port`.
    pub(super) fn blocking<'a>(&'a self, host: &'a Host, port: u16) -> Option<Hit<'a>> {
        match host {
            Host::Name(name) => self.blocking_name(name, port),
            Host::Ip(ip) => self.blocking_ip(*ip, port).map(Hit::Rule),
        }
    }

    fn blocking_name<'a>(&'a self, name: &'a DomainName, port: u16) -> Option<Hit<'a>> {
        self.block.matching(name).find(|rule| rule.service().blocks(port))
    }

    /// An address is also blocked by what it carries (NAT64, 6to4), and the host's loopback by its name.
    fn blocking_ip(&self, ip: IpAddr, port: u16) -> Option<&Rule> {
        let about = |rule: &&Rule| rule.service.blocks(port);
        ends_at(ip.to_canonical()).find_map(|ip| {
            let local = is_local_ip(ip).then(|| self.host.blocking(port)).flatten();
            local.or_else(|| self.block.covering(ip).find(about))
        })
    }

    /// The allow rules about `host`, nearest first, whatever their ports.
    fn matching<'a>(&'a self, host: &'a Host) -> impl Iterator<Item = Hit<'a>> {
        let (name, ip) = match host {
            Host::Name(name) => (Some(name), None),
            Host::Ip(ip) => (None, Some(*ip)),
        };
        let by_name = name.into_iter().flat_map(|name| self.allow.matching(name));
        by_name.chain(ip.into_iter().flat_map(|ip| self.matching_ip(ip)).map(Hit::Rule))
    }

    /// The allow rules about `ip`, most specific first, whatever their ports.
    pub(super) fn matching_ip(&self, ip: IpAddr) -> impl Iterator<Item = &Rule> {
        let ip = ip.to_canonical();
        let alone = AddressClass::of(ip) == AddressClass::Metadata;
        self.allow.covering(ip).filter(move |rule| !alone || names_one_address(rule))
    }
}

fn names_one_address(rule: &Rule) -> bool {
    matches!(&rule.subject, Subject::Net(net) if net.prefix_len() == net.max_prefix_len())
}
