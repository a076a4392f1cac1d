//! Comma-separated tokens in header values (RFC 9110 section 5.6.1). Pure.

/// The tokens of all `values`, trimmed, empty ones left out.
pub(super) fn tokens<'a>(values: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    values.flat_map(|value| value.split(|b| *b == b',')).map(<[u8]>::trim_ascii).filter(|t| !t.is_empty())
}

/// Whether these Upgrade and Connection headers ask for WebSocket and nothing else. No other upgrade is passed
/// on: behind `h2c` requests could name other hosts unseen.
pub(super) fn is_websocket<'a>(
    upgrade: impl Iterator<Item = &'a [u8]>,
    connection: impl Iterator<Item = &'a [u8]>,
) -> bool {
    let mut protocols = tokens(upgrade);
    protocols.next().is_some_and(|p| p.eq_ignore_ascii_case(b"websocket"))
        && protocols.next().is_none()
        && tokens(connection).any(|t| t.eq_ignore_ascii_case(b"upgrade"))
}
