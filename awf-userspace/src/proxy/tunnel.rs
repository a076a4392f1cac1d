//! Two sockets joined byte for byte: counted, half-close kept, a reset passed on. While nothing moves it holds no
//! buffer.
//!
//! [`pump`] reads and writes through the thread's scratch buffer, which is best for small messages; splice(2) for
//! bulk data belongs into it and nowhere else.

use std::{
    io,
    net::Shutdown,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use bytes::{Bytes, BytesMut};
use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream, task::consume_budget};

use super::{
    activity::{Activity, Traffic},
    scratch,
};

/// A connected socket, and what was received from it but not yet passed on.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) stream: TcpStream,
    pub(super) received: BytesMut,
}

impl Leg {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, received: BytesMut::new() }
    }
}

/// Joins `client` and `upstream` until both directions have ended, or one side is reset: then both are.
///
/// # Errors
/// What broke it.
pub(super) async fn join(
    client: Leg,
    upstream: Leg,
    traffic: &Traffic,
    activity: &Activity,
) -> io::Result<()> {
    let (client, to_upstream) = (client.stream, client.received.freeze());
    let (upstream, to_client) = (upstream.stream, upstream.received.freeze());
    let ended = {
        let mut up = pin!(pump(&client, &upstream, to_upstream, &traffic.up, activity));
        let mut down = pin!(pump(&upstream, &client, to_client, &traffic.down, activity));
        let (mut up_ended, mut down_ended) = (false, false);
        loop {
            let step = tokio::select! {
                ended = &mut up, if !up_ended => { up_ended = true; ended }
                ended = &mut down, if !down_ended => { down_ended = true; ended }
                // Nobody reads from a side that has ended: only so is its reset seen.
                broken = reset(&client), if up_ended && !down_ended => Err(broken),
                broken = reset(&upstream), if down_ended && !up_ended => Err(broken),
                else => break Ok(()),
            };
            if step.is_err() {
                break step;
            }
        }
    };
    if ended.is_err() {
        client.set_zero_linger()?;
        upstream.set_zero_linger()?;
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

/// Copies `first`, then everything `from` sends, to `to`, and closes that direction of `to` behind it.
async fn pump(
    from: &TcpStream,
    to: &TcpStream,
    first: Bytes,
    count: &AtomicU64,
    activity: &Activity,
) -> io::Result<()> {
    write_all(to, &first).await?;
    count.fetch_add(first.len() as u64, Relaxed);
    drop(first);
    loop {
        from.readable().await?;
        match scratch::with(|buf| pass(from, to, buf)) {
            Ok(Passed::End) => break,
            Ok(Passed::Bytes(read, rest)) => {
                activity.touch();
                write_all(to, &rest).await?;
                count.fetch_add(read as u64, Relaxed);
                // A fast sender and a fast receiver never wait; other connections of this thread must not starve.
                consume_budget().await;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    SockRef::from(to).shutdown(Shutdown::Write)
}

enum Passed {
    End,
    /// How many bytes were read, and those of them that could not be written at once.
    Bytes(usize, Vec<u8>),
}

/// One read and one write, neither of which waits.
fn pass(from: &TcpStream, to: &TcpStream, buf: &mut [u8]) -> io::Result<Passed> {
    let read = from.try_read(buf)?;
    if read == 0 {
        return Ok(Passed::End);
    }
    let written = match to.try_write(&buf[..read]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        written => written?,
    };
    Ok(Passed::Bytes(read, buf[written..read].to_vec()))
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
