//! Stands between the command's socket and the HTTP library: lets one request head through only after
//! [`head::check`] has passed it, and exactly as many body bytes as that head announced.
//!
//! A head that fails is replaced by [`BAD_HEAD`], so that the refusal takes the same way as every other answer;
//! why it failed is in the shared [`Finding`].

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::{
    Limits,
    activity::Activity,
    behind::Behind,
    body::Way,
    chunked::{ChunkError, Scanner},
    flow::{Flow, SHORT_HEAD},
    head::{self, Framing, HeadError},
    scratch,
};

/// Handed to the HTTP library in place of a head that was refused.
const BAD_HEAD: &[u8] = b"BAD / HTTP/1.1\r\nhost: invalid\r\nconnection: close\r\n\r\n";
/// What a refused peer may still send before it is cut off, in bytes.
const LINGER_BYTES: usize = 4 << 20;

/// What the gate stopped at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Finding {
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error("too many other heads are longer than {SHORT_HEAD} bytes, too")]
    Crowded,
    #[error("the rest of the request head did not come within {0:?}")]
    Late(Duration),
    #[error(transparent)]
    Body(#[from] ChunkError),
}

#[derive(Debug)]
enum State {
    /// A head is next.
    Head,
    Length(u64),
    Chunked(Scanner),
    /// What follows is no HTTP: kept for whoever takes the socket over.
    Tunnel,
    /// Nothing more is let through.
    Closed,
}

/// The gate around `io`; see the module's head.
#[derive(Debug)]
pub(super) struct Gate<S> {
    io: S,
    /// Received, not yet handed on.
    buf: BytesMut,
    /// Bytes at the start of `buf` that may pass.
    released: usize,
    /// Bytes of `buf` in which no end of a head was found.
    scanned: usize,
    state: State,
    deadline: Option<Pin<Box<Sleep>>>,
    /// Once closing: until when, and for how many bytes more, the peer is listened to.
    lingering: Option<(Pin<Box<Sleep>>, usize)>,
    limits: Arc<Limits>,
    finding: Arc<OnceLock<Finding>>,
    activity: Arc<Activity>,
    flow: Arc<Flow>,
    behind: Behind,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Gate<S> {
    /// `buf` was received from `io` before.
    pub(super) fn new(
        io: S,
        buf: BytesMut,
        limits: Arc<Limits>,
        finding: Arc<OnceLock<Finding>>,
        activity: Arc<Activity>,
        flow: Arc<Flow>,
    ) -> Self {
        Self {
            io,
            buf,
            released: 0,
            scanned: 0,
            state: State::Head,
            deadline: None,
            lingering: None,
            limits,
            finding,
            activity,
            flow,
            behind: Behind::default(),
        }
    }

    /// The socket, and what came after the head that asked for a tunnel.
    pub(super) fn into_parts(self) -> (S, BytesMut) {
        (self.io, self.buf)
    }

    /// Looks for the next head; `Ok(false)` at the end of the stream.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            if !self.buf.is_empty() {
                match head::check(&self.buf, self.scanned, self.limits.head) {
                    Ok(Some(found)) => {
                        self.open(found);
                        return Poll::Ready(Ok(true));
                    }
                    Ok(None) if self.buf.len() > SHORT_HEAD && !self.flow.long_head() => {
                        self.refuse(Finding::Crowded);
                        return Poll::Ready(Ok(true));
                    }
                    Ok(None) => self.scanned = self.buf.len(),
                    Err(error) => {
                        self.refuse(error.into());
                        return Poll::Ready(Ok(true));
                    }
                }
            }
            match self.poll_fill(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(false)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    ready!(self.poll_deadline(cx));
                    if self.buf.is_empty() {
                        return Poll::Ready(Ok(false));
                    }
                    self.refuse(Finding::Late(self.limits.head_time));
                    return Poll::Ready(Ok(true));
                }
            }
        }
    }

    fn open(&mut self, found: head::Head) {
        self.deadline = None;
        self.released = found.len;
        self.scanned = 0;
        self.state = match found.body {
            Framing::Length(0) => State::Head,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Scanner::default()),
            Framing::Tunnel => State::Tunnel,
        };
    }

    fn refuse(&mut self, finding: Finding) {
        // The first finding ends the connection; there is no second.
        let _ = self.finding.set(finding);
        self.deadline = None;
        self.buf = BytesMut::from(BAD_HEAD);
        self.released = BAD_HEAD.len();
        self.state = State::Closed;
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let was_empty = self.buf.is_empty();
        let read = ready!(scratch::poll_read(&mut self.io, cx, &mut self.buf, SHORT_HEAD))?;
        if was_empty && read > 0 {
            // From the wait for a request to the wait for the rest of its head.
            self.deadline = None;
        }
        self.activity.touch();
        Poll::Ready(Ok(read))
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let time = if self.buf.is_empty() { self.limits.keep_alive } else { self.limits.head_time };
        self.deadline.get_or_insert_with(|| Box::pin(sleep(time))).as_mut().poll(cx)
    }

    /// Body bytes: from `buf` first, then straight from the socket into `out`.
    fn poll_body(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.buf.is_empty() {
            self.released = measure(&mut self.state, &self.buf).map_err(|error| self.broken(error))?;
            return Poll::Ready(Ok(()));
        }
        let most = self.flow.piece(Way::Up).min(out.remaining());
        let mut read = ReadBuf::new(out.initialize_unfilled_to(most));
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
        self.activity.touch();
        let received = read.filled();
        if received.is_empty() {
            self.state = State::Closed;
            return Poll::Ready(Ok(()));
        }
        let ours = measure(&mut self.state, received).map_err(|error| self.broken(error))?;
        self.buf.extend_from_slice(&received[ours..]);
        out.advance(ours);
        Poll::Ready(Ok(()))
    }

    fn broken(&self, error: ChunkError) -> io::Error {
        let _ = self.finding.set(error.into());
        io::Error::new(io::ErrorKind::InvalidData, error)
    }

    /// Reads what a refused peer still sends, so that closing does not reset the connection under the answer.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut deadline =
            self.lingering.take().unwrap_or_else(|| (Box::pin(sleep(self.limits.linger)), LINGER_BYTES));
        loop {
            match scratch::poll_discard(&mut self.io, cx) {
                Poll::Ready(Ok(read)) if read > 0 && read <= deadline.1 => deadline.1 -= read,
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    let late = deadline.0.as_mut().poll(cx);
                    self.lingering = Some(deadline);
                    return late;
                }
            }
        }
    }
}

/// How many of `bytes` belong to the body that `state` is in; moves `state` on.
fn measure(state: &mut State, bytes: &[u8]) -> Result<usize, ChunkError> {
    match state {
        State::Length(left) => {
            let ours = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
            *left -= ours as u64;
            if *left == 0 {
                *state = State::Head;
            }
            Ok(ours)
        }
        State::Chunked(scanner) => {
            let ours = scanner.feed(bytes)?;
            if scanner.is_done() {
                *state = State::Head;
            }
            Ok(ours)
        }
        State::Head | State::Tunnel | State::Closed => Ok(0),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gate<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = out.filled().len();
        while out.filled().len() == before && out.remaining() > 0 {
            if this.released > 0 {
                let now = this.released.min(out.remaining());
                out.put_slice(&this.buf[..now]);
                this.buf.advance(now);
                this.released -= now;
                continue;
            }
            match this.state {
                State::Head => {
                    if !ready!(this.poll_head(cx))? {
                        this.state = State::Closed;
                    }
                }
                State::Length(_) | State::Chunked(_) => ready!(this.poll_body(cx, out))?,
                // Whoever takes the socket over reads it; until then nobody needs to be woken.
                State::Tunnel => return Poll::Pending,
                State::Closed => return Poll::Ready(Ok(())),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(this.behind.wrote(Pin::new(&mut this.io).poll_write(cx, data)))?;
        this.flow.wrote(Way::Down, written);
        this.activity.touch();
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(this.behind.wrote(Pin::new(&mut this.io).poll_write_vectored(cx, data)))?;
        this.flow.wrote(Way::Down, written);
        this.activity.touch();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.behind.flushed(Pin::new(&mut this.io).poll_flush(cx), cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
        }
        this.poll_linger(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests;
