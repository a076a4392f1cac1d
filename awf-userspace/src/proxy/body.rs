//! Message bodies on their way through: counted, and the audit entry ends with them.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::{activity::Traffic, entry::Entry};

/// Which way a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    Down,
}

/// A body that is passed on, or one of the proxy's own.
#[derive(Debug)]
pub(super) enum Passing {
    Counted {
        inner: Incoming,
        way: Way,
        traffic: Arc<Traffic>,
        /// Recorded when the body is gone.
        _entry: Option<Entry>,
    },
    Own(Full<Bytes>),
}

impl Passing {
    /// A request's body.
    pub(super) fn up(inner: Incoming, traffic: &Arc<Traffic>) -> Self {
        Self::Counted { inner, way: Way::Up, traffic: Arc::clone(traffic), _entry: None }
    }

    /// A response's body; `entry` is recorded when it ends.
    pub(super) fn down(inner: Incoming, entry: Entry) -> Self {
        let traffic = Arc::clone(&entry.traffic);
        Self::Counted { inner, way: Way::Down, traffic, _entry: Some(entry) }
    }

    pub(super) fn own(bytes: Bytes) -> Self {
        Self::Own(Full::new(bytes))
    }

    pub(super) fn empty() -> Self {
        Self::own(Bytes::new())
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Own(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(|never| match never {})))
            }
            Self::Counted { inner, way, traffic, .. } => {
                let frame = ready!(Pin::new(inner).poll_frame(cx));
                if let Some(data) = frame.as_ref().and_then(|f| f.as_ref().ok()).and_then(Frame::data_ref) {
                    match way {
                        Way::Up => traffic.add_up(data.len()),
                        Way::Down => traffic.add_down(data.len()),
                    }
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Counted { inner, .. } => inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Counted { inner, .. } => inner.size_hint(),
        }
    }
}
