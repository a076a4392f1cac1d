//! How many conversations of each kind went well, and the first complaint about one that did not.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use serde_json::json;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    kinds: RefCell<BTreeMap<&'static str, Kind>>,
    connections: Cell<u64>,
}

#[derive(Debug, Default)]
struct Kind {
    ok: u64,
    failed: u64,
    first: Option<String>,
}

impl Tally {
    pub(crate) fn note<E: ToString>(&self, kind: &'static str, result: Result<(), E>) {
        let mut kinds = self.kinds.borrow_mut();
        let kind = kinds.entry(kind).or_default();
        match result {
            Ok(()) => kind.ok += 1,
            Err(error) => {
                kind.failed += 1;
                kind.first.get_or_insert_with(|| error.to_string());
            }
        }
    }

    /// One more connection is made.
    pub(crate) fn connection(&self) {
        self.connections.set(self.connections.get() + 1);
    }

    pub(crate) fn report(&self, held: usize, opened_per_second: f64) -> String {
        let kinds: BTreeMap<_, _> =
            self.kinds.borrow().iter().map(|(name, kind)| (*name, shown(kind))).collect();
        let connections = self.connections.get();
        json!({"held": held, "opened_per_second": opened_per_second, "connections": connections, "kinds": kinds})
            .to_string()
    }
}

fn shown(kind: &Kind) -> serde_json::Value {
    json!({"ok": kind.ok, "failed": kind.failed, "first": kind.first})
}
