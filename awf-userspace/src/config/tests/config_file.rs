//! What a configuration file says beside the words of a command line; awf's own file.

use super::*;
use crate::config::{Chroot, LogLevel, NetworkMode, ProxyEnv, SummaryMode, TlsMode};

const ALL: &str = r#"
[policy]
allow_domains = ["a.test"]
enable_host_access = true
deadline = "idle=10m, head=5s"
upstream_proxy = "http://proxy.test:3128"
upstream_no_proxy = ["direct.test"]

[tls]
mode = "on"
exclude = "pinned.test"

[filesystem]
mount = ["/data:/mnt/data:ro"]
share_tmp = true
allow_unix = "/run/x.sock"

[environment]
set = ["A=1", "B=b,c"]
file = "more.env"
exclude = ["C"]

[sandbox]
network = "host"
proxy_env = "none"
user = "someone"
workdir = "/work"
tty = true

[limits]
memory = "512m"
pids = 77
timeout = 5

[output]
log_level = "warn"
audit_dir = "audit"
summary = "never"
fail_on_block = true
quiet = true
"#;

fn all(flags: &[&str]) -> Case {
    let flags: Vec<_> = ["-c", "/etc/x/f.toml"].iter().chain(flags).copied().collect();
    Case::new(&flags).file("/etc/x/f.toml", ALL).file("/etc/x/more.env", "C=3\nD=4\nA=0\n")
}

#[test]
fn a_file_says_what_flags_say() {
    let case = all(&[]);
    let plan = case.resolved().plan;
    assert_eq!(plan.tls.mode, TlsMode::On);
    assert!(plan.tls.exclude().contains(&crate::policy::Host::parse("pinned.test").unwrap(), 443));
    assert_eq!(plan.policy.host_ports().collect::<Vec<_>>(), [80, 443]);
    assert_eq!(plan.deadlines.to_string(), "head=5s idle=600s");
    assert!(plan.upstream_proxies.lines().iter().any(|line| line.contains("proxy.test:3128")));
    assert_eq!(plan.jail.mounts[0].to_string(), "/data:/mnt/data:ro");
    assert!(plan.jail.share_tmp && plan.tty && plan.fail_on_block && plan.quiet);
    assert_eq!(plan.jail.unix, [std::path::PathBuf::from("/run/x.sock")]);
    assert_eq!((plan.network, plan.summary), (NetworkMode::Host, SummaryMode::Never));
    assert_eq!(plan.identity.user.as_deref(), Some("someone"));
    assert_eq!((plan.memory_limit, plan.pids_limit), (Some(512 << 20), Some(77)));
    assert_eq!(plan.timeout.unwrap().as_secs(), 300);
    assert_eq!((plan.log_level, plan.workdir.unwrap()), (LogLevel::Warn, "/work".into()));
    assert_eq!(plan.audit_dir.unwrap(), std::path::Path::new("/etc/x/audit"), "relative to the file");
    assert_eq!(plan.jail.chroot, Chroot::Auto);
    for (name, value) in
        [("A", Some("1")), ("B", Some("b,c")), ("C", None), ("D", Some("4")), ("HTTP_PROXY", None)]
    {
        assert_eq!(case.env(name).as_deref(), value, "{name}");
    }
    assert!(plan.jail.decisive.contains(&"/etc/x/more.env".into()), "it decides over the next run, too");
}

#[test]
fn what_is_typed_beats_a_value_and_adds_to_a_list() {
    let flags = [
        "--tls",
        "deny-only",
        "--network",
        "isolated",
        "--proxy-env",
        "auto",
        "--user",
        "other",
        "--memory-limit",
        "1g",
        "--pids-limit",
        "5",
        "--agent-timeout",
        "1",
        "--log-level",
        "debug",
        "--audit-dir",
        "/a",
        "--summary",
        "always",
        "--container-workdir",
        "/w",
        "-e",
        "A=2",
        "-d",
        "b.test",
        "-v",
        "/srv:/srv",
        "--deadline",
        "idle=1m",
        "--upstream-proxy",
        "none",
    ];
    let without_tls = ALL.replace("exclude = \"pinned.test\"", "").replace("upstream_no_proxy", "#");
    let case = all(&flags).file("/etc/x/f.toml", without_tls);
    let plan = case.resolved().plan;
    assert_eq!((plan.tls.mode, plan.network), (TlsMode::DenyOnly, NetworkMode::Isolated));
    assert_eq!((plan.memory_limit, plan.pids_limit), (Some(1 << 30), Some(5)));
    assert_eq!((plan.timeout.unwrap().as_secs(), plan.summary), (60, SummaryMode::Always));
    assert_eq!((plan.log_level, plan.audit_dir.unwrap()), (LogLevel::Debug, "/a".into()));
    assert_eq!(plan.identity.user.as_deref(), Some("other"));
    assert_eq!(plan.workdir.unwrap(), std::path::Path::new("/w"));
    assert_eq!(
        rules(&plan.policy).iter().map(|r| r.text().to_string()).collect::<Vec<_>>(),
        ["b.test", "a.test"]
    );
    assert_eq!((plan.jail.mounts.len(), plan.deadlines.to_string()), (2, "head=5s idle=60s".to_owned()));
    assert!(plan.upstream_proxies.lines().is_empty());
    assert_eq!(case.env("A").as_deref(), Some("2"));
    assert!(case.env("HTTP_PROXY").is_some());
    let bump = Case::new(&["-c", "f.toml", "--ssl-bump"]).file("f.toml", "[tls]\nmode = \"off\"");
    assert_eq!(bump.resolved().plan.tls.mode, TlsMode::On);
    assert_eq!(
        Case::new(&["-c", "f.toml"]).file("f.toml", "").resolved().plan.env.clone(),
        Case::new(&[]).resolved().plan.env
    );
    let _ = ProxyEnv::Auto;
}

/// Each with its line; a mistake in one value does not hide another.
#[test]
fn values_that_mean_nothing_are_told_with_their_lines() {
    let text = "[policy]\nallow_domains = [\n  \"good.test\",\n  \"*\",\n]\ndeadline = [\"idle=1m\", \"idle=never\"]\n\
                upstream_proxy = \"socks://x\"\n[limits]\nmemory = \"lots\"\npids = 0\ntimeout = \"soon\"\n\
                [filesystem]\nmount = [\"rel:/x\", \"/a:/b\"]\n[environment]\nset = [\"1 2=3\"]\nexclude = [\"A=B\"]\n\
                file = \"gone.env\"\n[sandbox]\nworkdir = \"rel\"\n[tls]\nmode = \"on\"\nexclude = \"https://x/y\"\nca_cert = \"ca.pem\"\n";
    let texts = Case::new(&["-c", "f.toml"]).file("f.toml", text).texts();
    for expected in [
        "f.toml:4: \"*\"",
        "f.toml:6: `policy.deadline`: --deadline",
        "f.toml:7: `policy.upstream_proxy`: --upstream-proxy",
        "f.toml:9: `limits.memory`: --memory-limit \"lots\"",
        "f.toml:10: `limits.pids`: --pids-limit \"0\"",
        "f.toml:11: `limits.timeout`: --agent-timeout",
        "f.toml:13: `filesystem.mount`: --mount \"rel:/x\"",
        "f.toml:15: `environment.set`: -e",
        "f.toml:16: `environment.exclude`: --exclude-env",
        "f.toml:17: `environment.file`: --env-file gone.env",
        "f.toml:19: `sandbox.workdir`: --container-workdir rel",
        "f.toml:22: `tls.exclude`: ",
    ] {
        assert_eq!(
            texts.iter().filter(|text| text.starts_with(expected)).count(),
            1,
            "{expected}\n{texts:#?}"
        );
    }
    // And what takes two values to be wrong, without a line: a certificate without its key.
    assert!(texts.iter().any(|text| text.contains("--ca-cert without --ca-key")), "{texts:#?}");
    assert_eq!(texts.len(), 13, "{texts:#?}");
}

const AWF: &str = r#"{
  "$schema": "https://example.com/awf-config.schema.json",
  "network": {"allowDomains": ["a.test", "*.b.test"], "blockDomains": ["bad.a.test"], "isolation": true},
  "filesystem": {"allowWrite": ["/tmp/out"]},
  "security": {"sslBump": true, "enableDlp": false, "allowHostPorts": "3000,8000-8001"},
  "container": {"memoryLimit": "4g", "pidsLimit": 500, "agentTimeout": 30, "imageTag": "1.2.3", "tty": true},
  "environment": {"envAll": true, "excludeEnv": ["X"]},
  "logging": {"logLevel": "debug", "auditDir": "/audit", "proxyLogsDir": "/other"}
}"#;

#[test]
fn awfs_own_file_is_read() {
    let yaml = "network:\n  allowDomains: [a.test, '*.b.test']\n  blockDomains:\n  - bad.a.test\n  isolation: true\n\
                filesystem: {allowWrite: [/tmp/out]}\nsecurity:\n  sslBump: true\n  allowHostPorts: 3000,8000-8001\n\
                container:\n  memoryLimit: 4g\n  pidsLimit: 500\n  agentTimeout: 30\n  imageTag: 1.2.3\n  tty: true\n\
                environment: {envAll: true, excludeEnv: [X]}\nlogging: {logLevel: debug, auditDir: /audit}\n";
    for (path, text) in [("awf.json", AWF), ("awf.yml", yaml), ("AWF.YAML", yaml)] {
        let case = Case::new(&["-c", path]).file(path, text).var("KEPT", "1").var("X", "1");
        let plan = case.resolved().plan;
        let shown: Vec<_> = rules(&plan.policy).iter().map(|rule| rule.text().to_string()).collect();
        assert_eq!(shown, ["a.test", "*.b.test", "bad.a.test"], "{path}");
        assert_eq!((plan.tls.mode, plan.log_level), (TlsMode::On, LogLevel::Debug));
        assert_eq!((plan.memory_limit, plan.pids_limit), (Some(4 << 30), Some(500)));
        assert_eq!((plan.timeout.unwrap().as_secs(), plan.tty), (1800, true));
        assert_eq!(plan.policy.host_ports().collect::<Vec<_>>(), [3000, 8000, 8001]);
        assert_eq!(plan.jail.allow_write.as_ref().unwrap().len(), 1);
        assert_eq!(plan.audit_dir.unwrap(), std::path::Path::new("/audit"));
        assert_eq!((case.env("KEPT").is_some(), case.env("X")), (true, None));
        let ignored = format!(
            "WARN: {path}: ignored, because they mean nothing here: network.isolation, container.imageTag"
        );
        assert!(case.notices().contains(&ignored), "{:?}", case.notices());
    }
}

#[test]
fn awfs_own_file_is_strict() {
    for (path, text, expected) in [
        (
            "f.json",
            "{\"network\": {\"allowDomain\": []}}",
            "f.json:1: unknown key \"network.allowDomain\"; did you mean `network.allowDomains`?",
        ),
        ("f.json", "{\n\"netwrk\": {}}", "f.json:2: unknown key \"netwrk\"; known: "),
        (
            "f.json",
            "{\"network\": {\"bogus\": 1}}",
            "f.json:1: unknown key \"network.bogus\"; known: network.allowDomains, network.blockDomains, \
             network.dnsServers, network.isolation, network.topologyAttach, network.upstreamProxy",
        ),
        ("f.json", "{\"network\": []}", "f.json:1: `network` is a list; write an object"),
        ("f.yml", "network:\n  allowDomains: [1]\n", "f.yml:2: `allow_domains` holds a number; "),
        (
            "f.yml",
            "security:\n  sslBump: yes\n",
            "f.yml:2: `security.sslBump` is a string; write true or false",
        ),
        ("f.yml", "security: {enableDlp: true}\n", "f.yml:1: `security.enableDlp`: not built yet"),
        ("f.yml", "rateLimiting: {requestsPerMinute: 1}\n", "f.yml:1: `rateLimiting`: not built yet"),
        ("f.yml", "container:\n  memoryLimit: lots\n", "f.yml:2: `limits.memory`: --memory-limit"),
        ("f.json", "{\"network\": ", "f.json:1: cannot be read: "),
        ("f.json", "[]", "f.json:1: the file is a list; write a table"),
        ("f.yml", "network: {}\nnetwork: {}\n", "f.yml:2: cannot be read: "),
    ] {
        let texts = Case::new(&["-c", path]).file(path, text).texts();
        assert!(texts.len() == 1 && texts[0].starts_with(expected), "{text}: {texts:?}");
    }
}
