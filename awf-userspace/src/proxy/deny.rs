//! How a refusal looks on the wire, so that an agent sees at once that it is policy and not a broken network.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use serde::Serialize;
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use super::{Limits, body::Passing, entry::Entry, farewell, scratch};
use crate::{
    audit::Decision,
    policy::{Denied, Reason},
};

/// How much of a refused request's body is read so that its connection can be kept.
const DRAIN_BYTES: usize = 64 * 1024;
const DRAIN_TIME: Duration = Duration::from_millis(500);

/// A connection or request that ends here.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) denied: Denied,
    /// [`Decision::Allow`]: the policy allows it, the network did not.
    pub(super) decision: Decision,
    /// The server has not looked at it: a client may send it again, whatever it is (RFC 9113 section 8.7).
    pub(super) untouched: bool,
}

impl Refusal {
    /// The command sent something that is not valid.
    pub(super) fn bad_request(denied: Denied) -> Self {
        let status = match denied.reason {
            Reason::LimitExceeded => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Reason::HeadTimeout => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { status, denied, decision: Decision::Deny, untouched: false }
    }

    /// Neither wrong nor forbidden, but more than the proxy holds at once.
    pub(super) fn busy(denied: Denied) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, denied, decision: Decision::Deny, untouched: false }
    }

    /// Allowed, but the server could not be reached.
    pub(super) fn unreachable(reason: Reason, message: String) -> Self {
        use Reason::{ConnectTimeout, IdleTimeout, LifetimeExceeded, ResolveTimeout};
        let status = match reason {
            ResolveTimeout | ConnectTimeout | IdleTimeout | LifetimeExceeded => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        };
        let denied = super::context::denied(reason, message);
        Self { status, denied, decision: Decision::Allow, untouched: false }
    }

    /// The same, of what `rule` allows.
    pub(super) fn under(mut self, rule: Option<&str>) -> Self {
        if self.decision == Decision::Allow && self.denied.rule.is_none() {
            self.denied.rule = rule.map(Into::into);
        }
        self
    }

    /// Puts this outcome into `entry`.
    pub(super) fn note(&self, entry: &mut Entry) {
        match self.decision {
            Decision::Allow => {
                entry.record.decision = Decision::Allow;
                if let Some(rule) = &self.denied.rule {
                    entry.record.rule = Some(rule.to_string());
                }
                entry.fail(self.denied.reason);
            }
            _ => entry.deny(&self.denied),
        }
    }

    /// All of it in one line: `blocked by awf-bpf: ... (reason; allow with ...)`.
    pub(super) fn text(&self) -> String {
        let denied = &self.denied;
        let who = if self.decision == Decision::Allow { "awf-bpf" } else { "blocked by awf-bpf" };
        let with = denied.allow_with.as_ref().map_or_else(String::new, |flag| format!("; allow with {flag}"));
        format!("{who}: {} ({}{with})", denied.message, denied.reason)
    }

    fn error(&self) -> &'static str {
        match (self.decision, self.status) {
            (Decision::Allow, _) => "upstream_failed",
            (_, StatusCode::FORBIDDEN) => "blocked_by_policy",
            (_, StatusCode::SERVICE_UNAVAILABLE) => "unavailable",
            _ => "bad_request",
        }
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        let status = match denied.reason {
            Reason::AuditFailed | Reason::Shutdown => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::FORBIDDEN,
        };
        Self { status, denied, decision: Decision::Deny, untouched: false }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'static str,
    host: Option<&'a str>,
    port: Option<u16>,
    reason: &'static str,
    message: &'a str,
    allow_with: Option<&'a str>,
    event: &'a str,
}

/// The answer to a refused request; host, port and event are those of `entry`.
fn response(refusal: &Refusal, entry: &Entry) -> Response<Bytes> {
    let reason = refusal.denied.reason.as_str();
    let body = Body {
        error: refusal.error(),
        host: entry.record.host.as_deref(),
        port: entry.record.port,
        reason,
        message: &refusal.denied.message,
        allow_with: refusal.denied.allow_with.as_deref(),
        event: entry.id().as_str(),
    };
    // Serialising strings and numbers cannot fail; an empty body would still be a refusal.
    let mut text = serde_json::to_vec(&body).unwrap_or_default();
    text.push(b'\n');
    let decision = if refusal.decision == Decision::Allow { "allow" } else { "deny" };
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = refusal.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-awf-decision"), HeaderValue::from_static(decision));
    headers.insert(HeaderName::from_static("x-awf-reason"), HeaderValue::from_static(reason));
    response
}

/// Answers a refused request. The connection is kept only when nothing of the request is left on it.
pub(super) async fn answer(
    refusal: &Refusal,
    headers: &HeaderMap,
    body: Option<Incoming>,
    last: bool,
    mut entry: Entry,
) -> Response<Passing> {
    refusal.note(&mut entry);
    entry.record.status = Some(refusal.status.as_u16());
    let mut response = response(refusal, &entry).map(Passing::own);
    // Reading the body of a request that waits for `100 Continue` would ask for it.
    let waits = headers.contains_key(header::EXPECT);
    let clean = match body {
        Some(body) => body.is_end_stream() || !waits && !last && drain(body).await,
        None => false,
    };
    if last || !clean {
        close(response.headers_mut());
    }
    response
}

/// Answers a refused request of HTTP/2, whose other streams go on. A gRPC client is told in its own words as well:
/// it shows its user nothing of a body (gRPC's "HTTP2 protocol mapping", Trailers-Only).
pub(super) fn answer_stream(refusal: &Refusal, headers: &HeaderMap, mut entry: Entry) -> Response<Passing> {
    const PERMISSION_DENIED: HeaderValue = HeaderValue::from_static("7");
    const UNAVAILABLE: HeaderValue = HeaderValue::from_static("14");
    refusal.note(&mut entry);
    entry.record.status = Some(refusal.status.as_u16());
    let mut response = response(refusal, &entry);
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if kind.is_some_and(|kind| kind.starts_with(b"application/grpc")) {
        let status = if refusal.decision == Decision::Allow { UNAVAILABLE } else { PERMISSION_DENIED };
        let said = farewell::plain(&refusal.text()).replace('%', "%25");
        let said = HeaderValue::from_str(&said).unwrap_or_else(|_| HeaderValue::from_static("refused"));
        *response.status_mut() = StatusCode::OK;
        *response.body_mut() = Bytes::new();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(HeaderName::from_static("grpc-status"), status);
        headers.insert(HeaderName::from_static("grpc-message"), said);
    }
    response.map(Passing::own)
}

/// Reads the rest of a small body; whether that was all of it.
async fn drain(mut body: Incoming) -> bool {
    let reading = async {
        let mut left = DRAIN_BYTES;
        while let Some(frame) = body.frame().await {
            match frame.ok().and_then(|f| left.checked_sub(f.data_ref().map_or(0, Bytes::len))) {
                Some(rest) => left = rest,
                None => return false,
            }
        }
        true
    };
    timeout(DRAIN_TIME, reading).await.unwrap_or(false)
}

/// Says that the connection ends with this message.
pub(super) fn close(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
}

/// TLS alert descriptions (RFC 8446 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Alert {
    DecodeError = 50,
    AccessDenied = 49,
    InternalError = 80,
}

impl Alert {
    pub(super) fn of(refusal: &Refusal) -> Self {
        match (refusal.decision, refusal.denied.reason) {
            (Decision::Allow, _) => Self::InternalError,
            (_, Reason::Malformed) => Self::DecodeError,
            _ => Self::AccessDenied,
        }
    }

    /// The alert in a record of its own: alert(21), TLS 1.2's version as TLS 1.3 wants it, fatal(2).
    fn record(self) -> [u8; 7] {
        [21, 3, 3, 0, 2, 2, self as u8]
    }
}

/// Answers a ClientHello with a fatal alert and closes.
pub(super) async fn alert(stream: TcpStream, alert: Alert, limits: &Limits) {
    finish(stream, &alert.record(), limits).await;
}

/// Writes `last`, closes our side and reads on for a while: closing with unread bytes would reset the
/// connection, and the peer might never see `last`. Whatever fails here has failed for a refused peer only.
pub(super) async fn finish(mut stream: TcpStream, last: &[u8], limits: &Limits) {
    let ending = async {
        stream.write_all(last).await?;
        stream.shutdown().await?;
        loop {
            stream.readable().await?;
            match scratch::with(|buf| stream.try_read(buf)) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    };
    let ended: Result<std::io::Result<()>, _> = timeout(limits.linger, ending).await;
    if let Ok(Err(error)) = ended {
        log::debug!("answering a refused connection: {error}");
    }
}

/// Resets the connection, so that the command fails now and not at its timeout.
pub(super) fn reset(stream: TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        log::debug!("resetting a refused connection: {error}");
    }
    drop(stream);
}
