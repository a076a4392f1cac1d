//! `awf-bpf check` where URL rules are about a host.

use std::process::{Command, Output};

/// Runs `check` in a new directory with these files.
fn check(test: &str, files: &[(&str, &str)], args: &[&str]) -> (Option<i32>, String, String) {
    let dir = std::env::temp_dir().join(format!("awf-bpf-urls-{test}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    files.iter().for_each(|(name, text)| std::fs::write(dir.join(name), text).unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_awf-bpf"));
    let Output { status, stdout, stderr } =
        command.arg("check").args(args).env_clear().current_dir(&dir).output().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn urls_are_judged_by_url_rules() {
    let rules = "GET+HEAD:https://x.test/a/**,http://y.test/b?c=*";
    for (args, code, said) in [
        (
            &["https://x.test/a/b"][..],
            0,
            "allow  https://x.test/a/b  by GET+HEAD:https://x.test/a/** (--allow-urls)",
        ),
        (&["https://x.test/c/../a/b?q=s3cret#f"], 0, "allow  https://x.test/c/../a/b  by"),
        (&["https://x.test/a/..%2fno"], 1, "url_not_allowed"),
        (&["https://x.test/no"], 1, "to allow it: --allow-urls https://x.test/no"),
        (&["--method", "POST", "https://x.test/a/b"], 1, "is for GET, HEAD"),
        (&["https://x.test/%zz"], 1, "malformed"),
        (&["http://x.test/a/b"], 1, "to allow it: --allow-urls http://x.test/**"),
        (&["https://x.test"], 1, "url_not_allowed"),
        (&["x.test:443"], 0, "certain URLs only: ask for one"),
        (&["http://y.test/b?c=1"], 0, "by http://y.test/b?c=* (--allow-urls)"),
        (&["http://y.test/b?token=s3cret"], 1, "has another query"),
        (&["https://z.test/a"], 0, "by z.test (--allow-domains)"),
    ] {
        let all = [&["-d", "x.test,z.test", "--allow-urls", rules][..], args].concat();
        let (status, stdout, stderr) = check("urls", &[], &all);
        assert_eq!(status, Some(code), "{args:?}: {stdout}{stderr}");
        assert!(stdout.contains(said) && !stdout.contains("s3cret"), "{args:?}: {stdout}");
    }
    let (_, stdout, stderr) = check("urls", &[], &["--allow-urls", rules]);
    assert!(stderr.contains("GET+HEAD:https://x.test/a/** holds in a run with --tls on"), "{stderr}");
    let (_, _, quiet) = check("urls", &[], &["--allow-urls", "http://y.test/b"]);
    assert!(quiet.is_empty(), "{quiet}");
    assert!(stdout.ends_with("valid: 0 allow rules, 2 URL rules, 0 block rules\n"), "{stdout}");
    let (_, stdout, _) =
        check("urls", &[], &["--json", "--allow-urls", rules, "x.test:443", "https://x.test/no"]);
    assert!(stdout.contains("\"certain_urls\":true") && stdout.contains("\"url_not_allowed\""), "{stdout}");
}

#[test]
fn records_of_requests_are_judged_by_their_urls() {
    let record = |event: &str, proto: &str, url: &str| {
        format!(
            "{{\"event\":\"{event}\",\"decision\":\"allow\",\"reason\":\"allowed\",\"host\":\"x.test\",\"port\":443,\
             \"proto\":\"{proto}\",\"method\":\"GET\"{url}}}\n"
        )
    };
    let lines = [
        record("request", "https", ",\"url\":\"https://x.test/a/b?t=***\""),
        record("request", "https", ",\"url\":\"https://x.test/no\""),
        // Passed through then: what it carried is not known.
        record("connection", "tls", ""),
    ];
    let files = lines.concat();
    let files = [("audit.jsonl", files.as_str())];
    let (status, stdout, stderr) =
        check("replay", &files, &["--allow-urls", "https://x.test/a/**", "--replay", "audit.jsonl"]);
    assert_eq!(status, Some(1), "{stdout}{stderr}");
    assert!(stdout.contains("newly denied   x.test:443 (https)  url_not_allowed"), "{stdout}");
    assert!(
        stdout.ends_with("1 as before, 0 newly allowed, 1 newly denied, 1 not decided by a policy\n"),
        "{stdout}"
    );
}
