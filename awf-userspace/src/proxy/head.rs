//! The raw bytes of an HTTP/1 request head, before an HTTP library sees them. Pure.
//!
//! The library normalises what it accepts: line ends, repeated lengths, lengths next to chunked coding. Two
//! parsers that normalise differently are how one request is smuggled inside another, so that everything
//! RFC 9112 lets a server refuse is refused here, and the end of each message is known without the library.

use super::tokens;

/// More headers than any client sends; the HTTP library is given the same number.
pub const MAX_HEADERS: usize = 128;

/// Where a request head ends and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the head, with the empty line.
    pub len: usize,
    pub body: Framing,
}

/// What follows a request head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A body of this many bytes; 0 for none.
    Length(u64),
    /// A body in chunked coding.
    Chunked,
    /// Not HTTP any more, if the answer agrees: CONNECT, or an upgrade to WebSocket.
    Tunnel,
}

/// Why a request head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    #[error("the request head is longer than {0} bytes")]
    TooLong(usize),
    #[error("the request has more than {MAX_HEADERS} headers")]
    TooManyHeaders,
    #[error("a line of the request head does not end in CR LF, or holds a bare CR, LF or NUL")]
    LineEnd,
    #[error("a header is folded over two lines")]
    Folded,
    #[error("the request line is not `METHOD target HTTP/1.1`")]
    RequestLine,
    #[error("the request target is not a valid URI")]
    Uri,
    #[error("the request target has a fragment (#), which clients keep to themselves")]
    Fragment,
    #[error("a header is not `Name: value`")]
    Header,
    #[error("there are several Host headers")]
    Hosts,
    #[error("an HTTP/1.1 request needs a Host header")]
    NoHost,
    #[error("the Content-Length is not one plain number")]
    Length,
    #[error("the Transfer-Encoding is not `chunked` alone")]
    Coding,
    #[error("Content-Length and Transfer-Encoding in one request")]
    LengthAndCoding,
    #[error("a CONNECT or upgrade request with a body")]
    TunnelWithBody,
}

/// Finds the end of the head in `bytes`. The first `scanned` bytes were seen by an earlier call that returned
/// `None`, which means: not complete. `limit` in bytes.
///
/// # Errors
/// As soon as a complete line shows that it cannot become a valid head.
pub fn check(bytes: &[u8], scanned: usize, limit: usize) -> Result<Option<Head>, HeadError> {
    let end = end_of_head(bytes, scanned)?;
    match end {
        Some(len) if len <= limit => parse(&bytes[..len]).map(|body| Some(Head { len, body })),
        None if bytes.len() <= limit => Ok(None),
        _ => Err(HeadError::TooLong(limit)),
    }
}

fn end_of_head(bytes: &[u8], scanned: usize) -> Result<Option<usize>, HeadError> {
    // The last byte may be a CR whose LF has not come; a NUL, CR or LF is looked at with its neighbours.
    let from = scanned.saturating_sub(3);
    for at in from..bytes.len() {
        match bytes[at] {
            b'\n' if at == 0 || bytes[at - 1] != b'\r' => return Err(HeadError::LineEnd),
            b'\r' if bytes.get(at + 1).is_some_and(|next| *next != b'\n') => return Err(HeadError::LineEnd),
            0 => return Err(HeadError::LineEnd),
            b' ' | b'\t' if at > 0 && bytes[at - 1] == b'\n' => return Err(HeadError::Folded),
            b'\n' if at < 2 => return Err(HeadError::RequestLine),
            b'\n' if bytes[at - 2] == b'\n' => return Ok(Some(at + 1)),
            _ => {}
        }
    }
    Ok(None)
}

fn parse(head: &[u8]) -> Result<Framing, HeadError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(len)) if len == head.len() => {}
        Ok(_) => return Err(HeadError::RequestLine),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooManyHeaders),
        Err(httparse::Error::HeaderName | httparse::Error::HeaderValue) => return Err(HeadError::Header),
        Err(_) => return Err(HeadError::RequestLine),
    }
    let (Some(method), Some(path), Some(version)) = (request.method, request.path, request.version) else {
        return Err(HeadError::RequestLine);
    };
    path.parse::<http::Uri>().map_err(|_| HeadError::Uri)?;
    // The library would cut it off.
    if path.contains('#') {
        return Err(HeadError::Fragment);
    }
    let headers = Headers(request.headers);
    headers.check_host(version, method)?;
    let body = headers.body(version)?;
    let tunnel = method == "CONNECT" || headers.is_websocket(method, version);
    match body {
        Framing::Length(0) if tunnel => Ok(Framing::Tunnel),
        _ if tunnel => Err(HeadError::TunnelWithBody),
        body => Ok(body),
    }
}

struct Headers<'a>(&'a [httparse::Header<'a>]);

impl<'a> Headers<'a> {
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value)
    }

    /// lftp sends none with CONNECT, whose target says it; what is inside the tunnel is judged by itself.
    fn check_host(&self, version: u8, method: &str) -> Result<(), HeadError> {
        match self.all("host").count() {
            0 if version == 1 && method != "CONNECT" => Err(HeadError::NoHost),
            0 | 1 => Ok(()),
            _ => Err(HeadError::Hosts),
        }
    }

    /// RFC 9112 section 6.3, without its leniencies.
    fn body(&self, version: u8) -> Result<Framing, HeadError> {
        let mut codings = self.all("transfer-encoding");
        let mut lengths = self.all("content-length");
        match (codings.next(), lengths.next()) {
            (Some(_), Some(_)) => Err(HeadError::LengthAndCoding),
            (Some(coding), None) if version == 1 && coding.eq_ignore_ascii_case(b"chunked") => {
                codings.next().map_or(Ok(Framing::Chunked), |_| Err(HeadError::Coding))
            }
            (Some(_), None) => Err(HeadError::Coding),
            (None, Some(length)) => match (lengths.next(), number(length)) {
                (None, Some(length)) => Ok(Framing::Length(length)),
                _ => Err(HeadError::Length),
            },
            (None, None) => Ok(Framing::Length(0)),
        }
    }

    fn is_websocket(&self, method: &str, version: u8) -> bool {
        method == "GET" && version == 1 && tokens::is_websocket(self.all("upgrade"), self.all("connection"))
    }
}

/// A decimal number that fits, without a sign or blanks.
fn number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // The HTTP library keeps the two highest values for itself.
    digits.then(|| text.parse().ok()).flatten().filter(|n| *n < u64::MAX - 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(head: &str) -> Result<Option<Head>, HeadError> {
        check(head.as_bytes(), 0, 8192)
    }

    /// `GET / HTTP/1.1` with a Host and these lines.
    fn with(lines: &str) -> Result<Framing, HeadError> {
        let head = format!("GET / HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n");
        whole(&head).map(|head| head.expect("complete").body)
    }

    #[test]
    fn finds_the_end_at_any_split() {
        let head = b"POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello";
        for end in 0..head.len() - 5 {
            assert_eq!(check(&head[..end], 0, 8192), Ok(None), "{end}");
            let found = check(head, end, 8192);
            assert_eq!(found, Ok(Some(Head { len: head.len() - 5, body: Framing::Length(5) })), "{end}");
        }
    }

    #[test]
    fn knows_the_framing() {
        assert_eq!(with(""), Ok(Framing::Length(0)));
        assert_eq!(with("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
        assert_eq!(with("Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"), Ok(Framing::Tunnel));
        assert_eq!(with("Connection: Upgrade\r\nUpgrade: h2c\r\n"), Ok(Framing::Length(0)));
        assert_eq!(with("Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n"), Ok(Framing::Length(0)));
        let connect = whole("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n");
        assert_eq!(connect.unwrap().unwrap().body, Framing::Tunnel);
    }

    #[test]
    fn refuses_what_two_parsers_could_read_in_two_ways() {
        use HeadError::{Coding, Folded, Header, Hosts, Length, LengthAndCoding, LineEnd, TunnelWithBody};
        for (lines, error) in [
            ("Host: b.test\r\n", Hosts),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", Length),
            ("Content-Length: 5, 5\r\n", Length),
            ("Content-Length: +5\r\n", Length),
            ("Content-Length: 0x5\r\n", Length),
            ("Content-Length:\r\n", Length),
            ("Content-Length: 18446744073709551615\r\n", Length),
            ("Content-Length: 99999999999999999999\r\n", Length),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", LengthAndCoding),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", LengthAndCoding),
            ("Transfer-Encoding: gzip, chunked\r\n", Coding),
            ("Transfer-Encoding: chunked, identity\r\n", Coding),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Coding),
            ("Transfer-Encoding: xchunked\r\n", Coding),
            ("Transfer-Encoding:\r\n", Coding),
            ("X: 1\r\n folded\r\n", Folded),
            ("X: 1\r\n\tfolded\r\n", Folded),
            ("X: 1\nHost: b.test\r\n", LineEnd),
            ("X: 1\rHost: b.test\r\n", LineEnd),
            ("X: 1\0\r\n", LineEnd),
            ("Content-Length : 5\r\n", Header),
            ("no colon\r\n", Header),
            (": no name\r\n", Header),
            ("Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n", TunnelWithBody),
        ] {
            assert_eq!(with(lines), Err(error), "{lines:?}");
        }
    }

    #[test]
    fn refuses_broken_request_lines() {
        for head in [
            "GET  / HTTP/1.1\r\nHost: a.test\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a.test\r\n\r\n",
            "GET /a b HTTP/1.1\r\nHost: a.test\r\n\r\n",
            "G(T / HTTP/1.1\r\nHost: a.test\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        ] {
            assert!(whole(head).is_err(), "{head:?}");
        }
        for target in ["/a#b", "/a?b#c", "http://a.test/#", "/#"] {
            assert_eq!(
                whole(&format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n")),
                Err(HeadError::Fragment),
                "{target}"
            );
        }
        assert_eq!(whole("GET / HTTP/1.1\r\n\r\n"), Err(HeadError::NoHost));
        assert!(whole("GET / HTTP/1.0\r\n\r\n").unwrap().is_some());
        for connect in ["CONNECT a.test:443 HTTP/1.1\r\n\r\n", "CONNECT a.test:443 HTTP/1.0\r\n\r\n"] {
            assert!(whole(connect).unwrap().is_some(), "{connect:?}");
        }
        assert_eq!(
            whole("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nHost: b.test:443\r\n\r\n"),
            Err(HeadError::Hosts)
        );
        assert_eq!(
            whole("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Err(HeadError::Coding),
            "HTTP/1.0 has no chunked coding"
        );
    }

    #[test]
    fn bounds_heads() {
        let endless = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(9000));
        assert_eq!(whole(&endless), Err(HeadError::TooLong(8192)));
        assert_eq!(with(&"X: 1\r\n".repeat(MAX_HEADERS)), Err(HeadError::TooManyHeaders));
    }

    /// Whatever one byte is changed to, the answer is a verdict, and never another framing length.
    #[test]
    fn no_single_byte_change_panics() {
        let mut head = b"POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for at in 0..head.len() {
            let before = head[at];
            for value in 0..=255 {
                head[at] = value;
                if let Ok(Some(found)) = check(&head, 0, 8192) {
                    assert_eq!(found.len, head.len(), "byte {at} = {value}");
                }
            }
            head[at] = before;
        }
    }
}
