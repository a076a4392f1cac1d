//! HTTPS and SVCB records (RFC 9460) as the command may have them. Pure.
//!
//! They tell a client what to try first, so what the proxy must refuse is taken out: encrypted names (`ech`), HTTP/3,
//! ports, targets and addresses that are not allowed. A record that means another thing without what was taken
//! (`mandatory`, a port, the last protocol) is left out as a whole; a client falls back to addresses.

use std::net::IpAddr;

use hickory_proto::rr::{
    Name, RData, Record,
    rdata::{
        HTTPS, SVCB,
        svcb::{Alpn, IpHint, SvcParamKey, SvcParamValue},
    },
};

use crate::policy::{DomainName, Host, Policy};

/// The prefix of the ALPN names of HTTP/3 and its drafts: it runs over UDP.
const OVER_UDP: [&str; 2] = ["h3", "hq"];

/// Takes out of `records` what `policy` does not let the asker of `asked` have. Other records stay.
pub(super) fn filter(records: Vec<Record>, asked: &DomainName, policy: &Policy) -> Vec<Record> {
    let one = |mut record: Record| {
        record.data = match record.data {
            RData::HTTPS(HTTPS(data)) => RData::HTTPS(HTTPS(service(data, &record.name, asked, policy)?)),
            RData::SVCB(data) => RData::SVCB(service(data, &record.name, asked, policy)?),
            other => other,
        };
        Some(record)
    };
    if !records.iter().any(is_service) {
        return records;
    }
    let kept: Vec<_> = records.into_iter().filter_map(one).collect();
    // The aliases alone would be no answer.
    if kept.iter().any(is_service) { kept } else { Vec::new() }
}

/// The addresses that the records of `records` hint at.
pub(super) fn hints(records: &[Record]) -> impl Iterator<Item = IpAddr> {
    let services = records.iter().filter_map(|record| match &record.data {
        RData::HTTPS(HTTPS(data)) | RData::SVCB(data) => Some(data),
        _ => None,
    });
    services.flat_map(|data| &data.svc_params).flat_map(|(_, value)| match value {
        SvcParamValue::Ipv4Hint(IpHint(list)) => list.iter().map(|a| IpAddr::V4(a.0)).collect(),
        SvcParamValue::Ipv6Hint(IpHint(list)) => list.iter().map(|a| IpAddr::V6(a.0)).collect(),
        _ => Vec::new(),
    })
}

fn is_service(record: &Record) -> bool {
    matches!(record.data, RData::HTTPS(_) | RData::SVCB(_))
}

fn service(mut data: SVCB, owner: &Name, asked: &DomainName, policy: &Policy) -> Option<SVCB> {
    if !is_target_allowed(&data.target_name, owner, asked, policy) {
        return None;
    }
    let had_alpn = has(&data, SvcParamKey::Alpn);
    data.svc_params = std::mem::take(&mut data.svc_params)
        .into_iter()
        .filter_map(|(key, value)| Some((key, param(value, policy)?)))
        .filter(|(key, _)| is_known(*key))
        .collect();
    for (_, value) in &data.svc_params {
        match value {
            SvcParamValue::Port(port) if !may_connect(asked, *port, policy) => return None,
            SvcParamValue::Mandatory(keys) if !keys.0.iter().all(|key| has(&data, *key)) => return None,
            _ => {}
        }
    }
    // Nothing but HTTP/3 was offered.
    if had_alpn && !has(&data, SvcParamKey::Alpn) && has(&data, SvcParamKey::NoDefaultAlpn) {
        return None;
    }
    Some(data)
}

/// The target is the owner itself, spelt or not, or a name that may be looked up.
fn is_target_allowed(target: &Name, owner: &Name, asked: &DomainName, policy: &Policy) -> bool {
    if target.is_root() || target == owner {
        return true;
    }
    DomainName::from_labels(target.iter())
        .is_ok_and(|name| name == *asked || policy.judge_name(&name).is_allow())
}

fn may_connect(asked: &DomainName, port: u16, policy: &Policy) -> bool {
    policy.decide_any(&Host::Name(asked.clone()), port).is_ok()
}

fn has(data: &SVCB, wanted: SvcParamKey) -> bool {
    data.svc_params.iter().any(|(key, _)| *key == wanted)
}

/// Keys whose meaning is known to be harmless, in the forms below.
fn is_known(key: SvcParamKey) -> bool {
    matches!(
        key,
        SvcParamKey::Mandatory
            | SvcParamKey::Alpn
            | SvcParamKey::NoDefaultAlpn
            | SvcParamKey::Port
            | SvcParamKey::Ipv4Hint
            | SvcParamKey::Ipv6Hint
    )
}

/// What of a parameter is left.
fn param(value: SvcParamValue, policy: &Policy) -> Option<SvcParamValue> {
    match value {
        SvcParamValue::Alpn(Alpn(mut names)) => {
            names.retain(|name| !OVER_UDP.iter().any(|over| name.starts_with(over)));
            (!names.is_empty()).then_some(SvcParamValue::Alpn(Alpn(names)))
        }
        SvcParamValue::Ipv4Hint(IpHint(mut list)) => {
            list.retain(|a| policy.may_answer(IpAddr::V4(a.0)));
            (!list.is_empty()).then_some(SvcParamValue::Ipv4Hint(IpHint(list)))
        }
        SvcParamValue::Ipv6Hint(IpHint(mut list)) => {
            list.retain(|a| policy.may_answer(IpAddr::V6(a.0)));
            (!list.is_empty()).then_some(SvcParamValue::Ipv6Hint(IpHint(list)))
        }
        SvcParamValue::EchConfigList(_) | SvcParamValue::Unknown(_) => None,
        other => Some(other),
    }
}

#[cfg(test)]
mod tests;
