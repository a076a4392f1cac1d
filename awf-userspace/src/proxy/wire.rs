//! A connection as HTTP sees it: its bytes in clear, or inside TLS that ends here.

use std::{
    io::{self, IoSlice},
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{client, server};

use super::{
    distrust::{FirstWord, Served},
    measured::Measured,
    replay::Replay,
};

/// See the module's head.
#[derive(Debug)]
pub(super) enum Wire {
    Clear(TcpStream),
    /// With the command, to whom we are the server.
    Served(Box<Served>),
    /// With a server.
    Dialled(Box<client::TlsStream<Measured<TcpStream>>>),
    /// No socket: for what is tried thousands of times a second.
    #[cfg(any(test, awf_fuzz))]
    Memory(Box<tokio::io::DuplexStream>),
}

/// Bytes of TLS that wait to be sent on one connection: one record (RFC 8446 section 5.1). rustls would hold 64 KiB.
const UNSENT: usize = 16 * 1024;

impl Wire {
    /// With the command.
    pub(super) fn served(
        mut stream: server::TlsStream<Measured<Replay<TcpStream>>>,
        word: Arc<FirstWord>,
    ) -> Self {
        stream.get_mut().1.set_buffer_limit(Some(UNSENT));
        Self::Served(Box::new(Served::new(stream, word)))
    }

    /// With a server.
    pub(super) fn dialled(mut stream: client::TlsStream<Measured<TcpStream>>) -> Self {
        stream.get_mut().1.set_buffer_limit(Some(UNSENT));
        Self::Dialled(Box::new(stream))
    }

    /// The address of the other end.
    pub(super) fn peer_ip(&self) -> Option<IpAddr> {
        let address = match self {
            Self::Clear(stream) => stream.peer_addr(),
            Self::Served(stream) => stream.socket().peer_addr(),
            Self::Dialled(stream) => stream.get_ref().0.get_ref().peer_addr(),
            #[cfg(any(test, awf_fuzz))]
            Self::Memory(_) => return None,
        };
        address.ok().map(|address| address.ip())
    }
}

impl From<TcpStream> for Wire {
    fn from(stream: TcpStream) -> Self {
        Self::Clear(stream)
    }
}

/// Calls `$call` on whichever stream it is, pinned as `$stream`.
macro_rules! each {
    ($wire:expr, $stream:ident => $call:expr) => {
        match $wire.get_mut() {
            Wire::Clear(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Wire::Served(stream) => {
                let $stream = Pin::new(&mut **stream);
                $call
            }
            Wire::Dialled(stream) => {
                let $stream = Pin::new(&mut **stream);
                $call
            }
            #[cfg(any(test, awf_fuzz))]
            Wire::Memory(stream) => {
                let $stream = Pin::new(&mut **stream);
                $call
            }
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        let wire = self.get_mut();
        let read = ready!(each!(Pin::new(&mut *wire), stream => stream.poll_read(cx, out)));
        if let Self::Dialled(stream) = wire
            && out.filled().len() > before
        {
            stream.get_mut().0.came();
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write(cx, data))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write_vectored(cx, data))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Clear(stream) => stream.is_write_vectored(),
            Self::Served(stream) => stream.is_write_vectored(),
            Self::Dialled(stream) => stream.is_write_vectored(),
            #[cfg(any(test, awf_fuzz))]
            Self::Memory(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_shutdown(cx))
    }
}
