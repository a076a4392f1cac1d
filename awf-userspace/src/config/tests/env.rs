//! The command's environment: who beats whom, and what never gets in.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStringExt,
};

use super::Case;

fn caller(flags: &[&str]) -> Case {
    Case::new(&[&["-d", "x.test"], flags].concat())
        .var("PATH", "/opt/go/bin:/usr/bin")
        .var("HOME", "/root")
        .var("USER", "root")
        .var("LANG", "C.UTF-8")
        .var("LC_ALL", "de_DE.UTF-8")
        .var("TERM", "xterm")
        .var("CI", "true")
        .var("TZ", "UTC")
        .var("JAVA_HOME", "/opt/java")
        .var("MY_VAR", "mine")
        .var("GITHUB_TOKEN", "ghs_secret")
        .var("OPENAI_API_KEY", "sk-secret")
        .var("SUDO_USER", "alice")
        .var("PWD", "/work")
        .var("HTTPS_PROXY", "http://corp.test:3128")
        .var("ALL_PROXY", "http://corp.test")
        .var("no_proxy", "10.0.0.0/8")
        .var("OTEL_SERVICE_NAME", "svc")
        .var("OTEL_EXPORTER_OTLP_HEADERS", "authorization=secret")
        .var("SSH_AUTH_SOCK", "/tmp/agent")
        .var("AWF_BPF_RUN_ID", "outer")
}

#[test]
fn without_env_all_only_the_short_list_is_passed() {
    let case = caller(&[]);
    for (name, value) in [
        ("LANG", Some("C.UTF-8")),
        ("LC_ALL", Some("de_DE.UTF-8")),
        ("TERM", Some("xterm")),
        ("CI", Some("true")),
        ("TZ", Some("UTC")),
        ("JAVA_HOME", Some("/opt/java")),
        ("OTEL_SERVICE_NAME", Some("svc")),
        ("MY_VAR", None),
        ("GITHUB_TOKEN", None),
        ("OTEL_EXPORTER_OTLP_HEADERS", None),
        ("SSH_AUTH_SOCK", None),
        ("SUDO_USER", None),
        ("PWD", None),
        ("ALL_PROXY", None),
        ("PATH", Some("/opt/go/bin:/usr/bin:/opt/java/bin")),
        ("HOME", Some("/home/runner")),
        ("USER", Some("runner")),
        ("LOGNAME", Some("runner")),
        ("SHELL", Some("/bin/bash")),
        ("AWF_BPF", Some("1")),
        ("AWF_BPF_RUN_ID", Some("r1")),
    ] {
        assert_eq!(case.env(name).as_deref(), value, "{name}");
    }
}

#[test]
fn env_all_passes_all_but_credentials_and_the_callers_own() {
    let case = caller(&["--env-all", "--upstream-proxy", "none"]);
    for (name, value) in [
        ("MY_VAR", Some("mine")),
        ("LANG", Some("C.UTF-8")),
        ("GITHUB_TOKEN", None),
        ("OPENAI_API_KEY", None),
        ("SUDO_USER", None),
        ("PWD", None),
        ("ALL_PROXY", None),
        ("SSH_AUTH_SOCK", None),
        ("HOME", Some("/home/runner")),
        ("AWF_BPF_RUN_ID", Some("r1")),
    ] {
        assert_eq!(case.env(name).as_deref(), value, "{name}");
    }
    assert_eq!(
        case.notices(),
        [
            "INFO: credentials are not passed on: GITHUB_TOKEN, OPENAI_API_KEY, OTEL_EXPORTER_OTLP_HEADERS, SSH_AUTH_SOCK (-e NAME passes one)"
        ]
    );
}

#[test]
fn env_all_is_beaten_by_env_file_is_beaten_by_e_is_beaten_by_exclude() {
    let file = "MY_VAR=file\nGITHUB_TOKEN=file\nPATH=/file\n";
    assert_eq!(
        caller(&["--env-all", "--env-file", "f"]).file("f", file).env("MY_VAR").as_deref(),
        Some("file")
    );
    let case =
        caller(&["--env-all", "--env-file", "f", "-e", "MY_VAR=e", "-e", "MY_VAR=last"]).file("f", file);
    assert_eq!(case.env("MY_VAR").as_deref(), Some("last"));
    // The exceptions hold for files, too.
    assert_eq!(case.env("GITHUB_TOKEN"), None);
    assert_eq!(case.env("PATH").as_deref(), Some("/opt/go/bin:/usr/bin:/opt/java/bin"));
    let all = [
        "--env-all",
        "--env-file",
        "f",
        "-e",
        "MY_VAR=e",
        "--exclude-env",
        "MY_VAR",
        "--exclude-env",
        "HTTP_PROXY",
    ];
    let case = caller(&all).file("f", file);
    assert_eq!(case.env("MY_VAR"), None);
    assert_eq!(case.env("HTTP_PROXY"), None);
    assert!(case.env("HTTPS_PROXY").is_some());
}

#[test]
fn an_explicit_variable_is_meant_even_a_credential() {
    let case = caller(&[
        "-e",
        "GITHUB_TOKEN=given",
        "-e",
        "OPENAI_API_KEY",
        "-e",
        "HTTPS_PROXY=http://p.test",
        "-e",
        "HOME=/h",
        "-e",
        "EMPTY=",
        "-e",
        "NL=a\nb=c",
    ]);
    for (name, value) in [
        ("GITHUB_TOKEN", "given"),
        ("OPENAI_API_KEY", "sk-secret"),
        ("HTTPS_PROXY", "http://p.test"),
        ("HOME", "/h"),
        ("EMPTY", ""),
        ("NL", "a\nb=c"),
    ] {
        assert_eq!(case.env(name).as_deref(), Some(value), "{name}");
    }
    let case = caller(&["--env-all", "-e", "GITHUB_TOKEN=given", "--exclude-env", "OPENAI_API_KEY"]);
    assert!(
        !case.notices()[0].contains("GITHUB_TOKEN") && !case.notices()[0].contains("OPENAI"),
        "{:?}",
        case.notices()
    );
}

#[test]
fn proxy_variables_are_ours_or_none() {
    let case = caller(&["--env-all", "--upstream-proxy", "none"]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
        assert_eq!(case.env(name).as_deref(), Some("http://127.0.0.1:3128"), "{name}");
    }
    for name in ["NO_PROXY", "no_proxy"] {
        assert_eq!(case.env(name).as_deref(), Some("localhost,127.0.0.1,::1"), "{name}");
    }
    let case = caller(&["--env-all", "--proxy-env", "none"]);
    for name in
        ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY"]
    {
        assert_eq!(case.env(name), None, "{name}");
    }
}

#[test]
fn huge_values_are_left_out_with_a_warning() {
    let case = Case::new(&["-d", "x.test", "--env-all"])
        .var("HUGE", &"x".repeat((64 << 10) + 1))
        .var("BIG", &"x".repeat(64 << 10));
    assert_eq!(case.env("HUGE"), None);
    assert_eq!(case.env("BIG").map(|value| value.len()), Some(64 << 10));
    assert_eq!(
        case.notices(),
        ["WARN: HUGE is not passed on: its value has 64 KiB (-e HUGE passes it all the same)"]
    );
    let mut case = Case::new(&["-d", "x.test", "--env-all"]);
    for number in 0..30 {
        case = case.var(&format!("V{number}"), &"x".repeat(60 << 10));
    }
    assert_eq!(case.notices(), ["WARN: the environment has 1800 KiB: the command may not start (E2BIG)"]);
}

#[test]
fn bytes_that_are_not_text_pass_unchanged() {
    let odd = OsString::from_vec(b"a\xff".to_vec());
    let mut case = Case::new(&["--env-all", "-e", "ODD"]);
    case.inputs.env.push(("ODD".into(), odd.clone()));
    case.inputs.env.push((odd.clone(), "v".into()));
    let facts = super::RunFacts {
        proxy: "[::1]:1".parse().unwrap(),
        run_id: "r",
        user: "u",
        home: "/".as_ref(),
        shell: "/bin/sh".as_ref(),
        trust: &[],
    };
    let env = case.resolved().plan.env.finish(&facts);
    assert!(env.contains(&("ODD".into(), odd.clone())));
    assert!(env.contains(&(odd, "v".into())));
    assert!(env.contains(&("http_proxy".into(), "http://[::1]:1".into())));
}

/// Whoever names a CA of theirs has it in the run's files: the variable must name these, or nothing of the run's is
/// trusted.
#[test]
fn where_the_runs_ca_is_beats_what_was_named_and_is_excluded_like_anything() {
    let mut case = Case::new(&["-e", "SSL_CERT_FILE=/corp.pem", "--env-all", "--exclude-env", "PIP_CERT"])
        .var("CURL_CA_BUNDLE", "/corp.pem");
    case.trust = ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "PIP_CERT", "DENO_CERT"]
        .map(|name| (name.into(), "/ours.pem".into()))
        .to_vec();
    for name in ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "DENO_CERT"] {
        assert_eq!(case.env(name).as_deref(), Some("/ours.pem"), "{name}");
    }
    assert_eq!(case.env("PIP_CERT"), None);
    case.trust.clear();
    assert_eq!(case.env("SSL_CERT_FILE").as_deref(), Some("/corp.pem"));
}

#[test]
fn what_the_caller_has_is_known_though_it_is_not_passed_on() {
    let mut case = Case::new(&["-e", "CURL_CA_BUNDLE=/b.pem"])
        .var("SSL_CERT_FILE", "/own.pem")
        .var("CURL_CA_BUNDLE", "/a.pem");
    for (name, value) in [("SSL_CERT_FILE", "/sudo.pem"), ("PIP_CERT", "/sudo.pem")] {
        case.inputs.sudo.insert(name.into(), value.into());
    }
    let known = case.resolved().plan.env.known();
    let value = |name: &str| known.get(OsStr::new(name)).map(|value| value.to_str().unwrap());
    assert_eq!(value("SSL_CERT_FILE"), Some("/own.pem"));
    assert_eq!(value("CURL_CA_BUNDLE"), Some("/b.pem"));
    assert_eq!(value("PIP_CERT"), Some("/sudo.pem"));
    assert_eq!(case.env("SSL_CERT_FILE"), None);
}

#[test]
fn a_caller_without_path_gets_the_usual_one() {
    assert!(Case::new(&[]).env("PATH").unwrap().contains("/usr/bin"));
}

#[test]
fn path_is_the_callers_with_what_steps_and_toolchains_add() {
    let steps = |case: Case| {
        case.var("GITHUB_PATH", "/run/path")
            .file("/run/path", "/first/bin\r\n\n/second bin\nrelative\n/a:/b\n/usr/bin\n")
            .var("GITHUB_ENV", "/run/env")
            .file("/run/env", "GOROOT<<E\n/opt/go\nE\nJAVA_HOME=/never\nMY_VAR=never\nPATH=/never\n")
    };
    let base = Case::new(&[]).var("PATH", "/usr/bin::.:/bin:/usr/bin").var("JAVA_HOME", "/opt/java");
    let added = "/usr/bin:/second bin:/first/bin";
    let want = format!("{added}:/bin:/opt/go/bin:/opt/java/bin");
    let case = steps(base);
    assert_eq!(case.env("PATH"), Some(want));
    assert_eq!(case.env("GOROOT").as_deref(), Some("/opt/go"));
    assert_eq!(case.env("JAVA_HOME").as_deref(), Some("/opt/java"));
    assert_eq!(case.env("MY_VAR"), None);
    // sudo's own PATH: the caller's toolchains are found first.
    let sudo = || steps(Case::new(&[]).var("PATH", "/usr/bin:/bin").var("SUDO_UID", "1000"));
    let want = format!("{added}:/opt/go/bin:/never/bin:/bin");
    assert_eq!(sudo().env("PATH"), Some(want));
    let mut case = sudo();
    case.inputs.sudo = [("PATH", "/home/u/.nvm/bin:/bin"), ("JAVA_HOME", "/opt/j")]
        .map(|(n, v)| (n.into(), v.into()))
        .into();
    let want = format!("{added}:/home/u/.nvm/bin:/bin:/opt/go/bin:/opt/j/bin");
    assert_eq!(case.env("PATH"), Some(want));
    assert_eq!(case.env("JAVA_HOME").as_deref(), Some("/opt/j"));
    case.flags = vec!["--exclude-env".into(), "JAVA_HOME".into(), "-e".into(), "PATH=/mine".into()];
    assert_eq!((case.env("JAVA_HOME"), case.env("PATH").as_deref()), (None, Some("/mine")));
}

#[test]
fn a_runners_file_that_cannot_be_read_is_said() {
    let mut case = Case::new(&["-d", "x.test"]).var("GITHUB_PATH", "/run/path").var("GITHUB_ENV", "/run/env");
    case.inputs.files.insert("/run/path".into(), Err("Permission denied".into()));
    assert_eq!(case.notices(), ["WARN: $GITHUB_PATH is not used: /run/path: Permission denied"]);
}

#[test]
fn tty_says_so_and_what_the_caller_knows_is_better() {
    let value = |case: &Case, name: &str| case.env(name).unwrap_or_default();
    let mut case = Case::new(&["--tty"]).var("TERM", "dumb");
    assert_eq!(
        ["FORCE_COLOR", "TERM", "COLUMNS"].map(|name| value(&case, name)),
        ["1", "xterm-256color", "120"]
    );
    case.inputs.terminal = true;
    assert_eq!(case.env("COLUMNS"), None, "a real one has a size");
    assert_eq!(value(&Case::new(&["--tty"]).var("TERM", "screen"), "TERM"), "screen");
    assert_eq!(value(&Case::new(&["--tty", "-e", "TERM=vt100"]), "TERM"), "vt100");
    assert_eq!(Case::new(&[]).env("FORCE_COLOR"), None);
}

#[test]
fn what_sudo_removed_is_passed_on_as_if_it_had_not() {
    let mut case = Case::new(&["--env-all", "-e", "MY_TOKEN"]).var("SUDO_UID", "1000").var("CI", "own");
    let names =
        ["CI", "GITHUB_OUTPUT", "OTEL_X", "OTEL_EXPORTER_OTLP_HEADERS", "MY_TOKEN", "OTHER", "LD_PRELOAD"];
    case.inputs.sudo = names.map(|name| (name.into(), "sudo's".into())).into();
    for name in ["GITHUB_OUTPUT", "OTEL_X", "MY_TOKEN"] {
        assert_eq!(case.env(name).as_deref(), Some("sudo's"), "{name}");
    }
    assert_eq!(case.env("CI").as_deref(), Some("own"));
    for name in ["OTEL_EXPORTER_OTLP_HEADERS", "OTHER", "LD_PRELOAD"] {
        assert_eq!(case.env(name), None, "{name}");
    }
}
