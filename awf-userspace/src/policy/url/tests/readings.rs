//! What servers read differently must be allowed under every reading.

use super::{ask, matches, policy};
use crate::policy::{
    Reason,
    url::{RequestTarget, TargetError},
};

fn readings(text: &str) -> Result<Vec<String>, TargetError> {
    let target = RequestTarget::parse(text).unwrap();
    let shown = |query: Option<String>| query.map_or(String::new(), |query| format!("?{query}"));
    Ok(target.readings()?.into_iter().map(|reading| reading.path + &shown(reading.query)).collect())
}

#[test]
fn each_doubt_has_its_readings() {
    for (text, expected) in [
        ("/a/b", &["/a/b"][..]),
        ("/@s%2fn", &["/@s%2Fn", "/@s/n"]),
        ("/a%5cb", &["/a%5Cb", "/a/b"]),
        ("/a/..%2fb", &["/a/..%2Fb", "/b"]),
        ("/a/..;/b", &["/a/..;/b", "/b"]),
        ("/a/..%3bx=1/b", &["/a/..%3Bx=1/b", "/b"]),
        ("/a;v=1/b;w", &["/a;v=1/b;w", "/a/b"]),
        ("/a/%252e%252e/b", &["/a/%252e%252e/b", "/b"]),
        ("/a/%252e%252e%252fb", &["/a/%252e%252e%252fb", "/a/..%2Fb", "/b"]),
        ("/a/%25252e%25252e/b", &["/a/%25252e%25252e/b", "/a/%252e%252e/b", "/b"]),
        ("/a/..%ef%bc%8fb", &["/a/..%EF%BC%8Fb", "/b"]),
        ("/a/%e2%80%a5/b", &["/a/%E2%80%A5/b", "/b"]),
        ("/a%3fb/c?d", &["/a%3Fb/c?d", "/a?b/c?d"]),
        ("/a%23b/c?d", &["/a%23b/c?d", "/a"]),
        ("/50%25", &["/50%25"]),
        ("/a/%2f../b", &["/a/%2F../b", "/b", "/a/b"]),
        // Whether the dots or the slashes are seen to first.
        ("/a%252fb/%252e%252e/c", &["/a%252fb/%252e%252e/c", "/c", "/a/c"]),
    ] {
        let mut found = readings(text).unwrap();
        let first = found.remove(0);
        assert_eq!(first, expected[0], "{text}");
        for reading in &expected[1..] {
            assert!(found.iter().any(|other| other == reading), "{text}: {reading} not in {found:?}");
        }
        assert_eq!(found.len(), expected.len() - 1, "{text}: {found:?}");
    }
}

#[test]
fn what_nobody_writes_who_means_well_is_refused() {
    for (text, error) in [
        ("/%2525252525252e", TargetError::Depth(4)),
        ("/a;b/..%2fc", TargetError::Readings),
        ("/a;b/..%252fc", TargetError::Readings),
        ("/a%2fb%5cc%3fd%23e", TargetError::Readings),
        ("/a%2500", TargetError::Control(0)),
        ("/a%25c0%25af", TargetError::Overlong),
    ] {
        assert_eq!(readings(text), Err(error), "{text}");
    }
}

/// The bound on the work that one path can make.
#[test]
fn there_are_never_many_readings() {
    let long = "%2f%5c%3f..".repeat(700);
    assert!(readings(&format!("/{long}")).unwrap().len() <= 64);
    let deep = "%25252f%25255c%25253f..".repeat(300);
    assert!(readings(&format!("/{deep}")).unwrap().len() <= 64);
}

const TRAVERSALS: [&str; 24] = [
    "/ok/../no",
    "/ok/%2e%2e/no",
    "/ok/%2E%2e%2fno",
    "/ok/..%2fno",
    "/ok/..%5cno",
    "/ok/..%5C..%5Cno",
    "/ok/%252e%252e/no",
    "/ok/%252e%252e%252fno",
    "/ok/%25252e%25252e%25252fno",
    "/ok/..;/no",
    "/ok/..;x=y/no",
    "/ok/;%2f..%2f../no",
    "/ok/..%3b/no",
    "/ok/%2e%2e;/no",
    "/ok/..%c0%afno",
    "/ok/%c0%ae%c0%ae/no",
    "/ok/..%e0%80%afno",
    "/ok/..%ef%bc%8fno",
    "/ok/%ef%bc%8e%ef%bc%8e/no",
    "/ok/..%00/no",
    "/ok/..%0d/no",
    "/ok/..\\no",
    "/ok//..//../no",
    "/ok/%u002e%u002e/no",
];

#[test]
fn no_traversal_leaves_the_paths_that_are_allowed() {
    let policy = policy(&["x.test"], &["https://x.test/ok/**"]);
    for target in TRAVERSALS {
        let denied = ask(&policy, &format!("GET https://x.test{target}")).expect_err(target);
        assert!(matches!(denied.reason, Reason::UrlNotAllowed | Reason::Malformed), "{target}: {denied:?}");
    }
    for target in ["/ok/", "/ok/a%2fb", "/ok/a/..%2fb", "/ok/a;v=1", "/ok/100%25", "/ok/x/../y", "/ok/;/../a"]
    {
        ask(&policy, &format!("GET https://x.test{target}"))
            .unwrap_or_else(|denied| panic!("{target}: {denied:?}"));
    }
}

#[test]
fn a_rule_with_an_escaped_slash_is_for_who_writes_it_so() {
    assert!(matches("/@scope%2Fname", "/@scope%2fname"));
    assert!(matches("/@scope%2f*", "/@scope%2Fname"));
    // The other spelling is another URL.
    assert!(!matches("/@scope%2Fname", "/@scope/name"));
    assert!(!matches("/@scope/name", "/@scope%2Fname"));
    assert!(!matches("/@scope%2f*", "/@scope%2f..%2fother"));
}
