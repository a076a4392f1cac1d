//! A policy narrowed by others, and the questions that are put to all of them: what one refuses is refused.

use std::{collections::HashSet, net::IpAddr, sync::Arc};

use super::{
    Chosen, Denied, DomainName, Host, Policy, Reason, Target, UrlPass, UrlRequest, UrlRule, Verdict,
};

impl Policy {
    /// What both allow. A block rule of either blocks, of a host that URL rules of either are about only those URLs are
    /// allowed, a port of the host's loopback is open if both open it. Where both allow, the rule that is named is this
    /// policy's; a refusal is told by the one that refuses.
    #[must_use]
    pub fn narrowed_by(&self, other: &Self) -> Self {
        let mut narrowed = self.clone();
        let own = self.own.iter().chain(&other.own).copied().collect::<Vec<_>>();
        narrowed.also.push(Arc::new(other.clone()));
        narrowed.with_own_addresses(own)
    }

    /// What narrows it, the first one first.
    pub fn narrowing(&self) -> impl Iterator<Item = &Self> {
        self.also.iter().map(|also| &**also)
    }

    /// `own`, this policy's answer, unless another one's is a refusal. That a rule blocks counts for more than that none
    /// allows, whoever says so: [`Policy::decide`] looks for no other way then.
    fn unless_denied(&self, own: Verdict, ask: impl Fn(&Self) -> Verdict) -> Verdict {
        let blocks = |verdict: &Verdict| verdict.denied().is_some_and(|d| d.reason == Reason::Blocked);
        let mut verdict = own;
        for also in &self.also {
            if blocks(&verdict) {
                break;
            }
            let other = ask(also);
            if verdict.is_allow() || blocks(&other) {
                verdict = if other.is_allow() { verdict } else { other };
            }
        }
        verdict
    }

    /// Whether the command may reach `target`. For a name this says nothing of its addresses:
    /// [`Policy::may_dial`] is asked for each before it is dialled.
    #[must_use]
    pub fn judge(&self, target: &Target<'_>) -> Verdict {
        self.unless_denied(self.judge_alone(target), |also| also.judge(target))
    }

    /// Whether some port and protocol of `name` is allowed, that is whether the name may be resolved.
    #[must_use]
    pub fn judge_name(&self, name: &DomainName) -> Verdict {
        self.unless_denied(self.judge_name_alone(name), |also| also.judge_name(name))
    }

    /// Whether the records of type `kind` (its IANA number) of `name` may be asked for; not for addresses and
    /// what belongs to them, of which [`Policy::judge_name`] decides.
    #[must_use]
    pub fn judge_record(&self, name: &DomainName, kind: u16) -> Verdict {
        self.unless_denied(self.judge_record_alone(name, kind), |also| also.judge_record(name, kind))
    }

    /// Whether an address that an allowed name resolved to (or an allowed literal) may be dialled.
    ///
    /// # Errors
    /// The refusal: a block rule covers it, or it is not a public address (or is this host's own) and no
    /// allow rule of addresses covers this port of it. A metadata service must be named alone (`/32`,
    /// `/128`): no network that happens to contain it opens it.
    pub fn may_dial(&self, ip: IpAddr, port: u16) -> Result<(), Denied> {
        self.may_dial_alone(ip, port)?;
        self.also.iter().try_for_each(|also| also.may_dial(ip, port))
    }

    /// Whether an address that is not public, or is this host's own, may be dialled: by an address rule only.
    ///
    /// # Errors
    /// As [`Policy::may_dial`].
    pub fn may_dial_own(&self, ip: IpAddr, port: u16) -> Result<(), Denied> {
        self.may_dial_own_alone(ip, port)?;
        self.also.iter().try_for_each(|also| also.may_dial_own(ip, port))
    }

    /// As [`Policy::may_dial`], of an address that no name stands for: URL rules for an address open it for requests
    /// that name it, which are judged, and not for names that lead there.
    ///
    /// # Errors
    /// As [`Policy::may_dial`].
    pub fn may_dial_literal(&self, ip: IpAddr, port: u16) -> Result<(), Denied> {
        self.may_dial_literal_alone(ip, port)?;
        self.also.iter().try_for_each(|also| also.may_dial_literal(ip, port))
    }

    /// Whether some port of `ip` may be dialled, that is whether the answer to a DNS query may name it.
    #[must_use]
    pub fn may_answer(&self, ip: IpAddr) -> bool {
        self.may_answer_alone(ip) && self.also.iter().all(|also| also.may_answer(ip))
    }

    /// Whether nothing at all is allowed.
    #[must_use]
    pub fn allows_nothing(&self) -> bool {
        self.allows_nothing_alone() || self.also.iter().any(|also| also.allows_nothing())
    }

    /// Whether some rule is about more than this host's loopback, so that there may be names to resolve.
    #[must_use]
    pub fn may_resolve(&self) -> bool {
        self.may_resolve_alone() && self.also.iter().all(|also| also.may_resolve())
    }

    /// Whether some allow rule is about `port`. Without one, nothing that a connection to it could name or speak
    /// would be allowed.
    #[must_use]
    pub fn knows_port(&self, port: u16) -> bool {
        self.knows_port_alone(port) && self.also.iter().all(|also| also.knows_port(port))
    }

    /// The open ports of the host's loopback; one may come twice.
    pub fn host_ports(&self) -> impl Iterator<Item = u16> {
        let open = |also: &Arc<Self>| also.host_ports().collect::<HashSet<_>>();
        let also: Vec<_> = self.also.iter().map(open).collect();
        self.host_ports_alone().filter(move |port| also.iter().all(|open| open.contains(port)))
    }

    /// Whether some port of the host's loopback may be open.
    #[must_use]
    pub fn opens_host(&self) -> bool {
        !self.host_grants().is_empty() && self.also.iter().all(|also| also.opens_host())
    }

    /// The addresses to dial for `host`, if it means the host's loopback and `port` of that is open: the family that
    /// was asked for first. A name that resolves to loopback does not mean it.
    #[must_use]
    pub fn host_addresses(&self, host: &Host, port: u16) -> Option<[IpAddr; 2]> {
        let addresses = self.host_addresses_alone(host, port)?;
        self.also.iter().all(|also| also.host_addresses(host, port).is_some()).then_some(addresses)
    }

    /// Whether of `host` on `port` only certain URLs may be asked for, so that every request must be seen.
    #[must_use]
    pub fn filters_urls(&self, host: &Host, port: u16) -> bool {
        self.filters_urls_alone(host, port) || self.also.iter().any(|also| also.filters_urls(host, port))
    }

    /// Whether URL rules allow `request`; `None` if there are none about its host and port.
    ///
    /// # Errors
    /// The refusal: [`Reason::Malformed`] for what cannot be judged, else [`Reason::UrlNotAllowed`].
    pub fn judge_url(&self, request: &UrlRequest<'_>) -> Result<Option<UrlPass>, Denied> {
        let mut pass = self.judge_url_alone(request)?;
        for also in &self.also {
            let other = also.judge_url(request)?;
            pass = pass.or(other);
        }
        Ok(pass)
    }

    /// The first URL rule that only interception can keep.
    #[must_use]
    pub fn secure_url_rule(&self) -> Option<&Arc<UrlRule>> {
        let also = || self.also.iter().find_map(|also| also.secure_url_rule());
        self.secure_url_rule_alone().or_else(also)
    }

    /// The refusal of TLS that nobody here can look into, to where only certain URLs are allowed.
    #[must_use]
    pub fn unseen(&self, host: &Host, port: u16) -> Denied {
        let also = || self.also.iter().find(|also| also.filters_urls(host, port));
        match also().filter(|_| !self.filters_urls_alone(host, port)) {
            Some(also) => also.unseen(host, port),
            None => self.unseen_alone(host, port),
        }
    }

    /// The parts of `name`; of a name that no rule is about, all of it is chosen. Of policies that differ, the one that
    /// writes out least counts: whoever may narrow must not have a say in what is charged.
    #[must_use]
    pub fn chosen<'a>(&self, name: &'a DomainName) -> Chosen<'a> {
        let all = self.also.iter().map(|also| also.chosen(name)).chain([self.chosen_alone(name)]);
        all.max_by_key(|chosen| chosen.part.len()).unwrap_or(Chosen {
            part: name.as_str(),
            owner: "",
            zone: None,
        })
    }
}
