//! What a connection speaks, told from its first bytes alone. Pure.

/// The longest method that is waited for; anything longer is no HTTP request. (The registry's longest is
/// `UPDATEREDIRECTREF`.)
const MAX_METHOD: usize = 32;
/// A request line longer than this is not waited for: as long as a whole head may be.
const MAX_LINE: usize = 64 * 1024;

/// The connection preface of HTTP/2 (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the bytes received so far begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sniff {
    /// More bytes are needed to tell.
    Incomplete,
    /// A TLS handshake record.
    Tls,
    /// A request line that ends in `HTTP/1.`; whether the head is valid is another question.
    Http1,
    /// The whole connection preface of HTTP/2.
    Http2,
    /// Something else.
    Other,
}

/// Tells what `bytes` begin. Once it has answered something other than [`Sniff::Incomplete`], more bytes do not
/// change the answer.
#[must_use]
pub fn sniff(bytes: &[u8]) -> Sniff {
    match bytes {
        [] | [0x16] => Sniff::Incomplete,
        [0x16, 3, ..] => Sniff::Tls,
        [0x16, ..] => Sniff::Other,
        _ if bytes.starts_with(PREFACE) => Sniff::Http2,
        _ if PREFACE.starts_with(bytes) => Sniff::Incomplete,
        _ => sniff_http(bytes),
    }
}

fn sniff_http(bytes: &[u8]) -> Sniff {
    let method = bytes.iter().take(MAX_METHOD + 1).take_while(|b| is_token(**b)).count();
    if method == bytes.len() && method <= MAX_METHOD {
        return Sniff::Incomplete;
    }
    if method == 0 || method > MAX_METHOD || bytes[method] != b' ' {
        return Sniff::Other;
    }
    // A target has no control characters: what has one is another protocol, known as such at once.
    let rest = &bytes[method + 1..];
    let line = rest.iter().take(MAX_LINE).take_while(|b| **b >= 0x20 && **b != 0x7f).count();
    match rest.get(line) {
        // Too long, but plainly a target: whoever sent it is told so in HTTP.
        _ if line == MAX_LINE && (rest.starts_with(b"/") || rest.starts_with(b"http://")) => Sniff::Http1,
        None if line < MAX_LINE => Sniff::Incomplete,
        Some(b'\r' | b'\n') => version_of(&bytes[..method + 1 + line]),
        _ => Sniff::Other,
    }
}

fn version_of(line: &[u8]) -> Sniff {
    let last = line.rsplit(|b| *b == b' ').next().unwrap_or_default();
    // What looks like the preface and is none is neither.
    if last.starts_with(b"HTTP/") && line != b"PRI * HTTP/2.0" { Sniff::Http1 } else { Sniff::Other }
}

/// `tchar` of RFC 9110 section 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every prefix is either incomplete or already the final answer: TCP may split anywhere.
    fn check(bytes: &[u8], expected: Sniff) {
        assert_eq!(sniff(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        for end in 0..bytes.len() {
            let part = sniff(&bytes[..end]);
            assert!(part == Sniff::Incomplete || part == expected, "{end} bytes of {bytes:?} gave {part:?}");
        }
    }

    #[test]
    fn tells_protocols_apart_at_every_prefix() {
        check(b"\x16\x03\x01\x02\x00\x01", Sniff::Tls);
        check(b"GET / HTTP/1.1\r\n", Sniff::Http1);
        check(b"OPTIONS * HTTP/1.0\r\n", Sniff::Http1);
        check(b"CONNECT a.test:443 HTTP/1.1\r\n", Sniff::Http1);
        check(b"GET / HTTP/1.1\nHost: a.test\n\n", Sniff::Http1);
        check(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Sniff::Http2);
        check(b"PRI * HTTP/2.0\r\nHost: a.test\r\n\r\n", Sniff::Other);
        check(b"GET / HTTP/2.0\r\nHost: a.test\r\n\r\n", Sniff::Http1);
        check(b"PRI * HTTP/1.1\r\nHost: a.test\r\n\r\n", Sniff::Http1);
        check(b"SSH-2.0-OpenSSH_9.6\r\n", Sniff::Other);
        check(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", Sniff::Other);
        check(b"EHLO a.test\r\n", Sniff::Other);
        check(b"*1\r\n$4\r\nPING\r\n", Sniff::Other);
        check(b"GET /\r\n", Sniff::Other);
        check(b"\x00\x00\x00\x08\x04\xd2\x16\x2f", Sniff::Other);
        check(b"\x05\x01\x00", Sniff::Other);
        check(b"\r\nGET / HTTP/1.1\r\n", Sniff::Other);
        check(b"\x80\x2e\x01\x03\x01", Sniff::Other);
        check(b"\x16\x02\x00", Sniff::Other);
    }

    #[test]
    fn gives_up_on_endless_lines() {
        assert_eq!(sniff(&[b'A'; MAX_METHOD + 1]), Sniff::Other);
        assert_eq!(sniff(&[b"GET ".as_slice(), &vec![b'a'; MAX_LINE]].concat()), Sniff::Other);
        assert_eq!(sniff(&[b"GET /".as_slice(), &vec![b'a'; MAX_LINE]].concat()), Sniff::Http1);
    }
}
