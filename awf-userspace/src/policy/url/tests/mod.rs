//! Tests of URL rules, by part; here what they share.

mod glob;
mod grammar;
mod judge;
mod normal;
mod random;
mod readings;

use super::*;
use crate::policy::{Builder, Denied, Host, List, Place, Policy, Protocol, Rule};

/// A policy of domain rules and URL rules.
fn policy(domains: &[&str], urls: &[&str]) -> Policy {
    let mut builder = Builder::default();
    for text in domains {
        builder.rule(Rule::parse(text, List::Allow, Place::Flag("--allow-domains")).unwrap());
    }
    for text in urls {
        builder
            .url(UrlRule::parse(text, Place::Flag("--allow-urls")).unwrap_or_else(|error| panic!("{error}")));
    }
    builder.build()
}

/// What comes of `METHOD URL`, of a host that has URL rules.
fn ask(policy: &Policy, request: &str) -> Result<UrlPass, Denied> {
    let (method, url) = request.split_once(' ').unwrap();
    let (scheme, rest) = url.split_once("://").unwrap();
    let at = rest.find(['/', '*']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(at);
    let (host, port) = match authority.rsplit_once(':').filter(|_| !authority.ends_with(']')) {
        Some((host, port)) => (host, port.parse().unwrap()),
        None => (authority, if scheme == "https" { 443 } else { 80 }),
    };
    let host = Host::parse(host).unwrap();
    let protocol = if scheme == "https" { Protocol::Tls } else { Protocol::Http };
    let request = UrlRequest { host: &host, port, protocol, method, target };
    Ok(policy.judge_url(&request)?.expect("a URL rule about the host"))
}

/// Whether `rule` alone lets a GET for this path of x.test through.
fn matches(rule: &str, target: &str) -> bool {
    let policy = policy(&[], &[&format!("https://x.test{rule}")]);
    ask(&policy, &format!("GET https://x.test{target}")).is_ok()
}
