//! Wildcards: what they match, and what they cost.

use super::matches;
use crate::policy::url::{glob::Glob, target::Part};

#[test]
fn a_star_stays_in_its_segment_and_two_cross() {
    for (rule, yes, no) in [
        ("/a", &["/a", "/a?q", "/%61", "/b/../a"][..], &["/", "/a/", "/ab", "/A", "/a/b", "/b"][..]),
        ("/a/", &["/a/", "/a//"], &["/a", "/a/b"]),
        ("/", &["/", "/?x=1", "/a/.."], &["/a"]),
        ("/*", &["/", "/a", "/a.b"], &["/a/", "/a/b"]),
        ("/**", &["/", "/a", "/a/b/", "/@scope%2Fname"], &[]),
        ("/a/*", &["/a/", "/a/b", "/a/b;c=1?d"], &["/a", "/a/b/c", "/b", "/a/b%2Fc"]),
        ("/a/**", &["/a/", "/a/b/c", "/a//b"], &["/a", "/ab", "/b/a/c", "/a/../b"]),
        ("/a/*/c", &["/a/b/c"], &["/a/c", "/a/b/b/c", "/a/b/c/", "/a/b/cc"]),
        ("/a/**/c", &["/a/c", "/a/b/c", "/a/b/b/c"], &["/a/bc", "/ac", "/a/b/cc", "/a/c/b"]),
        ("/**/c", &["/c", "/a/c", "/a/b/c"], &["/bc", "/a/bc"]),
        ("/a/**/**/c", &["/a/c", "/a/b/c"], &["/a/bc"]),
        ("/v*/x", &["/v/x", "/v1/x", "/v1.2/x"], &["/w/x", "/v1/y/x"]),
        ("/a*b*c", &["/abc", "/a1b2c", "/abbc"], &["/acb", "/abcd", "/a/b/c"]),
        ("/**.tar.gz", &["/a/b.tar.gz", "/.tar.gz"], &["/a.tar.gzz", "/a.tar"]),
        ("/***", &["/a/b"], &[]),
    ] {
        for target in yes {
            assert!(matches(rule, target), "{rule} must match {target}");
        }
        for target in no {
            assert!(!matches(rule, target), "{rule} must not match {target}");
        }
    }
}

#[test]
fn queries_are_patterns_too_where_a_rule_has_one() {
    for (rule, yes, no) in [
        (
            "/a?b=1",
            &["/a?b=1", "/a?%62=1"][..],
            &["/a", "/a?", "/a?b=12", "/a?b=1&c", "/a?b=1;c", "/b?b=1"][..],
        ),
        ("/a?b=*", &["/a?b=", "/a?b=x", "/a?b=x/y?z", "/a?b=%26"], &["/a?b=x&c=y", "/a?b=x;c=y", "/a?c=x"]),
        ("/a?b=*&c=*", &["/a?b=x&c=y"], &["/a?b=x", "/a?b=x&c=y&d"]),
        ("/a?b=**", &["/a?b=x&c=y"], &["/a?c=y&b=x"]),
        ("/a?**", &["/a", "/a?x"], &["/b"]),
        ("/a?", &["/a?", "/a"], &["/a?x"]),
        ("/a", &["/a?x&y"], &[]),
    ] {
        for target in yes {
            assert!(matches(rule, target), "{rule} must match {target}");
        }
        for target in no {
            assert!(!matches(rule, target), "{rule} must not match {target}");
        }
    }
}

#[test]
fn escapes_that_mean_nothing_special_match_the_character() {
    assert!(matches("/@scope/**", "/%40scope/a") && matches("/%40scope/**", "/@scope/a"));
    assert!(matches("/a%2Cb", "/a,b") && matches("/a%2cb", "/a%2Cb"));
    assert!(matches("/a?b=c/d", "/a?b=c%2Fd"));
    // An escaped star is a star and no wildcard.
    assert!(matches("/%2A", "/%2a") && !matches("/%2A", "/b"));
    // What separates, separates only as it is.
    assert!(!matches("/a?b=%26", "/a?b=&") && !matches("/a?b=&", "/a?b=%26"));
    assert!(!matches("/a%2Bb", "/a+b"));
}

/// A matcher that goes back would not end within years, and neither would this test.
#[test]
fn no_path_makes_a_pattern_expensive() {
    for pattern in ["/**a**a**a**a**a**a**a**a**b", "/*a*a*a*a*a*a*a*a*b", "/**/a/**/a/**/a/**/a/**/b"] {
        let glob = Glob::new(pattern, Part::Path);
        for text in [format!("/{}", "a".repeat(8000)), "/a".repeat(4000), format!("/{}", "a/".repeat(4000))] {
            assert!(!glob.matches(&text));
            assert!(glob.matches(&format!("{text}b")) || pattern.contains('/'));
        }
    }
}
