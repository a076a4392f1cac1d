//! Accepts connections, so many at once and no more, until told to stop.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};

use super::{
    Interception, Limits, OriginalDst, Resolve,
    connection::{self, stopped},
    context::{Context, denied},
};
use crate::{
    audit::Recorder,
    policy::{LivePolicy, Reason},
    upstream_proxy::UpstreamProxies,
};

/// How long accepting pauses when the process has no descriptors or memory left.
const PAUSE: Duration = Duration::from_millis(50);
/// Most connections taken after the stop: as many as the kernel lets wait (`net.core.somaxconn`).
const WAITING: usize = 4096;

/// The proxy: give it to [`Proxy::serve`] with each of its listeners.
#[derive(Debug)]
pub struct Proxy {
    context: Arc<Context>,
    connections: Arc<Semaphore>,
    stop: watch::Sender<bool>,
}

impl Proxy {
    /// A proxy that judges by `policy`, dials what `resolver` gives or goes through `upstream`, and hands every
    /// decision to `recorder`. With `interception`, TLS ends here.
    pub fn new<O: OriginalDst, R: Resolve, A: Recorder>(
        policy: Arc<LivePolicy>,
        origins: Arc<O>,
        resolver: Arc<R>,
        recorder: Arc<A>,
        upstream: UpstreamProxies,
        interception: Option<Interception>,
        limits: Limits,
    ) -> Self {
        let connections = Arc::new(Semaphore::new(limits.connections));
        let mut context = Context::new(policy, origins, resolver, recorder, upstream, limits);
        context.interception = interception.map(Arc::new);
        let context = Arc::new(context);
        Self { context, connections, stop: watch::Sender::new(false) }
    }

    #[cfg(test)]
    pub(super) fn context(&self) -> Arc<Context> {
        Arc::clone(&self.context)
    }

    /// Stops accepting; [`Proxy::serve`] returns when the connections have ended or [`Limits::drain`] is over.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Never dials `address`: a listener of ours that stands where host services do.
    pub fn keep_from(&self, address: SocketAddr) {
        self.context.listens_on(address);
    }

    /// Serves `listener` until [`Proxy::stop`]. Errors of accepting are survived, those of one connection are its
    /// own.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        self.serve_after(Vec::new(), listener).await;
    }

    /// The same, after connections that were accepted before.
    pub async fn serve_after(self: Arc<Self>, early: Vec<TcpStream>, listener: TcpListener) {
        match listener.local_addr() {
            Ok(address) => self.context.listens_on(address),
            Err(error) => log::error!("the proxy's own address: {error}"),
        }
        let mut tasks = JoinSet::new();
        early.into_iter().for_each(|stream| self.take(stream, &mut tasks));
        let mut stop = self.stop.subscribe();
        loop {
            tokio::select! {
                () = stopped(&mut stop) => break,
                Some(ended) = tasks.join_next() => report(ended),
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => self.take(stream, &mut tasks),
                    Err(error) => self.survive(&error).await,
                },
            }
        }
        self.take_waiting(listener, &mut tasks);
        self.drain(&mut tasks).await;
    }

    /// Takes what was connected before the stop and nobody came to accept: it has a record, too.
    fn take_waiting(&self, listener: TcpListener, tasks: &mut JoinSet<()>) {
        // Asked directly: the runtime may not have heard of them yet.
        let Ok(listener) = listener.into_std() else { return };
        for _ in 0..WAITING {
            match listener.accept() {
                Ok((stream, _)) => {
                    let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
                    stream.into_iter().for_each(|stream| self.take(stream, tasks));
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => return,
            }
        }
    }

    fn take(&self, stream: TcpStream, tasks: &mut JoinSet<()>) {
        let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() else {
            let message = format!("more than {} connections at once", self.context.limits.connections);
            return connection::turn_away(&self.context, stream, &denied(Reason::LimitExceeded, message));
        };
        let socket = match self.context.sockets.one() {
            Ok(socket) => socket,
            Err(full) => return connection::turn_away(&self.context, stream, &full.denied),
        };
        let (context, stop) = (Arc::clone(&self.context), self.stop.subscribe());
        tasks.spawn(async move {
            connection::run(context, stream, stop).await;
            drop((permit, socket));
        });
    }

    /// After an error of accept(2): those of a connection that is already gone are nothing (accept(2), "Error
    /// handling"); the others would come back at once, so that a pause is due.
    async fn survive(&self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            return;
        }
        log::warn!("accepting connections: {error}; trying again in {PAUSE:?}");
        let mut stop = self.stop.subscribe();
        tokio::select! {
            () = sleep(PAUSE) => {}
            () = stopped(&mut stop) => {}
        }
    }

    async fn drain(&self, tasks: &mut JoinSet<()>) {
        let all = async {
            while let Some(ended) = tasks.join_next().await {
                report(ended);
            }
        };
        if timeout(self.context.limits.drain, all).await.is_err() {
            // Each writes its record as it is dropped.
            tasks.shutdown().await;
        }
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        log::error!("a connection's task failed: {error}");
    }
}
