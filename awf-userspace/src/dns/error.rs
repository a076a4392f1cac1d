//! What can go wrong with name resolution as a whole; what goes wrong with one query is in its answer.

use std::io;

use crate::resolve::NameServer;

/// Why names cannot be resolved.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    #[error(
        "line {line} of {path}: {value:?} is not the address of a name server; correct it, or use --dns-servers"
    )]
    BadServer { path: String, line: usize, value: String },
    #[error("{path} names no name server; use --dns-servers")]
    NoServer { path: String },
    #[error("there is no name server to ask; use --dns-servers")]
    NoServers,
    #[error("{0}: no name server to look up its own name; write its address behind a #")]
    NoFinder(NameServer),
    #[error("taking over a {0} socket of the resolver: {1}")]
    Socket(&'static str, #[source] io::Error),
    #[error("the resolver was given no socket to answer on")]
    NoSocket,
    #[error("a task of the resolver ended before its time: {0}")]
    Task(String),
}
