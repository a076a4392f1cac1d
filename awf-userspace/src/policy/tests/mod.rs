//! Tests of the policy, by part; here what they share.

mod address;
mod grammar;
mod host_ports;
mod judge;
mod name;
mod narrow;
pub(crate) mod random;
mod records;
mod source;

use super::{Host, List, Place, Policy, Protocol, Rule, RuleError, Target, Verdict};

const FLAG: Place = Place::Flag("--allow-domains");

fn allow(text: &str) -> Result<Rule, RuleError> {
    Rule::parse(text, List::Allow, FLAG)
}

fn block(text: &str) -> Result<Rule, RuleError> {
    Rule::parse(text, List::Block, Place::Flag("--block-domains"))
}

pub(super) fn policy(allowed: &[&str], blocked: &[&str]) -> Policy {
    let allowed = allowed.iter().map(|text| allow(text).unwrap());
    let blocked = blocked.iter().map(|text| block(text).unwrap());
    Policy::new(allowed.chain(blocked).collect::<Vec<_>>())
}

fn ask(policy: &Policy, host: &str, port: u16, protocol: Protocol) -> Verdict {
    let host = Host::parse(host).unwrap();
    policy.judge(&Target { host: &host, port, protocol })
}

/// Whether `rule` alone allows TLS to `host` on 443.
fn matches(rule: &str, host: &str) -> bool {
    ask(&policy(&[rule], &[]), host, 443, Protocol::Tls).is_allow()
}
