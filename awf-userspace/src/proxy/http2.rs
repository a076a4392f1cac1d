//! Serves HTTP/2 in clear text, by prior knowledge (RFC 9113 section 3.3), until the connection ends. Everything
//! of it runs in the connection's own task, so that with it all its streams end, and their records before its own.

use std::{
    error::Error,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use hyper::{rt::Executor, server::conn::http2::Builder, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    time::sleep,
};

use super::{
    Limits, connection::Link, context::denied, distrust::stopped_and_heard, entry::Entry, judge::Mode,
    multiplex::Upstreams, replay::Replay, streams::Streams, tunnel::Leg, wire::Wire,
};
use crate::policy::{Denied, Reason};

/// What one connection may hold, on the command's side and to each of its servers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    /// Streams at once.
    pub(super) streams: u32,
    /// Bytes that may be on their way to us on one stream.
    pub(super) stream: u32,
    /// And on all of a connection.
    pub(super) connection: u32,
    /// Bytes of one stream that wait to be written.
    pub(super) send: usize,
}

/// For [`Limits::http2_large`] connections: what servers usually have, up to 26 MiB with eight servers.
const LARGE: Windows = Windows { streams: 128, stream: 256 * 1024, connection: 1024 * 1024, send: 64 * 1024 };
/// For the others: up to 4 MiB. RFC 9113 section 6.9.2 lets no connection have less than 65,535 bytes. Until they have
/// read the settings most clients count on a hundred streams (section 6.5.2), and not all send those again that were
/// refused.
const SMALL: Windows = Windows { streams: 100, stream: 32 * 1024, connection: 65_535, send: 16 * 1024 };
/// Streams reset by the peer before they were even looked at (CVE-2023-44487); then the connection ends.
const MAX_RESETS: usize = 20;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Hands the streams' futures to the loop that serves the connection.
#[derive(Clone, Debug)]
pub(super) struct Inline(UnboundedSender<Task>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Inline {
    fn execute(&self, future: F) {
        // The other end is gone only when the connection is.
        let _ = self.0.send(Box::pin(future));
    }
}

fn builder(exec: Inline, limits: &Limits, windows: Windows) -> Builder<Inline> {
    let mut builder = Builder::new(exec);
    builder
        .max_concurrent_streams(windows.streams)
        .initial_stream_window_size(windows.stream)
        .initial_connection_window_size(windows.connection)
        .max_send_buf_size(windows.send)
        .max_pending_accept_reset_streams(MAX_RESETS)
        // What is a little too long is refused with a reason; h2 refuses the rest with a bare 431.
        .max_header_list_size(u32::try_from(2 * limits.head).unwrap_or(u32::MAX));
    builder
}

/// Serves `client`. `entry`: the connection's own, recorded when it and all its requests have ended. `upstreams`:
/// with a server connection made before.
pub(super) async fn serve(
    link: &Link,
    client: Leg<Wire>,
    mode: Mode,
    mut entry: Entry,
    upstreams: Upstreams,
) {
    entry.speaks_http2();
    mode.settle(&mut entry);
    let large = link.context.http2_large.try_acquire();
    let windows = if large.is_ok() { LARGE } else { SMALL };
    let (tasks, mut begun) = unbounded_channel();
    let tasks = Inline(tasks);
    let word = entry.first_word();
    let streams = Streams::new(link.clone(), mode, entry, upstreams, (windows, tasks.clone()));
    let streams = Arc::new(streams);
    let service = service_fn({
        let streams = Arc::clone(&streams);
        move |request| {
            let streams = Arc::clone(&streams);
            async move { streams.handle(request).await }
        }
    });
    let io = TokioIo::new(Replay::new(client, Arc::clone(&link.activity)));
    let mut builder = builder(tasks, &link.context.limits, windows);
    if link.secure.is_some() {
        builder.enable_connect_protocol();
    }
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut running = FuturesUnordered::new();
    let mut stop = link.stop.clone();
    let mut leaving = pin!(async {
        tokio::select! {
            () = stopped_and_heard(&mut stop, word.as_deref()) => {}
            () = unused_for(&streams, link.context.limits.keep_alive) => {}
        }
    });
    // A graceful end waits for the client's word (RFC 9113 section 6.8); one that says nothing is not waited for.
    let mut gone = pin!(unused_for(&streams, link.context.limits.linger));
    let mut left = false;
    let served = loop {
        tokio::select! {
            served = &mut connection => break served,
            Some(task) = begun.recv() => running.push(task),
            Some(()) = running.next(), if !running.is_empty() => {}
            () = &mut leaving, if !left => {
                left = true;
                connection.as_mut().graceful_shutdown();
            }
            () = &mut gone, if left => break Ok(()),
        }
    };
    if let Err(error) = served {
        log::debug!("HTTP/2 connection: {error}");
        if let Some(denied) = fault(&error) {
            streams.blame(&denied);
        }
    }
}

/// Ends when for `time` there was neither a request nor an answer under way.
async fn unused_for(streams: &Streams, time: Duration) {
    let mut seen = None;
    loop {
        let now = streams.seen();
        if seen == Some(now) && !streams.is_open() {
            return;
        }
        seen = Some(now);
        sleep(time).await;
    }
}

/// What the command did wrong, if that is why its connection ended.
fn fault(error: &hyper::Error) -> Option<Denied> {
    let error = error.source()?.downcast_ref::<h2::Error>()?;
    match error.reason()? {
        h2::Reason::NO_ERROR | h2::Reason::CANCEL => None,
        h2::Reason::ENHANCE_YOUR_CALM => {
            Some(denied(Reason::LimitExceeded, format!("a flood of HTTP/2 frames: {error}")))
        }
        _ => Some(denied(Reason::Malformed, format!("broken HTTP/2: {error}"))),
    }
}
