//! ClientHellos, and what answers them, made for tests.

use super::{retry::SERVER_HELLO, *};

pub(in crate::proxy) use super::retry::RETRY;

pub(in crate::proxy) fn vec16(data: &[u8]) -> Vec<u8> {
    [&u16::try_from(data.len()).unwrap().to_be_bytes(), data].concat()
}

pub(in crate::proxy) fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), vec16(data)].concat()
}

pub(in crate::proxy) fn names(list: &[(u8, &[u8])]) -> Vec<u8> {
    let list: Vec<u8> = list.iter().flat_map(|(kind, name)| [vec![*kind], vec16(name)].concat()).collect();
    extension(SERVER_NAME, &vec16(&list))
}

/// A ClientHello message with these extensions (`None`: without the block).
pub(in crate::proxy) fn message(extensions: Option<&[u8]>) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend(vec16(&[0x13, 0x01]));
    body.extend([1, 0]);
    body.extend(extensions.map(vec16).unwrap_or_default());
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[CLIENT_HELLO], &length[1..], &body].concat()
}

/// `message` in records of at most `size` bytes.
pub(in crate::proxy) fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|part| [vec![HANDSHAKE, 3, 1], vec16(part)].concat()).collect()
}

/// A whole ClientHello in one record, naming `name`.
pub(in crate::proxy) fn hello(name: Option<&str>) -> Vec<u8> {
    let extensions = name.map(|name| names(&[(HOST_NAME, name.as_bytes())])).unwrap_or_default();
    records(&message(Some(&extensions)), MAX_RECORD)
}

/// An encrypted_client_hello extension of the outer hello (RFC 9849 section 5) as browsers make it:
/// HKDF-SHA256, AES-128-GCM, an X25519 key, a payload padded to a multiple of 32.
pub(in crate::proxy) fn ech() -> Vec<u8> {
    let payload = vec![0xa5; 208];
    extension(ECH, &[&[0, 0, 1, 0, 1, 0x2a][..], &vec16(&[0x5a; 32]), &vec16(&payload)].concat())
}

/// A ClientHello whose name is hidden behind `outer`, in the order and with the GREASE of Chromium.
pub(in crate::proxy) fn ech_hello(outer: Option<&str>) -> Vec<u8> {
    let name = outer.map(|name| names(&[(HOST_NAME, name.as_bytes())])).unwrap_or_default();
    let alpn = extension(16, &vec16(b"\x02h2\x08http/1.1"));
    let versions = extension(43, &[6, 0x4a, 0x4a, 3, 4, 3, 3]);
    let share = [vec![0x3a, 0x3a, 0, 1, 0, 0x11, 0xec], vec16(&[5; 1216]), vec![0, 29], vec16(&[6; 32])];
    let shares = extension(51, &vec16(&share.concat()));
    let extensions =
        [extension(0x1a1a, &[]), alpn, shares, ech(), versions, name, extension(0x2a2a, &[0])].concat();
    records(&message(Some(&extensions)), MAX_RECORD)
}

/// A ServerHello message with this random; its session id, cipher suite and extensions are those of a retry for P-384.
pub(in crate::proxy) fn server_hello(random: &[u8; 32]) -> Vec<u8> {
    let extensions = [extension(43, &[3, 4]), extension(51, &[0, 24])].concat();
    let body = [&[3, 3], &random[..], &[32], &[9; 32], &[0x13, 1, 0], &vec16(&extensions)].concat();
    [&[SERVER_HELLO, 0, 0, u8::try_from(body.len()).unwrap()], &body[..]].concat()
}
