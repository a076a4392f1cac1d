//! The original destination of an accepted connection, and the sender of a query, as the kernel side kept them.

use std::{
    net::SocketAddr,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use super::load::OriginMaps;
use awf_common::{Addr, Origin, SockKey};
use aya::maps::{HashMap, MapData, SkStorage};

/// Reads origins; cheap enough for every connection (0.7 us).
#[derive(Debug)]
pub struct Origins {
    accepted: SkStorage<MapData, Origin>,
    queries: HashMap<MapData, SockKey, Origin>,
    /// `SO_NETNS_COOKIE` of the listeners.
    netns: u64,
}

impl Origins {
    #[must_use]
    pub fn new((accepted, queries): OriginMaps, netns: u64) -> Self {
        Self { accepted, queries, netns }
    }

    /// What the connection behind `socket` asked for. `None`: it is not the command's.
    #[must_use]
    pub fn of_connection(&self, socket: BorrowedFd<'_>) -> Option<Origin> {
        self.accepted.get(&socket.as_raw_fd(), 0).ok()
    }

    /// Who sent the datagram that came from `source` last. `None`: evicted, or never seen.
    #[must_use]
    pub fn of_query(&self, source: SocketAddr) -> Option<Origin> {
        let key = SockKey {
            netns: self.netns,
            addr: Addr::from(source.ip()),
            port: u32::from(source.port()),
            reserved: 0,
        };
        self.queries.get(&key, 0).ok()
    }
}
