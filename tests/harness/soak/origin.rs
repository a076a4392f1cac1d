//! The origin of the soak: any address of the world, three ports, and a complaint about everything that should not
//! have come.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr},
    sync::mpsc,
    thread::{self, JoinHandle},
};

use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use super::{
    http, http2,
    wire::{self, ALLOWED, HTTP_PORT, HTTP2_PORT, TLS_PORT},
};
use crate::{Lab, hosts, seen::Seen};

/// Ends with its value.
#[derive(Debug)]
pub struct Origin {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// What must not have come, each thing once.
    pub leaks: Seen<String>,
}

impl Origin {
    /// # Panics
    /// If the ports cannot be listened on.
    #[must_use]
    pub fn start(lab: &Lab) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let leaks = Seen::default();
        let seen = leaks.clone();
        // A thread that is spawned inside stays inside.
        let thread = lab.world().within(|| {
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.expect("start the origin's runtime");
                runtime.block_on(async {
                    for port in [TLS_PORT, HTTP_PORT, HTTP2_PORT] {
                        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await;
                        tokio::spawn(accept(listener.expect("listen as the soak's origin"), seen.clone()));
                    }
                    ready.send(()).expect("the soak waits for its origin");
                    let _ = stopped.await;
                });
                runtime.shutdown_background();
            })
        });
        is_ready.recv().expect("the soak's origin failed to start; its panic is above");
        Self { stop: Some(stop), thread: Some(thread), leaks }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        drop(self.stop.take());
        // If it panicked, what waited for it has failed.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn accept(listener: TcpListener, leaks: Seen<String>) {
    loop {
        // Of one connection, or of too many: the soak reports what was not served.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let Ok(to) = stream.local_addr() else { continue };
        let _ = stream.set_nodelay(true);
        tokio::spawn(serve(stream, to, leaks.clone()));
    }
}

async fn serve(mut stream: TcpStream, to: SocketAddr, leaks: Seen<String>) -> io::Result<()> {
    if !hosts::host(ALLOWED).addrs().any(|addr| addr == to.ip().to_canonical()) {
        leaks.push(format!("a connection to {to}"));
    }
    if to.port() == HTTP_PORT {
        let wanted = format!("{ALLOWED}:{HTTP_PORT}");
        return http::serve(&mut stream, |host| {
            if host != wanted {
                leaks.push(format!("a request for {host:?}"));
            }
        })
        .await;
    }
    if to.port() == HTTP2_PORT {
        let wanted = format!("{ALLOWED}:{HTTP2_PORT}");
        let served = http2::serve(stream, move |host| {
            if host != wanted {
                leaks.push(format!("an HTTP/2 request for {host:?}"));
            }
        });
        return served.await;
    }
    if wire::read_hello(&mut stream).await? != wire::hello(ALLOWED)[5..] {
        leaks.push("another ClientHello".to_owned());
    }
    stream.write_all(&wire::ANSWER).await?;
    wire::obey(&mut stream).await
}
