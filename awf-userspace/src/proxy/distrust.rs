//! How the command's TLS ends where it does not take our certificate: by an alert, in the handshake or behind it, or by
//! leaving without a word. With TLS 1.3 a server may be done before the client has looked (RFC 8446 section 4.4.4), and
//! programs on GnuTLS, Node and those that pin look when the handshake is over.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustls::{AlertDescription as Alert, Error};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{SetOnce, watch},
};
use tokio_rustls::server::TlsStream;

use super::{connection::stopped, deny::Refusal, entry::Entry, measured::Measured, replay::Replay};
use crate::{
    audit::Decision,
    policy::{Denied, Reason},
};

/// Of a client that left without an alert.
const CLOSED: &str = "closed";

/// How a client left that was shown our certificate, as the record says it: the alert's name in RFC 8446 section 6,
/// or "closed". `None`: it is not the certificate that it left for.
pub(super) fn parting(error: &io::Error) -> Option<&'static str> {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(alert)) => name(*alert),
        Some(_) => None,
        None => is_gone(error).then_some(CLOSED),
    }
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

/// Alerts about a certificate, and those that stand for whatever a program checks by itself: OpenSSL says
/// `handshake_failure` for that, Java `internal_error`. The others are about the protocol.
fn name(alert: Alert) -> Option<&'static str> {
    Some(match alert {
        Alert::UnknownCA => "unknown_ca",
        Alert::BadCertificate => "bad_certificate",
        Alert::UnsupportedCertificate => "unsupported_certificate",
        Alert::CertificateRevoked => "certificate_revoked",
        Alert::CertificateExpired => "certificate_expired",
        Alert::CertificateUnknown => "certificate_unknown",
        Alert::CertificateUnobtainable => "certificate_unobtainable",
        Alert::BadCertificateStatusResponse => "bad_certificate_status_response",
        Alert::BadCertificateHashValue => "bad_certificate_hash_value",
        Alert::NoCertificate => "no_certificate",
        Alert::AccessDenied => "access_denied",
        Alert::DecryptError => "decrypt_error",
        Alert::HandshakeFailure => "handshake_failure",
        Alert::InternalError => "internal_error",
        Alert::CloseNotify | Alert::UserCanceled => CLOSED,
        _ => return None,
    })
}

/// Whether the command said anything inside of its TLS, or left.
#[derive(Debug, Default)]
pub(super) struct FirstWord(SetOnce<Option<&'static str>>);

impl FirstWord {
    /// Waits until it said something or left.
    async fn heard(&self) {
        self.0.wait().await;
    }

    fn read(&self, read: &io::Result<()>, bytes: usize) {
        let _ = match read {
            Ok(()) if bytes > 0 => self.0.set(None),
            Ok(()) => self.0.set(Some(CLOSED)),
            Err(error) => self.0.set(parting(error)),
        };
    }

    fn written(&self, error: &io::Error) {
        // The alert, if there is one, is still to be read.
        if is_gone(error) && self.0.get().is_none() {
            let _ = self.0.set(Some(CLOSED));
        }
    }
}

/// Waits for the stop, and for the first `word` of TLS that ends here. Who did not like what it was shown has left without
/// one, and stopped is when the command has ended: that it left may be unread still. [`super::Limits::drain`] is the bound.
pub(super) async fn stopped_and_heard(stop: &mut watch::Receiver<bool>, word: Option<&FirstWord>) {
    stopped(stop).await;
    if let Some(word) = word {
        word.heard().await;
    }
}

/// What there is to say of a connection whose client left before its first word.
#[derive(Debug)]
pub(super) struct Unheard {
    pub(super) word: Arc<FirstWord>,
    /// What it would have read, had it asked.
    pub(super) refusal: Option<Refusal>,
}

impl Unheard {
    /// Puts it into the record, if that is how it went.
    pub(super) fn note(&self, entry: &mut Entry) {
        match self.word.0.get() {
            Some(Some(how)) => note(how, true, self.refusal.as_ref(), entry),
            // It was we who closed what nothing was said on: there is no half of a request head.
            None if entry.record.reason == Reason::Malformed => {
                entry.record.decision = Decision::Allow;
                entry.fail(Reason::NothingSent);
            }
            _ => {}
        }
    }
}

/// Puts into `entry` that the client left, and `how`. `shook`: after a whole handshake, so that without an alert it may
/// as well have had nothing to ask: then nothing was refused. What the policy said of its host counts for more.
pub(super) fn note(how: &'static str, shook: bool, refusal: Option<&Refusal>, entry: &mut Entry) {
    entry.record.tls_alert = Some(how);
    if let Some(refusal) = refusal {
        return refusal.note(entry);
    }
    if shook && how == CLOSED {
        entry.record.decision = Decision::Allow;
        return entry.fail(Reason::TlsUntrusted);
    }
    let message = format!("the client refused the certificate of this run's CA ({how})");
    entry.deny(&Denied { reason: Reason::TlsUntrusted, rule: None, message, allow_with: None });
}

/// The command's TLS, and what is first said in it.
#[derive(Debug)]
pub(super) struct Served {
    stream: TlsStream<Measured<Replay<TcpStream>>>,
    word: Option<Arc<FirstWord>>,
}

impl Served {
    pub(super) fn new(stream: TlsStream<Measured<Replay<TcpStream>>>, word: Arc<FirstWord>) -> Self {
        Self { stream, word: Some(word) }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        self.stream.get_ref().0.get_ref().get_ref()
    }

    fn wrote<T>(&self, written: io::Result<T>) -> io::Result<T> {
        if let (Some(word), Err(error)) = (&self.word, &written) {
            word.written(error);
        }
        written
    }
}

impl AsyncRead for Served {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, out));
        if out.filled().len() > before {
            self.stream.get_mut().0.came();
        }
        if let Some(word) = self.word.take() {
            word.read(&read, out.filled().len() - before);
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Served {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, data));
        Poll::Ready(self.wrote(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, data));
        Poll::Ready(self.wrote(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        Poll::Ready(self.wrote(flushed))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
