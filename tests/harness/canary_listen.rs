//! The canary's TCP listeners: whoever dials its addresses is answered, so that a bypass succeeds in full.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use super::{ANSWER, addresses};

/// Listens on every port of both addresses, in the calling thread's network namespace.
pub(super) fn open(ports: &[u16]) -> Vec<std::net::TcpListener> {
    addresses().into_iter().flat_map(|addr| ports.iter().map(move |port| listener(addr, *port))).collect()
}

fn listener(addr: IpAddr, port: u16) -> std::net::TcpListener {
    let at = SocketAddr::from((addr, port));
    // A multipath listener serves plain TCP too; a kernel without it has nothing to bypass by.
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::MPTCP))
        .or_else(|_| Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP)))
        .expect("open the canary's socket");
    let listen = || {
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&at.into())?;
        socket.listen(4096)
    };
    listen().unwrap_or_else(|e| panic!("the canary cannot listen on {at}: {e}"));
    let queue = 4096_i32;
    // SAFETY: an int that outlives the call. Where Fast Open is off the plain handshake serves, so the result does
    // not matter.
    let _ = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_FASTOPEN,
            (&raw const queue).cast(),
            size_of_val(&queue) as libc::socklen_t,
        )
    };
    socket.into()
}

/// Answers until `ended` resolves.
pub(super) fn serve(listeners: Vec<std::net::TcpListener>, ended: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("start the canary's runtime");
    runtime.block_on(async {
        for listener in listeners {
            let listener = TcpListener::from_std(listener).expect("a listener that does not block");
            tokio::spawn(async move {
                loop {
                    // Out of descriptors or a connection gone: the capture has heard it all the same.
                    match listener.accept().await {
                        Ok((stream, _)) => drop(tokio::spawn(answer(stream))),
                        Err(_) => tokio::task::yield_now().await,
                    }
                }
            });
        }
        let _ = ended.await;
    });
}

/// Reads once, answers, and drains what else comes; the peer may be gone at any step.
async fn answer(mut stream: TcpStream) {
    let mut bytes = vec![0; 4096];
    if stream.read(&mut bytes).await.is_ok() && stream.write_all(ANSWER).await.is_ok() {
        let _ = stream.shutdown().await;
        while matches!(stream.read(&mut bytes).await, Ok(1..)) {}
    }
}
