//! Recorded and built ClientHellos, whole, cut at every byte and changed at every byte.

use super::{
    build::{ech_hello, extension, message, names, records, vec16},
    *,
};

/// Recorded from OpenSSL 3.0.19: TLS 1.3 with ALPN, and TLS 1.2; both name `api.allowed.test`.
const TLS13: &[u8] = include_bytes!("openssl-tls13.bin");
const TLS12: &[u8] = include_bytes!("openssl-tls12.bin");
/// Recorded from BoringSSL set up as Chromium 131: an encrypted_client_hello that is GREASE, and a post-quantum key
/// share. It names `api.allowed.test`.
const CHROMIUM: &[u8] = include_bytes!("chromium131.bin");
const LIMIT: usize = 64 * 1024;

fn read(extensions: &[u8]) -> Hello {
    server_name(&records(&message(Some(extensions)), MAX_RECORD), LIMIT)
}

fn name(name: &str) -> Hello {
    Hello::Name(name.into())
}

/// X25519MLKEM768 (draft-ietf-tls-ecdhe-mlkem): a key share of 1216 bytes, which no longer fits one segment.
fn post_quantum() -> Vec<u8> {
    let share = [vec![0x11, 0xec], vec16(&[5; 1216])].concat();
    let key_share = extension(51, &vec16(&share));
    records(&message(Some(&[key_share, names(&[(0, b"pq.test")]), extension(21, &[0; 400])].concat())), 16384)
}

#[test]
fn reads_recorded_hellos() {
    assert_eq!(server_name(TLS13, LIMIT), name("api.allowed.test"));
    assert_eq!(server_name(TLS12, LIMIT), name("api.allowed.test"));
    assert!(post_quantum().len() > 1600);
    assert_eq!(server_name(&post_quantum(), LIMIT), name("pq.test"));
}

#[test]
fn every_prefix_is_incomplete() {
    let split = records(&TLS13[RECORD_HEADER..], 100);
    for hello in [TLS13, TLS12, CHROMIUM, &post_quantum(), &ech_hello(None), &split] {
        for end in 0..hello.len() {
            assert_eq!(server_name(&hello[..end], LIMIT), Hello::Incomplete, "{end} bytes");
        }
        let early_data = [hello, &[23, 3, 3, 0, 1, 0]].concat();
        assert_eq!(server_name(&early_data, LIMIT), server_name(hello, LIMIT));
    }
}

#[test]
fn every_record_split_reads_the_same() {
    for size in 1..TLS13.len() {
        let split = records(&TLS13[RECORD_HEADER..], size);
        assert_eq!(server_name(&split, LIMIT), name("api.allowed.test"), "records of {size}");
    }
}

/// A changed byte may make the hello incomplete, nameless or malformed. It changes the name only where it lies
/// in the name itself.
#[test]
fn no_single_byte_change_makes_up_a_name() {
    let split = records(&TLS13[RECORD_HEADER..], 90);
    for hello in [TLS13, TLS12, &split] {
        let mut hello = hello.to_vec();
        for at in 0..hello.len() {
            let before = hello[at];
            for value in 0..=255 {
                hello[at] = value;
                if let Hello::Name(found) = server_name(&hello, LIMIT) {
                    let differs = found.bytes().zip(b"api.allowed.test").filter(|(a, b)| a != *b).count();
                    assert!(found.len() == 16 && differs <= 1, "byte {at} = {value}: {found:?}");
                }
            }
            hello[at] = before;
        }
    }
}

#[test]
fn tells_a_hidden_name_from_one_in_clear() {
    let hidden = |name: &str| Hello::Hidden(Some(name.into()));
    assert_eq!(server_name(CHROMIUM, LIMIT), hidden("api.allowed.test"));
    assert_eq!(server_name(&ech_hello(Some("a.test")), LIMIT), hidden("a.test"));
    assert_eq!(server_name(&ech_hello(None), LIMIT), Hello::Hidden(None));
    let a = names(&[(0, b"a.test")]);
    for kind in [0xfe0d, 0xfe0c, 0xfe0a, 0xfe09, 0xfe08, 0xffce] {
        for data in [&[][..], &[1], &[0; 9]] {
            assert_eq!(read(&[extension(kind, data), a.clone()].concat()), hidden("a.test"), "{kind:x}");
            assert_eq!(read(&[a.clone(), extension(kind, data)].concat()), hidden("a.test"), "{kind:x}");
        }
    }
    // GREASE of other extensions (RFC 8701) hides nothing.
    assert_eq!(read(&[extension(0xfafa, &[0]), a].concat()), name("a.test"));
}

#[test]
fn tells_no_name_from_a_name() {
    assert_eq!(server_name(&records(&message(None), 9000), LIMIT), Hello::NoName);
    assert_eq!(read(&[]), Hello::NoName);
    assert_eq!(read(&extension(10, &[0, 2, 0, 29])), Hello::NoName);
    assert_eq!(read(&extension(SERVER_NAME, &[])), Hello::NoName);
    assert_eq!(read(&names(&[])), Hello::NoName);
    assert_eq!(read(&names(&[(0, b"")])), Hello::NoName);
    assert_eq!(read(&names(&[(0, b"203.0.113.5")])), name("203.0.113.5"));
    assert_eq!(read(&names(&[(0, b"A.Test.")])), name("A.Test."));
}

#[test]
fn refuses_ambiguous_and_broken_names() {
    let malformed = |extensions: &[u8]| assert!(matches!(read(extensions), Hello::Malformed(_)));
    malformed(&names(&[(0, b"allowed.test"), (0, b"denied.test")]));
    malformed(&[names(&[(0, b"allowed.test")]), names(&[(0, b"denied.test")])].concat());
    malformed(&[extension(SERVER_NAME, &[]), names(&[(0, b"denied.test")])].concat());
    malformed(&names(&[(1, b"allowed.test")]));
    malformed(&names(&[(0, b"allowed.test\0.denied.test")]));
    malformed(&names(&[(0, b"allowed.test denied.test")]));
    malformed(&names(&[(0, "b\u{fc}cher.test".as_bytes())]));
    malformed(&extension(SERVER_NAME, &[0, 9, 0, 0, 1, b'a']));
    malformed(&extension(SERVER_NAME, &[0, 4, 0, 0, 1, b'a', 0]));
    malformed(&[0, 0, 0, 9, 1]);
}

#[test]
fn refuses_what_is_not_a_client_hello() {
    let malformed =
        |bytes: &[u8]| assert!(matches!(server_name(bytes, LIMIT), Hello::Malformed(_)), "{bytes:?}");
    malformed(b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10");
    malformed(&[22, 3, 1, 0, 4, 2, 0, 0, 0]);
    malformed(&[22, 3, 1, 0, 0]);
    malformed(&[22, 3, 1, 0x40, 1]);
    malformed(&[22, 2]);
    malformed(&[22, 3, 1, 0, 4, 1, 0, 0, 0]);
    let mut trailing = message(Some(&[]));
    trailing.push(0);
    trailing[3] += 1;
    malformed(&records(&trailing, 9000));
    let first = records(&message(Some(&names(&[(0, b"a.test")])))[..20], 20);
    malformed(&[&first[..], &[21]].concat());
}

#[test]
fn bounds_the_hello_before_it_has_arrived() {
    assert_eq!(server_name(&[22, 3, 1, 0, 5, 1, 1, 0, 0, 0], LIMIT), Hello::TooLong);
    let long = message(Some(&[extension(21, &[0; 32000]), extension(22, &[0; 31000])].concat()));
    assert_eq!(server_name(&records(&long, MAX_RECORD), LIMIT), Hello::NoName);
    assert_eq!(server_name(&records(&long, MAX_RECORD), long.len() - 1), Hello::TooLong);
}
