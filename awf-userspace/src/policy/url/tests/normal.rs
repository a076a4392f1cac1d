//! The normal form: what it is, and what has none.

use crate::policy::url::{RequestTarget, TargetError};

fn normal(text: &str) -> String {
    RequestTarget::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).to_string()
}

#[test]
fn escapes_dots_and_slashes_have_one_form() {
    for (text, expected) in [
        ("/", "/"),
        ("/a", "/a"),
        ("/a/", "/a/"),
        ("/%61%2d%2E%5f%7E", "/a-._~"),
        ("/%c3%a9%2f%3a", "/%C3%A9%2F%3A"),
        ("/a//b///c", "/a/b/c"),
        ("//x.test/a", "/x.test/a"),
        ("/a/./b/.", "/a/b/"),
        ("/a/b/../c", "/a/c"),
        ("/a/b/..", "/a/"),
        ("/..", "/"),
        ("/../../a", "/a"),
        ("/ok/../no", "/no"),
        ("/ok/%2e%2e/no", "/no"),
        ("/ok/%2E./no", "/no"),
        ("/ok/.%2e/", "/"),
        ("/a//../b", "/b"),
        ("/...", "/..."),
        ("/..a/b..", "/..a/b.."),
        ("/%252e%252e/a", "/%252e%252e/a"),
        ("/%25%32e", "/%252e"),
        ("/a|b[c]{d}^e`f\"g<h>", "/a%7Cb%5Bc%5D%7Bd%7D%5Ee%60f%22g%3Ch%3E"),
        ("/!$&'()*+,;=:@", "/!$&'()*+,;=:@"),
        ("/a?", "/a?"),
        ("/a?b=%63&d=%2F..//e", "/a?b=c&d=%2F..//e"),
        ("/a?x[]=1|2\\3", "/a?x%5B%5D=1%7C2%5C3"),
        ("/a?text=line%0Aline", "/a?text=line%0Aline"),
        ("/a?b?c/../d", "/a?b?c/../d"),
    ] {
        assert_eq!(normal(text), expected, "{text}");
        assert_eq!(normal(expected), expected, "again");
    }
}

#[test]
fn what_servers_read_in_ways_of_their_own_is_refused() {
    use TargetError::{Character, Control, Escape, NoSlash, Overlong};
    for (text, error) in [
        ("", NoSlash),
        ("a", NoSlash),
        ("?a", NoSlash),
        ("*", NoSlash),
        ("http://x.test/a", NoSlash),
        ("\\a", NoSlash),
        ("/a#b", Character('#')),
        ("/a?b#c", Character('#')),
        ("/a\\b", Character('\\')),
        ("/a b", Character(' ')),
        ("/a\tb", Character('\t')),
        ("/a?b c", Character(' ')),
        ("/\u{e9}", Character('\u{e9}')),
        ("/a?\u{e9}", Character('\u{e9}')),
        ("/a\0", Character('\0')),
        ("/%", Escape("%".into())),
        ("/%2", Escape("%2".into())),
        ("/%2g", Escape("%2g".into())),
        ("/%u002f", Escape("%u0".into())),
        ("/%+1", Escape("%+1".into())),
        ("/%\u{e9}", Escape("%\u{e9}".into())),
        ("/a?%zz", Escape("%zz".into())),
        ("/%00", Control(0)),
        ("/%0d%0a", Control(13)),
        ("/%7f", Control(127)),
        ("/a?%00", Control(0)),
        ("/%c0%af", Overlong),
        ("/..%C0%ae", Overlong),
        ("/%c1%9c", Overlong),
        ("/%c0/", Overlong),
        ("/%e0%80%af", Overlong),
        ("/%f0%80%80%af", Overlong),
        ("/%f8%80%80%80%af", Overlong),
    ] {
        assert_eq!(RequestTarget::parse(text), Err(error), "{text:?}");
    }
    // Latin-1 and every real character pass.
    for text in ["/caf%E9", "/%E0%A4%B9", "/%F0%9F%98%80", "/%EF%BC%8F"] {
        assert_eq!(normal(text), text);
    }
}
