//! Records beside addresses: by rule, filtered, bounded; and how much may be said inside of names.

use super::{super::Limits, lab::*, *};
use crate::policy::live::Process;

#[tokio::test]
async fn records_by_rule_are_passed_and_nothing_else_with_them() {
    let rules = ["TXT+MX:ok.up.test", "SRV:_imap._tcp.up.test", "TXT:big.up.test", "TXT:alias.up.test"];
    let lab = Lab::with(&rules, true, Limits::default()).await;
    for (name, kind, expected) in [
        ("ok.up.test.", RecordType::TXT, "v=spf1 -all"),
        ("ok.up.test.", RecordType::MX, "10 mail.elsewhere.test."),
        ("_Imap._TCP.up.test.", RecordType::SRV, "1 1 993 imap.elsewhere.test."),
    ] {
        let answer = lab.ask(name, kind).await;
        assert_eq!(data(&answer), [expected], "{name} {kind}: of its type only");
        assert_eq!(answer.answers[0].name.to_ascii(), name);
    }
    assert_eq!(lab.server.asked().len(), 3, "no target is looked up: {:?}", lab.server.asked());
    for (name, kind) in
        [("ok.up.test.", RecordType::A), ("ok.up.test.", RecordType::CAA), ("up.test.", RecordType::TXT)]
    {
        let answer = lab.ask(name, kind).await;
        assert_ne!(answer.metadata.response_code, ResponseCode::NoError, "{name} {kind}");
    }
    assert_eq!(lab.server.asked().len(), 3);
    // 25 KiB of text: what fits the bound.
    let big =
        ask_tcp(&mut lab.connect().await, &question("big.up.test.", RecordType::TXT, None)).await.unwrap();
    let big = Message::from_vec(&big).unwrap();
    assert!((60..=64).contains(&big.answers.len()), "{}", big.answers.len());
}

#[tokio::test]
async fn service_records_are_filtered_and_their_hints_remembered() {
    let lab = Lab::start().await;
    let answer = lab.ask("oK.up.test.", RecordType::HTTPS).await;
    let texts: Vec<_> = data(&answer).iter().map(|text| text.replace(',', "").trim().to_owned()).collect();
    assert_eq!(texts, ["1 . alpn=h2 ipv4hint=198.51.100.8"]);
    assert_eq!(answer.answers[0].name.to_ascii(), "oK.up.test.");
    let names = lab.stub.names_of(ips(&["198.51.100.8"])[0]);
    assert_eq!(
        names,
        [DomainName::parse("ok.up.test").unwrap()],
        "a client may connect there by the hint alone"
    );
    assert!(lab.stub.names_of(ips(&["10.0.0.1"])[0]).is_empty());
    let none = lab.ask("h3.up.test.", RecordType::HTTPS).await;
    assert_eq!((none.metadata.response_code, none.answers.len()), (ResponseCode::NoError, 0));
    assert_eq!(lab.server.asked(), ["ok.up.test. HTTPS", "h3.up.test. HTTPS"]);
}

/// A tunnel by the stub and by the proxy, which has the same budget: whoever asks, names that carry too much do not
/// leave.
#[tokio::test]
async fn a_tunnel_under_an_allowed_name_is_refused_as_such() {
    let lab = Lab::start().await;
    let label = |n: usize| format!("{:x}", n * 0x9e37_79b9).repeat(8)[..56].to_owned();
    let mut refused = 0;
    for n in 1..=80 {
        let answer = lab.ask(&format!("{}.up.test.", label(n)), RecordType::A).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
        refused += usize::from(lab.reasons().last() == Some(&"dns_tunnelling"));
    }
    let asked = lab.server.asked().len();
    assert!((20..60).contains(&asked) && asked + refused == 80, "{asked} left, {refused} were refused");
    let policy = lab.stub.policy.current();
    let by_proxy = DomainName::parse(&format!("{}.up.test", label(1000))).unwrap();
    let error = lab.stub.resolve(&by_proxy, policy.chosen(&by_proxy)).await.unwrap_err();
    assert!(matches!(error, ResolveError::Refused { reason, .. } if reason.as_str() == "dns_tunnelling"));
    assert_eq!(lab.server.asked().len(), asked);
    // By an upstream proxy, which looks names up in our place; what it knows it may be told again.
    assert!(matches!(
        lab.stub.may_tell(&by_proxy, &policy.chosen(&by_proxy)),
        Err(ResolveError::Refused { .. })
    ));
    let plain = DomainName::parse("up.test").unwrap();
    assert!((0..100).all(|_| lab.stub.may_tell(&plain, &policy.chosen(&plain)).is_ok()));
    // What was asked before is known, and short names are soon affordable; another domain is not concerned.
    lab.ask(&format!("{}.up.test.", label(1)), RecordType::A).await;
    assert_eq!(lab.server.asked().len(), asked, "from the cache");
}

/// One name on a thousand connections through an upstream proxy is one name.
#[tokio::test]
async fn a_name_told_to_an_upstream_proxy_is_charged_once() {
    let lab = Lab::start().await;
    let policy = lab.stub.policy.current();
    let may_tell = |name: &DomainName| lab.stub.may_tell(name, &policy.chosen(name)).is_ok();
    let name = DomainName::parse("registry.up.test").unwrap();
    assert!((0..10_000).all(|_| may_tell(&name)));
    let tunnel = |n: u32| {
        DomainName::parse(&format!("{:056x}.up.test", u128::from(n) * 0x9e37_79b9_7f4a_7c15)).unwrap()
    };
    let told = (0..500).filter(|n| may_tell(&tunnel(*n))).count();
    assert!(told < 200, "{told}");
}

/// The lab's command is process 7, which started at 100. What is known from before is answered to nobody else.
#[tokio::test]
async fn a_question_is_judged_by_the_policy_of_now_and_of_who_asks() {
    let lab = Lab::with(&[], true, Limits::default()).await;
    let code = async |name| lab.ask(name, RecordType::A).await.metadata.response_code;
    assert_eq!(code("ok.up.test.").await, ResponseCode::NXDomain);
    lab.stub.policy.set(policy_of(&["up.test"]));
    assert_eq!(code("ok.up.test.").await, ResponseCode::NoError);
    let own = |started| lab.stub.policy.set_for_process(Process { tgid: 7, started }, policy_of(&[]));
    own(99);
    assert_eq!(code("ok.up.test.").await, ResponseCode::NoError, "the policy of another process");
    own(100);
    assert_eq!(code("ok.up.test.").await, ResponseCode::NXDomain);
    assert_eq!(lab.server.asked(), ["ok.up.test. A"]);
}
