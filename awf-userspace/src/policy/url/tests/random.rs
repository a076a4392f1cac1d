//! Random targets and patterns: the normal form is one, what is judged is what is sent, and the matcher is the
//! definition of its wildcards.

use super::{ask, policy};
use crate::policy::{
    tests::random::Random,
    url::{RequestTarget, glob::Glob, target::Part},
};

const PIECES: [&str; 34] = [
    "/",
    "/",
    "/",
    "a",
    "b",
    "ok",
    "no",
    ".",
    "..",
    "%2e",
    "%2E",
    "%2f",
    "%2F",
    "%5c",
    "%25",
    "%252e",
    "%252f",
    "%25252e",
    ";",
    "%3b",
    "%3f",
    "%23",
    "%61",
    "%c3%a9",
    "%ef%bc%8f",
    "?",
    "&",
    "=",
    "*",
    "@",
    "%40",
    "|",
    ",",
    "%2c",
];

fn target(random: &mut Random) -> String {
    let pieces: String = (0..random.below(12)).map(|_| random.one(&PIECES)).collect();
    format!("/{pieces}")
}

#[test]
fn the_normal_form_of_a_normal_form_is_itself() {
    let mut random = Random(11);
    let mut changed = 0;
    for _ in 0..20_000 {
        let text = target(&mut random);
        let once = RequestTarget::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let twice = RequestTarget::parse(&once.to_string()).unwrap();
        assert_eq!(once, twice, "{text}");
        assert_eq!(once.readings(), twice.readings(), "{text}");
        changed += usize::from(once.to_string() != text);
    }
    assert!(changed > 5_000, "{changed}");
}

/// The verdict on what is sent is that on what was received; and whatever passes stays, to a server that decodes, drops
/// or converts whatever it likes, where the rule says.
#[test]
fn what_is_sent_is_what_was_judged() {
    let mut random = Random(12);
    let policy =
        policy(&["x.test"], &["https://x.test/ok/**", "https://x.test/a/*/b", "https://x.test/no?a=*"]);
    let (mut passed, mut refused) = (0, 0);
    for _ in 0..40_000 {
        let text = match random.below(3) {
            0 => target(&mut random),
            _ => format!("/{}{}", random.one(&["ok", "ok/a", "a/b/b", "a", "no?a="]), target(&mut random)),
        };
        let Ok(pass) = ask(&policy, &format!("GET https://x.test{text}")) else {
            refused += 1;
            continue;
        };
        passed += 1;
        let sent = pass.target.to_string();
        let again = ask(&policy, &format!("GET https://x.test{sent}"))
            .unwrap_or_else(|denied| panic!("{sent}: {denied:?}"));
        assert_eq!(again, pass, "{text}");
        let first = server(&sent, &mut random);
        assert!(["ok", "a", "no"].contains(&&*first), "{text}, sent as {sent}, is below {first}");
    }
    assert!(passed > 2_000 && refused > 2_000, "{passed} passed, {refused} refused");
}

/// The first segment that is left of `target` in a server with random habits: written by other means than the readings.
fn server(target: &str, random: &mut Random) -> String {
    let mut path = target.split('?').next().unwrap_or_default().to_owned();
    let habit = |random: &mut Random| random.below(2) == 0;
    if habit(random) {
        path = drop_parameters(&path);
    }
    for _ in 0..random.below(4) {
        path = decode_once(&path);
    }
    if habit(random) {
        path = path.replace('\\', "/");
    }
    if habit(random) {
        path = path.replace('\u{ff0f}', "/");
    }
    if habit(random) {
        path = path.split(['?', '#']).next().unwrap_or_default().to_owned();
    }
    let counts_empty = habit(random);
    let mut stack: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "" if !counts_empty => {}
            "." => {}
            ".." => drop(stack.pop()),
            other => stack.push(other),
        }
    }
    stack.into_iter().find(|segment| !segment.is_empty()).unwrap_or_default().to_owned()
}

fn drop_parameters(path: &str) -> String {
    path.split('/').map(|segment| segment.split(';').next().unwrap()).collect::<Vec<_>>().join("/")
}

fn decode_once(text: &str) -> String {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, behind @ ..] = rest {
        let hex = behind.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &behind[2..];
            }
            None => {
                out.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The definition: what a wildcard stands for is tried out, all of it.
fn defined(pattern: &[u8], text: &[u8]) -> bool {
    let rest = |at: usize, until: Option<u8>| {
        (0..=text.len())
            .take_while(move |end| until.is_none_or(|stop| !text[..*end].contains(&stop)))
            .any(|end| defined(&pattern[at..], &text[end..]))
    };
    match pattern {
        [] => text.is_empty(),
        [b'/', b'*', b'*', b'/', ..] if text.first() == Some(&b'/') => {
            defined(&pattern[3..], text) || (1..=text.len()).any(|end| defined(&pattern[3..], &text[end..]))
        }
        [b'*', b'*', ..] => rest(pattern.iter().take_while(|b| **b == b'*').count(), None),
        [b'*', ..] => rest(1, Some(b'/')),
        [first, ..] => text.first() == Some(first) && defined(&pattern[1..], &text[1..]),
    }
}

#[test]
fn the_matcher_agrees_with_the_definition() {
    let mut random = Random(13);
    let (mut yes, mut no) = (0, 0);
    for _ in 0..30_000 {
        let pattern: String =
            (0..random.below(7)).map(|_| random.one(&["a", "b", "/", "*", "**", "/**/"])).collect();
        let text: String = (0..random.below(8)).map(|_| random.one(&["a", "b", "/", "a/"])).collect();
        let (pattern, text) = (format!("/{pattern}"), format!("/{text}"));
        let found = Glob::new(&pattern, Part::Path).matches(&text);
        assert_eq!(found, defined(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        *if found { &mut yes } else { &mut no } += 1;
    }
    assert!(yes > 3_000 && no > 3_000, "{yes} {no}");
}
