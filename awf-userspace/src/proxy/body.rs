//! Message bodies on their way through: counted, and the audit entry ends with them.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::{activity::Traffic, entry::Entry, flow::Flow, held::Held, overrides};

/// Which way a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    Down,
}

/// Smaller pieces are copied: as they are they would keep a whole buffer of the reader's from being freed.
const SLIVER: usize = 1024;

/// Where a body that is passed on comes from.
pub(super) struct Source {
    /// Until it is dropped.
    body: Option<Incoming>,
    /// Of HTTP/2: who keeps what is left of it for a while.
    held: Option<Held>,
    /// Of HTTP/1: it is not asked for before that.
    asked: Option<Asked>,
}

/// Ends when a body is to be asked for.
type Asked = BoxFuture<'static, ()>;

impl Source {
    /// What nobody reads any more of it goes to `held`.
    pub(super) fn held(body: Incoming, held: &Held) -> Self {
        Self { body: Some(body), held: Some(held.clone()), asked: None }
    }

    /// Read only once `asked` is ready: reading a body makes the library send `100 Continue`.
    pub(super) fn after(body: Incoming, asked: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { body: Some(body), held: None, asked: Some(Box::pin(asked)) }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if let Some(asked) = &mut self.asked {
            ready!(asked.as_mut().poll(cx));
            self.asked = None;
        }
        self.body.as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("body", &self.body).finish_non_exhaustive()
    }
}

impl From<Incoming> for Source {
    fn from(body: Incoming) -> Self {
        Self { body: Some(body), held: None, asked: None }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let (Some(body), Some(held)) = (self.body.take(), &self.held) {
            held.keep(body);
        }
    }
}

/// A body that is passed on, or one of the proxy's own.
#[derive(Debug)]
pub(super) enum Passing {
    Counted {
        inner: Source,
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
    pub(super) fn up(inner: impl Into<Source>, traffic: &Arc<Traffic>, flow: Option<&Arc<Flow>>) -> Self {
        let (traffic, flow) = (Arc::clone(traffic), flow.map(Arc::clone));
        let inner = inner.into();
        Self::Counted { inner, way: Way::Up, traffic, flow, moved: 0, _entry: None }
    }

    /// A response's body; `entry` is recorded when it ends.
    pub(super) fn down(inner: Incoming, entry: Entry, flow: Option<&Arc<Flow>>) -> Self {
        let (traffic, flow) = (Arc::clone(&entry.traffic), flow.map(Arc::clone));
        let inner = inner.into();
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
                let Some(frame) = ready!(inner.poll_frame(cx)) else { return Poll::Ready(None) };
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
