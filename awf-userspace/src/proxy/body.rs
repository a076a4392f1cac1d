//! Message bodies on their way through: counted, and the audit entry ends with them.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::{activity::Traffic, entry::Entry, flow::Flow, overrides};

/// Which way a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    Down,
}

/// Smaller pieces are copied: as they are they would keep a whole buffer of the reader's from being freed.
const SLIVER: usize = 1024;

/// A body that is passed on, or one of the proxy's own.
#[derive(Debug)]
pub(super) enum Passing {
    Counted {
        inner: Incoming,
        way: Way,
        traffic: Arc<Traffic>,
        /// Of HTTP/1, and how much came so far; HTTP/2 has its own.
        flow: Option<Arc<Flow>>,
        moved: usize,
        /// Recorded when the body is gone.
        _entry: Option<Box<Entry>>,
    },
    Own(Full<Bytes>),
}

impl Passing {
    /// A request's body.
    pub(super) fn up(inner: Incoming, traffic: &Arc<Traffic>, flow: Option<&Arc<Flow>>) -> Self {
        let (traffic, flow) = (Arc::clone(traffic), flow.map(Arc::clone));
        Self::Counted { inner, way: Way::Up, traffic, flow, moved: 0, _entry: None }
    }

    /// A response's body; `entry` is recorded when it ends.
    pub(super) fn down(inner: Incoming, entry: Entry, flow: Option<&Arc<Flow>>) -> Self {
        let (traffic, flow) = (Arc::clone(&entry.traffic), flow.map(Arc::clone));
        Self::Counted { inner, way: Way::Down, traffic, flow, moved: 0, _entry: Some(Box::new(entry)) }
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
            Self::Counted { inner, way, traffic, flow, moved, .. } => {
                if let Some(flow) = flow {
                    ready!(flow.poll_room(*way, cx));
                }
                let Some(frame) = ready!(Pin::new(inner).poll_frame(cx)) else { return Poll::Ready(None) };
                let data = match frame?.into_data() {
                    Ok(data) => data,
                    Err(mut other) => {
                        if let (Way::Up, Some(trailers)) = (*way, other.trailers_mut()) {
                            overrides::strip(trailers);
                        }
                        return Poll::Ready(Some(Ok(other)));
                    }
                };
                *moved = moved.saturating_add(data.len());
                match way {
                    Way::Up => traffic.add_up(data.len()),
                    Way::Down => traffic.add_down(data.len()),
                }
                if let Some(flow) = flow {
                    flow.took(*way, data.len(), *moved);
                }
                let sliver = data.len() < SLIVER;
                Poll::Ready(Some(Ok(Frame::data(if sliver { Bytes::copy_from_slice(&data) } else { data }))))
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
