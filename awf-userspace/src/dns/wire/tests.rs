//! Every prefix and every changed byte of queries as clients send them.

use super::*;

/// `dig example.com` (EDNS with a cookie), glibc's for AAAA (no EDNS), and one with a compression pointer to
/// itself.
const RECORDED: [&[u8]; 3] = [
    b"\xd4\xb1\x01\x20\x00\x01\x00\x00\x00\x00\x00\x01\x07example\x03com\x00\x00\x01\x00\x01\
      \x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x0c\x00\x0a\x00\x08\x6b\x1f\xa3\x90\x11\x22\x33\x44",
    b"\x1c\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x03com\x00\x00\x1c\x00\x01",
    b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01",
];

/// Reads `bytes` and writes an answer of every kind; each must be a DNS message again, within its limit.
fn survive(bytes: &[u8]) -> bool {
    match read(bytes) {
        Received::Noise => false,
        Received::Refused(head, code) => {
            let answer = bare(&head, code);
            assert_eq!(answer[..2], bytes[..2]);
            assert!(answer.len() >= 12 && answer[2] & 0x80 != 0);
            false
        }
        Received::Question(question) => {
            let limit = usize::from(question.edns.unwrap_or(UDP_PLAIN));
            let why = || "é".repeat(TEXT_MAX);
            for reply in [
                Reply::records(Vec::new()),
                Reply::negative(ResponseCode::NXDomain, None),
                Reply::refusal(ResponseCode::NXDomain, ErrorCode::Blocked, why()),
            ] {
                let answer = write(&question, reply, Transport::Udp);
                assert!(answer.len() <= limit, "{} > {limit}", answer.len());
                assert!(matches!(read(&answer), Received::Noise), "an answer is not a query");
                assert_eq!(
                    Message::from_vec(&answer).unwrap().queries,
                    std::slice::from_ref(&question.query)
                );
            }
            true
        }
    }
}

#[test]
fn recorded_queries_are_understood() {
    assert!(survive(RECORDED[0]) && survive(RECORDED[1]));
    assert!(!survive(RECORDED[2]), "a pointer to itself");
}

#[test]
fn every_prefix_is_survived() {
    for query in RECORDED {
        for length in 0..query.len() {
            assert!(!survive(&query[..length]), "{length} bytes of {query:x?}");
        }
    }
}

#[test]
fn every_changed_byte_is_survived() {
    for query in RECORDED {
        let mut changed = query.to_vec();
        for at in 0..query.len() {
            for value in 0..=u8::MAX {
                changed[at] = value;
                survive(&changed);
            }
            changed[at] = query[at];
        }
    }
}

/// Two changed bytes reach lengths and counts together; a fixed generator, so that a failure can be found
/// again.
#[test]
fn many_pairs_of_changed_bytes_are_survived() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap_or(0) % below
    };
    for _ in 0..100_000 {
        let mut query = RECORDED[random(RECORDED.len())].to_vec();
        for _ in 0..2 {
            let at = random(query.len());
            query[at] = random(256).to_le_bytes()[0];
        }
        survive(&query);
    }
}
