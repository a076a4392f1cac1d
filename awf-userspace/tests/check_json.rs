//! Who asked `awf-bpf check` for JSON gets JSON, whatever is wrong; and what a configuration file must not hold.

use std::process::{Command, Output};

use serde_json::Value;

/// Runs `check` in a new directory with these files.
fn check(test: &str, files: &[(&str, &str)], args: &[&str]) -> (Option<i32>, String, String) {
    let dir = std::env::temp_dir().join(format!("awf-bpf-json-{test}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    files.iter().for_each(|(name, text)| std::fs::write(dir.join(name), text).unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_awf-bpf"));
    let Output { status, stdout, stderr } =
        command.arg("check").args(args).env_clear().current_dir(&dir).output().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn mistakes_are_json_for_who_asked_for_json() {
    for (args, begins) in [
        (
            &["-d", "*.com", "ftp://x.test"][..],
            &["--allow-domains: \"*.com\"", "\"ftp://x.test\" begins"][..],
        ),
        (&["-c", "p.toml"], &["p.toml:1: not TOML: "]),
        (&["-d", "x.test", "--replay", "gone.jsonl"], &["--replay gone.jsonl: No such file"]),
        (&["--nope", "-d", "*.com"], &["unexpected argument '--nope'", "--allow-domains: \"*.com\""]),
        (&["-d"], &["a value is required for '--allow-domains <LIST>'"]),
        (&["-d", "x.test", "x.test:\u{9b}2J"], &["\"x.test:"]),
    ] {
        let (status, out, err) = check("errors", &[("p.toml", "[policy\n")], &[&["--json"], args].concat());
        assert_eq!((status, err.as_str()), (Some(2), ""), "{args:?}: {out}");
        assert!(out.ends_with("}\n") && out.lines().count() == 1 && !out.contains('\u{9b}'), "{out}");
        let object: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(object["valid"], false);
        let errors: Vec<_> =
            object["errors"].as_array().unwrap().iter().map(|e| e.as_str().unwrap()).collect();
        assert_eq!(errors.len(), begins.len(), "{args:?}: {errors:?}");
        assert!(errors.iter().zip(begins).all(|(error, begin)| error.starts_with(begin)), "{errors:?}");
        // The same without it: text on stderr only.
        let (status, out, err) = check("text", &[("p.toml", "[policy\n")], args);
        assert_eq!((status, out.as_str()), (Some(2), ""), "{args:?}");
        assert_eq!(err.matches("awf-bpf: error: ").count(), begins.len(), "{err}");
    }
    let (status, out, err) = check("replay", &[("a", "torn\n")], &["--json", "--replay", "a"]);
    let object: Value = serde_json::from_str(&out).unwrap();
    let errors = ["--replay a: line 1 is no record of an audit.jsonl"];
    assert_eq!(
        (status, err.contains("error"), &object["errors"]),
        (Some(2), false, &Value::from(&errors[..]))
    );
}

/// Each is somebody's mistake: a variable that was not set, a key in the wrong place. None is passed over.
#[test]
fn a_configuration_file_holds_nothing_that_means_nothing() {
    for (text, begins) in [
        ("[policy]\nallow_domains = \"\"\n", "2: `allow_domains` holds a string without an entry"),
        ("[policy]\nallow_ip = [\"10.0.0.1\",\n\" , \"]\n", "3: `allow_ip` holds a string without an entry"),
        ("[policy]\nallow_host_ports = [\"\"]\n", "2: `allow_host_ports` holds a string without an entry"),
        ("[policy]\nallow_domains_file = \" \"\n", "2: `allow_domains_file` holds an empty path"),
        ("[policy]\ndns_servers = \",\"\n", "2: `dns_servers` holds a string without an entry"),
        ("[policy]\nallow_dns = true\n", "2: `allow_dns` holds true or false; write strings"),
        ("[policy]\nallow_domains = [[\"x.test\"]]\n", "2: `allow_domains` holds a list; write strings"),
        ("[policy]\nallow_domains = { x = 1 }\n", "2: `allow_domains` holds a table; write strings"),
        ("[policy]\n[policy.allow_domains]\nx = 1\n", "2: `allow_domains` holds a table; write strings"),
        ("[policy]\nallow_host_ports = -1\n", "2: \"-1\" is neither a port"),
        ("[policy]\nallow_host_ports = 0x50\n", "2: `allow_host_ports` holds a number"),
        ("[policy]\nallow_ip = \"10.0.0.1\"\nallow_ip = \"10.0.0.2\"\n", "3: not TOML: duplicate key"),
        ("[policy]\n[policy]\n", "2: not TOML: duplicate key"),
        ("[[policy]]\nallow_ip = \"10.0.0.1\"\n", "1: `policy` is a list; write a table: [policy]"),
        ("[allow_domains]\n", "1: `allow_domains` stands outside of a table; write [policy] above it"),
        ("[exec.policy]\n", "1: unknown table \"exec\"; known: policy, tls, filesystem, environment"),
        ("version = 1\n", "1: unknown key \"version\"; known: policy, tls, filesystem, environment"),
        ("[policy]\n[policy.extra]\n", "2: unknown key \"extra\"; known: allow_dns, "),
    ] {
        let (status, _, err) = check("toml", &[("p.toml", text)], &["-c", "p.toml"]);
        let begins = format!("awf-bpf: error: p.toml:{begins}");
        assert!(status == Some(2) && err.starts_with(&begins) && err.lines().count() == 1, "{text}: {err}");
    }
    // An empty list is one without entries, as if its key were not there; so is an empty table, or file.
    for text in [
        "",
        "\u{feff}",
        "[policy]",
        "policy = {}",
        "[policy]\nallow_domains = []\ndns_servers = []\nruleset_file = []\n",
    ] {
        let (status, out, err) = check("empty", &[("p.toml", text)], &["-c", "p.toml"]);
        assert!(status == Some(0) && out.ends_with("valid: 0 allow rules, 0 block rules\n"), "{text}: {err}");
    }
    let written = "policy.allow_domains = [\"a.test,\", \"b.test\"]\n";
    let (status, out, _) = check("dotted", &[("p.toml", written)], &["-c", "p.toml"]);
    assert!(status == Some(0) && out.ends_with("valid: 2 allow rules, 0 block rules\n"), "{out}");
}
