//! How a refusal is said in the protocol that a client speaks, or that its port is for, so that the client shows
//! the reason to its user. Pure; `parting` sends it.

/// A protocol in which a refusal can be said before anything else was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    Ssh,
    Postgres,
    Redis,
    MySql,
    /// A server's greeting of one line that begins with this: SMTP, FTP, IMAP, POP3.
    Line(&'static str),
}

/// Bytes of a message: below what any of these clients reads at once.
const MAX_TEXT: usize = 400;

impl Farewell {
    /// The one for a client that began with `received`, or waits for the server of `port` to begin.
    #[must_use]
    pub fn of(received: &[u8], port: u16) -> Option<Self> {
        match received {
            [b'S', b'S', b'H', b'-', ..] => Some(Self::Ssh),
            [b'*', b'0'..=b'9', ..] => Some(Self::Redis),
            [0, 0, _, _, 0x04, 0xd2, 0x16, ..] | [0, 0, _, _, 0, 3, 0, ..] => Some(Self::Postgres),
            [] => Self::greeting(port),
            _ if port == 6379 => Some(Self::Redis),
            _ => Self::greeting(port),
        }
    }

    /// That of a server which speaks first.
    #[must_use]
    pub fn greeting(port: u16) -> Option<Self> {
        match port {
            // RFC 5321 section 3.1: no SMTP service here.
            25 | 465 | 587 | 2525 => Some(Self::Line("554 ")),
            // RFC 959 section 5.4, RFC 9051 section 7.1.5, RFC 1939 section 3.
            21 => Some(Self::Line("421 ")),
            143 => Some(Self::Line("* BYE ")),
            110 => Some(Self::Line("-ERR ")),
            3306 => Some(Self::MySql),
            _ => None,
        }
    }

    /// The last bytes a client gets, saying `text`.
    #[must_use]
    pub fn bytes(self, text: &str) -> Vec<u8> {
        let text = plain(text);
        match self {
            Self::Ssh => ssh(&text),
            Self::Postgres => postgres(&text),
            Self::Redis => format!("-ERR {text}\r\n").into_bytes(),
            Self::MySql => mysql(&text),
            Self::Line(prefix) => format!("{prefix}{text}\r\n").into_bytes(),
        }
    }
}

/// One line of printable ASCII: a terminal may show it.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).take(MAX_TEXT).collect()
}

/// A version line, and SSH_MSG_DISCONNECT in a packet that is not encrypted yet (RFC 4253 sections 4.2, 6, 11.1).
fn ssh(text: &str) -> Vec<u8> {
    const DISCONNECT: u8 = 1;
    const HOST_NOT_ALLOWED_TO_CONNECT: u32 = 1;
    let mut payload = vec![DISCONNECT];
    payload.extend(HOST_NOT_ALLOWED_TO_CONNECT.to_be_bytes());
    payload.extend(length(text.len()));
    payload.extend(text.as_bytes());
    payload.extend(length(0));
    // Length, padding's length, payload and padding are a multiple of 8 together; the padding is 4 at the least.
    let padding = 4 + (8 - (4 + 1 + payload.len() + 4) % 8) % 8;
    let mut bytes = b"SSH-2.0-awf-bpf\r\n".to_vec();
    bytes.extend(length(1 + payload.len() + padding));
    bytes.push(padding as u8);
    bytes.extend(payload);
    bytes.resize(bytes.len() + padding, 0);
    bytes
}

/// An ErrorResponse (PostgreSQL's documentation, "Message Formats"), invalid_authorization_specification.
fn postgres(text: &str) -> Vec<u8> {
    let fields = format!("SFATAL\0VFATAL\0C28000\0M{text}\0\0");
    [b"E".as_slice(), &length(4 + fields.len()), fields.as_bytes()].concat()
}

/// An ERR packet in place of the handshake: ER_HOST_NOT_PRIVILEGED (MySQL's "Client/Server Protocol").
fn mysql(text: &str) -> Vec<u8> {
    const HOST_NOT_PRIVILEGED: u16 = 1130;
    let mut payload = vec![0xff];
    payload.extend(HOST_NOT_PRIVILEGED.to_le_bytes());
    payload.extend(text.as_bytes());
    let [a, b, ..] = (payload.len() as u32).to_le_bytes();
    [&[a, b, 0, 0], payload.as_slice()].concat()
}

/// Lengths here are bounded by [`MAX_TEXT`].
fn length(of: usize) -> [u8; 4] {
    (of as u32).to_be_bytes()
}

/// What a PostgreSQL client asks before it starts (SSLRequest, GSSENCRequest) or instead (CancelRequest).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Startup {
    /// Not all of its 8 bytes are here.
    Incomplete,
    /// Asks for encryption, which is answered with one byte; it goes on.
    Encryption,
    /// Starts the session: an error can be said now.
    Session,
    /// Expects no answer.
    Cancel,
    Unknown,
}

/// The bytes of a request for encryption.
pub const ENCRYPTION_REQUEST: usize = 8;

/// Reads the head of a PostgreSQL client's first message.
#[must_use]
pub fn startup(bytes: &[u8]) -> Startup {
    let Some(head) = bytes.first_chunk::<8>() else { return Startup::Incomplete };
    match head {
        [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f | 0x30] => Startup::Encryption,
        [0, 0, _, _, 0x04, 0xd2, 0x16, 0x2e] => Startup::Cancel,
        [0, 0, _, _, 0, 3, ..] => Startup::Session,
        _ => Startup::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_told_by_their_first_bytes_else_by_the_port() {
        let line = |prefix| Some(Farewell::Line(prefix));
        for (received, port, expected) in [
            (&b"SSH-2.0-OpenSSH_9.2\r\n"[..], 2222, Some(Farewell::Ssh)),
            (b"*1\r\n$4\r\nPING\r\n", 7000, Some(Farewell::Redis)),
            (b"PING\r\n", 6379, Some(Farewell::Redis)),
            (b"PING\r\n", 7000, None),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", 7000, Some(Farewell::Postgres)),
            (b"\0\0\0\x54\0\x03\0\0user\0", 5432, Some(Farewell::Postgres)),
            (b"\0\0\0\x54\0\x03\0\x02user\0", 5432, Some(Farewell::Postgres)),
            (b"", 5432, None),
            (b"", 22, None),
            (b"", 25, line("554 ")),
            (b"EHLO a.test\r\n", 587, line("554 ")),
            (b"", 21, line("421 ")),
            (b"", 3306, Some(Farewell::MySql)),
            (b"\x01whatever", 9999, None),
        ] {
            assert_eq!(Farewell::of(received, port), expected, "{received:?} {port}");
        }
    }

    #[test]
    fn an_ssh_disconnect_is_a_whole_packet_whatever_its_text() {
        for count in 0..64 {
            let text = "x".repeat(count);
            let bytes = Farewell::Ssh.bytes(&text);
            let packet = bytes.strip_prefix(b"SSH-2.0-awf-bpf\r\n").unwrap();
            let (head, rest) = packet.split_first_chunk::<4>().unwrap();
            assert_eq!(u32::from_be_bytes(*head) as usize, rest.len());
            assert_eq!(packet.len() % 8, 0);
            assert!((4..12).contains(&rest[0]), "{count}: {}", rest[0]);
            assert_eq!(rest[1..6], [1, 0, 0, 0, 1]);
            assert_eq!(rest[10..10 + count], *text.as_bytes());
        }
    }

    #[test]
    fn other_messages_are_well_formed() {
        assert_eq!(Farewell::Postgres.bytes("no"), b"E\0\0\0\x1eSFATAL\0VFATAL\0C28000\0Mno\0\0");
        assert_eq!(Farewell::MySql.bytes("no"), b"\x05\0\0\0\xff\x6a\x04no");
        assert_eq!(Farewell::Redis.bytes("no"), b"-ERR no\r\n");
        assert_eq!(Farewell::Line("554 ").bytes("no"), b"554 no\r\n");
    }

    /// The attack: a second line, a string's end or a terminal's escape in what is repeated.
    #[test]
    fn nothing_but_one_plain_line_is_said() {
        let text = format!("a\r\n250 ok\0\x1b[2J\u{fc}{}", "x".repeat(9000));
        let bytes = Farewell::Line("554 ").bytes(&text);
        assert!(bytes.starts_with(b"554 a??250 ok??[2J?xxx"), "{bytes:?}");
        assert_eq!(bytes.len(), 4 + MAX_TEXT + 2);
        assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert!(Farewell::MySql.bytes(&text).len() < 512);
    }

    #[test]
    fn postgresql_asks_before_it_starts() {
        assert_eq!(startup(b"\0\0\0\x08\x04\xd2\x16"), Startup::Incomplete);
        assert_eq!(startup(b"\0\0\0\x08\x04\xd2\x16\x2f"), Startup::Encryption);
        assert_eq!(startup(b"\0\0\0\x08\x04\xd2\x16\x30"), Startup::Encryption);
        assert_eq!(startup(b"\0\0\0\x10\x04\xd2\x16\x2e12345678"), Startup::Cancel);
        assert_eq!(startup(b"\0\0\0\x54\0\x03\0\0user"), Startup::Session);
        assert_eq!(startup(b"GET / HT"), Startup::Unknown);
    }
}
