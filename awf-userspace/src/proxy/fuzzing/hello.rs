//! ClientHellos against rustls, as the server that would get them.

use rustls::server::Acceptor;

use crate::{
    policy::Host,
    proxy::{
        agree::named,
        sni::{Hello, server_name},
        sniff::{Sniff, sniff},
    },
};

const LIMIT: usize = 64 * 1024;
/// Nothing that is in clear is judged.
pub(in crate::proxy) const HIDDEN: &str = "hidden";

/// What a server makes of it.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Served {
    Name(Option<String>),
    Incomplete,
    Refused,
}

pub(in crate::proxy) fn served(bytes: &[u8]) -> Served {
    let (mut acceptor, mut rest) = (Acceptor::default(), bytes);
    while !rest.is_empty() {
        if acceptor.read_tls(&mut rest).is_err() {
            return Served::Refused;
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                return Served::Name(accepted.client_hello().server_name().map(str::to_ascii_lowercase));
            }
            Ok(None) => {}
            Err(_) => return Served::Refused,
        }
    }
    Served::Incomplete
}

/// What the proxy makes of it: `Ok` is what it would judge.
pub(in crate::proxy) fn judged(bytes: &[u8]) -> Result<Served, &'static str> {
    match sniff(bytes) {
        Sniff::Tls => {}
        Sniff::Incomplete => return Ok(Served::Incomplete),
        _ => return Err("not TLS"),
    }
    let sni = match server_name(bytes, LIMIT) {
        Hello::Incomplete => return Ok(Served::Incomplete),
        Hello::Name(name) => Some(name),
        Hello::NoName => None,
        Hello::Hidden(_) => return Err(HIDDEN),
        _ => return Err("malformed"),
    };
    // An address in place of a name, which may only be the one that was dialled, is none of these tests'.
    let dialled = Host::parse("203.0.113.1").unwrap();
    let host = named(sni, &dialled).map_err(|_| "no name of a host")?;
    Ok(Served::Name(host.map(|host| host.to_string())))
}

/// What must hold of any bytes at all: a server that reads a name reads the one that was judged.
pub(in crate::proxy) fn check(bytes: &[u8], what: impl Fn() -> String) {
    let Ok(judged) = judged(bytes) else { return };
    match (judged, served(bytes)) {
        (Served::Name(Some(ours)), Served::Name(Some(theirs))) => {
            assert_eq!(ours, theirs.trim_end_matches('.'), "{}", what());
        }
        (Served::Name(None), Served::Name(None)) => {}
        // The message is complete, its last record is not: more of that cannot change what was said.
        (Served::Name(_), Served::Refused | Served::Incomplete) => {}
        (Served::Incomplete, Served::Incomplete | Served::Refused) => {}
        (ours, theirs) => panic!("{}: judged {ours:?}, served {theirs:?}", what()),
    }
}

/// A server that reads a name reads the one that was judged; and what a beginning of the bytes says, all of them say.
pub fn client_hello(bytes: &[u8]) {
    check(bytes, || format!("{bytes:x?}"));
    let (hello, spoken) = (server_name(bytes, LIMIT), sniff(bytes));
    // Of long ones some places are enough.
    for end in (0..bytes.len()).step_by(1 + bytes.len() / 128) {
        let part = server_name(&bytes[..end], LIMIT);
        assert!(part == Hello::Incomplete || part == hello, "{end} bytes: {part:?}, all: {hello:?}");
        let part = sniff(&bytes[..end]);
        assert!(part == Sniff::Incomplete || part == spoken, "{end} bytes: {part:?}, all: {spoken:?}");
    }
}
