//! The questions of the data path, for whoever asks them: the proxy of a connection, `awf-bpf check` of a target.

use std::{net::IpAddr, sync::Arc};

use super::{
    Denied, Host, Policy, Protocol, Reason, RequestTarget, Target, UrlPass, UrlRequest, Verdict, host_ports,
};

/// An allowed way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Who is dialled: what the rule allows, by name wherever there is one.
    pub dial: Host,
    pub port: u16,
    /// As the user wrote it.
    pub rule: Arc<str>,
    /// Only certain URLs may be asked for there: what is not a request that [`Policy::decide_url`] has judged is refused.
    pub urls: bool,
}

impl Policy {
    /// Whether, and by which rule, `protocol` may be spoken to `named` on `port`. `at`: the address that the
    /// command dialled, which an address rule may allow where the name is not allowed; without a name it is all
    /// there is.
    ///
    /// # Errors
    /// The refusal.
    pub fn decide(
        &self,
        named: Option<&Host>,
        at: Option<IpAddr>,
        port: u16,
        protocol: Protocol,
    ) -> Result<Route, Denied> {
        // Both are the host's loopback: the address says which family was asked for.
        let by_family = at.is_some_and(host_ports::is_local_ip) && named.is_some_and(host_ports::is_local);
        let named = named.filter(|_| !by_family);
        let by_name = named.map(|host| self.route(host, port, protocol));
        // Whoever knows an address of such a host has no way around its URL rules.
        let filtered = named.is_some_and(|host| self.filters_urls(host, port));
        match (by_name, at.map(Host::from)) {
            (Some(Err(denied)), Some(at)) if denied.reason != Reason::Blocked && !filtered => {
                self.route(&at, port, protocol).map_err(|by_address| match by_address.reason {
                    Reason::Blocked => by_address,
                    _ => denied,
                })
            }
            (Some(verdict), _) => verdict,
            (None, Some(at)) => {
                let judged = self.route(&at, port, protocol);
                judged.map_err(|denied| if host_ports::is_local(&at) { denied } else { nameless(denied) })
            }
            (None, None) => Err(Denied {
                reason: Reason::NoName,
                rule: None,
                message: "the request names no host".to_owned(),
                allow_with: None,
            }),
        }
    }

    /// What of a request for `named` is sent along `route`: its target in normal form if URL rules are about either of
    /// the two, whose rule `route` then has; else `None`, and the target may be anything.
    ///
    /// # Errors
    /// The refusal.
    pub fn decide_url(
        &self,
        named: Option<&Host>,
        route: &mut Route,
        (protocol, method, target): (Protocol, &str, &str),
    ) -> Result<Option<RequestTarget>, Denied> {
        let dialled = route.dial.clone();
        let mut sent = None;
        for host in named.into_iter().filter(|named| **named != dialled).chain([&dialled]) {
            let request = UrlRequest { host, port: route.port, protocol, method, target };
            if let Some(UrlPass { rule, target }) = self.judge_url(&request)? {
                route.rule = rule;
                sent = Some(target);
            }
        }
        Ok(sent)
    }

    /// Whether anything at all may be spoken to `host` on `port`: the first route found, else the refusal of what
    /// that port is usually for.
    ///
    /// # Errors
    /// The refusal.
    pub fn decide_any(&self, host: &Host, port: u16) -> Result<Route, Denied> {
        let usual = if port == 80 { Protocol::Http } else { Protocol::Tls };
        let denied = match self.route(host, port, usual) {
            Ok(route) => return Ok(route),
            Err(denied) => denied,
        };
        let mut protocols = [Protocol::Tls, Protocol::Http, Protocol::Other].into_iter();
        protocols.find_map(|protocol| self.route(host, port, protocol).ok()).ok_or(denied)
    }

    fn route(&self, host: &Host, port: u16, protocol: Protocol) -> Result<Route, Denied> {
        match self.judge(&Target { host, port, protocol }) {
            Verdict::Allow(allowed) => {
                let urls = self.filters_urls(host, port);
                Ok(Route { dial: host.clone(), port, rule: allowed.rule, urls })
            }
            Verdict::Deny(denied) => Err(denied),
        }
    }
}

/// The refusal of a bare address, when what is really missing is a name.
fn nameless(by_address: Denied) -> Denied {
    if by_address.reason == Reason::Blocked {
        return by_address;
    }
    let message = format!("the connection carries no host name (no SNI, no Host); {}", by_address.message);
    Denied { reason: Reason::NoName, message, ..by_address }
}
