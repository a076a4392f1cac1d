//! What is left of a request's body in HTTP/2 when nobody reads it any more, as after an answer that came early. Dropped
//! at once it is a reset (RFC 9113 section 8.1), which clients that are still sending take for the failure of the whole
//! stream, its answer included (curl before 8). So it is kept, unread, until the client has had the time to stop.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use hyper::{
    body::{Body, Incoming},
    rt::Executor as _,
};
use tokio::{sync::Semaphore, time::sleep};

use super::{
    Limits,
    http2::{Inline, Windows},
};

/// The rests of the bodies of one connection.
#[derive(Clone, Debug)]
pub(super) struct Held {
    tasks: Inline,
    /// As many as there may be streams; the next is dropped.
    room: Arc<Semaphore>,
    time: Duration,
}

impl Held {
    pub(super) fn new(limits: &Limits, windows: Windows, tasks: Inline) -> Self {
        let room = Arc::new(Semaphore::new(windows.streams as usize));
        Self { tasks, room, time: limits.linger }
    }

    /// Keeps `body`, if there is more to come of it.
    pub(super) fn keep(&self, mut body: Incoming) {
        if body.is_end_stream() {
            return;
        }
        // Of a stream that the client itself has ended nothing more comes.
        let next = Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
        if matches!(next, Poll::Ready(None | Some(Err(_)))) {
            return;
        }
        if let Ok(place) = Arc::clone(&self.room).try_acquire_owned() {
            let time = self.time;
            self.tasks.execute(async move {
                sleep(time).await;
                drop((body, place));
            });
        }
    }
}
