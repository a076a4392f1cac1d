//! `awf-bpf hook install`, `uninstall` and `status`, on a machine with an /etc of its own: real sudo, real visudo, a
//! runner's directory that is its user's.

mod attacks;
mod escapes;
mod machine;

use harness::procs;
use machine::{BINARY, Machine, RUNNER, UNIT};

#[test]
fn what_is_changed_is_what_is_said_and_all_of_it_is_undone() {
    let machine = Machine::new();
    let before = machine.snapshot();
    let dry = machine.install(&["--dry-run"]);
    dry.ok();
    machine.assert_is(&before, "after a dry run");
    let said = dry.stdout().replace("would write", "wrote");
    let out = machine.install(&[]);
    out.ok().check(out.stdout().starts_with(&said), || format!("what the dry run said: {said}"));
    out.stdout_contains(&format!("systemctl restart {UNIT}"));
    let after = machine.snapshot();
    let changed: Vec<_> = after.difference(&before).map(|line| machine::path_of(line)).collect();
    for path in &changed {
        let records = path.starts_with("/etc/awf-bpf/installed");
        let parents = ["/etc/sudoers.d", "/etc/systemd/system"].contains(path) || *path == "/etc";
        out.check(records || parents || out.stdout().contains(&format!("wrote {path} (")), || {
            path.to_string()
        });
    }
    assert_eq!(before.difference(&after).count(), 1, "only .env is another one");
    machine.install(&[]).ok().stdout_contains("nothing to change");
    machine.assert_is(&after, "twice is once");
    machine.uninstall().ok();
    machine.assert_is(&before, "afterwards");
    machine.uninstall().code(1).stderr_contains("nothing is installed");
}

#[test]
fn the_wrapper_fails_the_job_with_one_error_when_the_hook_does_not_run() {
    let machine = Machine::new();
    machine.install(&[]).ok();
    let hook = || machine.as_user(&["bash", "-e", "/etc/awf-bpf/hooks/pre-job.sh"]);
    let errors = |text: String| text.matches("::error").count();
    machine.stand_in("echo hello; cat; exit 0");
    hook().ok().stdout_is("hello\n");
    // It says itself why.
    machine.stand_in("echo ::error::mine; exit 125");
    let out = hook();
    out.code(125).check(errors(out.stdout()) == 1, || "one error".into());
    for (stand_in, code) in [("kill -9 $$", 137), ("exit 7", 7)] {
        machine.stand_in(stand_in);
        let out = hook();
        out.code(code).check(errors(out.stdout()) == 1, || "one error".into());
        out.stdout_contains(&format!("did not run to its end (exit code {code})"));
    }
    machine.root_sh(&format!("rm {BINARY}"));
    let out = hook();
    out.fails().stdout_contains("::error title=awf-bpf::").stdout_contains(&format!("Is {BINARY} there"));
    machine.stand_in("exit 0");
    machine.root_sh("rm /etc/sudoers.d/awf-bpf-12345");
    let out = hook();
    out.code(1)
        .check(errors(out.stdout()) == 1, || "one error".into())
        .stdout_contains("may uid 12345 run it?");
}

#[test]
fn everything_that_speaks_against_it_is_refused_before_anything_is_changed() {
    let cases = [
        (
            "echo ACTIONS_RUNNER_HOOK_JOB_STARTED=/own.sh >> /srv/runner/.env",
            "line 2 sets ACTIONS_RUNNER_HOOK_JOB_STARTED",
        ),
        ("rm /srv/runner/.env; ln -s /etc/shadow /srv/runner/.env", ".env is a link"),
        ("rm /srv/runner/.env; ln /srv/secret /srv/runner/.env", ".env is a link, has several names"),
        ("rm /srv/runner/bin/Runner.Listener", "no bin/Runner.Listener"),
        ("chown root /srv/runner", "belongs to uid 0"),
        ("chown -R root /srv/runner", "runs as root"),
        ("chown runner /opt", "runner can write /opt, and so replace /opt/awf-bpf"),
        ("chmod 777 /opt/awf-bpf", "runner can write /opt/awf-bpf"),
        ("rm /etc/systemd/system/actions.runner.o-r.n.service", "there is no service"),
        ("echo 'x' > /etc/sudoers.d/awf-bpf-12345", "/etc/sudoers.d/awf-bpf-12345 is there"),
        ("mkdir -m 777 /etc/awf-bpf", "/etc/awf-bpf is not a directory that root alone can write"),
        ("sed -i /includedir/d /etc/sudoers", "sudo does not let runner run the hooks"),
    ];
    let machine = Machine::new();
    machine.root_sh("mkdir /srv/kept; cp -a --parents /srv/runner /etc/sudoers /etc/sudoers.d /etc/systemd/system /srv/kept");
    for (spoil, said) in cases {
        machine.root_sh(spoil);
        let before = machine.snapshot();
        machine.install(&[]).code(1).stderr_contains(said);
        machine.assert_is(&before, spoil);
        machine.root_sh(
            "rm -rf /srv/runner /etc/sudoers.d /etc/systemd/system /etc/awf-bpf; cp -a /srv/kept/* /; \
             chown root /opt; chmod 755 /opt/awf-bpf",
        );
    }
    machine.install(&[]).ok();
}

#[test]
fn what_somebody_changed_since_is_left_alone_and_named() {
    let machine = Machine::new();
    let before = machine.snapshot();
    machine.install(&[]).ok();
    machine.root_sh("echo '# mine' >> /etc/awf-bpf/policy.toml; echo NEW=1 >> /srv/runner/.env");
    machine.install(&[]).ok().stdout_contains("nothing to change");
    let out = machine.uninstall();
    out.ok().stdout_contains("left /etc/awf-bpf/policy.toml (policy): it was changed since");
    machine.root_sh("grep -q '# mine' /etc/awf-bpf/policy.toml");
    machine.root_sh("test \"$(cat /srv/runner/.env)\" = \"$(printf 'LANG=C.UTF-8\\nNEW=1')\"");
    // Nothing else is left.
    machine.root_sh("rm -r /etc/awf-bpf; printf 'LANG=C.UTF-8\\n' > /srv/runner/.env");
    machine.assert_is(&before, "afterwards");
}

#[test]
fn other_options_replace_what_was_installed_and_all_is_undone() {
    let machine = Machine::new();
    let before = machine.snapshot();
    machine.install(&[]).ok();
    let out = machine.install(&["--disable-sudo", "--protect-env"]);
    out.ok().stdout_contains("undid /etc/sudoers.d/awf-bpf-12345").stdout_contains("wrote /srv/runner/.env");
    machine.status().ok();
    machine.install(&["--protect-env"]).ok().stdout_contains("wrote /etc/sudoers.d/awf-bpf-12345");
    machine.uninstall().ok();
    machine.assert_is(&before, "afterwards");
}

#[test]
fn two_runners_share_what_is_the_machines() {
    let machine = Machine::new();
    machine.root_sh("cp -a /srv/runner /srv/other; rm /srv/other/.service");
    let before = machine.snapshot();
    machine.install(&[]).ok();
    let other = |verb| machine.root(&[BINARY, "hook", verb, "--runner-dir", "/srv/other"]);
    other("install").ok().stdout_contains("no service is known");
    machine.uninstall().ok().stdout_contains("kept /etc/sudoers.d/awf-bpf-12345");
    machine.as_user(&["sudo", "-n", "-l", BINARY, "hook", "pre-job"]).ok();
    machine.root(&[BINARY, "hook", "status", "--runner-dir", "/srv/other"]).ok();
    other("uninstall").ok();
    machine.assert_is(&before, "afterwards");
}

#[test]
fn status_says_what_is_missing_changed_and_not_read_yet() {
    let machine = Machine::new();
    machine.status().code(1).stdout_contains("no hooks are installed");
    let marker = procs::Marker::new("listener");
    let listener = machine.listener(&marker);
    machine.install(&[]).ok();
    let out = machine.status();
    out.ok().stdout_contains("restart it when no job runs").stdout_contains("and nothing else");
    drop(listener);
    machine.status().ok().stdout_contains("no runner runs from this directory");
    machine.root_sh("rm /etc/awf-bpf/hooks/pre-job.sh; echo '#' >> /etc/awf-bpf/hooks/post-job.sh");
    let out = machine.status();
    out.code(1).stdout_contains("not ok   /etc/awf-bpf/hooks/pre-job.sh (wrapper, missing)");
    out.stdout_contains("post-job.sh (wrapper, changed since it was made)");
    machine.install(&[]).ok().stdout_contains("wrote /etc/awf-bpf/hooks/pre-job.sh");
    let json = machine.root(&[BINARY, "hook", "status", "--runner-dir", RUNNER, "--json"]);
    let value: serde_json::Value = serde_json::from_str(&json.ok().stdout()).expect("JSON");
    let runner = &value["runners"][0];
    assert_eq!(
        (&value["ok"], &runner["user"], &runner["unit"]),
        (&true.into(), &"runner".into(), &UNIT.into())
    );
    machine.root(&[BINARY, "check", "-c", "/etc/awf-bpf/policy.toml", "github.com"]).code(1);
}
