//! Which protocol is spoken inside TLS that ends here (ALPN, RFC 7301).

use tokio::sync::SemaphorePermit;

use super::{connection::Link, secure::Alpn};

/// Of what the command offers, what can be spoken here; `None` if it offers other things only.
pub(super) fn offered<'a>(alpn: Option<impl Iterator<Item = &'a [u8]>>) -> Option<Alpn> {
    let Some(alpn) = alpn else { return Some(Alpn::None) };
    let known = [Alpn::HTTP1, Alpn::HTTP2, Alpn::HTTP1_0];
    let known: Vec<_> = alpn.filter(|name| known.contains(name)).collect();
    match (known.contains(&Alpn::HTTP2), known.contains(&Alpn::HTTP1)) {
        (true, true) => Some(Alpn::Either),
        (true, false) => Some(Alpn::Http2),
        (false, true) => Some(Alpn::Http1),
        // It gets no answer to its offer, as of servers that know nothing of ALPN.
        (false, false) if known.contains(&Alpn::HTTP1_0) => Some(Alpn::None),
        (false, false) => None,
    }
}

/// What `offered` comes to, with a place among the connections of HTTP/2 for what may become one. Where none is left
/// HTTP/1 is spoken, by whoever offers both.
pub(super) fn within_bounds(link: &Link, offered: Alpn) -> (Alpn, Option<SemaphorePermit<'_>>) {
    if !matches!(offered, Alpn::Either | Alpn::Http2) {
        return (offered, None);
    }
    match link.context.http2.try_acquire() {
        Ok(room) => (offered, Some(room)),
        Err(_) if offered == Alpn::Either => (Alpn::Http1, None),
        Err(_) => (offered, None),
    }
}

/// What the command is told is `spoken`, of what it `offered`.
pub(super) fn told(offered: Alpn, spoken: Alpn) -> &'static [&'static [u8]] {
    match (offered, spoken) {
        (Alpn::None, _) => &[],
        (_, Alpn::Http2) => &[Alpn::HTTP2],
        _ => &[Alpn::HTTP1],
    }
}
