//! The server's socket of one HTTP/1 connection, read and counted as its [`Flow`] wants it.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};

use super::{behind::Behind, body::Way, flow::Flow, wire::Wire};

#[derive(Debug)]
pub(super) struct Paced {
    io: Take<Wire>,
    flow: Arc<Flow>,
    behind: Behind,
}

impl Paced {
    pub(super) fn new(stream: Wire, flow: Arc<Flow>) -> Self {
        Self { io: stream.take(0), flow, behind: Behind::default() }
    }

    pub(super) fn into_inner(self) -> Wire {
        self.io.into_inner()
    }
}

impl AsyncRead for Paced {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = out.filled().len();
        this.io.set_limit(this.flow.piece(Way::Down) as u64);
        ready!(Pin::new(&mut this.io).poll_read(cx, out))?;
        if this.flow.read(out.filled().len() - before) {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(Err(io::Error::other("too many long heads at once")))
    }
}

impl AsyncWrite for Paced {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(this.behind.wrote(Pin::new(this.io.get_mut()).poll_write(cx, data)))?;
        this.flow.wrote(Way::Up, written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(this.io.get_mut()).poll_write_vectored(cx, data);
        let written = ready!(this.behind.wrote(written))?;
        this.flow.wrote(Way::Up, written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.get_ref().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.behind.flushed(Pin::new(this.io.get_mut()).poll_flush(cx), cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().io.get_mut()).poll_shutdown(cx)
    }
}
