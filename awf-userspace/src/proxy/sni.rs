//! The server name in a TLS ClientHello (RFC 8446 section 4.1.2, RFC 6066 section 3), read from however many
//! records and segments it comes in. Pure and total: no input panics, and what is not plainly valid is refused.

pub mod retry;

use tls_parser::parse_tls_handshake_client_hello;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;
/// RFC 8446 section 5.1: a plaintext record holds at most 2^14 bytes.
const MAX_RECORD: usize = 1 << 14;
/// encrypted_client_hello (RFC 9849 section 11.1).
const ECH: u16 = 0xfe0d;
/// What its drafts used before: ESNI up to draft-ietf-tls-esni-06, then 08 to 12.
const ECH_DRAFTS: [u16; 6] = [0xffce, 0xfe08, 0xfe09, 0xfe0a, 0xfe0b, 0xfe0c];

/// What the bytes received so far say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// The ClientHello is not complete yet.
    Incomplete,
    /// It is complete and names this server; ASCII, as it was written.
    Name(String),
    /// It is complete and names none.
    NoName,
    /// It is complete, and whom it is really for is encrypted (ECH), or pretended to be (GREASE, RFC 9849 section
    /// 6.2, made so that nobody can tell): the name in clear says nothing.
    Hidden(Option<String>),
    /// It is not a ClientHello; why.
    Malformed(&'static str),
    /// It is longer than it may be.
    TooLong,
}

/// Looks for the server name in `bytes`, the first of a connection. `limit`: the longest ClientHello, in bytes.
#[must_use]
pub fn server_name(bytes: &[u8], limit: usize) -> Hello {
    match reassemble(bytes, limit) {
        Ok(Some(message)) => read(&message),
        Ok(None) => Hello::Incomplete,
        Err(stop) => stop,
    }
}

/// What a whole ClientHello says, its header included.
fn read(message: &[u8]) -> Hello {
    match name_in(&message[MESSAGE_HEADER..]) {
        Ok(Names { sni, ech: true }) => Hello::Hidden(sni),
        Ok(Names { sni: Some(name), .. }) => Hello::Name(name),
        Ok(_) => Hello::NoName,
        Err(why) => Hello::Malformed(why),
    }
}

/// Joins the handshake records in `bytes` into the first handshake message, header included. `None`: more is
/// needed.
fn reassemble(bytes: &[u8], limit: usize) -> Result<Option<Vec<u8>>, Hello> {
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        check_record_prefix(rest)?;
        let Some((header, after)) = rest.split_at_checked(RECORD_HEADER) else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if length == 0 || length > MAX_RECORD {
            return Err(Hello::Malformed("a TLS record of an impossible length"));
        }
        let present = length.min(after.len());
        message.extend_from_slice(&after[..present]);
        if let Some(end) = end_of_hello(&message, limit)? {
            message.truncate(end);
            return Ok(Some(message));
        }
        if present < length {
            return Ok(None);
        }
        rest = &after[length..];
    }
}

/// Refuses a record that is not TLS handshake as soon as its first byte shows it.
fn check_record_prefix(record: &[u8]) -> Result<(), Hello> {
    if record.first().is_some_and(|kind| *kind != HANDSHAKE) {
        return Err(Hello::Malformed("another TLS record in the middle of the ClientHello"));
    }
    if record.get(1).is_some_and(|major| *major != 3) {
        return Err(Hello::Malformed("a TLS record of an unknown version"));
    }
    Ok(())
}

/// Where the ClientHello at the start of `message` ends, once all of it is there.
fn end_of_hello(message: &[u8], limit: usize) -> Result<Option<usize>, Hello> {
    if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err(Hello::Malformed(
            "a TLS handshake message that is no ClientHello, where only that can be",
        ));
    }
    let Some(&[_, a, b, c]) = message.first_chunk::<MESSAGE_HEADER>() else { return Ok(None) };
    let length = MESSAGE_HEADER + u32::from_be_bytes([0, a, b, c]) as usize;
    if length > limit {
        return Err(Hello::TooLong);
    }
    Ok((message.len() >= length).then_some(length))
}

/// What a ClientHello says of whom it is for.
struct Names {
    sni: Option<String>,
    ech: bool,
}

/// The names of a ClientHello's body.
fn name_in(body: &[u8]) -> Result<Names, &'static str> {
    let (rest, hello) =
        parse_tls_handshake_client_hello(body).map_err(|_| "a ClientHello that cannot be read")?;
    if !rest.is_empty() {
        return Err("bytes behind the ClientHello's extensions");
    }
    let mut extensions = Reader(hello.ext.unwrap_or_default());
    let (mut name, mut ech) = (None, false);
    while !extensions.0.is_empty() {
        let kind = extensions.u16().ok_or("a cut extension")?;
        let data = extensions.vec16().ok_or("a cut extension")?;
        if kind == SERVER_NAME && name.replace(host_name(data)?).is_some() {
            return Err("two server_name extensions");
        }
        ech |= kind == ECH || ECH_DRAFTS.contains(&kind);
    }
    Ok(Names { sni: name.flatten(), ech })
}

/// The one host name in a server_name extension; `None` when the extension is empty or the name is.
fn host_name(extension: &[u8]) -> Result<Option<String>, &'static str> {
    if extension.is_empty() {
        return Ok(None);
    }
    let mut extension = Reader(extension);
    let mut list = Reader(extension.vec16().ok_or("a cut server name list")?);
    if !extension.0.is_empty() {
        return Err("bytes behind the server name list");
    }
    let mut found: Option<&[u8]> = None;
    while !list.0.is_empty() {
        let kind = list.u8().ok_or("a cut server name")?;
        let name = list.vec16().ok_or("a cut server name")?;
        if kind != HOST_NAME {
            return Err("a server name of an unknown type");
        }
        if found.replace(name).is_some() {
            return Err("two server names");
        }
    }
    match found {
        None | Some([]) => Ok(None),
        Some(name) if name.iter().all(|b| b.is_ascii_graphic()) => {
            Ok(Some(name.iter().map(|b| char::from(*b)).collect()))
        }
        Some(_) => Err("a server name with bytes that no name has"),
    }
}

/// Reads TLS presentation language; `None` past the end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn u16(&mut self) -> Option<u16> {
        let (two, rest) = self.0.split_first_chunk::<2>()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*two))
    }

    /// A vector with a two-byte length.
    fn vec16(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.u16()?);
        let (vector, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(vector)
    }
}

#[cfg(test)]
pub(super) mod build;
#[cfg(test)]
mod tests;
