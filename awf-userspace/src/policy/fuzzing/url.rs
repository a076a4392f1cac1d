//! URLs: the one form that is judged and sent, and what careless servers make of it.

use std::sync::LazyLock;

use crate::policy::{
    Builder, Host, Place, Policy, Protocol,
    url::{RequestTarget, UrlRequest, UrlRule},
};

/// All that is allowed, and what every path that it allows begins with.
const RULE: &str = "https://api.allowed.test/pub/**";
const BELOW: &[u8] = b"/pub/";
/// How often a server may decode what was decoded before.
const DEPTH: usize = 3;

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let mut builder = Builder::default();
    builder.url(UrlRule::parse(RULE, Place::Flag("--allow-urls")).expect("a rule"));
    builder.build()
});

/// A target that is read is written in a form that is read as the same, without anything that could be written in two
/// ways; what is allowed is sent in that form, and lies below the allowed path to every server that decodes it, takes
/// its backslashes for slashes, drops its parameters or cuts it once more.
pub fn url(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let normal = RequestTarget::parse(text).inspect(check_normal);
    let host = Host::parse("api.allowed.test").expect("a host");
    let ask = |target| {
        let request = UrlRequest { host: &host, port: 443, protocol: Protocol::Tls, method: "GET", target };
        POLICY.judge_url(&request).map(|pass| pass.expect("there is a rule about the host"))
    };
    let Ok(pass) = ask(text) else { return };
    assert_eq!(normal.as_ref(), Ok(&pass.target), "another URL is sent than was judged");
    assert_eq!(
        ask(&pass.target.to_string()),
        Ok(pass.clone()),
        "what is sent would be judged in another way"
    );
    for path in paths(pass.target.path().as_bytes()) {
        assert!(path.starts_with(BELOW), "{text:?} is {} to some server", path.escape_ascii());
    }
}

fn check_normal(target: &RequestTarget) {
    let text = target.to_string();
    assert_eq!(RequestTarget::parse(&text).as_ref(), Ok(target));
    assert!(text.bytes().all(|b| b.is_ascii_graphic() && b != b'#'), "{text:?}");
    let mut segments = target.path().split('/');
    assert_eq!(segments.next(), Some(""), "{text:?}");
    let dots = |segment: &str| matches!(segment, "." | "..");
    assert!(!target.path().split('/').any(dots) && !target.path().contains("//"), "{text:?}");
    for escape in text.split('%').skip(1) {
        let hex = escape.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let byte = hex.unwrap_or_else(|| panic!("{text:?}"));
        assert!(!(byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)), "{text:?}");
        assert!(!escape[..2].bytes().any(|b| b.is_ascii_lowercase()), "{text:?}");
    }
}

/// What servers may take `path` for, each in a way of its own.
fn paths(path: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut level = path.to_vec();
    for _ in 0..=DEPTH {
        for way in 0..16_u8 {
            let is = |bit: u8| way & 1 << bit != 0;
            let mut path = level.clone();
            if is(0) {
                path.iter_mut().filter(|b| **b == b'\\').for_each(|b| *b = b'/');
            }
            if is(1) {
                let end = path.iter().position(|b| b"?#".contains(b)).unwrap_or(path.len());
                path.truncate(end);
            }
            let segments = path.split(|b| *b == b'/').skip(1);
            let name = |segment: &[u8]| {
                let end = segment.iter().position(|b| is(2) && *b == b';').unwrap_or(segment.len());
                segment[..end].to_vec()
            };
            all.push(walk(segments.map(name), is(3)));
        }
        level = decoded(&level);
    }
    all
}

/// Where one ends up. `empty`: whether an empty segment is one.
fn walk(segments: impl Iterator<Item = Vec<u8>>, empty: bool) -> Vec<u8> {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut open = false;
    for segment in segments {
        open = matches!(&segment[..], b"" | b"." | b"..");
        match &segment[..] {
            b"." => {}
            b"" if !empty => {}
            b".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    let mut path: Vec<u8> =
        kept.iter().filter(|s| !s.is_empty()).flat_map(|s| [b"/", &s[..]].concat()).collect();
    if open || path.is_empty() {
        path.push(b'/');
    }
    path
}

fn decoded(path: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < path.len() {
        let hex = path.get(at + 1..at + 3).and_then(|hex| str::from_utf8(hex).ok());
        let hex = hex.filter(|hex| path[at] == b'%' && hex.bytes().all(|b| b.is_ascii_hexdigit()));
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(byte.unwrap_or(path[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    out
}
