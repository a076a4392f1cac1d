//! Whether a request for a URL is allowed, and in which form it is sent.

use std::sync::Arc;

use super::{RequestTarget, TargetError, UrlRule, readings::Reading};
use crate::policy::{
    Denied, Host, Policy, Protocol, Reason, Target,
    explain::spoken,
    index::Hit,
    parse::rule_for_name,
    rule::{Place, Scheme, Service},
};

/// What of a URL a message shows, in characters.
const SHOWN: usize = 200;

/// A request, as far as URL rules ask.
#[derive(Clone, Copy, Debug)]
pub struct UrlRequest<'a> {
    pub host: &'a Host,
    pub port: u16,
    /// [`Protocol::Tls`] of `https://`, else [`Protocol::Http`].
    pub protocol: Protocol,
    pub method: &'a str,
    /// Path and query as they were received.
    pub target: &'a str,
}

/// A request that URL rules allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlPass {
    /// As the user wrote it.
    pub rule: Arc<str>,
    /// What was judged and is to be sent in place of what was received.
    pub target: RequestTarget,
}

impl Policy {
    /// [`Policy::judge_url`] by these rules alone.
    pub(in crate::policy) fn judge_url_alone(
        &self,
        request: &UrlRequest<'_>,
    ) -> Result<Option<UrlPass>, Denied> {
        let about: Vec<_> = self.urls.on(request.host, request.port).collect();
        if about.is_empty() {
            return Ok(None);
        }
        if request.target == "*" {
            let message = format!(
                "{} * asks for no URL: of {} port {} only certain URLs are allowed",
                shown(request.method),
                request.host,
                request.port
            );
            return Err(refused(None, message));
        }
        let target = RequestTarget::parse(request.target).map_err(|error| malformed(request, &error))?;
        let readings = target.readings().map_err(|error| malformed(request, &error))?;
        let about = || about.iter().copied().filter(|rule| rule.protocol() == request.protocol);
        let mut readings = readings.iter();
        let Some(sent) = readings.next() else { return Err(malformed(request, &TargetError::Readings)) };
        let Some(rule) = about().find(|rule| rule.has_method(request.method) && rule.written.contain(sent))
        else {
            return Err(not_allowed(request, &target, sent, about()));
        };
        let allowed = |reading: &&Reading| {
            about().any(|rule| {
                rule.has_method(request.method) && rule.read.iter().any(|pages| pages.contain(reading))
            })
        };
        if let Some(other) = readings.find(|reading| !allowed(reading)) {
            return Err(misread(request, &target, other, rule));
        }
        Ok(Some(UrlPass { rule: Arc::clone(&rule.text), target }))
    }
}

impl Policy {
    /// The refusal of what is neither TLS nor HTTP to where only certain URLs are allowed.
    pub(in crate::policy) fn only_urls(&self, target: &Target<'_>) -> Option<Denied> {
        let Target { host, port, protocol } = *target;
        let rule = self.urls.on(host, port).next()?;
        let message = format!(
            "{} to {host} port {port} is not allowed: only certain URLs are, by the rule {rule}",
            spoken(protocol)
        );
        Some(refused(Some(rule), message))
    }

    /// The refusal of the port of the web that URL rules are not about. `rule`: the one for the whole host.
    pub(in crate::policy) fn other_port(&self, target: &Target<'_>, rule: Hit<'_>) -> Denied {
        let Target { host, port, protocol } = *target;
        let message = format!(
            "{} to {host} port {port} is not allowed: URL rules are about the host, and beside them the rule {rule} \
             opens no other port or scheme",
            spoken(protocol)
        );
        let denied =
            Denied { reason: Reason::UrlNotAllowed, rule: Some(rule.text()), message, allow_with: None };
        self.with_url_flag(target, denied)
    }

    /// `denied` with the flag that helps where URL rules are about the host: one for the whole host would not.
    pub(in crate::policy) fn with_url_flag(&self, target: &Target<'_>, denied: Denied) -> Denied {
        let Target { host, port, protocol } = *target;
        if !self.urls.narrow(host, port) && self.urls.on(host, port).next().is_none() {
            return denied;
        }
        let every = UrlRequest { host, port, protocol, method: "", target: "/**" };
        let base = match host {
            _ if protocol == Protocol::Other => None,
            Host::Name(name) => rule_for_name(name, &self::port(&every), scheme(&every)),
            Host::Ip(_) => Some(url(&every, "")),
        };
        Denied { allow_with: base.map(|base| format!("--allow-urls {base}/**")), ..denied }
    }

    /// [`Policy::unseen`] by these rules alone.
    pub(in crate::policy) fn unseen_alone(&self, host: &Host, port: u16) -> Denied {
        let rule = self.urls.on(host, port).next();
        let by = rule.map_or_else(String::new, |rule| format!(", by the rule {rule}"));
        let message = format!(
            "TLS to {host} port {port} is not allowed where awf-bpf cannot look into it (--tls on): only certain \
             URLs are{by}"
        );
        refused(rule, message)
    }
}

fn refused(rule: Option<&Arc<UrlRule>>, message: String) -> Denied {
    let rule = rule.map(|rule| Arc::clone(&rule.text));
    Denied { reason: Reason::UrlNotAllowed, rule, message, allow_with: None }
}

fn malformed(request: &UrlRequest<'_>, error: &TargetError) -> Denied {
    let message = format!(
        "the target of the request {error}; of {} port {} only certain URLs are allowed, and whether this is one \
         cannot be told",
        request.host, request.port
    );
    Denied { reason: Reason::Malformed, rule: None, message, allow_with: None }
}

/// No rule has the URL and the method.
fn not_allowed<'a>(
    request: &UrlRequest<'_>,
    target: &RequestTarget,
    sent: &Reading,
    about: impl Iterator<Item = &'a Arc<UrlRule>> + Clone,
) -> Denied {
    let what = format!("{} {}", shown(request.method), url(request, target.path()));
    let by_path = about.clone().find(|rule| rule.written.contain(sent));
    let by_query =
        about.clone().find(|rule| rule.has_method(request.method) && rule.written.path.matches(&sent.path));
    let nearest = about.max_by_key(|rule| rule.written.path.common(&sent.path));
    let (rule, message) = match (by_path, by_query, nearest) {
        (Some(rule), ..) => {
            (Some(rule), format!("{what} is not allowed: the rule {rule} is for {}", rule.methods.join(", ")))
        }
        (None, Some(rule), _) => {
            let with = target.query().map_or_else(String::new, |query| format!("?{query}"));
            let what = format!("{}{}", what, shown(&with));
            (Some(rule), format!("{what} is not allowed: the rule {rule} has another query"))
        }
        (None, None, Some(rule)) => {
            (Some(rule), format!("{what} is not allowed: no URL rule matches it, the nearest is {rule}"))
        }
        (None, None, None) => {
            (None, format!("{what} is not allowed: no URL rule is about {}", scheme(request)))
        }
    };
    Denied { allow_with: allow_with(request, target), ..refused(rule, message) }
}

/// A server may take the URL for another one, which no rule has.
fn misread(request: &UrlRequest<'_>, target: &RequestTarget, other: &Reading, rule: &Arc<UrlRule>) -> Denied {
    let message = format!(
        "{} {} is not allowed, although the rule {rule} matches it: some servers read it as {}, which no URL rule \
         matches",
        shown(request.method),
        url(request, target.path()),
        shown(&other.path)
    );
    Denied { allow_with: allow_with(request, target), ..refused(Some(rule), message) }
}

fn scheme(request: &UrlRequest<'_>) -> &'static str {
    if request.protocol == Protocol::Tls { "https://" } else { "http://" }
}

fn url(request: &UrlRequest<'_>, path: &str) -> String {
    let host = match request.host {
        Host::Ip(ip) if ip.is_ipv6() => format!("[{ip}]"),
        host => host.to_string(),
    };
    format!("{}{host}{}{}", scheme(request), port(request), shown(path))
}

/// The port, unless it is the scheme's.
fn port(request: &UrlRequest<'_>) -> String {
    let usual = if request.protocol == Protocol::Tls { 443 } else { 80 };
    if request.port == usual { String::new() } else { format!(":{}", request.port) }
}

fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown
}

/// The flag that allows exactly this path, with any query: a query is where secrets are. `None` if there is none that
/// can be pasted.
fn allow_with(request: &UrlRequest<'_>, target: &RequestTarget) -> Option<String> {
    let (scheme, port) = (scheme(request), port(request));
    let host = match request.host {
        Host::Name(name) => rule_for_name(name, &port, scheme)?,
        Host::Ip(_) => url(request, ""),
    };
    let path = target.path().replace(',', "%2C");
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/%@:+=".contains(c);
    let rule = format!("{host}{path}");
    if path.len() > SHOWN || !path.chars().all(plain) {
        return None;
    }
    let widened = UrlRule::parse(&rule, Place::Flag("--allow-urls")).ok()?;
    let readings = target.readings().ok()?;
    let all = readings.iter().all(|reading| widened.read.iter().any(|pages| pages.contain(reading)));
    (all && widened.names(request.host)).then(|| format!("--allow-urls {rule}"))
}

impl Service {
    /// Whether it is that of a rule that names neither scheme nor port.
    pub(in crate::policy) fn is_plain(self) -> bool {
        self.scheme == Scheme::Web && self.port.is_none()
    }
}
