//! ClientHellos made for tests.

use super::*;

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
