//! Edits of the rules of a run.

use bytes::Bytes;

use super::*;
use crate::policy::{
    Builder, Change, DomainName, Edit, EditError, PolicySource, RecordRule, UrlRule, entries,
    host_ports::Grant,
};

fn strings(entries: &[&str]) -> Vec<String> {
    entries.iter().map(ToString::to_string).collect()
}

fn edit(
    source: &mut PolicySource,
    list: List,
    remove: bool,
    entries: &[&str],
) -> Result<(Policy, Vec<Change>), Vec<EditError>> {
    source.edit(&Edit { list, remove, entries: &strings(entries) })
}

fn is_allowed(policy: &Policy, host: &str) -> bool {
    ask(policy, host, 443, Protocol::Tls).is_allow()
}

/// Of everything a run can be started with.
fn started() -> Policy {
    let mut builder = Builder::default();
    builder.rule(allow("flag.test").unwrap());
    let text = "\u{feff}file.test, =exact.test # two\n\n198.51.100.7:443\nb\u{fc}cher.test,sub.file.test\n";
    for list in [List::Allow, List::Block] {
        let text = if list == List::Allow { text.to_owned() } else { "bad.file.test\nbad.test\n".to_owned() };
        let text = Bytes::from(text);
        let mut sheet = builder.sheet("list.txt", list, text.clone());
        for (line, range) in entries(&text) {
            sheet.entry(range.unwrap(), line).unwrap();
        }
    }
    builder.rule(block("blocked.flag.test").unwrap());
    builder.url(UrlRule::parse("https://url.test/ok/**", FLAG).unwrap());
    let record = RecordRule::parse("TXT+MX:flag.test", Place::Flag("--allow-dns")).unwrap();
    let grant = Grant::by_flag("--allow-host-ports", 3000..=3001);
    builder.build().with_records([record]).with_host_ports([grant]).with_own_addresses([own()])
}

fn own() -> std::net::IpAddr {
    "93.184.216.34".parse().unwrap()
}

#[test]
fn without_an_edit_the_policy_is_what_it_was() {
    let (before, after) = (started(), PolicySource::new(started(), true).policy());
    assert_eq!(before.shown(99), after.shown(99));
    let narrowed = started().narrowed_by(&policy(&["flag.test"], &[]));
    let after = PolicySource::new(narrowed.clone(), true).policy();
    assert_eq!(narrowed.shown(99), after.shown(99));
    assert!(!is_allowed(&after, "file.test") && after.may_dial(own(), 443).is_err());
}

#[test]
fn rules_are_added_and_taken_back() {
    let mut source = PolicySource::new(started(), true);
    let (policy, changes) =
        edit(&mut source, List::Allow, false, &["new.test, *.deep.test", "TXT:new.test", "flag.test"])
            .unwrap();
    let added = |text: &str| Change::Added(text.to_owned());
    let known = Change::Known("flag.test".to_owned());
    assert_eq!(changes, [added("new.test"), added("*.deep.test"), added("TXT:new.test"), known]);
    assert!(is_allowed(&policy, "new.test") && is_allowed(&policy, "a.deep.test"));
    assert!(policy.judge_record(&DomainName::parse("new.test").unwrap(), 16).is_allow());
    assert!(policy.shown(99).contains(&"allow      new.test (policy allow)".to_owned()));

    // Block beats allow, whichever came first.
    let (policy, _) = edit(&mut source, List::Block, false, &["new.test"]).unwrap();
    assert!(!is_allowed(&policy, "new.test"));
    let (policy, _) = edit(&mut source, List::Allow, false, &["www.new.test"]).unwrap();
    assert!(!is_allowed(&policy, "www.new.test"));
    let (policy, changes) = edit(&mut source, List::Block, true, &["NEW.test."]).unwrap();
    assert_eq!(changes, [Change::Removed("NEW.test.".to_owned())]);
    assert!(is_allowed(&policy, "new.test"));
    let (policy, _) = edit(&mut source, List::Allow, true, &["new.test", "TXT:new.test"]).unwrap();
    assert!(!is_allowed(&policy, "new.test") && is_allowed(&policy, "www.new.test"));
    assert!(!policy.judge_record(&DomainName::parse("new.test").unwrap(), 16).is_allow());
}

/// From flags, list files, as rules for URLs and records; what another one had made superfluous is a rule still.
#[test]
fn rules_from_the_start_are_taken_back() {
    let mut source = PolicySource::new(started(), true);
    let gone = ["flag.test", "file.test", "198.51.100.7:443", "xn--bcher-kva.test", "https://url.test/ok/**"];
    let (policy, _) = edit(&mut source, List::Allow, true, &gone).unwrap();
    for (host, allowed) in [
        ("flag.test", false),
        ("file.test", false),
        ("other.file.test", false),
        ("sub.file.test", true),
        ("exact.test", true),
        ("198.51.100.7", false),
        ("xn--bcher-kva.test", false),
        ("url.test", false),
    ] {
        assert_eq!(is_allowed(&policy, host), allowed, "{host}");
    }
    let (policy, _) = edit(&mut source, List::Allow, false, &["file.test"]).unwrap();
    assert!(is_allowed(&policy, "other.file.test") && !is_allowed(&policy, "bad.file.test"));
    let (policy, _) = edit(&mut source, List::Block, true, &["bad.file.test"]).unwrap();
    assert!(is_allowed(&policy, "bad.file.test"));
    let (policy, _) =
        edit(&mut source, List::Allow, true, &["MX+txt:flag.test".to_uppercase().as_str()]).unwrap();
    assert_eq!(policy.record_rules().len(), 0);
}

#[test]
fn an_edit_with_a_mistake_changes_nothing_and_says_all_of_them() {
    let mut source = PolicySource::new(started(), false);
    let before = source.policy().shown(99);
    let entries = [
        "good.test",
        "*",
        "https://x.test/a/**",
        "localhost:5000",
        "com",
        "TXT:",
        "127.0.0.1:80",
        "a.test:99999",
    ];
    let errors = edit(&mut source, List::Allow, false, &entries).unwrap_err();
    let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    let expected = ["\"*\"", "--tls on", "fixed when it starts", "\"com\"", "TXT:", "99999"];
    assert_eq!(texts.len(), expected.len() + 1, "{texts:#?}");
    for word in expected.into_iter().chain(["loopback"]) {
        assert!(texts.iter().any(|text| text.contains(word)), "{word}: {texts:#?}");
    }
    for (list, remove, entries) in [
        (List::Allow, true, &["never.test", "flag.test"][..]),
        (List::Block, true, &["flag.test"]),
        (List::Block, false, &["good.test", "https://x.test/a", "TXT:x.test"]),
        (List::Allow, false, &[]),
        (List::Allow, false, &[" , "]),
    ] {
        let errors = edit(&mut source, list, remove, entries).unwrap_err();
        assert!(
            !errors.is_empty() && errors.iter().all(|e| !e.to_string().contains("good.test")),
            "{errors:?}"
        );
    }
    assert_eq!(source.policy().shown(99), before);
}

/// Which ports of the host lead to the proxy the kernel programs know from the start: such a port can be closed.
#[test]
fn ports_of_the_host_are_closed_and_not_opened() {
    let mut source = PolicySource::new(started(), true);
    let open =
        |policy: &Policy, port| policy.host_addresses(&Host::parse("localhost").unwrap(), port).is_some();
    let (policy, _) = edit(&mut source, List::Allow, false, &["localhost:3001"]).unwrap();
    assert!(open(&policy, 3000) && open(&policy, 3001));
    let (policy, _) = edit(&mut source, List::Block, false, &["localhost:3000"]).unwrap();
    assert!(!open(&policy, 3000) && open(&policy, 3001));
    assert!(edit(&mut source, List::Allow, false, &["localhost:3002"]).is_err());
}

/// Without a look into TLS, clear text can be judged by its URLs.
#[test]
fn urls_of_clear_text_need_no_tls() {
    let mut source = PolicySource::new(started(), false);
    let (policy, _) = edit(&mut source, List::Allow, false, &["http://clear.test/a"]).unwrap();
    assert!(policy.filters_urls(&Host::parse("clear.test").unwrap(), 80));
    edit(&mut source, List::Allow, false, &["http://localhost:3000/a"]).unwrap();
    for refused in ["https://clear.test/a", "http://localhost:3002/a"] {
        assert!(edit(&mut source, List::Allow, false, &[refused]).is_err(), "{refused}");
    }
    let (policy, _) = edit(&mut source, List::Allow, true, &["http://clear.test/a"]).unwrap();
    assert!(!policy.filters_urls(&Host::parse("clear.test").unwrap(), 80));
}

/// A narrowed policy stays narrowed, whatever is added.
#[test]
fn an_edit_does_not_widen_what_narrows() {
    let narrowed = started().narrowed_by(&policy(&["flag.test", "new.test"], &[]));
    let mut source = PolicySource::new(narrowed, true);
    let (policy, _) = edit(&mut source, List::Allow, false, &["new.test", "other.test"]).unwrap();
    assert!(is_allowed(&policy, "new.test") && !is_allowed(&policy, "other.test"));
}
