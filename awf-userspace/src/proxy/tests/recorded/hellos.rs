//! ClientHellos of real clients against rustls, as the server that would get them.

use std::thread;

use super::changes;
use crate::proxy::fuzzing::hello::{HIDDEN, Served, check, judged, served};

const NAME: &str = "api.allowed.test";

/// All ask for [`NAME`]. The two of BoringSSL are what Chrome 14x and Firefox 14x send, shuffled, with GREASE, a
/// post-quantum key share and an encrypted ClientHello, recorded from curl-impersonate.
const HELLOS: [(&str, &[u8]); 8] = [
    ("curl, OpenSSL 3.0", include_bytes!("../data/hello-curl-openssl3.bin")),
    ("wget, GnuTLS 3.7", include_bytes!("../data/hello-wget-gnutls.bin")),
    ("Node 20", include_bytes!("../data/hello-node20.bin")),
    ("Python 3.11", include_bytes!("../data/hello-python3.bin")),
    ("Java 17", include_bytes!("../data/hello-java17.bin")),
    ("Go 1.23", include_bytes!("../data/hello-go1.23.bin")),
    ("Chrome", include_bytes!("../data/hello-chrome-boringssl.bin")),
    ("Firefox", include_bytes!("../data/hello-firefox-boringssl.bin")),
];

/// What is judged of a whole hello of `client`: of browsers nothing, since they hide the name or pretend to.
fn expected(client: &str) -> Result<Served, &'static str> {
    if ["Chrome", "Firefox"].contains(&client) {
        Err(HIDDEN)
    } else {
        Ok(Served::Name(Some(NAME.to_owned())))
    }
}

fn each(test: impl Fn(&str, &[u8]) + Sync) {
    thread::scope(|scope| {
        for (client, hello) in HELLOS {
            let test = &test;
            scope.spawn(move || test(client, hello));
        }
    });
}

#[test]
fn the_name_that_is_judged_is_the_name_that_is_served() {
    for (client, hello) in HELLOS {
        let name = || Served::Name(Some(NAME.to_owned()));
        assert_eq!((judged(hello), served(hello)), (expected(client), name()), "{client}");
    }
}

#[test]
fn every_prefix_of_a_hello_waits_for_more() {
    each(|client, hello| {
        for end in 0..hello.len() {
            assert_eq!(judged(&hello[..end]), Ok(Served::Incomplete), "{client}: {end} bytes");
        }
    });
}

#[test]
fn no_changed_byte_of_a_hello_makes_a_server_read_another_name() {
    each(|client, hello| {
        let mut hello = hello.to_vec();
        for at in 0..hello.len() {
            let before = hello[at];
            for value in changes(before) {
                hello[at] = value;
                check(&hello, || format!("{client}: byte {at} is {value:#x}"));
            }
            hello[at] = before;
        }
    });
}

/// The same bytes in records of other sizes, of one byte even: what one reader joins the other must join.
#[test]
fn no_record_boundary_changes_the_name() {
    each(|client, hello| {
        for size in (1..40).chain([hello.len() / 2, hello.len() - 6]) {
            let split: Vec<u8> = hello[5..]
                .chunks(size)
                .flat_map(|part| [&[22, 3, 1, 0, 0][..3], &(part.len() as u16).to_be_bytes(), part].concat())
                .collect();
            assert_eq!(judged(&split), expected(client), "{client}: {size}");
            check(&split, || format!("{client}: records of {size}"));
        }
    });
}

/// One byte too many or too few anywhere moves every length behind it.
#[test]
fn no_added_or_missing_byte_of_a_hello_makes_a_server_read_another_name() {
    each(|client, hello| {
        for at in 0..hello.len() {
            let less = [&hello[..at], &hello[at + 1..]].concat();
            check(&less, || format!("{client}: without byte {at}"));
            for value in [0, hello[at], 0xff] {
                let more = [&hello[..at], &[value], &hello[at..]].concat();
                check(&more, || format!("{client}: {value:#x} before byte {at}"));
            }
        }
    });
}
