//! Two connections joined, at least one of which is TLS that ends here: what a WebSocket, or no HTTP at all, says goes
//! through our memory.

use std::{
    future::poll_fn,
    io,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, split},
    task::consume_budget,
};

use super::{activity::Activity, connection::Link, entry::Entry, scratch, tunnel::Leg, wire::Wire};

/// What the other side does not take stays in memory.
const PIECE: usize = 16 * 1024;

/// Joins `client` and `upstream` until both directions have ended, or one of them has failed: then neither gets a
/// proper end of its TLS, and sees that something is missing.
pub(super) async fn join<S>(link: &Link, client: Leg<S>, upstream: Leg<Wire>, mut entry: Entry)
where
    S: AsyncRead + AsyncWrite,
{
    let traffic = entry.traffic.clone();
    let (from_client, to_client) = split(client.stream);
    let (from_upstream, to_upstream) = split(upstream.stream);
    let up = pump(from_client, to_upstream, client.received, &traffic.up, &link.activity);
    let down = pump(from_upstream, to_client, upstream.received, &traffic.down, &link.activity);
    tokio::select! {
        ended = async { tokio::try_join!(up, down) } => if let Err(error) = ended {
            log::debug!("relay to {:?}: {error}", entry.record.host);
        },
        reason = link.activity.expired(Duration::ZERO) => entry.fail(reason),
    }
}

/// Passes on `held`, then everything `from` sends, to `to`, and closes that direction of `to` behind it.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut held: BytesMut,
    count: &AtomicU64,
    activity: &Activity,
) -> io::Result<()> {
    loop {
        if !held.is_empty() {
            count.fetch_add(held.len() as u64, Relaxed);
            to.write_all_buf(&mut held).await?;
            to.flush().await?;
        }
        // Who waits holds no buffer.
        held = BytesMut::new();
        if poll_fn(|cx| scratch::poll_read(&mut from, cx, &mut held, PIECE)).await? == 0 {
            return to.shutdown().await;
        }
        activity.touch();
        consume_budget().await;
    }
}
