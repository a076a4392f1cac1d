//! URL rules by the hosts that they are about.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use super::UrlRule;
use crate::policy::{Builder, DomainName, Host, Policy, Protocol, rule::Subject, rule::WEB_PORTS};

/// The rules of `--allow-urls`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Urls {
    by_base: HashMap<DomainName, Vec<Arc<UrlRule>>>,
    by_address: HashMap<IpAddr, Vec<Arc<UrlRule>>>,
    local: Vec<Arc<UrlRule>>,
    all: Vec<Arc<UrlRule>>,
}

impl Urls {
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Adds a rule; whether it is the first about these hosts, on this port, in this scheme.
    fn add(&mut self, rule: &Arc<UrlRule>) -> bool {
        let same = match &rule.subject {
            Subject::Name(pattern) => self.by_base.entry(pattern.base.clone()).or_default(),
            Subject::Net(net) => self.by_address.entry(net.addr().to_canonical()).or_default(),
            Subject::Local => &mut self.local,
        };
        let first = !same.iter().any(|old| old.subject == rule.subject && old.service == rule.service);
        same.push(Arc::clone(rule));
        self.all.push(Arc::clone(rule));
        first
    }

    /// The rules about `host`, on whatever port.
    fn about<'a>(&'a self, host: &'a Host) -> impl Iterator<Item = &'a Arc<UrlRule>> {
        let (name, ip) = match host {
            Host::Name(name) => (Some(name), None),
            Host::Ip(ip) => (None, Some(ip.to_canonical())),
        };
        let any = !self.is_empty();
        let named = name.filter(|_| any).into_iter().flat_map(DomainName::suffixes);
        let named = named.filter_map(|suffix| self.by_base.get(suffix));
        let addressed = ip.filter(|_| any).and_then(|ip| self.by_address.get(&ip));
        let all = named.chain(addressed).chain([&self.local]).flatten();
        all.filter(|rule| rule.names(host))
    }

    /// The rules about `host` on `port`.
    pub(super) fn on<'a>(&'a self, host: &'a Host, port: u16) -> impl Iterator<Item = &'a Arc<UrlRule>> {
        self.about(host).filter(move |rule| rule.port() == port)
    }

    /// Whether a rule for the whole host that names neither scheme nor port says nothing of `port`: URL rules are about
    /// the other port of the web only, and what they close there must not be open here.
    pub(crate) fn narrow(&self, host: &Host, port: u16) -> bool {
        let Some(other) = WEB_PORTS.iter().find(|web| **web != port) else { return false };
        WEB_PORTS.contains(&port)
            && self.on(host, port).next().is_none()
            && self.on(host, *other).next().is_some()
    }
}

impl Builder {
    /// Adds a URL rule. By it alone its host may be resolved and dialled.
    pub fn url(&mut self, rule: UrlRule) {
        let rule = Arc::new(rule);
        if self.urls.add(&rule) {
            self.rule(rule.opening());
        }
    }
}

impl Policy {
    /// [`Policy::filters_urls`] by these rules alone.
    pub(in crate::policy) fn filters_urls_alone(&self, host: &Host, port: u16) -> bool {
        self.urls.on(host, port).next().is_some()
    }

    /// The URL rules in the order given.
    #[must_use]
    pub fn url_rules(&self) -> &[Arc<UrlRule>] {
        &self.urls.all
    }

    /// [`Policy::secure_url_rule`] by these rules alone.
    pub(in crate::policy) fn secure_url_rule_alone(&self) -> Option<&Arc<UrlRule>> {
        self.urls.all.iter().find(|rule| rule.protocol() == Protocol::Tls)
    }
}
