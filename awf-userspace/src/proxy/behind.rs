//! A peer that reads late, of whom hyper forgets what else there was to do.

use std::task::{Context, Poll};

/// While something waits to be written, hyper looks neither for another request to send nor at another answer to give
/// (`can_headers_buf`). Once that is written it does not look either, if the write came last in its turn (`poll_loop` in
/// proto/h1/dispatch.rs): nobody wakes it then. So it is woken here.
#[derive(Debug, Default)]
pub(super) struct Behind(bool);

impl Behind {
    /// Hands `written` on.
    pub(super) fn wrote<T>(&mut self, written: Poll<T>) -> Poll<T> {
        self.0 |= written.is_pending();
        written
    }

    /// Hands `flushed` on, which comes when all is written.
    pub(super) fn flushed<T>(&mut self, flushed: Poll<T>, cx: &Context<'_>) -> Poll<T> {
        if flushed.is_ready() && std::mem::take(&mut self.0) {
            cx.waker().wake_by_ref();
        }
        flushed
    }
}
