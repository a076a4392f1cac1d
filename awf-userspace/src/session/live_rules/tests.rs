//! Rules that are edited: in force, on record, and only once the run is open.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::*;
use crate::{
    audit::EventId,
    policy::{DomainName, Place, Rule},
};

struct Log {
    records: Mutex<Vec<Record>>,
    keeping: AtomicBool,
}

impl Recorder for Log {
    fn next_id(&self) -> EventId {
        EventId::new("run", 1)
    }

    fn record(&self, _: EventId, record: Record) {
        self.records.lock().unwrap().push(record);
    }

    fn is_keeping(&self) -> bool {
        self.keeping.load(Relaxed)
    }
}

fn rules() -> LiveRules<Log> {
    let rule = Rule::parse("a.test", List::Allow, Place::Flag("--allow-domains")).unwrap();
    let log = Log { records: Mutex::default(), keeping: true.into() };
    LiveRules::new(Policy::new([rule]), false, Arc::new(LivePolicy::denying()), Arc::new(log))
}

fn edit(rules: &LiveRules<Log>, list: ListName, remove: bool, entries: &[&str]) -> RulesReply {
    let entries = entries.iter().map(ToString::to_string).collect();
    let peer = ProcessInfo { pid: 7, uid: Some(0), comm: "awf-bpf".to_owned(), ..ProcessInfo::default() };
    rules.answer(&RulesRequest::Edit { list, remove, entries }, &peer)
}

fn allows(rules: &LiveRules<Log>, name: &str) -> bool {
    rules.live.current().judge_name(&DomainName::parse(name).unwrap()).is_allow()
}

fn shown(rules: &LiveRules<Log>) -> Shown {
    match rules.answer(&RulesRequest::Show {}, &ProcessInfo::default()) {
        RulesReply::Rules(shown) => shown,
        other => panic!("{other:?}"),
    }
}

/// An edit that comes while a run is being attached must not open it.
#[test]
fn nothing_is_in_force_before_it_is_opened() {
    let rules = rules();
    assert!(matches!(edit(&rules, ListName::Allow, false, &["b.test"]), RulesReply::Edited(_)));
    assert!(!allows(&rules, "a.test") && !allows(&rules, "b.test") && !shown(&rules).open);
    rules.open();
    assert!(allows(&rules, "a.test") && allows(&rules, "b.test") && shown(&rules).open);
}

#[test]
fn an_edit_is_in_force_when_it_is_answered_and_on_record() {
    let rules = rules();
    rules.open();
    let reply = edit(&rules, ListName::Block, false, &["a.test", "b.test"]);
    let added = |rule: &str| Done::Added(rule.to_owned());
    assert_eq!(reply, RulesReply::Edited(vec![added("a.test"), added("b.test")]));
    assert!(!allows(&rules, "a.test"));
    edit(&rules, ListName::Block, true, &["a.test"]);
    assert!(allows(&rules, "a.test"));
    let known = edit(&rules, ListName::Allow, false, &["a.test"]);
    assert_eq!(known, RulesReply::Edited(vec![Done::Known("a.test".to_owned())]));
    let records = rules.recorder.records.lock().unwrap();
    let said: Vec<_> = records
        .iter()
        .map(|r| {
            (
                r.event,
                r.rule.as_deref().unwrap(),
                r.detail.as_deref().unwrap(),
                r.process.as_ref().unwrap().uid,
            )
        })
        .collect();
    let said_of = |rule, what| (EventKind::Policy, rule, what, Some(0));
    assert_eq!(
        said,
        [
            said_of("a.test", "added to the block list"),
            said_of("b.test", "added to the block list"),
            said_of("a.test", "taken out of the block list")
        ]
    );
}

#[test]
fn a_refused_edit_changes_nothing_and_leaves_no_record() {
    let rules = rules();
    rules.open();
    let reply = edit(&rules, ListName::Allow, false, &["b.test", "*", "https://x.test/a/**"]);
    assert!(matches!(&reply, RulesReply::Refused(why) if why.len() == 2), "{reply:?}");
    assert!(!allows(&rules, "b.test") && shown(&rules).changed.is_none());
    let many = vec!["x.test"; ENTRIES + 1];
    assert!(matches!(edit(&rules, ListName::Allow, false, &many), RulesReply::Refused(_)));
    assert!(rules.recorder.records.lock().unwrap().is_empty());
    rules.recorder.keeping.store(false, Relaxed);
    let reply = edit(&rules, ListName::Allow, false, &["b.test"]);
    assert!(
        matches!(reply, RulesReply::Refused(_)) && !allows(&rules, "b.test"),
        "a change that nobody would know of"
    );
}

#[test]
fn all_rules_are_shown_with_their_places() {
    let rules = rules();
    edit(&rules, ListName::Allow, false, &["b.test", "TXT:b.test"]);
    edit(&rules, ListName::Block, false, &["c.b.test"]);
    let shown = shown(&rules);
    let rows: Vec<_> =
        shown.rules.iter().map(|r| (&*r.kind, &*r.rule, r.place.as_deref().unwrap_or_default())).collect();
    assert_eq!(
        rows,
        [
            ("allow", "a.test", "--allow-domains"),
            ("allow", "b.test", "policy allow"),
            ("block", "c.b.test", "policy deny"),
            ("allow-dns", "TXT:b.test", "policy allow"),
        ]
    );
    assert!(shown.changed.is_some_and(|at| at > 1_500_000_000));
    let text = serde_json::to_string(&RulesReply::Rules(shown.clone())).unwrap();
    assert_eq!(serde_json::from_str::<RulesReply>(&text).unwrap(), RulesReply::Rules(shown));
}
