//! `Expect: 100-continue` (RFC 9110 section 10.1.1): a body that the client sends only when asked is asked for when the
//! server does. Asked for before, it would be on its way to a server that refuses it, and whose answer may be lost in
//! the reset of what it left unread.

use std::{sync::Arc, time::Duration};

use http::{Request, StatusCode, header::EXPECT};
use hyper::{body::Incoming, ext};
use tokio::{sync::Notify, time::timeout};

use super::body::Source;

/// After that the body is asked for all the same: not every server asks, and clients wait no longer either (curl: 1 s).
const PATIENCE: Duration = Duration::from_secs(1);

/// `body`, as `request` has it sent.
pub(super) fn source(request: &mut Request<()>, body: Incoming) -> Source {
    let expects = request.headers().get(EXPECT).map(|value| value.as_bytes().to_ascii_lowercase());
    if expects.as_deref() != Some(b"100-continue") {
        return body.into();
    }
    let asked = Arc::new(Notify::new());
    let server = Arc::clone(&asked);
    ext::on_informational(request, move |response| {
        if response.status() == StatusCode::CONTINUE {
            server.notify_one();
        }
    });
    Source::after(body, async move {
        // Whether it was asked for or is sent without, it is read now.
        let _ = timeout(PATIENCE, asked.notified()).await;
    })
}
