//! The stub's sockets: one task each for a UDP socket and a TCP listener, one for a TCP connection, one for a
//! question that waits for upstream, or for its turn; all of them bounded in number.

use std::{io, os::fd::AsFd as _, sync::Arc, time::Duration};

use rustix::net::sockopt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    DnsError, DnsStub, note, repeats,
    stub::{Ask, Peer, Step},
    wire::Transport,
};
use crate::audit::Recorder;

/// The longest query read: a name, EDNS and its padding. The rest of a longer one is lost, so that it is
/// malformed.
const QUERY_MAX: usize = 4096;
/// The shortest message, a bare header.
const QUERY_MIN: usize = 12;
/// Of a UDP socket, in bytes. The kernel counts 768 and more for a question.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Pause after an error of a socket as a whole (no descriptors left, no memory), so that it is not a busy
/// loop.
const PAUSE: Duration = Duration::from_millis(50);

/// How much the command may ask of the stub at once. What is above is refused.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Questions on their way upstream.
    pub questions: usize,
    /// Questions that wait until one of those is answered.
    pub waiting: usize,
    /// How long they wait; less than what clients do before they ask again (glibc: 5 s).
    pub patience: Duration,
    /// TCP connections.
    pub connections: usize,
    /// How long a TCP connection may lie idle, or take for one message.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let (patience, idle) = (Duration::from_secs(2), Duration::from_secs(10));
        Self { questions: 512, waiting: 8192, patience, connections: 128, idle }
    }
}

impl<A: Recorder> DnsStub<A> {
    /// Answers on the given sockets, which are bound to the addresses the command's queries are sent to
    /// (made in its network namespace), until `shutdown` is ready. Questions still waiting for upstream are
    /// dropped then.
    ///
    /// # Errors
    /// When a socket cannot be used, or stopped working.
    pub async fn serve(
        self: Arc<Self>,
        udp: Vec<std::net::UdpSocket>,
        tcp: Vec<std::net::TcpListener>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), DnsError> {
        let mut tasks = JoinSet::new();
        for socket in udp {
            make_room(&socket);
            let taken = socket.set_nonblocking(true).and_then(|()| UdpSocket::from_std(socket));
            let socket = taken.map_err(|e| DnsError::Socket("UDP", e))?;
            tasks.spawn(datagrams(Arc::clone(&self), Arc::new(socket)));
        }
        for listener in tcp {
            let taken = listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener));
            let listener = taken.map_err(|e| DnsError::Socket("TCP", e))?;
            tasks.spawn(connections(Arc::clone(&self), listener));
        }
        let _last = LastNotes(Arc::clone(&self));
        if tasks.is_empty() {
            return Err(DnsError::NoSocket);
        }
        tasks.spawn(count_repeats(Arc::clone(&self)));
        tokio::select! {
            () = shutdown => Ok(()),
            Some(ended) = tasks.join_next() => Err(match ended {
                Ok(never) => match never {},
                Err(e) => DnsError::Task(e.to_string()),
            }),
        }
    }
}

/// Room for what a thousand threads ask at once: what is lost there is asked again after five seconds only.
fn make_room(socket: &std::net::UdpSocket) {
    // Beyond net.core.rmem_max by CAP_NET_ADMIN alone, which a container may lack.
    let more = sockopt::set_socket_recv_buffer_size_force(socket, RECEIVE_BUFFER)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(socket, RECEIVE_BUFFER));
    if let Err(e) = more {
        log::debug!("the receive buffer of a DNS socket: {e}");
    }
}

/// Records the repeats that still wait, however serving ends.
struct LastNotes<A: Recorder>(Arc<DnsStub<A>>);

impl<A: Recorder> Drop for LastNotes<A> {
    fn drop(&mut self) {
        self.0.note_repeats(true);
    }
}

async fn count_repeats<A: Recorder>(stub: Arc<DnsStub<A>>) -> Never {
    let mut clock = interval(repeats::INTERVAL / 2);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        stub.note_repeats(false);
    }
}

/// Nothing ends the loops below but their being dropped.
enum Never {}

async fn datagrams<A: Recorder>(stub: Arc<DnsStub<A>>, socket: Arc<UdpSocket>) -> Never {
    let mut waiting = JoinSet::new();
    let mut buffer = vec![0; QUERY_MAX];
    loop {
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // The client of an earlier answer is gone (ICMP).
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(e) => {
                log::warn!("receiving a DNS query: {e}");
                sleep(PAUSE).await;
                continue;
            }
        };
        while waiting.try_join_next().is_some() {}
        let peer = Peer::new(Transport::Udp, from.ip(), stub.source.of_datagram(from));
        match stub.judge(&buffer[..length], &peer) {
            Step::Ignore => {}
            Step::Send(answer) => send(&socket, &answer, from).await,
            Step::Ask(ask) if waiting.len() >= stub.limits.questions + stub.limits.waiting => {
                send(&socket, &stub.overloaded(&ask), from).await;
            }
            Step::Ask(ask) => {
                let (stub, socket) = (Arc::clone(&stub), Arc::clone(&socket));
                waiting.spawn(async move { send(&socket, &in_turn(&stub, ask).await, from).await });
            }
        }
    }
}

/// The answer to `ask`, once it may be on its way upstream.
async fn in_turn<A: Recorder>(stub: &DnsStub<A>, ask: Ask) -> Vec<u8> {
    match timeout(stub.limits.patience, stub.questions.acquire()).await {
        Ok(Ok(_permit)) => stub.ask(ask).await,
        _ => stub.overloaded(&ask),
    }
}

async fn send(socket: &UdpSocket, answer: &[u8], to: std::net::SocketAddr) {
    if let Err(e) = socket.send_to(answer, to).await {
        log::debug!("sending a DNS answer to {to}: {e}");
    }
}

async fn connections<A: Recorder>(stub: Arc<DnsStub<A>>, listener: TcpListener) -> Never {
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(e) => {
                log::warn!("accepting a DNS connection: {e}");
                sleep(PAUSE).await;
                continue;
            }
        };
        // Above the limit the connection is closed at once.
        let Ok(permit) = Arc::clone(&stub.connections).try_acquire_owned() else { continue };
        let peer = Peer::new(Transport::Tcp, from.ip(), stub.source.of_connection(stream.as_fd()));
        if peer.process.is_none() {
            stub.note(note::stranger(&peer));
            continue;
        }
        let stub = Arc::clone(&stub);
        open.spawn(async move {
            if let Err(e) = conversation(&stub, stream, &peer).await {
                log::debug!("DNS connection of {from}: {e}");
            }
            drop(permit);
        });
    }
}

/// Answers the queries of one connection in their order (RFC 7766 allows any).
async fn conversation<A: Recorder>(stub: &DnsStub<A>, mut stream: TcpStream, peer: &Peer) -> io::Result<()> {
    stream.set_nodelay(true)?;
    while let Some(query) = timeout(stub.limits.idle, read_message(&mut stream)).await?? {
        let answer = match stub.judge(&query, peer) {
            Step::Ignore => return Ok(()),
            Step::Send(answer) => answer,
            Step::Ask(ask) => in_turn(stub, ask).await,
        };
        let Ok(length) = u16::try_from(answer.len()) else { return Ok(()) };
        let framed = [&length.to_be_bytes(), answer.as_slice()].concat();
        timeout(stub.limits.idle, stream.write_all(&framed)).await??;
    }
    Ok(())
}

/// The next message, after its two bytes of length (RFC 1035, 4.2.2); `None` at the end of the stream and
/// for a length that no query has.
async fn read_message(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u16().await {
        Ok(length) => usize::from(length),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e),
    };
    if !(QUERY_MIN..=QUERY_MAX).contains(&length) {
        return Ok(None);
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(Some(message))
}
