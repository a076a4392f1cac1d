//! The compiled policy and its questions.

use std::{collections::HashSet, net::IpAddr, sync::Arc};

use super::{
    AddressClass, Allowed, Denied, DomainName, Host, List, Protocol, Rule, Target, Verdict,
    address::carried_v4, explain, index::Index, rule::Subject,
};

/// What may be reached. Block rules beat allow rules, always; what no rule allows is refused.
///
/// Cheap to ask: a judgement is one hash probe a label of the name.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    pub(super) allow: Index,
    pub(super) block: Index,
    rules: Vec<Arc<Rule>>,
    /// The ports that allow rules are about.
    ports: HashSet<u16>,
    own: HashSet<IpAddr>,
}

/// Every protocol a connection may turn out to speak.
const PROTOCOLS: [Protocol; 3] = [Protocol::Tls, Protocol::Http, Protocol::Other];

impl Policy {
    /// Compiles rules; each knows its list.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        let rules: Vec<_> = rules.into_iter().map(Arc::new).collect();
        let of = |list| Index::new(rules.iter().filter(|rule| rule.list() == list).cloned());
        let allowing = rules.iter().filter(|rule| rule.list() == List::Allow);
        let ports = allowing.flat_map(|rule| rule.service.allowed_ports()).copied().collect();
        Self { allow: of(List::Allow), block: of(List::Block), rules, ports, own: HashSet::new() }
    }

    /// Adds this host's own addresses: a name may lead there by an address rule only, as with loopback.
    #[must_use]
    pub fn with_own_addresses(mut self, own: impl IntoIterator<Item = IpAddr>) -> Self {
        self.own.extend(own.into_iter().map(|ip| ip.to_canonical()));
        self
    }

    /// The rules in the order given.
    #[must_use]
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// Whether nothing at all is allowed.
    #[must_use]
    pub fn allows_nothing(&self) -> bool {
        !self.rules.iter().any(|rule| rule.list() == List::Allow)
    }

    /// Whether some allow rule is about `port`. Without one, nothing that a connection to it could name or speak
    /// would be allowed.
    #[must_use]
    pub fn knows_port(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }

    /// Whether the command may reach `target`. For a name this says nothing of its addresses:
    /// [`Policy::may_dial`] is asked for each before it is dialled.
    #[must_use]
    pub fn judge(&self, target: &Target<'_>) -> Verdict {
        if let Some(rule) = self.blocking(target.host, target.port) {
            return Verdict::Deny(explain::blocked(target.host, rule));
        }
        let allow = self.matching(target.host);
        match allow.iter().find(|rule| rule.service.allows(target.port, target.protocol)) {
            Some(rule) => Verdict::Allow(Allowed { rule: Arc::clone(rule.text()) }),
            None => Verdict::Deny(explain::not_allowed(self, target, &allow)),
        }
    }

    /// Whether some protocol would be allowed at `host:port`, for a CONNECT before anything was spoken. The
    /// refusal is the one TLS would get.
    #[must_use]
    pub fn judge_connect(&self, host: &Host, port: u16) -> Verdict {
        let of = |protocol| self.judge(&Target { host, port, protocol });
        let [tls, others @ ..] = PROTOCOLS.map(of);
        if tls.is_allow() {
            return tls;
        }
        others.into_iter().find(Verdict::is_allow).unwrap_or(tls)
    }

    /// Whether some port and protocol of `name` is allowed, that is whether the name may be resolved.
    #[must_use]
    pub fn judge_name(&self, name: &DomainName) -> Verdict {
        let host = Host::Name(name.clone());
        let mut blocked = None;
        for rule in self.allow.matching(name) {
            for &port in rule.service.allowed_ports() {
                match self.blocking(&host, port) {
                    None => return Verdict::Allow(Allowed { rule: Arc::clone(rule.text()) }),
                    Some(rule) => blocked = Some(rule),
                }
            }
        }
        // A block rule is worth naming also when nothing allows the name.
        let blocked = blocked.or_else(|| self.block.matching(name).find(|rule| rule.service.port.is_none()));
        Verdict::Deny(match blocked {
            Some(rule) => explain::blocked(&host, rule),
            None => explain::unknown_name(self, name),
        })
    }

    /// Whether an address that an allowed name resolved to (or an allowed literal) may be dialled.
    ///
    /// # Errors
    /// The refusal: a block rule covers it, or it is not a public address (or is this host's own) and no
    /// allow rule of addresses covers this port of it. A metadata service must be named alone (`/32`,
    /// `/128`): no network that happens to contain it opens it.
    pub fn may_dial(&self, ip: IpAddr, port: u16) -> Result<(), Denied> {
        let ip = ip.to_canonical();
        let host = Host::Ip(ip);
        if let Some(rule) = self.blocking(&host, port) {
            return Err(explain::blocked(&host, rule));
        }
        let class = AddressClass::of(ip);
        let own = self.own.contains(&ip);
        if class.is_global() && !own {
            return Ok(());
        }
        if self.matching(&host).iter().any(|rule| rule.service.allows_port(port)) {
            return Ok(());
        }
        Err(explain::forbidden(ip, port, class, own))
    }

    /// Whether some port of `ip` may be dialled, that is whether the answer to a DNS query may name it.
    #[must_use]
    pub fn may_answer(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let named =
            |rule: &&Arc<Rule>| rule.service.allowed_ports().iter().any(|&p| self.may_dial(ip, p).is_ok());
        let public = AddressClass::of(ip).is_global() && !self.own.contains(&ip);
        public || self.matching(&Host::Ip(ip)).iter().any(named)
    }

    /// The first block rule about `host:port`. An address is also blocked by what it carries (NAT64, 6to4).
    fn blocking<'a>(&'a self, host: &'a Host, port: u16) -> Option<&'a Arc<Rule>> {
        let about = |rule: &&Arc<Rule>| rule.service.blocks(port);
        match host {
            Host::Name(name) => self.block.matching(name).find(about),
            Host::Ip(ip) => views(ip.to_canonical()).find_map(|ip| self.block.covering(ip).find(about)),
        }
    }

    /// The allow rules about `host`, nearest first, whatever their ports.
    pub(super) fn matching<'a>(&'a self, host: &'a Host) -> Vec<&'a Arc<Rule>> {
        match host {
            Host::Name(name) => self.allow.matching(name).collect(),
            Host::Ip(ip) => {
                let ip = ip.to_canonical();
                let alone = AddressClass::of(ip) == AddressClass::Metadata;
                self.allow.covering(ip).filter(|rule| !alone || names_one_address(rule)).collect()
            }
        }
    }
}

fn names_one_address(rule: &Rule) -> bool {
    matches!(&rule.subject, Subject::Net(net) if net.prefix_len() == net.max_prefix_len())
}

/// The address and the IPv4 addresses it carries.
fn views(ip: IpAddr) -> impl Iterator<Item = IpAddr> {
    let carried = match ip {
        IpAddr::V4(_) => [None, None],
        IpAddr::V6(ip) => carried_v4(ip),
    };
    std::iter::once(ip).chain(carried.into_iter().flatten().map(IpAddr::from))
}
