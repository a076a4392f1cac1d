//! The ClientHellos behind the first: after a HelloRetryRequest (RFC 8446 section 4.1.4) a server goes by another one,
//! which the client sends in clear text as well. Each must say of whom it is for what the first said. Pure and total.
//!
//! Only the server's answer ends this: a client may send its second hello unasked, in one segment with the first, and
//! data of 0-RTT between them, which the server drops (section 4.2.10). A renegotiation of TLS 1.2 is encrypted, and
//! cannot be seen.

use super::{HANDSHAKE, Hello, MAX_RECORD, MESSAGE_HEADER, RECORD_HEADER, end_of_hello, read};
use crate::policy::Reason;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const APPLICATION_DATA: u8 = 23;
pub(super) const SERVER_HELLO: u8 = 2;
/// What an encrypted record may hold beyond [`MAX_RECORD`]: by TLS 1.2 (RFC 5246 section 6.2.3), which allows more.
const EXPANSION: usize = 2048;
/// The random of a ServerHello that is a HelloRetryRequest (RFC 8446 section 4.1.3): SHA-256 of that word.
pub(in crate::proxy) const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
    0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];
/// Bytes of a ClientHello behind the first; post-quantum key shares and large tickets fit. Less than of the first one:
/// nothing bounds how many tunnels hold such a beginning at once.
const FURTHER: usize = 16 * 1024;
/// Where the random of a ServerHello begins and ends, behind the message's header and legacy_version.
const RANDOM: std::ops::Range<usize> = MESSAGE_HEADER + 2..MESSAGE_HEADER + 2 + RETRY.len();

/// What the client must not send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    #[error("the TLS handshake began {0}, its next ClientHello is {1}")]
    Renamed(String, String),
    #[error("the TLS handshake began {0}, its next ClientHello hides its server name (ECH)")]
    Hidden(String),
    #[error("the TLS handshake goes on with {0}")]
    Malformed(&'static str),
    #[error("a ClientHello behind the first is longer than {0} bytes")]
    TooLong(usize),
}

impl Breach {
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Renamed(..) => Reason::NameMismatch,
            Self::Hidden(_) => Reason::EchRefused,
            Self::Malformed(_) => Reason::Malformed,
            Self::TooLong(_) => Reason::LimitExceeded,
        }
    }
}

/// Both sides of a TLS connection from its first byte, until the server has chosen.
#[derive(Debug)]
pub struct Handshake {
    client: Client,
    server: Server,
}

impl Handshake {
    /// `limit`: the longest first ClientHello, in bytes. Those behind it may have 16 KiB, and twice that as it comes,
    /// in records.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let client =
            Client { limit, records: Records::default(), message: vec![], held: vec![], first: None };
        Self { client, server: Server::default() }
    }

    /// Takes in what the client sent; gives what of it, and of what was held back before, may go on to the server: of a
    /// ClientHello nothing before all of it was read.
    ///
    /// # Errors
    /// When nothing more may go on.
    pub fn client_sent(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Breach> {
        self.client.take(bytes)
    }

    /// Takes in what the server sent, before it goes on to the client.
    pub fn server_sent(&mut self, bytes: &[u8]) {
        self.server.take(bytes);
    }

    /// Whether no further ClientHello can count: the server has sent a ServerHello that asks for none, or does not
    /// speak TLS, and nothing of the client is held back.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.server.answered && self.client.held.is_empty()
    }
}

/// A stream of records, cut into headers and bodies wherever it comes.
#[derive(Debug, Default)]
struct Records {
    header: [u8; RECORD_HEADER],
    /// Bytes of `header` that have come.
    have: usize,
    /// Bytes of the body that have not.
    left: usize,
}

/// A piece of a record.
enum Part<'a> {
    /// As much of the header as there is.
    Header(&'a [u8]),
    Body(u8, &'a [u8]),
}

impl Records {
    /// Takes the next piece off `bytes`, which are not empty.
    fn next<'a, 'b: 'a>(&'a mut self, bytes: &mut &'b [u8]) -> Part<'a> {
        if self.have == RECORD_HEADER && self.left == 0 {
            self.have = 0;
        }
        let missing = RECORD_HEADER - self.have;
        let (piece, rest) = bytes.split_at(bytes.len().min(if missing > 0 { missing } else { self.left }));
        *bytes = rest;
        if missing == 0 {
            self.left -= piece.len();
            return Part::Body(self.header[0], piece);
        }
        self.header[self.have..][..piece.len()].copy_from_slice(piece);
        self.have += piece.len();
        if self.have == RECORD_HEADER {
            self.left = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
        }
        Part::Header(&self.header[..self.have])
    }
}

#[derive(Debug)]
struct Client {
    limit: usize,
    records: Records,
    /// The beginning of a ClientHello.
    message: Vec<u8>,
    /// What was not passed on: such a beginning, as it came, or that of a record's header.
    held: Vec<u8>,
    first: Option<Hello>,
}

impl Client {
    fn take(&mut self, mut bytes: &[u8]) -> Result<Vec<u8>, Breach> {
        let mut passed = Vec::new();
        while !bytes.is_empty() {
            let before = bytes;
            let pass = match self.records.next(&mut bytes) {
                Part::Header(header) => {
                    check(header, !self.message.is_empty())?;
                    header.len() == RECORD_HEADER && header[0] != HANDSHAKE
                }
                Part::Body(HANDSHAKE, body) => {
                    self.message.extend_from_slice(body);
                    self.judge()?;
                    self.message.is_empty()
                }
                Part::Body(..) => true,
            };
            self.held.extend_from_slice(&before[..before.len() - bytes.len()]);
            if pass {
                passed.append(&mut self.held);
            } else if self.first.is_some() && self.held.len() > 2 * FURTHER {
                return Err(Breach::TooLong(FURTHER));
            }
        }
        if self.held.is_empty() {
            self.held = Vec::new();
        }
        Ok(passed)
    }

    /// Compares every whole hello in `message` with the first.
    fn judge(&mut self) -> Result<(), Breach> {
        loop {
            let limit = if self.first.is_some() { FURTHER.min(self.limit) } else { self.limit };
            let broken = |hello| match hello {
                Hello::Malformed(why) => Breach::Malformed(why),
                _ => Breach::TooLong(limit),
            };
            let Some(end) = end_of_hello(&self.message, limit).map_err(broken)? else { return Ok(()) };
            let rest = self.message.split_off(end);
            let hello = read(&std::mem::replace(&mut self.message, rest));
            match &self.first {
                None => self.first = Some(hello),
                Some(first) if *first == hello => {}
                Some(first) => return Err(breach(first, &hello)),
            }
        }
    }
}

fn breach(first: &Hello, second: &Hello) -> Breach {
    let said = |hello: &Hello| match hello {
        Hello::Name(name) => format!("for {name}"),
        Hello::Hidden(Some(name)) => format!("for a hidden name behind {name}"),
        Hello::Hidden(None) => "for a hidden name".to_owned(),
        _ => "without a server name".to_owned(),
    };
    match second {
        Hello::Malformed(why) => Breach::Malformed(why),
        Hello::Hidden(_) if !matches!(first, Hello::Hidden(_)) => Breach::Hidden(said(first)),
        _ => Breach::Renamed(said(first), said(second)),
    }
}

/// Whether a client may begin a record like this before it is answered. `inside`: amid a ClientHello, which servers
/// differ about, and no client does.
fn check(header: &[u8], inside: bool) -> Result<(), Breach> {
    let most = match header[0] {
        HANDSHAKE => MAX_RECORD,
        CHANGE_CIPHER_SPEC | ALERT | APPLICATION_DATA if !inside => MAX_RECORD + EXPANSION,
        _ if inside => return Err(Breach::Malformed("another TLS record in the middle of the ClientHello")),
        _ => return Err(Breach::Malformed("what is no TLS record")),
    };
    if header.get(1).is_some_and(|major| *major != 3) {
        return Err(Breach::Malformed("a TLS record of an unknown version"));
    }
    match header {
        [kind, _, _, high, low] => match usize::from(u16::from_be_bytes([*high, *low])) {
            length if length <= most && (length > 0 || *kind == APPLICATION_DATA) => Ok(()),
            _ => Err(Breach::Malformed("a TLS record of an impossible length")),
        },
        _ => Ok(()),
    }
}

#[derive(Debug, Default)]
struct Server {
    records: Records,
    /// The beginning of a handshake message, as far as it is needed.
    start: Vec<u8>,
    /// Bytes of that message which are not.
    skip: usize,
    answered: bool,
}

impl Server {
    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.answered {
            match self.records.next(&mut bytes) {
                // The server may warn (of an unknown name, RFC 6066 section 3) and go on.
                Part::Header(header) => {
                    let tls = matches!(header[0], CHANGE_CIPHER_SPEC | ALERT | HANDSHAKE);
                    self.answered = !tls || header.get(1).is_some_and(|major| *major != 3);
                }
                Part::Body(HANDSHAKE, body) => self.answered = answers(&mut self.start, &mut self.skip, body),
                Part::Body(..) => {}
            }
        }
    }
}

/// Goes on in the server's handshake messages: whether there is a ServerHello that is no HelloRetryRequest.
fn answers(start: &mut Vec<u8>, skip: &mut usize, mut body: &[u8]) -> bool {
    while !body.is_empty() {
        let passed = body.len().min(*skip);
        *skip -= passed;
        body = &body[passed..];
        let length = |start: &[u8]| match start {
            [_, a, b, c, ..] => Some(u32::from_be_bytes([0, *a, *b, *c]) as usize),
            _ => None,
        };
        let wanted = match length(start) {
            Some(length) if start[0] == SERVER_HELLO => RANDOM.end.min(MESSAGE_HEADER + length),
            _ => MESSAGE_HEADER,
        };
        let more = body.len().min(wanted - start.len());
        start.extend_from_slice(&body[..more]);
        body = &body[more..];
        let Some(length) = length(start) else { continue };
        if start[0] == SERVER_HELLO {
            match start.get(RANDOM) {
                Some(random) if random != RETRY => return true,
                None if start.len() < MESSAGE_HEADER + length => continue,
                _ => {}
            }
        }
        *skip = MESSAGE_HEADER + length - start.len();
        start.clear();
    }
    false
}

#[cfg(test)]
mod tests;
