//! The bounds within which the proxy works. Each one ends in a refusal with a reason, never in a hang.

use std::time::Duration;

/// Times and sizes; [`Limits::default`] is what a session uses.
///
/// The idle, lifetime and connect times are those that gh-aw-firewall arrived at for its clients.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once; the next one is reset.
    pub connections: usize,
    /// Sockets at once, the command's and the servers'; whoever needs one more is refused.
    pub sockets: usize,
    /// Sockets beside those, for second addresses of a name that are tried while the first one says nothing.
    pub attempts: usize,
    /// HTTP/2 connections of the command at once, which hold many requests, buffers and servers each.
    pub http2: usize,
    /// Of those, so many with large windows and many streams at once.
    pub http2_large: usize,
    /// HTTP/1 connections that move much and have large buffers for it; the others have small ones.
    pub bulk: usize,
    /// Heads and ClientHellos of more than 8 KiB at once; the next one is refused.
    pub long_heads: usize,
    /// From accept until it is known what the command speaks and to whom: its whole ClientHello or request
    /// line. Where only a client can speak first, `keep_alive` counts instead.
    pub first_byte: Duration,
    /// Bytes of a ClientHello message, or of a request line while sniffing.
    pub hello: usize,
    /// Bytes of one request head.
    pub head: usize,
    /// From the first byte of a request head to its end.
    pub head_time: Duration,
    /// Between two requests of one connection, and before the first.
    pub keep_alive: Duration,
    /// Asking for the addresses of a name.
    pub resolve: Duration,
    /// Until one of all addresses has accepted.
    pub connect: Duration,
    /// Head start of one address over the next (RFC 8305 section 5, "Connection Attempt Delay").
    pub attempt_delay: Duration,
    /// Without a byte in either direction.
    pub idle: Duration,
    /// Of a connection as a whole.
    pub lifetime: Duration,
    /// How long a refused peer is listened to, so that it reads the answer and not a reset.
    pub linger: Duration,
    /// What connections get to end by themselves once the proxy is told to stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16 * 1024,
            sockets: 32 * 1024,
            attempts: 128,
            http2: 128,
            http2_large: 4,
            bulk: 128,
            long_heads: 256,
            first_byte: Duration::from_secs(10),
            hello: 64 * 1024,
            head: 64 * 1024,
            head_time: Duration::from_secs(30),
            keep_alive: Duration::from_secs(2 * 60),
            resolve: Duration::from_secs(10),
            connect: Duration::from_secs(30),
            attempt_delay: Duration::from_millis(250),
            idle: Duration::from_secs(30 * 60),
            lifetime: Duration::from_secs(8 * 60 * 60),
            linger: Duration::from_secs(2),
            drain: Duration::from_secs(2),
        }
    }
}
