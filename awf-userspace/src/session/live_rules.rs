//! The rules of a run, edited while it goes on: joins their source, the policy in force, and the record of each change.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use crate::{
    audit::{Decision, EventKind, ProcessInfo, Record, Recorder},
    policy::{Change, Edit, List, LivePolicy, Outline, Policy, PolicySource, Reason},
};

/// Files with more rules are summed up.
const MOST: usize = 20;
/// Entries of one edit: beyond it is a list file's work.
const ENTRIES: usize = 1000;

/// What may be asked about the rules of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RulesRequest {
    /// All of them.
    Show {},
    /// Adds to a list, or takes back.
    Edit { list: ListName, remove: bool, entries: Vec<String> },
}

/// Which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListName {
    Allow,
    Block,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RulesReply {
    Rules(Shown),
    /// What an edit did, an entry each.
    Edited(Vec<Done>),
    /// Nothing was edited: all that is wrong.
    Refused(Vec<String>),
}

/// The rules of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    pub rules: Vec<Shows>,
    /// The last edit, in seconds since 1970 (UTC); `None`: the rules are those of the start.
    pub changed: Option<u64>,
    /// Whether they are in force; before, nothing is allowed.
    pub open: bool,
}

/// One rule, or a file of many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shows {
    /// `allow`, `block`, `allow-url`, `allow-dns`, `host`.
    pub kind: String,
    /// As it was written; of a file, its path.
    pub rule: String,
    /// A flag, FILE:LINE, or `policy allow` of an edit; nothing where `rule` says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// How many rules the file has, where they are not listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// It is a rule of what narrows the policy: 1 for the first of these, and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub narrows: Option<usize>,
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    Added(String),
    Removed(String),
    /// It was a rule already.
    Known(String),
}

/// The rules of a run and what they are for.
#[derive(Debug)]
pub struct LiveRules<A> {
    live: Arc<LivePolicy>,
    recorder: Arc<A>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    source: PolicySource,
    changed: Option<SystemTime>,
    open: bool,
}

impl<A: Recorder> LiveRules<A> {
    /// The rules of `base`, not in force yet. `tls`: whether the run looks into all TLS.
    #[must_use]
    pub fn new(base: Policy, tls: bool, live: Arc<LivePolicy>, recorder: Arc<A>) -> Self {
        let source = PolicySource::new(base, tls);
        let state = State { source, changed: None, open: false };
        Self { live, recorder, state: Mutex::new(state) }
    }

    /// The rules of `base`, which is in force.
    #[must_use]
    pub fn in_force(base: Policy, tls: bool, live: Arc<LivePolicy>, recorder: Arc<A>) -> Self {
        let this = Self::new(base, tls, live, recorder);
        this.state().open = true;
        this
    }

    /// Puts the rules in force, with what was edited before.
    pub fn open(&self) {
        let mut state = self.state();
        state.open = true;
        self.live.set(state.source.policy());
    }

    /// Answers `peer`, whose request it is.
    pub fn answer(&self, request: &RulesRequest, peer: &ProcessInfo) -> RulesReply {
        match request {
            RulesRequest::Show {} => RulesReply::Rules(self.show()),
            RulesRequest::Edit { entries, .. } if entries.len() > ENTRIES => {
                RulesReply::Refused(vec![format!("more than {ENTRIES} entries at once; edit in parts")])
            }
            RulesRequest::Edit { list, remove, entries } => {
                let list = if *list == ListName::Allow { List::Allow } else { List::Block };
                self.edit(&Edit { list, remove: *remove, entries }, peer)
            }
        }
    }

    fn edit(&self, edit: &Edit<'_>, peer: &ProcessInfo) -> RulesReply {
        // Held to the end: the policy in force is that of the last edit, and so is the record.
        let mut state = self.state();
        if !self.recorder.is_keeping() {
            return RulesReply::Refused(vec!["the audit record cannot be written".to_owned()]);
        }
        let (policy, changes) = match state.source.edit(edit) {
            Ok(edited) => edited,
            Err(errors) => {
                return RulesReply::Refused(errors.iter().map(ToString::to_string).collect());
            }
        };
        if changes.iter().any(|change| !matches!(change, Change::Known(_))) {
            state.changed = Some(SystemTime::now());
            changes.iter().for_each(|change| self.note(edit.list, change, peer));
            if state.open {
                self.live.set(policy);
            }
        }
        RulesReply::Edited(changes.into_iter().map(Done::from).collect())
    }

    fn note(&self, list: List, change: &Change, peer: &ProcessInfo) {
        let list = if list == List::Allow { "allow" } else { "block" };
        let (rule, what) = match change {
            Change::Added(rule) => (rule, "added to"),
            Change::Removed(rule) => (rule, "taken out of"),
            Change::Known(_) => return,
        };
        let record = Record {
            rule: Some(rule.clone()),
            detail: Some(format!("{what} the {list} list")),
            process: Some(peer.clone()),
            ..Record::new(EventKind::Policy, Decision::Allow, Reason::PolicyChanged)
        };
        self.recorder.record(self.recorder.next_id(), record);
    }

    fn show(&self) -> Shown {
        let state = self.state();
        let since = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let rules = rows(&state.source.policy());
        Shown { rules, changed: state.changed.map(since), open: state.open }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // An edit is put in as a whole, and as the last step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Change> for Done {
    fn from(change: Change) -> Self {
        match change {
            Change::Added(rule) => Self::Added(rule),
            Change::Removed(rule) => Self::Removed(rule),
            Change::Known(rule) => Self::Known(rule),
        }
    }
}

/// The rules of `policy`, then those of what narrows it.
fn rows(policy: &Policy) -> Vec<Shows> {
    let row = |kind: &str, rule: String, place: Option<String>, count| Shows {
        kind: kind.to_owned(),
        rule,
        place,
        count,
        narrows: None,
    };
    let word = |list| if list == List::Allow { "allow" } else { "block" };
    let mut rows: Vec<_> = policy
        .outline(MOST)
        .into_iter()
        .map(|part| match part {
            Outline::Rule(rule) => {
                row(word(rule.list()), rule.text().to_string(), Some(rule.place().to_string()), None)
            }
            Outline::File { list, path, rules } => row(word(list), path.to_string(), None, Some(rules)),
        })
        .collect();
    let urls = policy.url_rules().iter();
    rows.extend(urls.map(|r| row("allow-url", r.text().to_string(), Some(r.place().to_string()), None)));
    let records = policy.record_rules().iter();
    rows.extend(records.map(|r| row("allow-dns", r.text().to_string(), Some(r.place().to_string()), None)));
    rows.extend(policy.host_grants().iter().map(|grant| row("host", grant.rule().to_string(), None, None)));
    for (number, narrower) in (1..).zip(policy.narrowing()) {
        rows.extend(self::rows(narrower).into_iter().map(|row| Shows { narrows: Some(number), ..row }));
    }
    rows
}

#[cfg(test)]
mod tests;
