//! Where a body in chunked coding ends (RFC 9112 section 7.1), read strictly. Pure.

use super::sniff::is_token;

/// Bytes of all trailer fields, and of one chunk's extensions.
const MAX_EXTRA: usize = 8 * 1024;

/// Follows a chunked body through any segmentation.
#[derive(Clone, Copy, Debug)]
pub struct Scanner {
    state: State,
    /// Bytes of extensions or trailers seen.
    extra: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The chunk's length so far, and how many digits it has.
    Size(u64, u8),
    Extension(u64),
    SizeEnd(u64),
    Data(u64),
    DataCr,
    DataLf,
    /// At the start of a trailer line.
    Line,
    TrailerName,
    Trailer,
    TrailerEnd,
    End,
    Done,
}

/// The body breaks the coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chunked coding of the request body is broken")]
pub struct ChunkError;

impl Default for Scanner {
    fn default() -> Self {
        Self { state: State::Size(0, 0), extra: 0 }
    }
}

impl Scanner {
    /// Reads on; returns how many of `bytes` belong to the body. Less than all: it ended there.
    ///
    /// # Errors
    /// At the first byte that breaks the coding.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<usize, ChunkError> {
        let mut at = 0;
        while at < bytes.len() && !self.is_done() {
            if let State::Data(left) = self.state {
                let here = left.min((bytes.len() - at) as u64);
                self.state = if here == left { State::DataCr } else { State::Data(left - here) };
                at += here as usize;
            } else {
                self.step(bytes[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    fn step(&mut self, byte: u8) -> Result<(), ChunkError> {
        self.state = match (self.state, byte) {
            (State::Size(size, digits), byte) if byte.is_ascii_hexdigit() && digits < 15 => {
                State::Size(size << 4 | u64::from(hex(byte)), digits + 1)
            }
            (State::Size(size, 1..), b'\r') | (State::Extension(size), b'\r') => State::SizeEnd(size),
            (State::Size(size, 1..), b';') => self.count(State::Extension(size))?,
            (State::Extension(size), byte) if is_text(byte) => self.count(State::Extension(size))?,
            (State::SizeEnd(0), b'\n') => {
                self.extra = 0;
                State::Line
            }
            (State::SizeEnd(size), b'\n') => State::Data(size),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                self.extra = 0;
                State::Size(0, 0)
            }
            (State::Line, b'\r') => State::End,
            (State::Line | State::TrailerName, byte) if is_token(byte) => self.count(State::TrailerName)?,
            (State::TrailerName, b':') => self.count(State::Trailer)?,
            (State::Trailer, b'\r') => State::TrailerEnd,
            (State::Trailer, byte) if is_text(byte) => self.count(State::Trailer)?,
            (State::TrailerEnd, b'\n') => State::Line,
            (State::End, b'\n') => State::Done,
            _ => return Err(ChunkError),
        };
        Ok(())
    }

    fn count(&mut self, next: State) -> Result<State, ChunkError> {
        self.extra += 1;
        if self.extra > MAX_EXTRA { Err(ChunkError) } else { Ok(next) }
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || byte >= 0x20 && byte != 0x7f
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(bytes: &[u8]) -> Result<(usize, bool), ChunkError> {
        let mut scanner = Scanner::default();
        scanner.feed(bytes).map(|used| (used, scanner.is_done()))
    }

    #[test]
    fn finds_the_end_at_any_split() {
        let body = b"5;x=\"y\"\r\nhello\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nX-T: 1\r\n\r\n";
        let wire = [body.as_slice(), b"GET / HTTP/1.1\r\n"].concat();
        for cut in 0..body.len() {
            let mut scanner = Scanner::default();
            assert_eq!(scanner.feed(&wire[..cut]), Ok(cut));
            assert!(!scanner.is_done());
            assert_eq!(scanner.feed(&wire[cut..]), Ok(body.len() - cut));
            assert!(scanner.is_done());
        }
    }

    #[test]
    fn refuses_loose_coding() {
        for body in [
            "5\nhello\r\n0\r\n\r\n",
            "5 \r\nhello\r\n0\r\n\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "+5\r\nhello\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "\r\n0\r\n\r\n",
            ";x\r\n0\r\n\r\n",
            "5\r\nhelloX0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "0\r\n folded: 1\r\n\r\n",
            "0\r\nno colon\r\n\r\n",
            "0\r\n: no name\r\n\r\n",
            "0\r\nX : 1\r\n\r\n",
            "0\r\nX-\u{da}: 1\r\n\r\n",
            "0\r\nX: 1\n\r\n",
            "5;x\ny\r\nhello\r\n0\r\n\r\n",
            "0\r\n\n",
            "ffffffffffffffff\r\nx",
            "0000000000000000000005\r\nhello\r\n0\r\n\r\n",
        ] {
            assert_eq!(scan(body.as_bytes()), Err(ChunkError), "{body:?}");
        }
        assert_eq!(scan(format!("5;{}", "x".repeat(9000)).as_bytes()), Err(ChunkError));
        assert_eq!(scan(format!("0\r\nX: {}", "x".repeat(9000)).as_bytes()), Err(ChunkError));
    }
}
