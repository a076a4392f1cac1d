//! `awf-bpf check`: its words, its JSON, its exit codes; the configuration file.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A directory of files, gone with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(test: &str, files: &[(&str, &str)]) -> Self {
        let dir = std::env::temp_dir().join(format!("awf-bpf-check-{test}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        for (name, text) in files {
            fs::write(dir.join(name), text).unwrap();
        }
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs `check` as nobody, in `dir`.
fn check(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new(env!("CARGO_BIN_EXE_awf-bpf"));
    command.arg("check").args(args).env_clear().current_dir(dir);
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Of the host's loopback, opened by flags and by the file.
#[test]
fn host_ports_are_checked_like_the_rest() {
    let text = "[policy]\nallow_host_ports = \"8000-8010\"\nallow-host-service-ports = [6379]\n";
    let dir =
        Dir::new("host", &[("p.toml", text), ("bad.toml", "[policy]\nallow_host_ports = [\n\"5432\"]\n")]);
    for (target, code, said) in [
        ("http://localhost:8000", 0, "by --allow-host-ports 8000-8010"),
        ("http://127.0.0.1:8000", 0, "by --allow-host-ports 8000-8010"),
        ("tcp://[::1]:8010", 0, "by --allow-host-ports 8000-8010"),
        ("tcp://host.docker.internal:6379", 0, "by --allow-host-service-ports 6379"),
        ("http://app.localhost:3000", 0, "by localhost:3000"),
        ("tcp://localhost:8011", 1, "--allow-host-ports 8011"),
        ("tcp://127.0.0.1:5432", 1, "--allow-host-service-ports 5432"),
        ("tcp://127.0.0.53:8000", 1, "address_not_allowed"),
    ] {
        let (status, stdout, stderr) = check(&dir.0, &["-c", "p.toml", "-d", "localhost:3000", target]);
        assert_eq!(status, Some(code), "{target}: {stdout}{stderr}");
        assert!(stdout.contains(said), "{target}: {stdout}");
    }
    let (status, _, stderr) = check(&dir.0, &["-c", "bad.toml", "localhost:80"]);
    assert_eq!(status, Some(2));
    assert!(stderr.contains("bad.toml:3: \"5432\" opens port 5432 (PostgreSQL)"), "{stderr}");
}

#[test]
fn each_target_is_a_line_and_the_exit_code_sums_them_up() {
    let dir = Dir::new("lines", &[("allow.txt", "# ours\n\nfile.test\n")]);
    let policy = [
        "-d",
        "github.com,https://tls.test,tcp://db.test:5432,10.0.0.0/8",
        "--allow-domains-file",
        "allow.txt",
        "--block-domains",
        "bad.github.com",
    ];
    for (target, code, line) in [
        ("https://api.github.com/", 0, "allow  https://api.github.com/  by github.com (--allow-domains)\n"),
        ("http://x.file.test:80/a", 0, "allow  http://x.file.test:80/a  by file.test (allow.txt:3)\n"),
        ("tcp://db.test:5432", 0, "allow  tcp://db.test:5432  by tcp://db.test:5432 (--allow-domains)\n"),
        ("db.test:5432", 0, "allow  db.test:5432  by tcp://db.test:5432 (--allow-domains), any protocol\n"),
        ("https://10.1.2.3/", 0, "allow  https://10.1.2.3/  by 10.0.0.0/8 (--allow-domains)\n"),
        (
            "http://tls.test",
            1,
            "deny   http://tls.test  protocol_not_allowed  clear-text HTTP to tls.test port 80 is not allowed: the rule \
             https://tls.test (--allow-domains) is about TLS on port 443; to allow it: --allow-domains tls.test\n",
        ),
        (
            "https://bad.github.com",
            1,
            "deny   https://bad.github.com  blocked  bad.github.com is blocked by the rule bad.github.com \
             (--block-domains); a block rule beats every allow rule\n",
        ),
        (
            "https://gihtub.com",
            1,
            "deny   https://gihtub.com  not_in_allowlist  gihtub.com is not allowed: no rule names it; did you mean \
             github.com?; to allow it: --allow-domains gihtub.com\n",
        ),
        (
            "https://[2001:db8::1]:8443",
            1,
            "deny   https://[2001:db8::1]:8443  address_not_allowed  2001:db8::1 is not allowed: no rule names this \
             address, and rules for names say nothing of it; to allow it: --allow-ip [2001:db8::1]:8443\n",
        ),
    ] {
        let (status, out, err) = check(&dir.0, &[&policy[..], &[target]].concat());
        assert_eq!((status, out.as_str(), err.as_str()), (Some(code), line, ""), "{target}");
    }
    let (status, out, _) = check(&dir.0, &[&policy[..], &["github.com", "tls.test"]].concat());
    let lines: Vec<_> = out.lines().map(|line| &line[..line.find(')').unwrap() + 1]).collect();
    assert_eq!(status, Some(1));
    assert_eq!(
        lines,
        [
            "allow  github.com (TLS on port 443)",
            "allow  github.com (HTTP on port 80)",
            "allow  tls.test (TLS on port 443)",
            "deny   tls.test (HTTP on port 80)"
        ]
    );
}

#[test]
fn json_has_a_line_each() {
    let dir = Dir::new("json", &[]);
    let (status, out, err) =
        check(&dir.0, &["-d", "x.test", "--json", "https://x.test/?token=abc", "y.test:22"]);
    assert_eq!((status, err.as_str()), (Some(1), ""));
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{out}");
    assert_eq!(
        lines[0],
        serde_json::json!({"target": "https://x.test/", "host": "x.test", "port": 443, "decision": "allow",
            "protocols": ["tls"], "reason": "allowed", "rule": "x.test"})
    );
    assert_eq!(lines[1]["reason"], "not_in_allowlist");
    assert_eq!(lines[1]["allow_with"], "--allow-domains y.test:22");
}

#[test]
fn an_invalid_policy_or_target_is_2_and_all_mistakes_are_told() {
    let dir = Dir::new("invalid", &[]);
    for (args, says) in [
        (&["-d", "*.com,x.test/a", "ftp://x.test", "*.x.test"][..], 4),
        (&["-d", "x.test", "x.test:0"], 1),
        (&["--allow-domains-file", "gone.txt"], 1),
        (&["-d", "x.test", "--replay", "gone.jsonl"], 1),
        (&["--nope"], 1),
    ] {
        let (status, out, err) = check(&dir.0, args);
        assert_eq!((status, out.as_str()), (Some(2), ""), "{args:?}");
        assert_eq!(err.matches("awf-bpf: error: ").count(), says, "{args:?}: {err}");
    }
}

#[test]
fn without_a_target_the_policy_is_shown() {
    let long = (0..100_000).map(|n| format!("h{n}.example.test\n")).collect::<String>();
    let dir = Dir::new("shown", &[("long.txt", &long), ("short.txt", "a.test\n=b.test\na.test\n")]);
    let files = ["--block-domains-file", "long.txt", "--allow-domains-file", "short.txt"];
    let (status, out, err) = check(&dir.0, &[&["-d", "api-*.x.test"][..], &files].concat());
    assert_eq!((status, err.as_str()), (Some(0), ""));
    assert_eq!(
        out,
        "allow      api-*.x.test (--allow-domains); * stays within its label; in gh-aw-firewall it crosses dots\n\
         allow      a.test (short.txt:1)\n\
         allow      =b.test (short.txt:2)\n\
         block      100000 rules of long.txt\n\
         valid: 3 allow rules, 100000 block rules\n"
    );
}

/// Also what is no rule of a domain list, and which rules of a ruleset are exact.
#[test]
fn nothing_of_the_policy_is_left_out_when_it_is_shown() {
    let ruleset = "version: 1\nrules:\n- domain: a.test\n  subdomains: false\n- domain: b.test\n";
    let dir = Dir::new("whole", &[("r.yml", ruleset)]);
    let flags = ["--ruleset-file", "r.yml", "--allow-host-ports", "8000-8010", "--allow-dns", "TXT:a.test"];
    let (status, out, err) = check(&dir.0, &flags);
    assert_eq!((status, err.as_str()), (Some(0), ""));
    assert_eq!(
        out,
        "allow      =a.test (r.yml:3)\n\
         allow      b.test (r.yml:5)\n\
         host       --allow-host-ports 8000-8010\n\
         allow-dns  TXT:a.test (--allow-dns)\n\
         valid: 2 allow rules, 0 block rules\n"
    );
    let (_, out, _) = check(&dir.0, &["--ruleset-file", "r.yml", "https://x.a.test"]);
    assert!(out.contains("the rule =a.test (r.yml:3) does not match it"), "{out}");
    let (status, out, _) = check(&dir.0, &["--block-domains", "x.test"]);
    assert_eq!(status, Some(0));
    assert!(
        out.ends_with("nothing: the command has no network\nvalid: 0 allow rules, 1 block rule\n"),
        "{out}"
    );
}

#[test]
fn a_configuration_file_is_a_policy_and_flags_add_to_it() {
    let text = "[policy]\nallow_domains = [\"a.test\", 'https://b.test']\nallow-ip = \"10.0.0.0/8\"\n\
                block_domains = [\"bad.a.test\"]\nallow_domains_file = \"more.txt\"\ndns_servers = [\"198.51.100.53\"]\n";
    let dir = Dir::new("config", &[("p.toml", text), ("more.txt", "c.test\n")]);
    let config = dir.0.join("p.toml");
    // From elsewhere: paths in the file are relative to it.
    let ask = |args: &[&str]| check(Path::new("/"), &[&["-c", config.to_str().unwrap()], args].concat());
    let (status, out, err) = ask(&[
        "-d",
        "d.test",
        "https://a.test",
        "https://b.test",
        "c.test:443",
        "https://10.0.0.1",
        "https://d.test",
    ]);
    assert_eq!(status, Some(0), "{out}{err}");
    assert!(out.contains("by a.test (") && out.contains("p.toml:2)") && out.contains("p.toml:3)"), "{out}");
    assert_eq!(ask(&["https://bad.a.test"]).0, Some(1));
    let exec = Command::new(env!("CARGO_BIN_EXE_awf-bpf"))
        .args(["-c", config.to_str().unwrap(), "--dry-run", "--", "true"])
        .output()
        .unwrap();
    let plan = String::from_utf8(exec.stdout).unwrap();
    assert!(plan.contains("allow      a.test (") && plan.contains("dns        198.51.100.53:53"), "{plan}");
}

#[test]
fn a_configuration_file_is_strict_and_tells_every_mistake_with_its_line() {
    let text = "allow_domains = []\n[policy]\nallow_domain = [\"x.test\"]\nblock_domains = [1, \"*\"]\nallow_ip = \"x.test\"\n\
                allow-ip = []\ndns_servers = \"dns.test\"\nwhatever_this_is = 1\n[polciy]\n[other]\n";
    let dir = Dir::new(
        "strict",
        &[("p.toml", text), ("broken.toml", "[policy\nallow_ip = \n"), ("latin.toml", "")],
    );
    fs::write(dir.0.join("latin.toml"), b"\n# \xfc\n").unwrap();
    let (status, _, err) = check(&dir.0, &["-c", "p.toml"]);
    assert_eq!(status, Some(2));
    for says in [
        "p.toml:1: `allow_domains` stands outside of a table; write [policy] above it",
        "p.toml:3: unknown key \"allow_domain\"; did you mean `allow_domains`?",
        "p.toml:4: `block_domains` holds a number; write strings: block_domains = [\"...\"]",
        "p.toml:4: \"*\" would match everything",
        "`allow_ip` is there twice, with - and with _",
        "p.toml:7: dns_servers: \"dns.test\" is not an address",
        "p.toml:8: unknown key \"whatever_this_is\"; known: allow_dns, allow_domains, ",
        "p.toml:9: unknown table \"polciy\"; did you mean `policy`?",
        "p.toml:10: unknown table \"other\"; known: policy, tls, filesystem, environment",
    ] {
        assert!(err.contains(says), "{says}\n{err}");
    }
    let lines = |err: &str| -> Vec<usize> {
        let number = |line: &str| line.split(':').nth(3)?.parse().ok();
        err.lines().filter_map(number).collect()
    };
    fs::write(dir.0.join("ports.toml"), "[policy]\nzzz = 1\nallow_host_ports = [22,\n3.5]\n").unwrap();
    let (_, _, ports) = check(&dir.0, &["-c", "ports.toml"]);
    assert!(ports.contains("ports.toml:4: `allow_host_ports` holds 3.5; write ports: "), "{ports}");
    assert_eq!(lines(&ports)[..2], [2, 4], "{ports}");
    let (status, _, err) = check(&dir.0, &["-c", "broken.toml"]);
    assert!(status == Some(2) && err.contains("broken.toml:1: not TOML: "), "{err}");
    let (_, _, err) = check(&dir.0, &["-c", "latin.toml"]);
    assert!(err.contains("--config latin.toml: line 2 is not UTF-8"), "{err}");
    assert_eq!(check(&dir.0, &["-c", "gone.toml"]).0, Some(2));
}

/// What a command would be given where it is started need not be where its file is looked at.
#[test]
fn what_is_there_when_a_command_starts_is_not_asked_for() {
    let text = "[policy]\nallow_domains = \"x.test\"\n[environment]\nset = [\"NOT_SET_HERE\"]\nfile = \"gone.env\"\n";
    let dir = Dir::new("start", &[("p.toml", text), ("q.toml", &text.replace("NOT_SET_HERE", "=x"))]);
    let (status, out, err) = check(&dir.0, &["-c", "p.toml", "https://x.test"]);
    assert!(status == Some(0) && out.starts_with("allow ") && err.is_empty(), "{out}{err}");
    let (status, _, err) = check(&dir.0, &["-c", "q.toml", "https://x.test"]);
    assert!(status == Some(2) && err.contains("q.toml:4: `environment.set`: "), "{err}");
}

#[test]
fn mistakes_of_a_long_file_are_counted() {
    let dir = Dir::new("mistakes", &[("l.txt", &"*.com\n".repeat(5000))]);
    let (status, _, err) = check(&dir.0, &["--allow-domains-file", "l.txt"]);
    assert_eq!((status, err.lines().count()), (Some(2), 21), "{err}");
    assert!(
        err.ends_with("awf-bpf: error: --allow-domains-file l.txt: 4980 more mistakes like these\n"),
        "{err}"
    );
    fs::write(dir.0.join("l.txt"), b"\xff\n".repeat(5000)).unwrap();
    assert_eq!(check(&dir.0, &["--allow-domains-file", "l.txt"]).2.lines().count(), 21);
}

#[test]
fn a_record_is_judged_again() {
    let record = |event: &str, decision: &str, reason: &str, rest: &str| {
        format!(
            "{{\"_schema\":\"audit/v1\",\"event\":\"{event}\",\"decision\":\"{decision}\",\"reason\":\"{reason}\",{rest}}}\n"
        )
    };
    let tls =
        |host: &str| format!("\"host\":\"{host}\",\"port\":443,\"proto\":\"tls\",\"ip\":\"198.51.100.7\"");
    let text = [
        record("connection", "allow", "allowed", &tls("a.test")),
        record("connection", "allow", "allowed", &tls("gone.test")),
        record("connection", "allow", "connect_failed", &tls("gone.test")),
        record("connection", "deny", "not_in_allowlist", &tls("new.test")),
        record("connection", "deny", "not_in_allowlist", &tls("other.test")),
        record("connection", "deny", "name_mismatch", &tls("a.test")),
        record(
            "connection",
            "deny",
            "protocol_not_allowed",
            "\"requests\":2,\"host\":\"a.test\",\"port\":80,\"proto\":\"http\"",
        ),
        record("request", "allow", "allowed", "\"host\":\"a.test\",\"port\":80,\"proto\":\"http\""),
        record(
            "connection",
            "allow",
            "allowed",
            "\"host\":\"a.test\",\"port\":443,\"proto\":\"connect\",\"ip\":\"203.0.113.9\"",
        ),
        record(
            "connection",
            "deny",
            "no_name",
            "\"host\":\"10.0.0.1\",\"ip\":\"10.0.0.1\",\"port\":443,\"proto\":\"tls\"",
        ),
        record("dns", "deny", "not_in_allowlist", "\"host\":\"new.test\",\"proto\":\"dns\""),
        record("kernel", "deny", "udp_refused", "\"host\":\"a.test\",\"port\":443,\"proto\":\"udp\""),
        "{\"torn\n".to_owned(),
    ]
    .concat();
    let dir = Dir::new("replay", &[("audit.jsonl", &text)]);
    let policy = ["-d", "a.test,new.test", "--block-domains", "203.0.113.0/24", "--replay", "audit.jsonl"];
    let (status, out, err) = check(&dir.0, &policy);
    let torn = "awf-bpf: error: --replay audit.jsonl: line 13 is no record of an audit.jsonl\n";
    assert_eq!((status, err.as_str()), (Some(2), torn));
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 5, "{out}");
    assert!(
        lines[0].starts_with("newly denied   a.test:443 (connect)  blocked  203.0.113.9 is blocked by"),
        "{out}"
    );
    assert!(lines[1].starts_with("newly denied   gone.test:443 (tls)  not_in_allowlist"), "{out}");
    assert!(lines[1].ends_with("(2 times)"), "{out}");
    assert_eq!(lines[2], "newly allowed  new.test (dns)  by a rule for the name  (1 times)");
    assert_eq!(lines[3], "newly allowed  new.test:443 (tls)  by new.test  (1 times)");
    assert_eq!(
        lines[4],
        "4 as before, 2 newly allowed, 3 newly denied, 3 not decided by a policy, 1 lines that are no records"
    );
    fs::write(dir.0.join("whole.jsonl"), text.replace("{\"torn\n", "")).unwrap();
    let (status, _, err) = check(&dir.0, &[&policy[..5], &["whole.jsonl"]].concat());
    assert_eq!((status, err.as_str()), (Some(1), ""));
    let (_, out, _) = check(&dir.0, &[&policy[..], &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((json["newly_denied"].as_u64(), json["changes"].as_array().unwrap().len()), (Some(3), 4));
}

/// A wrong file must not pass for a run in which nothing changed.
#[test]
fn what_is_no_record_is_not_passed_over() {
    let dir = Dir::new("garbage", &[("x.log", &format!("\n{}", "garbage\n".repeat(30)))]);
    let (status, out, err) = check(&dir.0, &["-d", "x.test", "--replay", "x.log"]);
    assert_eq!(status, Some(2));
    assert!(out.ends_with(", 30 lines that are no records\n"), "{out}");
    assert!(
        err.starts_with("awf-bpf: error: --replay x.log: line 2 is no record of an audit.jsonl\n"),
        "{err}"
    );
    assert!(err.ends_with("awf-bpf: error: --replay x.log: 10 more lines like these\n"), "{err}");
    assert_eq!(err.lines().count(), 21, "{err}");
    let (status, out, err) = check(&dir.0, &["-d", "x.test", "--replay", "x.log", "https://x.test"]);
    assert_eq!((status, out.as_str()), (Some(2), ""));
    assert!(err.contains("'--replay <FILE>' cannot be used with"), "{err}");
}
