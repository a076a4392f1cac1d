//! Marks on sockets: which listeners are ours, and which sockets of the command are older than its firewall.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use awf_common::birth::{INSIDE, OLD};
use aya::maps::{MapData, MapError, SkStorage};

use super::{BpfError, Kernel};

/// Marks `sockets` as the listeners of this run. In a shared network nobody else is spoken to, whoever has their ports.
///
/// # Errors
///
/// When the map is missing, or memory is short.
pub fn mark_listeners<'a>(
    kernel: &mut Kernel,
    sockets: impl IntoIterator<Item = BorrowedFd<'a>>,
) -> Result<(), BpfError> {
    let mut map = kernel.take_storage("LISTENERS")?;
    for socket in sockets {
        map.insert(&socket.as_raw_fd(), 1_u32, 0)
            .map_err(|source| BpfError::Map { name: "LISTENERS", source })?;
    }
    Ok(())
}

/// What is known of the making of sockets in a shared network.
#[derive(Debug)]
pub struct Births(SkStorage<MapData, u32>);

impl Births {
    /// # Errors
    ///
    /// When the map is missing, or was taken before.
    pub fn new(kernel: &mut Kernel) -> Result<Self, BpfError> {
        Ok(Self(kernel.take_storage("BIRTH")?))
    }

    /// Whether `socket` is known: made behind the firewall, or marked before.
    ///
    /// # Errors
    ///
    /// What the kernel says, but that there is nothing.
    pub fn knows(&self, socket: BorrowedFd<'_>) -> Result<bool, BpfError> {
        match self.0.get(&socket.as_raw_fd(), 0) {
            Ok(_) => Ok(true),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(source) => Err(BpfError::Map { name: "BIRTH", source }),
        }
    }

    /// From now on `socket` sends and receives nothing.
    ///
    /// # Errors
    ///
    /// When memory is short.
    pub fn cut(&mut self, socket: BorrowedFd<'_>) -> Result<(), BpfError> {
        self.mark(socket, OLD)
    }

    /// `socket` goes on as if it had been made inside.
    ///
    /// # Errors
    ///
    /// When memory is short.
    pub fn keep(&mut self, socket: BorrowedFd<'_>) -> Result<(), BpfError> {
        self.mark(socket, INSIDE)
    }

    fn mark(&mut self, socket: BorrowedFd<'_>, birth: u32) -> Result<(), BpfError> {
        let marked = self.0.insert(&socket.as_raw_fd(), birth, 0);
        marked.map_err(|source| BpfError::Map { name: "BIRTH", source })
    }
}
