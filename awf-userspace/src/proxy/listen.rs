//! Waits for a connection's first bytes until they tell what it speaks, within a deadline.

use std::{io, time::Duration};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    Limits,
    connection::Link,
    context::denied,
    farewell::Farewell,
    flow::{Flow, SHORT_HEAD},
    scratch,
    sni::{self, Hello},
    sniff::{Sniff, sniff},
    tunnel::Leg,
};
use crate::policy::{Denied, Reason};

/// Patience with who waits for a server that will not speak.
const SERVER_FIRST: Duration = Duration::from_secs(1);

/// What the command speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    /// TLS, with the server name of its ClientHello.
    Tls(Option<String>),
    /// TLS that hides its server name (ECH), with the name outside.
    Hidden(Option<String>),
    Http1,
    /// HTTP/2 without TLS.
    Http2,
    Other,
    /// Nothing: the server spoke first.
    ServerFirst,
    /// Nothing, or too little to tell, in the time there was.
    Silent {
        bytes: usize,
    },
}

/// Reads from `client`, for as long as `patience`, until it is known what it speaks; everything read stays in `client.received`. With
/// `upstream`, a server that may be spoken to in any protocol, the wait also ends when that speaks first.
///
/// # Errors
/// When there is nothing to judge: it closed, or broke the protocol that it began.
pub(super) async fn listen(
    client: &mut Leg,
    upstream: Option<&TcpStream>,
    patience: Duration,
    limits: &Limits,
    flow: &Flow,
) -> Result<Spoken, Denied> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(known) = classify(&client.received, limits)? {
            return Ok(known);
        }
        if client.received.len() > SHORT_HEAD && !flow.long_head() {
            let message = format!("too many other connections begin with more than {SHORT_HEAD} bytes, too");
            return Err(denied(Reason::LimitExceeded, message));
        }
        let quiet = upstream.filter(|_| client.received.is_empty());
        let Ok(event) = timeout_at(deadline, wait(&client.stream, quiet)).await else {
            return Ok(Spoken::Silent { bytes: client.received.len() });
        };
        let read = match event {
            Ok(Event::Server) => return Ok(Spoken::ServerFirst),
            Ok(Event::Client) => read(client),
            Err(error) => Err(error),
        };
        match read {
            Ok(Some(0)) => return Err(closed(client.received.len())),
            Ok(_) => {}
            Err(error) => return Err(denied(closed(client.received.len()).reason, error.to_string())),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Client,
    Server,
}

async fn wait(client: &TcpStream, upstream: Option<&TcpStream>) -> io::Result<Event> {
    tokio::select! {
        biased;
        ready = client.readable() => ready.map(|()| Event::Client),
        ready = async { match upstream {
            Some(upstream) => upstream.readable().await,
            None => std::future::pending().await,
        } } => ready.map(|()| Event::Server),
    }
}

/// Reads what there is: `None` if there was nothing after all, 0 at the end.
pub(super) fn read(client: &mut Leg) -> io::Result<Option<usize>> {
    let Leg { stream, received } = client;
    let read: io::Result<usize> = scratch::with(|buf| {
        let read = stream.try_read(&mut buf[..SHORT_HEAD])?;
        received.extend_from_slice(&buf[..read]);
        Ok(read)
    });
    match read {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        read => read.map(Some),
    }
}

fn classify(received: &[u8], limits: &Limits) -> Result<Option<Spoken>, Denied> {
    Ok(Some(match sniff(received) {
        Sniff::Incomplete => return Ok(None),
        Sniff::Http1 => Spoken::Http1,
        Sniff::Http2 => Spoken::Http2,
        Sniff::Other => Spoken::Other,
        Sniff::Tls => match sni::server_name(received, limits.hello) {
            Hello::Incomplete => return Ok(None),
            Hello::Name(name) => Spoken::Tls(Some(name)),
            Hello::NoName => Spoken::Tls(None),
            Hello::Hidden(outer) => Spoken::Hidden(outer),
            Hello::Malformed(why) => return Err(denied(Reason::Malformed, why)),
            Hello::TooLong => {
                let message = format!("the ClientHello is longer than {} bytes", limits.hello);
                return Err(denied(Reason::LimitExceeded, message));
            }
        },
    }))
}

fn closed(received: usize) -> Denied {
    if received == 0 {
        denied(Reason::NothingSent, "the connection was closed before anything was sent")
    } else {
        denied(Reason::Malformed, format!("the connection was closed after {received} bytes"))
    }
}

/// How long a connection may take to say what it speaks. On the ports of the web, and to the proxy itself, it is
/// always the client who speaks first, and clients open connections in advance; on some others it never is, and
/// where the `server` is not there to begin, only TLS or HTTP could help.
pub(super) fn patience(link: &Link, port: Option<u16>, server: bool) -> Duration {
    let limits = &link.context.limits;
    match port {
        _ if client_first(port) => limits.keep_alive,
        Some(port) if !server && Farewell::greeting(port).is_some() => SERVER_FIRST.min(limits.first_byte),
        _ => limits.first_byte,
    }
}

fn client_first(port: Option<u16>) -> bool {
    matches!(port, None | Some(80 | 443))
}

/// The refusal of who has said nothing, or too little, in time. `other`: that of a protocol without a name.
pub(super) fn late(bytes: usize, port: Option<u16>, patience: Duration, other: Denied) -> Denied {
    if bytes == 0 && port.is_some_and(|port| Farewell::greeting(port).is_some()) {
        return other;
    }
    if bytes == 0 && client_first(port) {
        return denied(Reason::NothingSent, format!("nothing was sent within {patience:?}"));
    }
    denied(Reason::FirstByteTimeout, format!("nothing that could be judged was sent within {patience:?}"))
}
