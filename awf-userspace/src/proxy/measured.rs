//! A socket beneath TLS. The library joins the pieces of a handshake message, of up to 64 KiB, out of anybody's sight, but
//! what it has taken since it last gave something can hold no more than was read: beyond a little that takes a share.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
};

use super::flow::Shares;

/// Bytes of TLS that may be read without a share before they come to something: a whole record (RFC 8446 section 5.2),
/// what else comes with the read that completes it, and a usual flight of a handshake.
const FREE: usize = 24 * 1024;

/// Too many other connections hold long handshake messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many other long TLS handshake messages are under way")]
pub(super) struct Crowded;

impl Crowded {
    /// Whether that is what `error` says.
    pub(super) fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Measured<S> {
    stream: S,
    shares: Shares,
    taken: usize,
    share: Option<OwnedSemaphorePermit>,
}

impl<S> Measured<S> {
    pub(super) fn new(stream: S, shares: &Shares) -> Self {
        Self { stream, shares: shares.clone(), taken: 0, share: None }
    }

    pub(super) fn get_ref(&self) -> &S {
        &self.stream
    }

    /// What was read so far came to something.
    pub(super) fn came(&mut self) {
        self.taken = 0;
        self.share = None;
    }

    fn took(&mut self, bytes: usize) -> io::Result<()> {
        self.taken = self.taken.saturating_add(bytes);
        if self.taken > FREE && self.share.is_none() {
            self.share = Some(self.shares.long_head().ok_or_else(|| io::Error::other(Crowded))?);
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Measured<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = out.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, out))?;
        Poll::Ready(this.took(out.filled().len() - before))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Measured<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, data)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
