//! HTTP/1 requests: the check of a head, the end of a body, and whole conversations through everything but the
//! sockets, in which what arrives at the server is what was judged.

use super::{
    reference::{self, Body},
    stream::{HOST, Heard, Side, converse},
};
use crate::{
    audit::{Decision, EventKind, Record},
    policy::Reason,
    proxy::{
        chunked::Scanner,
        head::{Framing, Head, check},
        sniff::{Sniff, sniff},
    },
};

const LIMIT: usize = 64 * 1024;

/// What passes the check is read in the same way by the reference; in whatever pieces it comes, the answer is the same.
pub fn head(bytes: &[u8]) {
    let whole = check(bytes, 0, LIMIT);
    agrees(bytes, || String::from_utf8_lossy(bytes).escape_debug().to_string());
    let step = 1 + bytes.len() / 64;
    let mut scanned = 0;
    for end in (0..bytes.len()).step_by(step).chain([bytes.len()]) {
        match check(&bytes[..end], scanned, LIMIT) {
            Ok(None) => scanned = end,
            found => return assert_eq!(found, whole, "{end} bytes"),
        }
    }
    assert_eq!(whole, Ok(None));
}

/// What passes the check is read by the reference in the same way; whether it passes.
pub(in crate::proxy) fn agrees(bytes: &[u8], what: impl Fn() -> String) -> bool {
    let Ok(Some(Head { len, body })) = check(bytes, 0, LIMIT) else { return false };
    let reference = reference::head(bytes).unwrap_or_else(|why| panic!("{}: passed, but {why}", what()));
    assert_eq!((len, body), (reference.len, framing(&reference.body)), "{}", what());
    let spoken = sniff(bytes);
    assert!(matches!(spoken, Sniff::Http1 | Sniff::Other), "{}: {spoken:?}", what());
    true
}

fn framing(body: &Body) -> Framing {
    match body {
        Body::Length(length) => Framing::Length(*length),
        Body::Chunked => Framing::Chunked,
        Body::Tunnel => Framing::Tunnel,
    }
}

/// A chunked body ends where the reference says, in whatever pieces it comes.
pub fn body(bytes: &[u8]) {
    let mut scanner = Scanner::default();
    let whole = scanner.feed(bytes).map(|used| (used, scanner.is_done()));
    let piece = 1 + bytes.len() % 17;
    let mut scanner = Scanner::default();
    let pieces = bytes.chunks(piece).try_fold(0, |used, part| Ok(used + scanner.feed(part)?));
    assert_eq!(pieces.map(|used| (used, scanner.is_done())), whole, "pieces of {piece}");
    match whole {
        Ok((used, true)) => assert_eq!(reference::chunks(bytes).map(|(_, len)| len), Ok(used)),
        // More of it may come.
        Ok((used, false)) => assert_eq!(used, bytes.len()),
        Err(_) => {}
    }
}

/// What arrives at the server is what was judged: the same requests, in the same order, for a host that is allowed, in
/// a form that is read in one way only. `bytes`: all that the client sends.
pub fn request(bytes: &[u8]) {
    for side in Side::ALL {
        let heard = converse(bytes, side);
        check_heard(bytes, side, &heard);
    }
}

fn check_heard(bytes: &[u8], side: Side, heard: &Heard) {
    let show = || {
        let [bytes, server] =
            [bytes, &heard.server].map(|b| String::from_utf8_lossy(b).escape_debug().to_string());
        format!("{side:?}: {bytes:?} became {server:?}: {:#?}", heard.records)
    };
    let mut judged: Vec<_> = heard.records.iter().filter_map(judged).collect();
    let mut sent = expected(bytes).into_iter();
    let mut rest = &heard.server[..];
    while !rest.is_empty() {
        // Nothing of a head that was not whole may come here: the proxy writes heads at once.
        let head = reference::head(rest).unwrap_or_else(|why| panic!("{why}: {}", show()));
        assert_eq!(head.host.as_deref(), Some(HOST), "{}", show());
        assert!(!head.headers.iter().any(|(name, _)| name.starts_with("proxy-")), "{}", show());
        let target: Vec<u8> = head.target.chars().map(|c| c as u8).collect();
        let url = format!("{}://{HOST}{}", side.scheme(), String::from_utf8_lossy(&target));
        let at = judged.iter().position(|(method, judged, _)| *method == head.method && *judged == url);
        judged.remove(at.unwrap_or_else(|| panic!("{url} was not judged: {}", show())));
        let message = reference::message(rest);
        let same = |sent: &Sent| {
            let head_is_same = sent.method == head.method && sent.path == head.target && sent.is_for(HOST);
            let message = message.as_ref().ok();
            head_is_same && message.is_none_or(|m| sent.content.as_ref() == Some(&m.content))
        };
        assert!(sent.any(|sent| same(&sent)), "{url} was not sent: {}", show());
        rest = match &message {
            // What follows is no HTTP: as it was sent.
            Ok(message) if head.body == Body::Tunnel => {
                assert!(bytes.ends_with(&rest[message.len..]), "{}", show());
                &[]
            }
            Ok(message) => &rest[message.len..],
            Err(_) => &[],
        };
    }
    // What was judged and did not arrive must be on record as a failure.
    assert!(judged.iter().all(|(_, _, reason)| *reason != Reason::Allowed), "{}", show());
}

/// Method and URL of a request whose head was allowed, and what came of it: its body may have been refused.
fn judged(record: &Record) -> Option<(String, String, Reason)> {
    let allowed = record.decision == Decision::Allow || record.reason == Reason::Malformed;
    if !allowed || record.event != EventKind::Request {
        return None;
    }
    Some((record.method.clone()?, record.url.clone()?, record.reason))
}

/// A request as the reference reads it.
struct Sent {
    method: String,
    /// The target in origin form.
    path: String,
    /// Of the target, else of the Host header.
    host: Option<String>,
    /// `None` if it was cut off.
    content: Option<Vec<u8>>,
}

impl Sent {
    /// Whether it is for `host`, in whichever spelling; nobody's, if it names none.
    fn is_for(&self, host: &str) -> bool {
        let Some(named) = &self.host else { return true };
        let named = named.to_ascii_lowercase();
        let named = named.rsplit_once(':').map_or(named.as_str(), |(name, _)| name);
        named.strip_suffix('.').unwrap_or(named) == host
    }
}

fn expected(mut bytes: &[u8]) -> Vec<Sent> {
    let mut all = Vec::new();
    while let Ok(head) = reference::head(bytes) {
        let message = reference::message(bytes);
        let target = head.target.split('#').next().unwrap_or_default();
        let absolute = target.get(..7).filter(|start| start.eq_ignore_ascii_case("http://")).map_or_else(
            || target.get(..8).filter(|start| start.eq_ignore_ascii_case("https://")).map(|_| &target[8..]),
            |_| Some(&target[7..]),
        );
        let (host, path) = match absolute {
            Some(rest) => {
                let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
                (Some(host.to_owned()), if path.starts_with('/') { path.into() } else { format!("/{path}") })
            }
            None => (head.host.filter(|host| !host.is_empty()), target.to_owned()),
        };
        let content = message.as_ref().ok().map(|message| message.content.clone());
        all.push(Sent { method: head.method, path, host, content });
        let Ok(message) = message else { break };
        if message.head.body == Body::Tunnel {
            break;
        }
        bytes = &bytes[message.len..];
    }
    all
}
