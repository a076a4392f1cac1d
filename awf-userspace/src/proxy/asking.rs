//! Servers that want a certificate of the client (RFC 8446 section 4.3.2): TLS that ends here has none to show. They
//! are remembered, so that what comes of it is called by its name.

use std::{
    cell::Cell,
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use http::StatusCode;
use rustls::{SignatureScheme, client::ResolvesClientCert, sign::CertifiedKey};

use super::{connection::Link, deny::Refusal, entry::Entry};
use crate::policy::{Host, Reason};

/// Servers that are remembered; more than a run meets.
const MOST: usize = 1024;

tokio::task_local! {
    /// Whether the server of the handshake that is under way has asked.
    static ASKED: Cell<bool>;
}

/// Shows no certificate, and says that one was asked for.
#[derive(Debug)]
pub(super) struct Nobody;

impl ResolvesClientCert for Nobody {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // Outside of `watch` there is nobody to tell.
        let _ = ASKED.try_with(|asked| asked.set(true));
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Those who asked, and whether the user was told.
#[derive(Debug, Default)]
pub(super) struct Asking(Mutex<BTreeMap<String, bool>>);

impl Asking {
    /// Does the `handshake` with `host`, and remembers whether that asked.
    pub(super) async fn watch<T>(&self, host: &Host, handshake: impl Future<Output = T>) -> T {
        let handshake = async {
            let done = handshake.await;
            (done, ASKED.with(Cell::get))
        };
        let (done, asked) = ASKED.scope(Cell::new(false), handshake).await;
        if asked {
            let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if hosts.len() < MOST {
                hosts.entry(host.to_string()).or_default();
            }
        }
        done
    }

    pub(super) fn has(&self, host: &Host) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&host.to_string())
    }

    /// What a failure with `host` is, for which there was another reason: `otherwise`.
    pub(super) fn explain(&self, host: &Host, otherwise: Refusal) -> Refusal {
        if otherwise.denied.reason != Reason::ConnectFailed || !self.has(host) {
            return otherwise;
        }
        let message = format!("{}; {}", wants(host), otherwise.denied.message);
        Refusal::unreachable(Reason::ClientCertificate, message)
    }

    /// Takes down that `host` answered with `status`, if that may be for want of a certificate; the user is told once.
    fn answered(&self, host: &Host, status: StatusCode, entry: &mut Entry) {
        // The last two are nginx's own.
        if !matches!(status.as_u16(), 400 | 401 | 403 | 495 | 496) {
            return;
        }
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(told) = hosts.get_mut(&host.to_string()) else { return };
        entry.fail(Reason::ClientCertificate);
        if !std::mem::replace(told, true) {
            log::warn!("{}, and it answered {}", wants(host), status.as_u16());
        }
    }
}

fn wants(host: &Host) -> String {
    format!(
        "{host} asks for a client certificate, which TLS that is intercepted has none of (--tls-exclude {host} passes \
         it through)"
    )
}

/// What `failed` is, on a connection of `link`.
pub(super) fn explain(link: &Link, failed: Refusal) -> Refusal {
    match &link.secure {
        Some(towards) => towards.secure.asking().explain(&towards.host, failed),
        None => failed,
    }
}

/// Takes down that a server of `link` answered with `status`.
pub(super) fn answered(link: &Link, status: StatusCode, entry: &mut Entry) {
    if let Some(towards) = &link.secure {
        towards.secure.asking().answered(&towards.host, status, entry);
    }
}
