//! Bytes on their way in one direction: no more than one buffer of them, and none lost when a wait is given up.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The kernel's own buffer of a terminal is no larger.
pub(super) const SIZE: usize = 16 << 10;

/// A buffer that is filled when it is empty and emptied when it is not.
#[derive(Debug)]
pub(super) struct Flow {
    bytes: Vec<u8>,
    sent: usize,
}

impl Flow {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), sent: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    pub(super) fn put(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
        self.sent = 0;
    }

    pub(super) fn pending(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    pub(super) fn clear(&mut self) {
        self.put(Vec::new());
    }

    /// Fills it with what there is; how much that was. Cancel-safe.
    pub(super) async fn fill(&mut self, from: &AsyncFd<OwnedFd>) -> io::Result<usize> {
        let mut bytes = vec![0; SIZE];
        let got = from.async_io(Interest::READABLE, |fd| Ok(rustix::io::read(fd, &mut bytes)?)).await?;
        bytes.truncate(got);
        self.put(bytes);
        Ok(got)
    }

    /// Writes some of it. Cancel-safe.
    pub(super) async fn drain(&mut self, to: &AsyncFd<OwnedFd>) -> io::Result<()> {
        let pending = &self.bytes[self.sent..];
        self.sent += to.async_io(Interest::WRITABLE, |fd| Ok(rustix::io::write(fd, pending)?)).await?;
        Ok(())
    }
}
