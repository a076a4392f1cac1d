//! `--allow-urls` and its key in the configuration file.

use super::Case;

fn shown(case: &Case) -> Vec<String> {
    case.resolved().plan.policy.url_rules().iter().map(ToString::to_string).collect()
}

#[test]
fn flags_and_the_file_add_up() {
    let file = "[policy]\nallow-urls = [\"https://a.test/x/**\",\n  {url = \"https://b.test/y\", methods = [\"GET\", \"HEAD\"]},\n\
                {url = \"http://c.test/z?q=*\"}]\n";
    let flags = [
        "--tls",
        "on",
        "-c",
        "p.toml",
        "--allow-urls",
        "https://d.test/1,GET:https://d.test/2,",
        "--allow-urls",
        "http://e.test/",
    ];
    assert_eq!(
        shown(&Case::new(&flags).file("p.toml", file)),
        [
            "https://d.test/1 (--allow-urls)",
            "GET:https://d.test/2 (--allow-urls)",
            "http://e.test/ (--allow-urls)",
            "https://a.test/x/** (p.toml:2)",
            "GET+HEAD:https://b.test/y (p.toml:3)",
            "http://c.test/z?q=* (p.toml:4)",
        ]
    );
    let one = "[policy]\nallow_urls = {url = \"http://b.test/y\", methods = [\"GET\"]}\n";
    assert_eq!(shown(&Case::new(&["-c", "p.toml"]).file("p.toml", one)), ["GET:http://b.test/y (p.toml:2)"]);
}

#[test]
fn every_mistake_is_told_with_its_place_and_a_remedy() {
    let file = "[policy]\nallow_urls = [\n{methods = [\"GET\"]},\n{url = \"https://x.test/a,b\"},\n{url = 1},\n\
                {url = \"https://x.test/a\", methods = \"GET\"},\n{url = \"https://x.test/a\", methods = []},\n\
                {url = \"https://x.test/a\", method = [\"GET\"]},\n{url = \"GET:https://x.test/a\", methods = [\"PUT\"]},\n\
                {url = \"https://x.test\", methods = [\"get\"]},\n\"https://x.test\", 7]\n";
    let texts = Case::new(&["-c", "p.toml", "--allow-urls", "x.test,https://x.test/%zz"])
        .file("p.toml", file)
        .texts();
    for expected in [
        "p.toml:3: an entry of `allow_urls` has no `url`; write {url = \"https://example.com/path\", methods = [\"GET\"]}",
        "p.toml:4: `url` holds a comma; write it as %2C",
        "p.toml:5: `url` is a number; write {url = \"https://example.com/path\", methods = [\"GET\"]}",
        "p.toml:6: `methods` is a string; write {url = \"https://example.com/path\", methods = [\"GET\"]}",
        "p.toml:7: `methods` is empty; leave it out for any method",
        "p.toml:8: unknown key \"method\"; did you mean `methods`?",
        "p.toml:9: \"PUT:GET:https://x.test/a\" has the method \"PUT:GET\"; write `GET+HEAD:https://...`",
        "p.toml:10: \"get:https://x.test\" has the method \"get\"; write `GET`: methods are in capitals",
        "p.toml:11: \"https://x.test\" has no path: a URL rule says which URLs of a host; write `https://x.test/**` for every \
         path; the whole host, in any protocol of the web, is `--allow-domains x.test`",
        "p.toml:11: `allow_urls` holds a number; write strings: allow_urls = [\"...\"]",
        "--allow-urls: \"x.test\" begins with no scheme; the URLs that can be judged begin with https:// or http://; write \
         `https://x.test`; a comma within a URL is written %2C",
        "--allow-urls: \"https://x.test/%zz\" has a path or query that contains \"%zz\": two hexadecimal digits must follow \
         a %; a percent sign itself is written %25",
    ] {
        assert!(texts.iter().any(|text| text == expected), "missing: {expected}\nin: {texts:#?}");
    }
    assert_eq!(texts.len(), 12, "{texts:#?}");
}

/// Nobody should believe in a filter that sees nothing.
#[test]
fn urls_inside_tls_need_interception() {
    for flags in [&[][..], &["--tls", "off"], &["--tls", "deny-only"]] {
        let flags = [flags, &["--allow-urls", "http://x.test/a,GET:https://x.test/b"]].concat();
        assert_eq!(
            Case::new(&flags).texts(),
            [
                "--allow-urls: \"GET:https://x.test/b\" needs --tls on: without it nobody sees which URLs are asked for; add \
              --tls on, or allow the whole host with --allow-domains"
            ]
        );
    }
    for tls in ["--ssl-bump", "--tls=on"] {
        assert_eq!(shown(&Case::new(&[tls, "--allow-urls", "https://x.test/b"])).len(), 1);
    }
    assert_eq!(shown(&Case::new(&["--allow-urls", "http://x.test/b"])).len(), 1);
}

/// Not a contradiction that somebody should find out about by reading records.
#[test]
fn an_exclusion_that_url_rules_overrule_is_said() {
    let flags =
        ["--tls", "on", "--tls-exclude", "x.test", "--allow-urls", "https://a.x.test/b,https://y.test/c"];
    let said = Case::new(&flags).notices();
    let expected =
        "WARN: https://a.x.test/b (--allow-urls): its TLS is intercepted in spite of --tls-exclude";
    assert!(said.iter().any(|notice| notice == expected), "{said:?}");
    assert!(!said.iter().any(|notice| notice.contains("y.test")), "{said:?}");
}

#[test]
fn what_a_reader_may_take_for_something_else_is_said() {
    let said =
        Case::new(&["--allow-urls", "http://x.test/a/,http://x.test/b/.*,http://x.test/c/*"]).notices();
    let of =
        |level: &str, text: &str| said.iter().filter(|n| n.starts_with(level) && n.contains(text)).count();
    assert_eq!(of("INFO", "http://x.test/a/ (--allow-urls): this URL alone"), 1, "{said:?}");
    assert_eq!(of("INFO", "http://x.test/b/.* (--allow-urls): the dot of .* is a dot"), 1, "{said:?}");
    assert_eq!(of("DEBUG", "http://x.test/c/* (--allow-urls): * stays within a segment"), 1, "{said:?}");
}

#[test]
fn the_plan_shows_url_rules() {
    let plan = Case::new(&["-d", "x.test", "--allow-urls", "http://x.test/a/**"]).resolved().plan.to_string();
    assert!(
        plan.contains("\nallow      x.test (--allow-domains)\nallow-url  http://x.test/a/** (--allow-urls)"),
        "{plan}"
    );
}
