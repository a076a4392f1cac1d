//! Handshakes with a second ClientHello, cut at every byte of both sides.

use super::{
    super::{
        build::{ech_hello, extension, hello, message, names, records, server_hello, vec16},
        server_name,
    },
    *,
};

const LIMIT: usize = 64 * 1024;
const CCS: &[u8] = &[CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1];
const EARLY_DATA: &[u8] = &[APPLICATION_DATA, 3, 3, 0, 9, 22, 3, 1, 0, 4, 1, 0, 0, 0];
const WARNING: &[u8] = &[ALERT, 3, 3, 0, 2, 1, 112];

/// The message of a ClientHello that names `name`, longer than others and with another content.
fn second(name: &str) -> Vec<u8> {
    message(Some(&[extension(51, &vec16(&[4; 97])), names(&[(0, name.as_bytes())])].concat()))
}

/// What passes of `bytes`, in pieces of `size`; whether all of it may.
fn passed(handshake: &mut Handshake, bytes: &[u8], size: usize) -> (Vec<u8>, Result<(), Breach>) {
    let mut passed = Vec::new();
    for piece in bytes.chunks(size) {
        match handshake.client_sent(piece) {
            Ok(more) => passed.extend(more),
            Err(breach) => return (passed, Err(breach)),
        }
    }
    (passed, Ok(()))
}

/// Bytes of `records` without their headers.
fn bodies(mut bytes: &[u8]) -> usize {
    let (mut records, mut count) = (Records::default(), 0);
    while !bytes.is_empty() {
        if let Part::Body(_, body) = records.next(&mut bytes) {
            count += body.len();
        }
    }
    count
}

fn decides(bytes: &[u8], size: usize) -> bool {
    let mut handshake = Handshake::new(LIMIT);
    bytes.chunks(size).for_each(|piece| handshake.server_sent(piece));
    handshake.is_decided()
}

#[test]
fn an_honest_retry_passes_whole_at_every_split() {
    let first = hello(Some("allowed.test"));
    for record in [1, 2, 5, 40, MAX_RECORD] {
        let again = [CCS, &records(&second("allowed.test"), record)].concat();
        for size in 1..again.len() {
            let mut handshake = Handshake::new(LIMIT);
            assert_eq!(passed(&mut handshake, &first, size), (first.clone(), Ok(())));
            handshake.server_sent(&[&records(&server_hello(&RETRY), record), CCS].concat());
            assert!(!handshake.is_decided());
            assert_eq!(passed(&mut handshake, &again, size), (again.clone(), Ok(())), "{size} of {record}");
            handshake.server_sent(&records(&server_hello(&[7; 32]), record));
            assert!(handshake.is_decided());
        }
    }
}

/// Before it was asked for, in the same segment or the same record, behind data of 0-RTT: of another name nothing passes.
#[test]
fn another_name_is_refused_wherever_it_comes() {
    let one = hello(Some("allowed.test"));
    let first = one[RECORD_HEADER..].to_vec();
    for record in [1, 3, 50, MAX_RECORD] {
        for between in [&[][..], CCS, EARLY_DATA, WARNING, &[CCS, EARLY_DATA, EARLY_DATA].concat()] {
            let before = [&one, between].concat();
            let bytes = [&before, &records(&second("denied.test"), record)[..]].concat();
            for size in 1..=bytes.len() {
                let (passed, verdict) = passed(&mut Handshake::new(LIMIT), &bytes, size);
                assert_eq!(verdict.unwrap_err().reason(), Reason::NameMismatch, "{size} of {record}");
                assert!(before.starts_with(&passed), "{size} of {record}");
            }
        }
        let together = records(&[first.clone(), second("denied.test")].concat(), record);
        for size in 1..=together.len() {
            let (passed, verdict) = passed(&mut Handshake::new(LIMIT), &together, size);
            assert_eq!(verdict.unwrap_err().reason(), Reason::NameMismatch, "{size} of {record}");
            assert!(together.starts_with(&passed) && bodies(&passed) <= first.len(), "{size} of {record}");
        }
    }
}

#[test]
fn a_third_hello_is_judged_too_until_the_server_has_answered() {
    let mut handshake = Handshake::new(LIMIT);
    let same = records(&second("allowed.test"), MAX_RECORD);
    for _ in 0..3 {
        assert_eq!(passed(&mut handshake, &same, 7), (same.clone(), Ok(())));
        handshake.server_sent(&records(&server_hello(&RETRY), MAX_RECORD));
    }
    assert!(passed(&mut handshake, &hello(Some("denied.test")), 7).1.is_err());
}

#[test]
fn what_the_second_says_must_be_what_the_first_said() {
    let hidden = ech_hello(Some("a.test"));
    let nameless = hello(None);
    let a = hello(Some("a.test"));
    let verdict = |first: &[u8], second: &[u8]| {
        let verdict = passed(&mut Handshake::new(LIMIT), &[first, second].concat(), 9).1;
        verdict.err().map(|breach| breach.reason())
    };
    for same in [&a, &nameless, &hidden, &ech_hello(None)] {
        assert_eq!(verdict(same, same), None);
    }
    assert_eq!(verdict(&a, &hidden), Some(Reason::EchRefused));
    assert_eq!(verdict(&nameless, &hidden), Some(Reason::EchRefused));
    for (first, second) in [
        (&a, &nameless),
        (&nameless, &a),
        (&hidden, &a),
        (&hidden, &ech_hello(Some("b.test"))),
        (&hidden, &ech_hello(None)),
    ] {
        assert_eq!(verdict(first, second), Some(Reason::NameMismatch));
    }
    let two = message(Some(&[names(&[(0, b"a.test")]), names(&[(0, b"b.test")])].concat()));
    assert_eq!(verdict(&a, &records(&two, 99)), Some(Reason::Malformed));
}

/// Servers differ about what may stand amid a message; no client sends any of it.
#[test]
fn what_no_client_sends_is_refused() {
    let first = hello(Some("a.test"));
    let start = &records(&second("a.test")[..60], 60);
    for odd in [
        &[start, CCS].concat()[..],
        &[start, EARLY_DATA].concat(),
        &[22, 3, 1, 0, 0],
        &[22, 2],
        &[22, 3, 1, 0x40, 1],
        &[23, 3, 3, 0xff, 0xff],
        &[24, 3, 3],
        &[0x80, 0x2e, 1],
        b"GET / HTTP/1.1",
        &records(&[16, 0, 0, 1, 0], 9),
    ] {
        for size in 1..=odd.len() {
            let mut handshake = Handshake::new(LIMIT);
            assert!(handshake.client_sent(&first).is_ok());
            let (passed, verdict) = passed(&mut handshake, odd, size);
            assert_eq!(verdict.unwrap_err().reason(), Reason::Malformed, "{odd:?}");
            assert_eq!(passed, b"");
        }
    }
}

/// The server may answer while the client is in the middle of another hello: it is read to its end all the same.
#[test]
fn a_hello_that_has_begun_is_judged_to_its_end() {
    let (first, other) = (hello(Some("a.test")), hello(Some("b.test")));
    for cut in 1..other.len() {
        let mut handshake = Handshake::new(LIMIT);
        assert_eq!(passed(&mut handshake, &[&first, &other[..cut]].concat(), 999).0, first);
        handshake.server_sent(&records(&server_hello(&[7; 32]), 99));
        assert!(!handshake.is_decided());
        assert!(handshake.client_sent(&other[cut..]).is_err());
    }
}

#[test]
fn only_a_server_hello_that_is_no_retry_decides() {
    let (retry, answer) = (server_hello(&RETRY), server_hello(&[7; 32]));
    let hello_request = [0, 0, 0, 0];
    for record in 1..=retry.len() {
        for size in [1, 2, 6, 43, 999] {
            assert!(!decides(&records(&retry, record), size));
            assert!(decides(&records(&answer, record), size));
            let bytes = [WARNING, &records(&retry, record), CCS, &records(&retry, record)].concat();
            assert!(!decides(&bytes, size));
            assert!(decides(&[&bytes, &records(&answer, record)[..]].concat(), size));
            let joined = [&hello_request, &retry[..], &answer].concat();
            assert!(decides(&records(&joined, record), size));
            assert!(!decides(&records(&joined[..4 + retry.len() + 37], record), size), "cut in its random");
        }
    }
    for at in 0..RETRY.len() {
        let mut random = RETRY;
        random[at] ^= 1;
        assert!(decides(&records(&server_hello(&random), 99), 9), "{at}");
    }
    assert!(!decides(&records(&[2, 0, 0, 2, 3, 3, 7, 7, 7], 99), 9), "too short for a random");
}

#[test]
fn a_server_without_tls_decides_at_once() {
    assert!(decides(b"H", 1));
    assert!(decides(b"\x16\x02", 1));
    assert!(decides(&[WARNING, b"H"].concat(), 99));
    assert!(!decides(WARNING, 1));
}

#[test]
fn what_is_held_is_bounded() {
    let begun = |length: usize| {
        let mut handshake = Handshake::new(LIMIT);
        let first = hello(Some("a.test"));
        assert_eq!(handshake.client_sent(&first).unwrap().len(), first.len());
        let [_, a, b, c] = u32::try_from(length - MESSAGE_HEADER).unwrap().to_be_bytes();
        let begun = handshake.client_sent(&[22, 3, 1, 0, 4, 1, a, b, c]);
        (handshake, begun)
    };
    let (mut handshake, begins) = begun(FURTHER);
    assert_eq!(begins, Ok(vec![]));
    for piece in [1; 1000].into_iter().chain([FURTHER - MESSAGE_HEADER - 1001]) {
        let record =
            [&[22, 3, 1][..], &u16::try_from(piece).unwrap().to_be_bytes(), &vec![7; piece]].concat();
        assert_eq!(handshake.client_sent(&record), Ok(vec![]));
    }
    assert_eq!(begun(FURTHER + 1).1.unwrap_err().reason(), Reason::LimitExceeded);
    // In records of one byte it is six times as long.
    let (mut handshake, _) = begun(FURTHER);
    let refused = (0..FURTHER).find_map(|_| handshake.client_sent(&[22, 3, 1, 0, 1, 7]).err());
    assert_eq!(refused, Some(Breach::TooLong(FURTHER)));
    assert!(handshake.client.held.len() <= 2 * FURTHER + 6);
}

#[test]
fn no_single_byte_change_of_the_second_passes_as_another_name() {
    let first = hello(Some("allowed.test"));
    let mut again = records(&second("allowed.test"), 60);
    for at in 0..again.len() {
        let before = again[at];
        for value in 0..=255 {
            again[at] = value;
            let mut handshake = Handshake::new(LIMIT);
            assert!(handshake.client_sent(&first).is_ok());
            let passed = handshake.client_sent(&again).unwrap_or_default();
            let name = server_name(&passed, LIMIT);
            let fits =
                matches!(name, Hello::Incomplete | Hello::Malformed(_)) || name == server_name(&first, LIMIT);
            assert!(fits, "byte {at} = {value}: {name:?}");
        }
        again[at] = before;
    }
}
