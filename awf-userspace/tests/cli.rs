//! The binary's words and exit codes, as far as nothing has to be run.

use std::process::{Command, Output};

fn awf(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_awf-bpf"))
        .args(args)
        .env_clear()
        .env("SECRET_TOKEN", "hunter2")
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn mistakes_of_exec_exit_with_125_on_stderr_only() {
    for (args, says) in [
        (&[][..], "awf-bpf: error: no command: write it behind `--`"),
        (&["exec"], "awf-bpf: error: no command: write it behind `--`"),
        (&["exec", "--nope", "--", "true"], "awf-bpf: error: unexpected argument '--nope' found"),
        (&["--network", "moon", "--", "true"], "awf-bpf: error: invalid value 'moon' for '--network <MODE>'"),
        (&["-d", "*.com", "--", "true"], "awf-bpf: error: --allow-domains: \"*.com\" is too broad"),
        (&["--allow-domains-file", "/nonexistent", "--", "true"], "/nonexistent: No such file"),
        (&["curl", "https://example.com/"], "awf-bpf: error: unexpected argument 'curl' found"),
        (&["curl", "https://example.com/"], "The command stands behind `--`"),
        (&["chek", "-d", "x.test"], "A similar command exists: awf-bpf check"),
        (&["exce", "--", "true"], "A similar command exists: awf-bpf exec"),
        (&["attach", "--pid", "x7"], "'x7' for '--pid <PID>': write the number of a process"),
        (&["attach", "--pid", "0"], "'0' for '--pid <PID>': write the number of a process"),
        (&["-c", "-", "--", "true"], "--config -: standard input is the command's own; name a file"),
    ] {
        let output = awf(args);
        assert_eq!(output.status.code(), Some(125), "{args:?}");
        assert!(stderr(&output).contains(says), "{args:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "", "{args:?}");
    }
}

#[test]
fn all_errors_come_at_once_a_line_each() {
    let output = awf(&["-d", "*.com,x.test/a", "--agent-timeout", "0", "--", "true"]);
    let text = stderr(&output);
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.lines().all(|line| line.starts_with("awf-bpf: error: --")), "{text}");
}

/// Also beside words that are no flags, and values that a flag does not know.
#[test]
fn a_wrong_flag_does_not_hide_the_other_mistakes() {
    let args = [
        "--nope",
        "1",
        "-d",
        "*.com",
        "--network=moon",
        "--other=x",
        "-Z",
        "--summary",
        "no",
        "--user",
        "",
        "--",
        "--nope",
    ];
    let output = awf(&args);
    assert_eq!(output.status.code(), Some(125));
    let text = stderr(&output);
    let errors: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("awf-bpf: error: ")).collect();
    let begins = [
        "unexpected argument '--nope'",
        "invalid value 'moon' for '--network <MODE>'",
        "unexpected argument '--other'",
        "unexpected argument '-Z'",
        "invalid value 'no' for '--summary <WHEN>'",
        "--allow-domains: \"*.com\" is too broad",
        "--user: the name is empty",
    ];
    assert_eq!(errors.len(), begins.len(), "{text}");
    assert!(errors.iter().zip(begins).all(|(error, begin)| error.starts_with(begin)), "{text}");
    assert_eq!(text.matches("For more information").count(), 1, "{text}");
    // What cannot be left out ends the list.
    for args in [&["--nope", "--user"][..], &["--user", "a", "--user", "b", "-d", "*.com"]] {
        let output = awf(args);
        assert_eq!(output.status.code(), Some(125), "{}", stderr(&output));
        assert!(stderr(&output).contains("'--user <USER[:GROUP]>'"), "{}", stderr(&output));
    }
    let many = vec!["--nope"; 500];
    assert_eq!(stderr(&awf(&many)).matches("awf-bpf: error: ").count(), 20);
}

#[test]
fn mistakes_elsewhere_exit_with_2() {
    for args in [&["gc", "--nope"][..], &["version", "--nope"]] {
        assert_eq!(awf(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn answers_go_to_stdout_with_0() {
    for (args, says) in [
        (&["--help"][..], "--allow-domains <LIST>"),
        (&["exec", "--help"], "Exit codes:"),
        (&["run", "-h"], "--fail-on-block"),
        (&["--version"], concat!("awf-bpf ", env!("CARGO_PKG_VERSION"))),
        (&["version"], concat!("awf-bpf ", env!("CARGO_PKG_VERSION"))),
    ] {
        let output = awf(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
        assert!(stdout(&output).contains(says), "{args:?}");
        assert_eq!(stderr(&output), "", "{args:?}");
    }
    let json: serde_json::Value = serde_json::from_slice(&awf(&["version", "--json"]).stdout).unwrap();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_dry_run_prints_the_plan_and_runs_nothing() {
    let marker = std::env::temp_dir().join(format!("awf-bpf-dry-run-{}", std::process::id()));
    let command = format!("touch {}", marker.display());
    let output = awf(&["-d", "x.test", "-e", "SECRET_TOKEN", "--skip-pull", "--dry-run", "--", &command]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(!marker.exists());
    let text = stdout(&output);
    assert!(text.contains("allow      x.test (--allow-domains)"), "{text}");
    assert!(text.contains("variables  SECRET_TOKEN") && !text.contains("hunter2"), "{text}");
    let warning = "awf-bpf: warning: ignored, because there are no containers here: --skip-pull\n";
    assert_eq!(stderr(&output), warning);
    let quiet = awf(&["-d", "x.test", "--skip-pull", "--dry-run", "-q", "--", "true"]);
    assert_eq!(stderr(&quiet), "");
}

#[test]
fn a_command_without_its_dashes_is_told_of_them() {
    let hint = "The command stands behind `--`";
    let said = stderr(&awf(&["exec", "curl", "http://a.test"]));
    assert!(said.contains("'curl'") && said.contains(hint), "{said}");
    for args in [&["exec", "--bogus", "--", "true"][..], &["exec", "--bogus"]] {
        let said = stderr(&awf(args));
        assert!(said.contains("--bogus") && !said.contains("tip: to pass") && !said.contains(hint), "{said}");
    }
}

/// What is missing because it was wrong is one mistake; a subcommand that is known is like no other.
#[test]
fn a_mistake_is_told_once_and_leads_to_no_other_subcommand() {
    for args in [&["attach", "--pid", "x"][..], &["attach"], &["detach"], &["attach", "--pid", "7", "x"]] {
        let output = awf(args);
        let text = stderr(&output);
        assert_eq!(text.matches("awf-bpf: error: ").count(), 1, "{args:?}: {text}");
        assert!(!text.contains("similar command") && !text.contains("behind `--`"), "{args:?}: {text}");
    }
    for word in ["hook", "policy"] {
        let output = awf(&[word]);
        assert_eq!(output.status.code(), Some(2), "{word}");
        let says = format!("awf-bpf: error: awf-bpf {word}: a subcommand is missing behind it\n");
        assert!(stderr(&output).starts_with(&says), "{}", stderr(&output));
    }
}

/// A disk that is full is an error, not a panic; a reader that is gone is neither.
#[test]
fn stdout_that_takes_nothing_is_an_error() {
    let program = env!("CARGO_BIN_EXE_awf-bpf");
    for args in [&["version"][..], &["check", "-d", "x.test", "x.test"], &["policy", "schema"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = Command::new(program).args(args).env_clear().stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).starts_with("awf-bpf: error: stdout: No space"), "{}", stderr(&output));
        let (reader, gone) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(program).args(args).env_clear().stdout(gone).output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()), "{args:?}");
    }
}

/// These read what is root's; the tests run as root, so that another user is taken.
#[test]
fn what_takes_root_says_so() {
    use std::os::unix::process::CommandExt as _;
    let copy = std::env::temp_dir().join(format!("awf-bpf-cli-{}", std::process::id()));
    std::fs::copy(env!("CARGO_BIN_EXE_awf-bpf"), &copy).unwrap();
    for args in [&["ps"][..], &["detach", "--all"], &["gc"], &["policy", "show"], &["hook", "status"]] {
        let mut command = Command::new(&copy);
        let output = command.args(args).env_clear().current_dir("/").uid(65534).gid(65534).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let words = args.iter().filter(|word| !word.starts_with('-')).copied().collect::<Vec<_>>().join(" ");
        let says = format!("takes root: sudo awf-bpf {words}");
        assert!(stderr(&output).contains(&says), "{args:?}: {}", stderr(&output));
    }
    std::fs::remove_file(&copy).unwrap();
}
