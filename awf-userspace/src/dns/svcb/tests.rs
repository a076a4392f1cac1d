//! What is left of service records, parameter by parameter.

use hickory_proto::rr::rdata::{
    A, AAAA,
    svcb::{EchConfigList, Mandatory, Unknown},
};

use super::*;
use crate::policy::{List, Place, Rule};

fn policy() -> Policy {
    let rules = ["x.test", "x.test:8443", "edge.test"];
    Policy::new(rules.map(|text| Rule::parse(text, List::Allow, Place::Flag("--allow-domains")).unwrap()))
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

type Params = Vec<(SvcParamKey, SvcParamValue)>;

/// What is left of a record of x.test, as text.
fn left(priority: u16, target: &str, params: Params) -> Option<String> {
    let data = SVCB::new(priority, name(target), params);
    let asked = DomainName::parse("x.test").unwrap();
    let texts = [RData::SVCB(data.clone()), RData::HTTPS(HTTPS(data))].map(|data| {
        let record = Record::from_rdata(name("x.test."), 60, data);
        filter(vec![record], &asked, &policy()).first().map(|record| record.data.to_string())
    });
    assert_eq!(texts[0], texts[1], "both types are one format");
    // hickory ends each list of values with a comma.
    texts[0].as_ref().map(|text| text.trim().replace(",", ""))
}

fn alpn(names: &[&str]) -> (SvcParamKey, SvcParamValue) {
    (SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(names.iter().map(ToString::to_string).collect())))
}

fn hint4(last: &[[u8; 4]]) -> (SvcParamKey, SvcParamValue) {
    let list = last.iter().map(|o| A::new(o[0], o[1], o[2], o[3])).collect();
    (SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(list)))
}

fn mandatory(keys: &[SvcParamKey]) -> (SvcParamKey, SvcParamValue) {
    (SvcParamKey::Mandatory, SvcParamValue::Mandatory(Mandatory(keys.to_vec())))
}

const NO_DEFAULT: (SvcParamKey, SvcParamValue) = (SvcParamKey::NoDefaultAlpn, SvcParamValue::NoDefaultAlpn);

fn port(port: u16) -> (SvcParamKey, SvcParamValue) {
    (SvcParamKey::Port, SvcParamValue::Port(port))
}

fn ech() -> (SvcParamKey, SvcParamValue) {
    (SvcParamKey::EchConfigList, SvcParamValue::EchConfigList(EchConfigList(vec![0, 4, 1, 2, 3, 4])))
}

#[test]
fn encrypted_names_and_http3_are_taken_out() {
    let hints = hint4(&[[198, 51, 100, 1]]);
    assert_eq!(
        left(1, ".", vec![alpn(&["h3", "h2", "h3-29"]), hints, ech()]).unwrap(),
        "1 . alpn=h2 ipv4hint=198.51.100.1"
    );
    assert_eq!(left(1, ".", vec![ech()]).unwrap(), "1 .");
    assert_eq!(left(1, ".", vec![alpn(&["h3"])]).unwrap(), "1 .", "HTTP/1.1 is there without a word");
    assert_eq!(left(1, ".", vec![alpn(&["h3"]), NO_DEFAULT]), None, "nothing but HTTP/3");
    assert!(left(1, ".", vec![alpn(&["h2"]), NO_DEFAULT]).is_some());
    let odd = (SvcParamKey::Unknown(7), SvcParamValue::Unknown(Unknown(vec![1, 2, 3])));
    assert_eq!(left(1, ".", vec![odd]).unwrap(), "1 .", "a key nobody here knows");
}

#[test]
fn hints_are_addresses_like_any_other() {
    let hints = hint4(&[[10, 0, 0, 1], [198, 51, 100, 1], [169, 254, 169, 254]]);
    assert_eq!(left(1, ".", vec![hints]).unwrap(), "1 . ipv4hint=198.51.100.1");
    assert_eq!(left(1, ".", vec![hint4(&[[127, 0, 0, 1]])]).unwrap(), "1 .");
    let six =
        IpHint(vec![AAAA::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)]);
    let six = (SvcParamKey::Ipv6Hint, SvcParamValue::Ipv6Hint(six));
    assert_eq!(left(1, ".", vec![six]).unwrap(), "1 . ipv6hint=2001:db8::1");
}

#[test]
fn targets_and_ports_must_be_allowed() {
    for (priority, target, kept) in [
        (0, "edge.test.", true),
        (0, "x.test.", true),
        (0, "a.x.test.", true),
        (0, "evil.test.", false),
        (1, "X.test.", true),
        (1, "evil.test.", false),
        (1, "1.2.3.4.", false),
    ] {
        assert_eq!(left(priority, target, vec![]).is_some(), kept, "{priority} {target}");
    }
    assert_eq!(left(1, ".", vec![port(8443)]).unwrap(), "1 . port=8443");
    assert!(left(1, ".", vec![port(443)]).is_some());
    assert_eq!(left(1, ".", vec![port(8444)]), None);
}

#[test]
fn a_record_that_needs_what_was_taken_is_left_out() {
    assert_eq!(left(1, ".", vec![mandatory(&[SvcParamKey::EchConfigList]), ech()]), None);
    assert_eq!(left(1, ".", vec![mandatory(&[SvcParamKey::Ipv4Hint]), hint4(&[[10, 0, 0, 1]])]), None);
    assert!(left(1, ".", vec![mandatory(&[SvcParamKey::Alpn]), alpn(&["h2", "h3"])]).is_some());
}
