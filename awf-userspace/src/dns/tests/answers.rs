//! Every prefix and every changed byte of answers as servers give them: nothing that must be filtered passes.

use hickory_proto::rr::{Name, RData, rdata::HTTPS};

use super::{
    super::upstream::{Found, read_answer},
    lab::*,
    *,
};
use crate::{
    dns::{answer, svcb},
    policy::Policy,
};

/// The answers of the lab's server to the question that is asked here.
fn recorded(name: &str, kind: RecordType) -> Vec<u8> {
    let (note, _) = tokio::sync::watch::channel(Vec::new());
    zone(&question(name, kind, None), &note).unwrap().to_vec().unwrap()
}

/// What would be passed on of `bytes`, checked record by record.
fn survive(bytes: &[u8], name: &str, kind: RecordType, policy: &Policy) -> usize {
    let Ok(message) = Message::from_vec(bytes) else { return 0 };
    let asked = Name::from_ascii(name).unwrap();
    let Ok(Found::Records(records)) = read_answer(&asked, kind, &message) else { return 0 };
    let domain = DomainName::parse(name).unwrap();
    let mut kept = svcb::filter(records, &domain, policy);
    answer::retain_addresses(&mut kept, |ip| policy.may_answer(ip));
    for record in &kept {
        let is_asked = record.record_type() == kind || record.record_type() == RecordType::CNAME;
        assert!(is_asked && (5..=300).contains(&record.ttl), "{record:?}");
        assert!(record.data.ip_addr().is_none_or(|ip| policy.may_answer(ip)), "{record:?}");
        if let RData::HTTPS(HTTPS(service)) = &record.data {
            let text = service.to_string();
            assert!(!text.contains("ech") && !text.contains("h3") && !text.contains("key"), "{text}");
            let target = service.target_name.to_ascii();
            assert!(target == "." || target.to_ascii_lowercase().ends_with("up.test."), "{text}");
        }
    }
    assert!(svcb::hints(&kept).all(|ip| policy.may_answer(ip)));
    kept.len()
}

#[test]
fn no_changed_answer_passes_what_must_not() {
    let policy = policy_of(&["up.test"]);
    let mut passed = 0;
    for (name, kind) in [
        ("alias.up.test.", RecordType::A),
        ("mixed.up.test.", RecordType::A),
        ("ok.up.test.", RecordType::AAAA),
        ("ok.up.test.", RecordType::HTTPS),
        ("ok.up.test.", RecordType::TXT),
        ("missing.up.test.", RecordType::A),
    ] {
        let answer = recorded(name, kind);
        for length in 0..answer.len() {
            survive(&answer[..length], name, kind, &policy);
        }
        let mut changed = answer.clone();
        for at in 0..answer.len() {
            for value in 0..=u8::MAX {
                changed[at] = value;
                passed += usize::from(survive(&changed, name, kind, &policy) > 0);
            }
            changed[at] = answer[at];
        }
    }
    assert!(passed > 10_000, "most changes leave something that may pass: {passed}");
}
