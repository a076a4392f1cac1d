//! What a server will speak inside of TLS, before it has said so: then the command need not wait for it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::secure::Alpn;
use crate::policy::Host;

/// How many servers are known; then they are learnt anew.
const MOST: usize = 1024;

/// What servers chose last of both.
#[derive(Debug, Default)]
pub(super) struct Foresight(Mutex<HashMap<(Host, u16), Alpn>>);

impl Foresight {
    /// What `host` on `port` will speak where `offered` is, if that is known.
    pub(super) fn of(&self, host: &Host, port: u16, offered: Alpn) -> Option<Alpn> {
        match offered {
            Alpn::Http1 | Alpn::None => Some(Alpn::Http1),
            Alpn::Either => self.known().get(&(host.clone(), port)).copied(),
            // Who offers nothing else is to be told if it cannot be had.
            Alpn::Http2 => None,
        }
    }

    /// It was offered both, and chose.
    pub(super) fn learn(&self, host: &Host, port: u16, spoken: Alpn) {
        let mut known = self.known();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert((host.clone(), port), spoken);
    }

    /// It does not speak that any more.
    pub(super) fn forget(&self, host: &Host, port: u16) {
        self.known().remove(&(host.clone(), port));
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<(Host, u16), Alpn>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
