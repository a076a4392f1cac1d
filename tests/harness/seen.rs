//! What a server of the lab has seen, in order; a test can wait for an entry without polling.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use crate::patience::stretch;

/// An append-only list shared by a server and a test.
#[derive(Debug)]
pub struct Seen<T>(Arc<(Mutex<Vec<T>>, Condvar)>);

impl<T> Clone for Seen<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone> Seen<T> {
    pub fn push(&self, entry: T) {
        self.lock().push(entry);
        self.0.1.notify_all();
    }

    /// Everything so far.
    #[must_use]
    pub fn all(&self) -> Vec<T> {
        self.lock().clone()
    }

    /// The first entry that satisfies `wanted`, now or within `limit`.
    pub fn wait_for(&self, limit: Duration, wanted: impl Fn(&T) -> bool) -> Option<T> {
        self.wait_until(limit, |entries| entries.iter().find(|entry| wanted(entry)).cloned())
    }

    /// What `find` makes of all entries, as soon as it makes something of them, now or within `limit`.
    pub fn wait_until<R>(&self, limit: Duration, find: impl Fn(&[T]) -> Option<R>) -> Option<R> {
        let end = Instant::now() + stretch(limit);
        let mut entries = self.lock();
        loop {
            if let Some(found) = find(&entries) {
                return Some(found);
            }
            let left = end.checked_duration_since(Instant::now())?;
            entries = self.0.1.wait_timeout(entries, left).expect("a server of the lab panicked").0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.0.0.lock().expect("a server of the lab panicked")
    }
}
