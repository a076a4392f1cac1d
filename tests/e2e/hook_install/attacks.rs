//! The runner's user against its own hooks, and death at every step of an installation.

use super::machine::{BINARY, Machine, RUNNER};

#[test]
fn sudo_lets_the_user_call_the_two_hooks_and_nothing_else() {
    let machine = Machine::new();
    // What another rule of the machine would pass on.
    machine.root_sh(
        "echo 'Defaults env_keep += \"EVIL GITHUB_ENV\"' > /etc/sudoers.d/aaa; chmod 440 /etc/sudoers.d/aaa",
    );
    machine.root_sh("sed -i /secure_path/d /etc/sudoers");
    machine.install(&[]).ok();
    machine.stand_in("echo \"$@ as $(id -u)\"; env");
    for word in ["pre-job", "post-job"] {
        let env = [
            "env",
            "EVIL=1",
            "GITHUB_ENV=/x",
            "LD_PRELOAD=/x",
            "BASH_ENV=/x",
            "TERM=evil",
            "LC_ALL=evil",
            "PATH=/evil:/usr/bin:/bin",
        ];
        let out = machine.as_user(&[&env[..], &["sudo", "-n", BINARY, "hook", word]].concat());
        out.ok().stdout_contains(&format!("hook {word} as 0\n"));
        for name in ["EVIL", "GITHUB_ENV", "LD_PRELOAD", "BASH_ENV", "LC_ALL", "=evil", "/evil"] {
            out.check(!out.stdout().contains(name), || format!("no {name}"));
        }
    }
    let hook = [BINARY, "hook", "pre-job"];
    let attempts: [Vec<&str>; 14] = [
        vec![BINARY],
        vec![BINARY, "hook"],
        [&hook[..], &["--policy=/srv/x"]].concat(),
        [&hook[..], &[""]].concat(),
        vec![BINARY, "hook", "pre-job post-job"],
        vec![BINARY, "hook", "install", "--runner-dir", RUNNER],
        vec![BINARY, "hook", "uninstall", "--runner-dir", RUNNER],
        vec![BINARY, "exec", "--", "sh"],
        vec!["/opt/../opt/awf-bpf", "hook", "install"],
        vec!["/bin/sh", "-c", "id"],
        [&["-u", "daemon"], &hook[..]].concat(),
        [&["-E"], &hook[..]].concat(),
        [&["EVIL=1"], &hook[..]].concat(),
        [&["-C", "100"], &hook[..]].concat(),
    ];
    for attempt in attempts {
        let out = machine.as_user(&[&["sudo", "-n"], &attempt[..]].concat());
        out.fails()
            .stderr_contains("sudo: ")
            .check(!out.stdout().contains("as 0"), || format!("{attempt:?}"));
    }
}

#[test]
fn disable_sudo_leaves_the_hooks_and_nothing_else() {
    let machine = Machine::new();
    machine.root_sh(
        "echo 'runner ALL=(ALL:ALL) NOPASSWD: ALL' > /etc/sudoers.d/runner; chmod 440 /etc/sudoers.d/runner",
    );
    machine.as_user(&["sudo", "-n", "id", "-u"]).ok().stdout_is("0\n");
    let before = machine.snapshot();
    machine.install(&[]).ok();
    machine.as_user(&["sudo", "-n", "id", "-u"]).ok();
    machine.status().ok().stdout_contains("by which a job can leave its cgroup: ALL (as ALL)");
    machine.install(&["--disable-sudo"]).ok();
    for argv in [&["sudo", "-n", "id"][..], &["sudo", "-n", "-u", "daemon", "id"], &["sudo", "-n", "-i"]] {
        machine.as_user(argv).fails().stderr_contains("sudo: a password is required");
    }
    machine.as_user(&["sudo", "-n", "-l", BINARY, "hook", "pre-job"]).ok();
    machine.uninstall().ok();
    machine.assert_is(&before, "afterwards");
}

/// Whose rules are read after ours wins: that is no installation.
#[test]
fn a_later_rule_that_gives_sudo_back_is_found_and_nothing_stays() {
    let machine = Machine::new();
    machine.root_sh("echo 'runner ALL=(ALL:ALL) NOPASSWD: /bin/sh' >> /etc/sudoers");
    let before = machine.snapshot();
    let out = machine.install(&["--disable-sudo"]);
    out.code(1).stderr_contains("sudo still lets runner run /bin/sh (as ALL)").stderr_contains("is undone");
    machine.assert_is(&before, "afterwards");
}

#[test]
fn a_protected_env_cannot_be_changed_by_the_user() {
    let machine = Machine::new();
    machine.install(&[]).ok();
    let hostile = "cd /srv/runner; cp .env x; sed -i /HOOK/d x; ";
    let open = format!("{hostile} mv x .env && cp .env y && mv y .env && ! grep HOOK .env");
    machine.as_user(&["bash", "-c", &open]).ok();
    machine.root_sh("rm -f /srv/runner/[xy]");
    machine.uninstall().ok();
    machine.install(&["--protect-env"]).ok();
    let before = machine.root_sh("cat /srv/runner/.env").stdout();
    for attempt in [
        "mv x .env",
        "cat x > .env",
        "rm -f .env && false || test ! -e .env",
        "mv .env z",
        "ln -sf x .env",
        "chmod 666 .env",
        "chmod 777 /srv/runner",
        "mv /srv/runner /srv/gone",
    ] {
        machine.as_user(&["bash", "-c", &format!("{hostile} {attempt}")]).fails();
        assert_eq!(machine.root_sh("cat /srv/runner/.env").stdout(), before, "{attempt}");
    }
    // The runner still reads it, and makes files of its own.
    machine
        .as_user(&["bash", "-ec", "cd /srv/runner; grep -q HOOK .env; touch new; mkdir dir; rm -r new dir x"])
        .ok();
}

/// Its HOME is the user's, and with it the name of every directory in it.
#[test]
fn a_protected_env_in_a_directory_of_the_users_is_said_to_be_open() {
    let machine = Machine::new();
    machine.root_sh("chown runner /srv");
    machine
        .install(&["--protect-env"])
        .ok()
        .stdout_contains("note: runner can write /srv, and so put another");
    machine
        .as_user(&["bash", "-ec", "mv /srv/runner /srv/gone; mkdir /srv/runner; echo > /srv/runner/.env"])
        .ok();
}

/// SIGKILL before each write to the disk takes effect, by strace's fault injection.
#[test]
fn killed_at_any_step_it_is_undone_by_whoever_comes_next() {
    let verbs: [(&str, &[&str], &[&str]); 2] = [
        ("install", &["--protect-env", "--disable-sudo"], &["mkdirat", "fchmod", "renameat"]),
        ("uninstall", &[], &["renameat", "unlinkat"]),
    ];
    for (verb, flags, calls) in verbs {
        let machine = Machine::new();
        let before = machine.snapshot();
        let mut kills = 0;
        for call in calls {
            let most = 60;
            for when in 1..=most {
                if verb == "uninstall" {
                    machine.install(&["--protect-env", "--disable-sudo"]).ok();
                }
                let inject = format!("inject={call}:signal=KILL:when={when}");
                let strace =
                    ["strace", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject];
                let words = [BINARY, "hook", verb, "--runner-dir", RUNNER];
                let out = machine.root(&[&strace[..], &words[..], flags].concat());
                if out.exit_code() == 0 {
                    assert!(when > 1, "{call} is never called: nothing was tried");
                    if verb == "install" {
                        machine.uninstall().ok();
                    }
                    machine.assert_is(&before, "afterwards");
                    break;
                }
                out.code(137);
                kills += 1;
                assert!(when < most, "{verb}: {call} goes on after {when} calls");
                // Before the first write there is nothing to undo.
                let undone = machine.uninstall();
                undone.check(
                    undone.exit_code() == 0 || undone.stderr().contains("nothing is installed"),
                    || "an end".into(),
                );
                machine.root_sh("rmdir /etc/awf-bpf/installed /etc/awf-bpf 2>/dev/null || true");
                machine.assert_is(&before, &format!("{verb} killed at {call} {when}"));
            }
        }
        assert!(kills > 10, "{verb}: only {kills} steps were tried");
    }
}
