//! What is remembered of a socket's making where the network is shared: which sockets are the command's, and which are
//! older than the firewall.

/// Made by the command, behind the firewall; or older and left alone (`--keep-sockets`).
pub const INSIDE: u32 = 1;
/// Older than the firewall: it may send and receive nothing any more.
pub const OLD: u32 = 2;
/// Made by the command in a network namespace other than the one that is shared: it speaks to that one's loopback alone.
pub const ELSEWHERE: u32 = 3;
