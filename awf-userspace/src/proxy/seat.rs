//! Sockets of the proxy, counted one by one: a permit of one semaphore for each that is open, so that the process never
//! runs out of descriptors, and who comes too late is told so.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{context::denied, deny::Refusal};
use crate::policy::Reason;

/// A socket may be open for as long as it is held.
pub(super) type Permit = OwnedSemaphorePermit;

/// All that the proxy may have open.
#[derive(Clone, Debug)]
pub(super) struct Sockets {
    free: Arc<Semaphore>,
    most: usize,
}

impl Sockets {
    pub(super) fn new(most: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(most)), most }
    }

    /// Room for one socket more; never waits.
    ///
    /// # Errors
    /// 503, [`Reason::LimitExceeded`].
    pub(super) fn one(&self) -> Result<Permit, Refusal> {
        Arc::clone(&self.free).try_acquire_owned().map_err(|_| {
            Refusal::busy(denied(Reason::LimitExceeded, format!("more than {} sockets at once", self.most)))
        })
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.most - self.free.available_permits()
    }
}

/// Room for the server's socket of one connection, which has no more than one at a time: taken when it first dials,
/// and kept to its end, so that what was served once is served on.
#[derive(Debug)]
pub(super) struct Seat {
    sockets: Sockets,
    taken: Mutex<Option<Permit>>,
}

impl Seat {
    pub(super) fn new(sockets: Sockets) -> Self {
        Self { sockets, taken: Mutex::default() }
    }

    /// Whoever calls this has closed the server's socket that was there before.
    ///
    /// # Errors
    /// Those of [`Sockets::one`].
    pub(super) fn take(&self) -> Result<(), Refusal> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.is_none() {
            *taken = Some(self.sockets.one()?);
        }
        Ok(())
    }
}
