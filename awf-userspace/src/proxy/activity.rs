//! When a connection last did something, and how much: for the idle limit and the record.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use crate::policy::Reason;

/// Shared by everything that moves bytes for one connection.
#[derive(Debug)]
pub(super) struct Activity {
    start: Instant,
    /// Milliseconds after `start`.
    last: AtomicU64,
    idle: Duration,
    lifetime: Duration,
}

impl Activity {
    /// From now on, for `lifetime` at the most, and no more than `idle` without a byte.
    pub(super) fn new(idle: Duration, lifetime: Duration) -> Self {
        Self { start: Instant::now(), last: AtomicU64::new(0), idle, lifetime }
    }

    pub(super) fn touch(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Relaxed);
    }

    /// Ends `grace` after one of the two times has run out, with its reason.
    pub(super) async fn expired(&self, grace: Duration) -> Reason {
        let end = self.start + self.lifetime + grace;
        loop {
            let last = self.start + Duration::from_millis(self.last.load(Relaxed));
            let quiet = last + self.idle + grace;
            if end.min(quiet) <= Instant::now() {
                return if end <= quiet { Reason::LifetimeExceeded } else { Reason::IdleTimeout };
            }
            sleep_until(end.min(quiet)).await;
        }
    }
}

/// Bytes of payload moved; up is from the command to the server.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub(super) up: AtomicU64,
    pub(super) down: AtomicU64,
}

impl Traffic {
    pub(super) fn add_up(&self, bytes: usize) {
        self.up.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn add_down(&self, bytes: usize) {
        self.down.fetch_add(bytes as u64, Relaxed);
    }
}
