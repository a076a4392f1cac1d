//! The command's standard streams are its own, its exit code is ours, and what is said is said on stderr.

use std::time::Duration;

use harness::Lab;

#[test]
fn ten_megabytes_pass_stdin_and_stdout_unchanged() {
    let lab = Lab::new();
    let bytes: Vec<u8> = (0..10_000_000_u32).map(|i| (i ^ i >> 7 ^ i >> 13) as u8).collect();
    let out = lab.awf().stdin(bytes.clone()).run(&["cat"]);
    out.ok().check(out.stdout_bytes() == bytes, || "stdin on stdout".into());
}

#[test]
fn stdout_and_stderr_stay_apart_and_nothing_is_added_to_stdout() {
    let lab = Lab::new();
    let out = lab
        .awf()
        .allow("allowed.test")
        .sh("printf out; printf err >&2; curl -s https://denied.test/ || true");
    out.ok().stdout_is("out").stderr_contains("err");
}

#[test]
fn a_quiet_run_says_nothing_at_all() {
    let lab = Lab::new();
    let out = lab.awf().allow("allowed.test").args(["-q"]).sh("curl -sS -o /dev/null https://allowed.test/");
    out.ok().stdout_is("").check(out.stderr().is_empty(), || "an empty stderr".into());
}

#[test]
fn the_exit_code_is_the_commands() {
    let lab = Lab::new();
    for code in [0, 1, 3, 42, 255] {
        lab.awf().run(&["bash", "-c", &format!("exit {code}")]).code(code);
    }
    lab.awf().run(&["bash", "-c", "kill -TERM $$"]).code(143);
    lab.awf().run(&["bash", "-c", "kill -KILL $$"]).code(137);
    lab.awf().run(&["bash", "-c", "kill -SEGV $$"]).code(139);
}

#[test]
fn a_command_that_cannot_be_run_is_126_or_127_and_named() {
    let lab = Lab::new();
    let data = lab.dir().file("data", "not a program");
    let data = data.to_str().expect("the lab's paths are UTF-8");
    // Alone it is a shell's word, with an argument it is executed directly: the same answer.
    for argument in [&[][..], &["argument"]] {
        let run = |program: &str| lab.awf().run(&[&[program], argument].concat());
        run("no-such-command-anywhere").code(127).stderr_contains("no-such-command-anywhere");
        run(data).code(126).stderr_contains("data");
        run("/etc").code(126).stderr_contains("/etc");
    }
}

#[test]
fn what_cannot_be_set_up_is_125_and_nothing_was_run() {
    let lab = Lab::new();
    let witness = lab.dir().work().join("ran");
    let touch = ["touch", witness.to_str().expect("the lab's paths are UTF-8")];
    lab.awf().args(["--no-such-flag"]).run(&touch).code(125).stderr_contains("--no-such-flag");
    lab.awf()
        .args(["--allow-domains-file", "/no/such/file"])
        .run(&touch)
        .code(125)
        .stderr_contains("/no/such/file");
    lab.awf()
        .args(["--dns-servers", "not-an-address"])
        .run(&touch)
        .code(125)
        .stderr_contains("not-an-address");
    lab.awf().cwd("/").audit_in("/proc/no").run(&touch).code(125).stderr_contains("/proc/no");
    assert!(!witness.exists());
    lab.awf().run(&touch).ok();
    assert!(witness.exists());
}

#[test]
fn not_root_is_told_what_to_do() {
    let lab = Lab::new();
    let program = lab.dir().install(&harness::tools::awf_bpf());
    let program = program.to_str().expect("the lab's paths are UTF-8");
    lab.bare()
        .run(&[program, "exec", "--", "echo", "it ran"])
        .code(125)
        .stdout_is("")
        .stderr_contains("root");
}

#[test]
fn a_timeout_is_124_and_ends_what_ignores_it() {
    let lab = Lab::new();
    let run = lab.awf().args(["--agent-timeout", "1s"]);
    run.run(&["sleep", "1000"]).code(124).fast();
    let stubborn = run.limit(Duration::from_secs(45)).spawn(&[
        "bash",
        "-c",
        "trap '' TERM; while :; do read -rt 1; done",
    ]);
    lab.awf().limit(Duration::from_secs(45)).finish(stubborn).code(124);
}

#[test]
fn one_argument_is_a_shell_string_several_are_an_argv() {
    let lab = Lab::new();
    lab.awf().run(&["echo $((1 + 2)) | cat"]).ok().stdout_is("3\n");
    lab.awf().run(&["echo", "$((1 + 2))"]).ok().stdout_is("$((1 + 2))\n");
    lab.awf().run(&["printf", "%s|", "a b", "", "*"]).ok().stdout_is("a b||*|");
}

#[test]
fn exec_run_and_the_bare_form_are_the_same() {
    let lab = Lab::new();
    for verb in ["exec", "run", ""] {
        let run = lab.awf().verb(verb).allow("allowed.test");
        run.run(&["curl", "-sS", "https://allowed.test/"]).ok().stdout_is("hello from allowed.test\n");
    }
}

#[test]
fn fail_on_block_is_3_only_if_something_was_blocked() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test").args(["--fail-on-block"]);
    run.sh("curl -sS https://allowed.test/").code(0);
    run.sh("curl -sS https://denied.test/ || true").code(3);
    run.sh("curl -sS https://denied.test/ || exit 9").code(9);
    lab.awf().allow("allowed.test").sh("curl -sS https://denied.test/ || true").code(0);
}

#[test]
fn the_summary_names_what_was_blocked_how_often_by_whom_and_the_flag() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test");
    let out = run.sh("for i in 1 2 3; do curl -s https://denied.test/ || true; done");
    out.ok().stderr_contains("denied.test").stderr_contains("3").stderr_contains("curl");
    out.stderr_contains("--allow-domains").stdout_is("");
    // The flag can be pasted as it stands.
    let stderr = out.stderr();
    let flag = stderr.split("--allow-domains").nth(1).expect("it is there").trim_start_matches([' ', '=']);
    let list = flag.split_whitespace().next().expect("the flag has a value").trim_matches(['\'', '"', '`']);
    assert!(list.contains("denied.test"), "{list}");
    let both = format!("allowed.test,{list}");
    lab.awf().allow(&both).run(&["curl", "-sS", "https://denied.test/"]).ok();
    run.clone()
        .args(["--summary", "never"])
        .sh("curl -s https://denied.test/ || true")
        .ok()
        .stderr_lacks("denied.test");
    run.sh("curl -s https://allowed.test/").ok().stderr_lacks("--allow-domains");
}

/// Else the firewall is blamed for what is not its doing.
#[test]
fn the_summary_names_what_is_allowed_and_cannot_be_reached() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test:4443,allowed.test").args(["--fail-on-block"]);
    let out = run.sh("curl -s https://allowed.test:4443/ || true; curl -s https://allowed.test/");
    out.ok().stderr_contains("Allowed, but not reached: allowed.test:4443 (connect failed), once by curl");
    out.stderr_contains("2 allowed, 0 blocked").stderr_lacks("--allow-domains");
}

#[test]
fn a_closed_pipe_ends_the_command_as_it_would_without_us() {
    let lab = Lab::new();
    lab.awf().run(&["bash", "-c", "yes | head -n1; echo ${PIPESTATUS[0]}"]).ok().stdout_is("y\n141\n");
}
