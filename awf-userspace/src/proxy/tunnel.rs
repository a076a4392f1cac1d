//! Two sockets joined byte for byte: counted, half-close kept, a reset passed on. While nothing moves it holds
//! neither a buffer nor a pipe.
//!
//! Small messages are read and written through the thread's scratch buffer; what comes in pieces of [`BULK`] or
//! more is spliced. Of TLS the beginning is looked at, until the server has answered: see [`super::sni::retry`].

use std::{
    io,
    net::Shutdown,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream, task::consume_budget};

use super::{
    activity::{Activity, Traffic},
    pipe::Pipe,
    scratch,
    sni::retry::Breach,
    wire::Wire,
};
use crate::policy::Reason;

mod watch;

use watch::Eye;
pub(super) use watch::Watch;

/// Bytes at once from which splice(2) is cheaper than read(2) and write(2). No more is copied at once either: what
/// the other side does not take stays in memory.
const BULK: usize = 16 * 1024;

/// A connected socket, and what was received from it but not yet passed on.
#[derive(Debug)]
pub(super) struct Leg<S = TcpStream> {
    pub(super) stream: S,
    pub(super) received: BytesMut,
}

impl<S> Leg<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, received: BytesMut::new() }
    }
}

impl TryFrom<Leg<Wire>> for Leg {
    type Error = Leg<Wire>;

    fn try_from(leg: Leg<Wire>) -> Result<Self, Leg<Wire>> {
        match leg.stream {
            Wire::Clear(stream) => Ok(Self { stream, received: leg.received }),
            stream => Err(Leg { stream, received: leg.received }),
        }
    }
}

impl From<Leg> for Leg<Wire> {
    fn from(leg: Leg) -> Self {
        Self { stream: leg.stream.into(), received: leg.received }
    }
}

/// Why a tunnel did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its idle time or its lifetime has run out.
    #[error("{0}")]
    Expired(Reason),
    /// The client said something else than what was judged.
    #[error(transparent)]
    Breach(#[from] Breach),
}

/// Joins `client` and `upstream` until both directions have ended; if one side is reset, or the
/// time of `activity` has run out, or `watch` has seen a breach, both are reset: a stream that is cut off must not
/// look complete.
///
/// # Errors
/// What broke it.
pub(super) async fn join(
    client: Leg,
    upstream: Leg,
    watch: Watch,
    traffic: &Traffic,
    activity: &Activity,
) -> Result<(), Broken> {
    let (client, to_upstream) = (client.stream, client.received.freeze());
    let (upstream, to_client) = (upstream.stream, upstream.received.freeze());
    let ended = {
        let mut up = pin!(pump(&client, &upstream, to_upstream, &traffic.up, activity, watch.client()));
        let mut down = pin!(pump(&upstream, &client, to_client, &traffic.down, activity, watch.server()));
        let mut expired = pin!(activity.expired(Duration::ZERO));
        let (mut up_ended, mut down_ended) = (false, false);
        loop {
            let step = tokio::select! {
                ended = &mut up, if !up_ended => { up_ended = true; ended }
                ended = &mut down, if !down_ended => { down_ended = true; ended }
                // Nobody reads from a side that has ended: only so is its reset seen.
                broken = reset(&client), if up_ended && !down_ended => Err(broken.into()),
                broken = reset(&upstream), if down_ended && !up_ended => Err(broken.into()),
                reason = &mut expired, if !(up_ended && down_ended) => break Err(Broken::Expired(reason)),
                else => break Ok(()),
            };
            if let Err(broken) = step {
                break Err(broken);
            }
        }
    };
    if ended.is_err() {
        client.set_zero_linger().and_then(|()| upstream.set_zero_linger()).map_err(Broken::Io)?;
    }
    ended
}

/// Ends once `stream` is reset.
async fn reset(stream: &TcpStream) -> io::Error {
    match stream.ready(Interest::ERROR).await {
        Ok(_) => match stream.take_error() {
            Ok(Some(error)) | Err(error) => error,
            Ok(None) => io::ErrorKind::ConnectionReset.into(),
        },
        Err(error) => error,
    }
}

/// Passes on `first`, then everything `from` sends that `eye` lets through, to `to`, and closes that direction of
/// `to` behind it.
async fn pump(
    from: &TcpStream,
    to: &TcpStream,
    first: Bytes,
    count: &AtomicU64,
    activity: &Activity,
    eye: Eye<'_>,
) -> Result<(), Broken> {
    let first = if eye.is_open() { eye.pass(&first)?.into() } else { first };
    write_all(to, &first).await?;
    count.fetch_add(first.len() as u64, Relaxed);
    drop(first);
    let (mut bulk, mut refused) = (false, false);
    loop {
        from.readable().await?;
        let judged = eye.is_open();
        let pipe = if bulk && !refused && !judged { Pipe::take() } else { None };
        let passed = match pipe {
            Some(pipe) => pass_by_splice(pipe, from, to, count, activity).await,
            None if judged => match pass_judged(from, to, count, activity, eye).await {
                Err(Broken::Io(error)) => Err(error),
                passed => Ok(Some(passed?)),
            },
            None => pass_by_copy(from, to, count, activity).await.map(Some),
        };
        match passed {
            Ok(Some(0)) => break,
            Ok(Some(moved)) => {
                bulk = moved >= BULK;
                // A fast sender and a fast receiver never wait; other connections of this thread must not starve.
                consume_budget().await;
            }
            Ok(None) => refused = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(SockRef::from(to).shutdown(Shutdown::Write)?)
}

/// One read, and what it takes to write as much as `eye` lets through; how many bytes were read, 0 at the end.
async fn pass_judged(
    from: &TcpStream,
    to: &TcpStream,
    count: &AtomicU64,
    activity: &Activity,
    eye: Eye<'_>,
) -> Result<usize, Broken> {
    let (read, passed) = scratch::with(|buf| {
        let read = from.try_read(buf)?;
        Ok::<_, Broken>((read, eye.pass(&buf[..read])?))
    })?;
    activity.touch();
    write_all(to, &passed).await?;
    count.fetch_add(passed.len() as u64, Relaxed);
    Ok(read)
}

/// One read and what it takes to write that; how many bytes, 0 at the end.
async fn pass_by_copy(
    from: &TcpStream,
    to: &TcpStream,
    count: &AtomicU64,
    activity: &Activity,
) -> io::Result<usize> {
    let (read, rest) = scratch::with(|buf| copy(from, to, buf))?;
    activity.touch();
    write_all(to, &rest).await?;
    count.fetch_add(read as u64, Relaxed);
    Ok(read)
}

/// One read and one write, neither of which waits: how many bytes were read, and those of them not written.
fn copy(from: &TcpStream, to: &TcpStream, buf: &mut [u8]) -> io::Result<(usize, Vec<u8>)> {
    let most = buf.len().min(BULK);
    let read = from.try_read(&mut buf[..most])?;
    if read == 0 {
        return Ok((0, Vec::new()));
    }
    let written = match to.try_write(&buf[..read]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        written => written?,
    };
    Ok((read, buf[written..read].to_vec()))
}

/// What `from` has, through `pipe` and never through our memory; how many bytes, 0 at the end. `None`: splice is
/// refused, and nothing was moved.
async fn pass_by_splice(
    mut pipe: Pipe,
    from: &TcpStream,
    to: &TcpStream,
    count: &AtomicU64,
    activity: &Activity,
) -> io::Result<Option<usize>> {
    let filled = match from.try_io(Interest::READABLE, || pipe.fill(from)) {
        Err(error) if is_refusal(&error) => Ok(None),
        filled => filled.map(Some),
    };
    while pipe.held() > 0 {
        activity.touch();
        to.writable().await?;
        match to.try_io(Interest::WRITABLE, || pipe.drain(to)) {
            Ok(moved) => _ = count.fetch_add(moved as u64, Relaxed),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    pipe.give_back();
    filled
}

/// A kernel without it (ENOSYS), a filter above us (EPERM), sockets that cannot (EINVAL): reading them will tell.
fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported)
}

async fn write_all(to: &TcpStream, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        to.writable().await?;
        match to.try_write(data) {
            Ok(written) => data = &data[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
