//! `awf-bpf policy init` and `schema`: what they print is what is read.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

fn awf(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_awf-bpf")).args(words).env_clear().output().unwrap()
}

/// A directory of the test's own, removed at its end.
struct Dir(PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_starter_file_is_written_once_and_is_valid() {
    let dir = Dir(std::env::temp_dir().join(format!("awf-policy-init-{}", std::process::id())));
    fs::create_dir(&dir.0).unwrap();
    let file = dir.0.join("awf-bpf.toml");
    let path = file.to_str().unwrap();
    let printed = awf(&["policy", "init"]);
    assert!(printed.status.success() && printed.stderr.is_empty(), "{printed:?}");
    assert!(awf(&["policy", "init", "--out", path]).status.success());
    assert_eq!(fs::read(&file).unwrap(), printed.stdout);
    fs::write(&file, "[policy]\n").unwrap();
    let again = awf(&["policy", "init", "--out", path]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("not written over"), "{again:?}");
    assert_eq!(fs::read(&file).unwrap(), b"[policy]\n");
    // Not through a link, either.
    let link = dir.0.join("link.toml");
    std::os::unix::fs::symlink(dir.0.join("elsewhere"), &link).unwrap();
    assert_eq!(awf(&["policy", "init", "--out", link.to_str().unwrap()]).status.code(), Some(1));
    assert!(!dir.0.join("elsewhere").exists());

    fs::write(&file, printed.stdout).unwrap();
    let checked = awf(&["check", "-c", path, "https://a.example.com/"]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let shown = awf(&["exec", "-c", path, "--dry-run", "--", "true"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("allow      example.com"), "{shown:?}");
}

#[test]
fn the_schema_is_json_and_usage_errors_are_2() {
    let schema = awf(&["policy", "schema"]);
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    for words in
        [&["policy"][..], &["policy", "allow"], &["policy", "alow", "x.test"], &["policy", "init", "x"]]
    {
        let out = awf(words);
        assert_eq!(out.status.code(), Some(2), "{words:?}: {out:?}");
    }
}
