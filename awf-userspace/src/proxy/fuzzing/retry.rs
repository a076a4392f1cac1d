//! Both sides of a TLS handshake: what is let through to the server.

use crate::proxy::sni::{
    Hello,
    retry::{Breach, Handshake},
    server_name,
};

const LIMIT: usize = 64 * 1024;
/// RFC 8446 section 5.1: record types, of plaintext.
const HANDSHAKE: u8 = 22;

/// What the client sent is let through as it was sent or not at all, of a ClientHello nothing before all of it is
/// there, and each says of whom it is for what the first does. In whatever pieces it comes, what is refused at once is
/// refused. `bytes`: the client's.
pub fn handshake(bytes: &[u8]) {
    let piece = 1 + bytes.iter().map(|b| usize::from(*b)).sum::<usize>() % 61;
    let (passed, breach) = through(std::iter::once(bytes));
    let (in_pieces, again) = through(bytes.chunks(piece));
    assert_eq!(breach.is_some(), again.is_some(), "pieces of {piece}: {again:?}, at once: {breach:?}");
    for passed in [&passed, &in_pieces] {
        assert!(bytes.starts_with(passed), "{passed:x?} is not what was sent");
        let (hellos, rest) = hellos(passed);
        assert!(rest.is_empty(), "the beginning of a ClientHello was passed on: {rest:x?}");
        assert!(hellos.windows(2).all(|two| two[0] == two[1]), "{hellos:?}");
    }
}

/// What goes on to the server of what comes in these pieces, and why no more does.
fn through<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Option<Breach>) {
    let (mut handshake, mut passed) = (Handshake::new(LIMIT), Vec::new());
    for piece in pieces {
        match handshake.client_sent(piece) {
            Ok(more) => passed.extend(more),
            Err(breach) => return (passed, Some(breach)),
        }
    }
    (passed, None)
}

/// What each whole ClientHello in these records says, read one by one; and what is left of handshake messages.
fn hellos(mut records: &[u8]) -> (Vec<Hello>, Vec<u8>) {
    let mut messages = Vec::new();
    while let Some((header, rest)) = records.split_first_chunk::<5>() {
        let length = usize::from(u16::from_be_bytes([header[3], header[4]])).min(rest.len());
        let (body, behind) = rest.split_at(length);
        if header[0] == HANDSHAKE {
            messages.extend_from_slice(body);
        }
        records = behind;
    }
    let mut hellos = Vec::new();
    while let Some(&[_, a, b, c]) = messages.first_chunk::<4>() {
        let length = 4 + u32::from_be_bytes([0, a, b, c]) as usize;
        if messages.len() < length {
            break;
        }
        let rest = messages.split_off(length);
        let records: Vec<u8> = messages
            .chunks(1 << 14)
            .flat_map(|part| [&[HANDSHAKE, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat())
            .collect();
        hellos.push(server_name(&records, LIMIT));
        messages = rest;
    }
    (hellos, messages)
}
