//! Words to plan: every flag, and every error at once.

use std::time::Duration;

use super::Case;
use crate::{
    config::{ConfigError, NetworkMode, SummaryMode},
    policy::Verdict,
};

#[test]
fn one_word_is_a_shell_line_and_several_are_an_argv() {
    let argv = |command: &[&str]| Case::new(&[&["--"], command].concat()).resolved().plan.argv;
    assert_eq!(argv(&["echo $HOME && id"]), ["bash", "-c", "echo $HOME && id"]);
    assert_eq!(argv(&["echo", "$HOME", "a b"]), ["echo", "$HOME", "a b"]);
    assert_eq!(argv(&["echo", ""]), ["echo", ""]);
    assert_eq!(Case::new(&["--"]).errors(), [ConfigError::NoCommand]);
}

#[test]
fn repeated_lists_merge_and_an_empty_one_is_no_network() {
    let case = Case::new(&[
        "-d",
        "a.test, b.test,",
        "--allow-domains",
        "c.test",
        "--allow-ip",
        "10.0.0.1:22",
        "-d",
        "",
    ]);
    let plan = case.resolved().plan;
    let texts: Vec<_> = super::rules(&plan.policy).iter().map(|rule| rule.text().to_string()).collect();
    assert_eq!(texts, ["a.test", "b.test", "c.test", "10.0.0.1:22"]);
    assert!(case.notices().is_empty());

    let nothing = Case::new(&["--allow-domains", ""]);
    assert!(nothing.resolved().plan.policy.allows_nothing());
    assert_eq!(
        nothing.notices(),
        ["INFO: nothing is allowed: the command has no network (--allow-domains opens it)"]
    );
}

#[test]
fn every_error_is_reported_at_once_with_value_place_and_remedy() {
    let case = Case::new(&[
        "-d",
        "ok.test,*.com,x.test/path",
        "--allow-ip",
        "x.test",
        "--block-domains",
        "*",
        "--ruleset-file",
        "r.yml",
        "--allow-domains-file",
        "gone.txt",
        "--block-domains-file",
        "b.txt",
        "--dns-servers",
        "dns.test,198.51.100.53",
        "--agent-timeout",
        "soon",
        "--deadline",
        "idle=soon",
        "--container-workdir",
        "here",
        "-e",
        "=x",
        "-e",
        "GONE",
        "-e",
        "AWF_BPF=0",
        "--exclude-env",
        "A=B",
        "--env-file",
        "e.env",
        "--user",
        "",
        "--allow-host-ports",
        "8000-8010,5000-6000,080",
        "--allow-host-service-ports",
        "22,6379-6380",
        "--preset",
        "x",
        "--ca-cert",
        "ca.pem",
        "--ca-key",
        "ca.key",
        "--tls-exclude",
        "=x.test",
        "--mode",
        "audit",
    ])
    .file("r.yml", "version: 1\nrules:\n- domain: ok.test\n- domain: co.uk\n")
    .file("b.txt", "ok.test\n\n\"quoted.test\"\n")
    .file("e.env", "OK=1\nexport A=1\n");
    let texts = case.texts();
    for expected in [
        "--preset: not built yet; leave it out, or name the domains with --allow-domains",
        "--allow-host-ports: \"5000-6000\" opens port 5432 (PostgreSQL); if the command shall reach that, add --allow-host-service-ports 5432",
        "--allow-host-ports: \"080\" is neither a port (1 to 65535, without leading zeros) nor a range of them, like 8000-8010",
        "--allow-host-service-ports: \"6379-6380\" is no single port; ranges belong in --allow-host-ports",
        "--mode audit: not built yet; leave it out, or use --mode enforce",
        "--tls-exclude is about what is intercepted with --tls on; add --tls on, or leave it out",
        "--ca-cert is about intercepted TLS; add --tls on or --tls deny-only, or leave it out",
        "--ca-cert ca.pem: was not read",
        "--ca-key ca.key: was not read",
        "--allow-domains: \"*.com\" is too broad: com is a public suffix, anybody may register names below it; name what is meant below it, like `example.com`",
        "--allow-domains: \"x.test/path\" has a path or a query: a rule names a host, not a page; write `x.test`",
        "--allow-ip: \"x.test\" is not an IP address or network; names belong in --allow-domains",
        "--block-domains: \"*\" would match everything; what is not allowed is refused already",
        "--allow-domains-file gone.txt: was not read",
        "b.txt:3: \"\\\"quoted.test\\\"\" contains '\"'; write it without quotes",
        "r.yml:4: \"co.uk\" is too broad: co.uk is a public suffix, anybody may register names below it; name what is meant below it, like `example.co.uk`",
        "--dns-servers: \"dns.test\" is not an address; write 198.51.100.53, 198.51.100.53:5353, [2001:db8::53]:53, tcp://ADDRESS, tls://ADDRESS#NAME or https://NAME/dns-query",
        "--deadline: \"idle=soon\" has a bad time; write a whole number and ms, s, m or h, as in idle=10m, more than nothing",
        "--agent-timeout: \"soon\" is not a time; write minutes (30), or 90s, 30m, 2h, more than nothing",
        "--container-workdir here: not an absolute path; it is looked up inside, where there is no current directory",
        "-e \"\": not NAME=VALUE, nor the NAME of a variable to pass on",
        "-e GONE: not set where awf-bpf was started (sudo removes variables); write -e GONE=VALUE, or use sudo -E",
        "-e AWF_BPF: set by awf-bpf itself; leave it out",
        "--exclude-env \"A=B\": not the name of a variable",
        "--env-file e.env:2: \"export A\" is not NAME=value (letters, digits, _; no `export`, no blanks before =)",
        "--user: the name is empty; write a user or a uid",
    ] {
        assert!(texts.iter().any(|text| text == expected), "missing: {expected}\nin: {texts:#?}");
    }
    assert_eq!(texts.len(), 26, "{texts:#?}");
}

#[test]
fn times_are_minutes_unless_they_say_otherwise() {
    let timeout = |text| Case::new(&["--agent-timeout", text]).resolved().plan.timeout;
    for (text, seconds) in [("1", 60), ("30", 1800), ("90s", 90), ("5m", 300), ("2h", 7200), (" 7 ", 420)] {
        assert_eq!(timeout(text), Some(Duration::from_secs(seconds)), "{text}");
    }
    for text in ["0", "0s", "-1", "1.5", "5 m", "1d", "m", "", "99999999999999999999", "9999999999h"] {
        let flag = format!("--agent-timeout={text}");
        assert_eq!(Case::new(&[&flag]).errors(), [ConfigError::Timeout(text.to_owned())], "{text}");
    }
    assert_eq!(Case::new(&[]).resolved().plan.timeout, None);
}

#[test]
fn resolvers_are_addresses_with_or_without_a_port() {
    let case = Case::new(&[
        "--dns-servers",
        "198.51.100.53, 198.51.100.54:5353",
        "--dns-servers",
        "2001:db8::53,[2001:db8::54],[2001:db8::55]:5353",
    ]);
    let servers = case.resolved().plan.dns_servers.unwrap();
    let shown: Vec<_> = servers.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "198.51.100.53:53",
            "198.51.100.54:5353",
            "[2001:db8::53]:53",
            "[2001:db8::54]:53",
            "[2001:db8::55]:5353"
        ]
    );
    assert_eq!(Case::new(&[]).resolved().plan.dns_servers, None);
}

#[test]
fn the_other_flags_arrive() {
    let plan = Case::new(&[
        "--network",
        "host",
        "--summary",
        "never",
        "--fail-on-block",
        "-q",
        "--container-workdir",
        "/w",
        "--user",
        "build",
        "--audit-dir",
        "/a",
        "--dry-run",
        "--tls",
        "off",
        "--mode",
        "enforce",
    ])
    .resolved()
    .plan;
    assert_eq!((plan.network, plan.summary), (NetworkMode::Host, SummaryMode::Never));
    assert!(plan.fail_on_block && plan.quiet && plan.dry_run);
    assert_eq!(plan.workdir.as_deref(), Some("/w".as_ref()));
    assert_eq!(plan.audit_dir.as_deref(), Some("/a".as_ref()));
    assert_eq!(plan.identity.user.as_deref(), Some("build"));
    let plan = Case::new(&["--proxy-logs-dir", "/p"])
        .var("SUDO_UID", "1001")
        .var("SUDO_GID", "1002")
        .resolved()
        .plan;
    assert_eq!(plan.audit_dir.as_deref(), Some("/p".as_ref()));
    assert_eq!(
        (plan.identity.sudo_uid.as_deref(), plan.identity.sudo_gid.as_deref()),
        (Some("1001"), Some("1002"))
    );
    assert_eq!(plan.network, NetworkMode::Isolated);
}

#[test]
fn docker_flags_are_one_warning_and_missing_promises_are_errors() {
    let case = Case::new(&[
        "-d",
        "x.test",
        "--skip-pull",
        "--image-tag",
        "v1",
        "-b",
        "-k",
        "--topology-attach",
        "a",
        "--topology-attach",
        "b",
        "--audit-dir",
        "/a",
        "--proxy-logs-dir",
        "/p",
    ]);
    assert_eq!(
        case.notices(),
        [
            "WARN: ignored, because there are no containers here: --build-local, --image-tag, --keep-containers, --skip-pull, --topology-attach",
            "WARN: --proxy-logs-dir is not used: the record goes to --audit-dir /a",
        ]
    );
    let errors = Case::new(&["--enable-dlp"]).texts();
    assert_eq!(errors, ["--enable-dlp: not built yet; leave it out"]);
}

#[test]
fn the_plan_can_be_read_and_shows_no_secrets() {
    let case = Case::new(&[
        "-d",
        "https://x.test,*.github.io",
        "--block-domains",
        "bad.x.test",
        "-e",
        "TOKEN=hunter2",
        "--agent-timeout",
        "1",
        "--deadline",
        "idle=90s",
        "--memory-limit",
        "64m",
        "--pids-limit",
        "9",
        "--share-tmp",
        "-c",
        "f.toml",
        "--",
        "make",
        "test",
    ])
    .file("f.toml", "[filesystem]\nallow_write = [\"/w/out\", \"/w/log\"]\n");
    let plan = case.resolved().plan;
    let text = plan.to_string();
    for line in [
        "memory     67108864 bytes",
        "processes  9",
        "mount      /tmp:/tmp:rw (--share-tmp)",
        "writable   /w/out /w/log (allow_write)",
        "command    [\"make\", \"test\"]",
        "allow      https://x.test (--allow-domains)",
        "allow      *.github.io (--allow-domains); anybody can get a name below github.io from who runs it",
        "block      bad.x.test (--block-domains)",
        "network    isolated",
        "variables  TOKEN",
        "deadlines  idle=90s",
        "timeout    60 s",
    ] {
        assert!(text.lines().any(|own| own == line), "{line}\n{text}");
    }
    assert!(!text.contains("hunter2") && !format!("{plan:?}").contains("hunter2"));
}

#[test]
fn the_policy_of_the_plan_is_the_one_written() {
    let plan = Case::new(&["-d", "x.test", "--block-domains", "bad.x.test"]).resolved().plan;
    let judge = |name: &str| plan.policy.judge_name(&name.parse_name());
    assert!(judge("a.x.test").is_allow());
    assert!(matches!(judge("bad.x.test"), Verdict::Deny(_)));
}

trait ParseName {
    fn parse_name(&self) -> crate::policy::DomainName;
}

impl ParseName for str {
    fn parse_name(&self) -> crate::policy::DomainName {
        crate::policy::DomainName::parse(self).unwrap()
    }
}

#[test]
fn loopback_by_address_is_the_commands_own() {
    for (flag, text) in [
        ("--allow-ip", "127.0.0.2:3000"),
        ("--allow-ip", "127.0.0.0/8"),
        ("-d", "127.0.0.1:3000"),
        ("-d", "[::1]:3000"),
        ("--allow-ip", "::ffff:127.0.0.1"),
    ] {
        let errors = Case::new(&[flag, text]).errors();
        let says = "is loopback, which is the command's own; `localhost:";
        assert!(errors.iter().any(|error| error.to_string().contains(says)), "{text}: {errors:?}");
    }
    // Blocking it means something: the host's services.
    Case::new(&["--block-domains", "127.0.0.1:3000"]).resolved();
}

#[test]
fn limits_are_sizes_and_counts() {
    let memory = |text: &str| Case::new(&[&format!("--memory-limit={text}")]).resolved().plan.memory_limit;
    for (text, bytes) in
        [("6g", 6 << 30), ("512M", 512 << 20), ("16777216", 16 << 20), ("20000k", 20000 << 10)]
    {
        assert_eq!(memory(text), Some(bytes), "{text}");
    }
    for text in ["", "0", "15m", "1.5g", "6gb", "-1g", "g", "99999999999g", "unlimited"] {
        assert!(
            Case::new(&[&format!("--memory-limit={text}")]).texts()[0].contains("as 512m or 6g"),
            "{text}"
        );
    }
    assert_eq!(Case::new(&["--pids-limit", "1000"]).resolved().plan.pids_limit, Some(1000));
    for text in ["", "0", "+5", "x", "4194305", "1.0"] {
        assert!(Case::new(&[&format!("--pids-limit={text}")]).texts()[0].contains("from 1 to"), "{text}");
    }
}
