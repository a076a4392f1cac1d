//! How many bytes one HTTP/1 connection may hold: little as a rule, so that thousands whose other side does not read
//! fit into memory, and more for the few that are found to move much, or have a long head.
//!
//! Of a body [`SMALL`] bytes are read at a time, and nothing more is taken before they are written. From [`BULK`]
//! bytes on it is [`LARGE`], if one of [`Limits::bulk`] shares is left; they are kept to the connection's end, since
//! so is the library's larger buffer.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Limits, body::Way, context::denied, deny::Refusal};
use crate::policy::Reason;

/// What each connection may have of a head: what servers accept without being told (nginx's
/// large_client_header_buffers, Apache's LimitRequestFieldSize).
pub(super) const SHORT_HEAD: usize = 8 * 1024;
/// A read that fills hyper's first buffer, of 8 KiB, makes it double the next (hyper's proto/h1/io.rs).
const SMALL: usize = 8 * 1024 - 1;
/// Of a share.
pub(super) const LARGE: usize = 256 * 1024;
/// Bytes of one body from which a share is worth it.
const BULK: usize = 64 * 1024;
/// No answer is waited for.
const NO_HEAD: usize = usize::MAX;

/// The shares of all connections.
#[derive(Clone, Debug)]
pub(super) struct Shares {
    bulk: Arc<Semaphore>,
    long_heads: Arc<Semaphore>,
}

impl Shares {
    pub(super) fn new(limits: &Limits) -> Self {
        let [bulk, long_heads] =
            [limits.bulk, limits.long_heads].map(|shares| Arc::new(Semaphore::new(shares)));
        Self { bulk, long_heads }
    }

    /// A share for one head longer than [`SHORT_HEAD`].
    pub(super) fn long_head(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.long_heads).try_acquire_owned().ok()
    }
}

/// One way through the connection.
#[derive(Debug, Default)]
struct Pace {
    /// Taken from the reader, not yet written.
    held: AtomicUsize,
    waiting: AtomicWaker,
}

/// What one connection holds.
#[derive(Debug)]
pub(super) struct Flow {
    shares: Shares,
    piece: AtomicUsize,
    bulk: Mutex<Option<OwnedSemaphorePermit>>,
    long_head: Mutex<Option<OwnedSemaphorePermit>>,
    up: Pace,
    down: Pace,
    /// Bytes of the answer's head, or [`NO_HEAD`].
    answer: AtomicUsize,
    crowded: AtomicBool,
}

impl Flow {
    pub(super) fn new(shares: &Shares) -> Self {
        Self {
            shares: shares.clone(),
            piece: SMALL.into(),
            bulk: Mutex::default(),
            long_head: Mutex::default(),
            up: Pace::default(),
            down: Pace::default(),
            answer: NO_HEAD.into(),
            crowded: false.into(),
        }
    }

    fn pace(&self, way: Way) -> &Pace {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }

    /// Bytes to be read at a time; of an answer's head no more than of a small body.
    pub(super) fn piece(&self, way: Way) -> usize {
        let head = way == Way::Down && self.answer.load(Relaxed) != NO_HEAD;
        if head { SMALL } else { self.piece.load(Relaxed) }
    }

    /// Ready once another piece may be taken. Of what is held a large part may be buffers that are not full.
    pub(super) fn poll_room(&self, way: Way, cx: &Context<'_>) -> Poll<()> {
        let pace = self.pace(way);
        let is_room = || {
            let (held, piece) = (pace.held.load(Relaxed), self.piece.load(Relaxed));
            held == 0 || (piece > SMALL && held < piece / 2)
        };
        if is_room() {
            return Poll::Ready(());
        }
        pace.waiting.register(cx.waker());
        if is_room() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// `bytes` of a body, of which `moved` came so far, were taken.
    pub(super) fn took(&self, way: Way, bytes: usize, moved: usize) {
        self.pace(way).held.fetch_add(bytes, Relaxed);
        if moved < BULK || self.piece.load(Relaxed) > SMALL {
            return;
        }
        if let Ok(share) = Arc::clone(&self.shares.bulk).try_acquire_owned() {
            *lock(&self.bulk) = Some(share);
            self.piece.store(LARGE, Relaxed);
        }
    }

    /// `bytes`, of a body or of what is around it, are on their way.
    pub(super) fn wrote(&self, way: Way, bytes: usize) {
        let pace = self.pace(way);
        let less = |held: usize| Some(held.saturating_sub(bytes));
        // It never refuses.
        let _ = pace.held.fetch_update(Relaxed, Relaxed, less);
        pace.waiting.wake();
    }

    /// Whether a head that is longer than [`SHORT_HEAD`] may be held.
    pub(super) fn long_head(&self) -> bool {
        let mut held = lock(&self.long_head);
        if held.is_none() {
            *held = self.shares.long_head();
        }
        held.is_some()
    }

    /// A request goes out, perhaps on another socket than the one before: what that did not take is gone. What is
    /// read now is the answer's head.
    pub(super) fn expect_answer(&self) {
        self.up.held.store(0, Relaxed);
        self.crowded.store(false, Relaxed);
        self.answer.store(0, Relaxed);
    }

    pub(super) fn answered(&self) {
        self.answer.store(NO_HEAD, Relaxed);
    }

    /// `bytes` were read from the server; whether they may be held.
    pub(super) fn read(&self, bytes: usize) -> bool {
        let count = |so_far: usize| (so_far != NO_HEAD).then(|| so_far + bytes);
        let Ok(before) = self.answer.fetch_update(Relaxed, Relaxed, count) else { return true };
        let fits = before + bytes <= SHORT_HEAD || self.long_head();
        self.crowded.fetch_or(!fits, Relaxed);
        fits
    }

    /// Whether a head was refused because too many others are long.
    pub(super) fn is_crowded(&self) -> bool {
        self.crowded.load(Relaxed)
    }

    /// There is no HTTP any more.
    pub(super) fn end(&self) {
        lock(&self.bulk).take();
        lock(&self.long_head).take();
    }
}

/// The refusal of one long head too many.
pub(super) fn crowded() -> Refusal {
    let message = format!("too many other heads are longer than {SHORT_HEAD} bytes, too");
    Refusal::busy(denied(Reason::LimitExceeded, message))
}

fn lock<T>(share: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    share.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn is_room(flow: &Flow, way: Way) -> bool {
        flow.poll_room(way, &Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn one_piece_is_under_way_at_a_time_and_both_ways_are_apart() {
        let flow = Flow::new(&Shares::new(&Limits::default()));
        for (way, other) in [(Way::Up, Way::Down), (Way::Down, Way::Up)] {
            flow.took(way, SMALL, SMALL);
            assert!(!is_room(&flow, way) && is_room(&flow, other));
            flow.wrote(way, SMALL - 1);
            assert!(!is_room(&flow, way));
            // A head and the frames of chunks are written as well.
            flow.wrote(way, 200);
            assert!(is_room(&flow, way));
        }
    }

    #[test]
    fn what_moves_much_gets_one_of_the_shares_and_keeps_it_to_the_end() {
        let shares = Shares::new(&Limits { bulk: 1, ..Limits::default() });
        let (one, two) = (Flow::new(&shares), Flow::new(&shares));
        for flow in [&one, &two] {
            flow.took(Way::Down, SMALL, BULK - 1);
            assert_eq!(flow.piece(Way::Down), SMALL);
            flow.took(Way::Down, SMALL, BULK);
        }
        assert_eq!((one.piece(Way::Down), two.piece(Way::Down)), (LARGE, SMALL));
        // An upload goes on while its answer is waited for.
        one.expect_answer();
        assert_eq!((one.piece(Way::Up), one.piece(Way::Down)), (LARGE, SMALL));
        one.answered();
        assert!(is_room(&one, Way::Down));
        one.took(Way::Down, LARGE / 2 - 2 * SMALL - 1, 2 * BULK);
        assert!(is_room(&one, Way::Down));
        one.took(Way::Down, 1, 2 * BULK);
        assert!(!is_room(&one, Way::Down));
        drop(one);
        two.took(Way::Down, 1, 3 * BULK);
        assert_eq!(two.piece(Way::Down), LARGE);
    }

    /// Else the next upload on the connection would wait for ever.
    #[test]
    fn what_the_server_before_did_not_take_holds_up_nobody() {
        let flow = Flow::new(&Shares::new(&Limits::default()));
        flow.took(Way::Up, SMALL, SMALL);
        flow.expect_answer();
        assert!(is_room(&flow, Way::Up));
    }

    #[test]
    fn the_first_bytes_of_an_answer_count_as_its_head() {
        let shares = Shares::new(&Limits { long_heads: 0, ..Limits::default() });
        let flow = Flow::new(&shares);
        assert!(flow.read(1 << 20), "of a body");
        flow.expect_answer();
        assert!(flow.read(SMALL) && !flow.is_crowded());
        assert!(!flow.read(2) && flow.is_crowded());
        flow.expect_answer();
        assert!(flow.read(SMALL) && !flow.is_crowded());
    }
}
