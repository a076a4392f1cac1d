//! Hostile names, hostile files.

use std::{
    fs,
    os::unix::fs::{chown, symlink},
    path::PathBuf,
};

use super::*;

fn hostile(names: &[&str]) -> Tally {
    let mut tally = Tally::default();
    for name in names {
        let line = serde_json::json!({
            "event": "dns", "decision": "deny", "reason": "not_in_allowlist",
            "host": name, "step": name, "comm": name,
        });
        tally.add(line.to_string().as_bytes());
    }
    tally
}

#[test]
fn nothing_of_a_name_is_markdown_or_html_or_a_command() {
    let names = [
        "a|b",
        "`x`",
        "<script>alert(1)</script>",
        "a\n\n# head",
        "::error::x",
        "[l](http://evil.test)",
        "![i](x)",
        "@octocat",
        "</code><b>",
        "&lt;",
        "www.evil.test",
        "\u{202e}rtl",
        "~~s~~ *b* _i_",
        "a\r\n::set-env::",
    ];
    let text = markdown(&hostile(&names), "/var/log/x", usize::MAX);
    for part in
        ["<script", "[l]", "](", "![", "@oct", "<b>", "::", "http:", "www.", "\u{202e}", "~~", "*b*", "\r"]
    {
        assert!(!text.contains(part), "{part:?} in {text}");
    }
    // Of each row the bars are its own.
    for line in text.lines().filter(|line| line.starts_with("| <code>")) {
        assert!([6, 7].contains(&line.matches('|').count()), "{line}");
    }
    let outside = text.lines().filter(|line| !line.starts_with('|') && line.contains("head"));
    assert_eq!(outside.count(), 0);
}

#[test]
fn an_ordinary_run_says_what_to_add() {
    let text = markdown(&hostile(&["evil.test"]), "/var/log/awf-bpf/1/audit.jsonl", usize::MAX);
    assert!(text.starts_with("### awf-bpf: 0 allowed, 1 denied\n"), "{text}");
    let shown = text.replace("&#46;", ".").replace("&#34;", "\"").replace("&#61;", "=").replace("&#91;", "[");
    assert!(shown.contains("allow&#95;domains = [\"evil.test\"&#93;"), "{shown}");
}

#[test]
fn what_does_not_fit_is_said_to_be_missing() {
    let names: Vec<String> = (0..2000).map(|number| format!("{number}{}", "|".repeat(200))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let tally = hostile(&names);
    for most in [0, 10, 100, 1000, 100_000, usize::MAX] {
        let text = markdown(&tally, "/x", most);
        assert!(text.len() <= most.min(OWN), "{most}: {}", text.len());
        assert!(most < 100 || text.ends_with("does not fit here.\n") || most > 100_000, "{most}: {text}");
    }
}

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir()
            .canonicalize()
            .unwrap()
            .join(format!("awf-summary-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        chown(&dir, Some(4321), Some(4321)).unwrap();
        Self(dir)
    }

    fn file(&self, name: &str, content: &[u8], uid: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        chown(&path, Some(uid), Some(uid)).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn it_is_appended_as_the_user_and_no_link_is_followed() {
    let dir = Dir::new("links");
    let say = |path: &Path| append(path, 4321, 4321, |_| "text\n".into());
    let plain = dir.file("plain", b"# before", 4321);
    say(&plain).unwrap();
    assert_eq!(fs::read(&plain).unwrap(), b"# before\n\ntext\n");
    let roots = dir.file("roots", b"", 0);
    fs::set_permissions(&roots, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    symlink(&roots, dir.0.join("link")).unwrap();
    symlink(&dir.0, dir.0.join("dir")).unwrap();
    fs::hard_link(&plain, dir.0.join("second")).unwrap();
    rustix::fs::mknodat(CWD, dir.0.join("pipe"), rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o666), 0)
        .unwrap();
    for name in ["roots", "link", "dir/plain", "second", "pipe", "none", "."] {
        assert!(say(&dir.0.join(name)).is_err(), "{name}");
    }
    assert!(say(Path::new("/dev/null")).is_err() && say(Path::new("/etc/shadow")).is_err());
    assert_eq!(fs::read(&roots).unwrap(), b"");
    // This thread is root as before.
    assert!(rustix::process::geteuid().is_root() && fs::read("/etc/shadow").is_ok());
}

#[test]
fn the_runners_limit_is_kept() {
    let dir = Dir::new("limit");
    let nearly = dir.file("nearly", &vec![b'x'; LIMIT as usize - 500], 4321);
    append(&nearly, 4321, 4321, |room| markdown(&hostile(&["a.test"]), "/x", room)).unwrap();
    assert!(fs::metadata(&nearly).unwrap().len() <= LIMIT);
    let full = dir.file("full", &vec![b'x'; LIMIT as usize], 4321);
    assert!(append(&full, 4321, 4321, |room| markdown(&hostile(&["a.test"]), "/x", room)).is_err());
    assert_eq!(fs::metadata(&full).unwrap().len(), LIMIT);
}
