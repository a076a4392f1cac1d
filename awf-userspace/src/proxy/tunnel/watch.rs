//! A TLS handshake under the eyes of the two pumps of its tunnel, for as long as it is in clear text.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::{
    sni::retry::{Breach, Handshake},
    sniff::{Sniff, sniff},
};

/// What a tunnel still has to watch; nothing once the handshake is decided.
#[derive(Debug)]
pub(in crate::proxy) struct Watch(Mutex<Option<Box<Handshake>>>);

impl Watch {
    /// Over a tunnel whose client has sent `first`; `limit`: the longest ClientHello, in bytes. There is something to
    /// watch if that is TLS.
    pub(in crate::proxy) fn over(first: &[u8], limit: usize) -> Self {
        let tls = sniff(first) == Sniff::Tls;
        Self(Mutex::new(tls.then(|| Box::new(Handshake::new(limit)))))
    }

    /// Over what is no TLS.
    pub(in crate::proxy) fn none() -> Self {
        Self(Mutex::new(None))
    }

    pub(super) fn client(&self) -> Eye<'_> {
        Eye { watch: self, client: true }
    }

    pub(super) fn server(&self) -> Eye<'_> {
        Eye { watch: self, client: false }
    }

    fn handshake(&self) -> MutexGuard<'_, Option<Box<Handshake>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// On what one side of a tunnel sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Eye<'a> {
    watch: &'a Watch,
    client: bool,
}

impl Eye<'_> {
    /// Whether everything has to come through [`Eye::pass`].
    pub(super) fn is_open(self) -> bool {
        self.watch.handshake().is_some()
    }

    /// What of `bytes`, and of those before, may be passed on now.
    ///
    /// # Errors
    /// When the connection must end.
    pub(super) fn pass(self, bytes: &[u8]) -> Result<Vec<u8>, Breach> {
        let mut watched = self.watch.handshake();
        let Some(handshake) = watched.as_mut() else { return Ok(bytes.to_vec()) };
        let passed = if self.client {
            handshake.client_sent(bytes)?
        } else {
            handshake.server_sent(bytes);
            bytes.to_vec()
        };
        if handshake.is_decided() {
            *watched = None;
        }
        Ok(passed)
    }
}
