//! What can go wrong with name resolution as a whole; what goes wrong with one query is in its answer.

use std::io;

/// Why names cannot be resolved.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    #[error("taking over a {0} socket of the resolver: {1}")]
    Socket(&'static str, #[source] io::Error),
    #[error("the resolver was given no socket to answer on")]
    NoSocket,
    #[error("a task of the resolver ended before its time: {0}")]
    Task(String),
}
