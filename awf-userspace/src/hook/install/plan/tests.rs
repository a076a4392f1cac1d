//! The plan of an installation, and everything that speaks against one.

use super::*;

fn facts() -> Facts {
    Facts {
        runner_dir: "/home/runner/actions-runner".into(),
        user: "runner".into(),
        uid: 1001,
        gid: 1002,
        dir_owner: 1001,
        has_listener: true,
        env: State::file(Access { mode: 0o600, uid: 1001, gid: 1002 }, "LANG=C\n"),
        path: State::Absent,
        unit: Some("actions.runner.o-r.n.service".into()),
        unit_file: Some("/etc/systemd/system/actions.runner.o-r.n.service".into()),
        binary: "/usr/bin/awf-bpf".into(),
        binary_writable: None,
        sudo: Some("/usr/bin/sudo".into()),
        visudo: true,
    }
}

fn paths(options: &Options) -> Vec<String> {
    pieces(&facts(), options).iter().map(|piece| piece.path.display().to_string()).collect()
}

#[test]
fn nothing_speaks_against_a_usual_runner() {
    assert_eq!(refusals(&facts(), &Options::default()), []);
}

#[test]
fn what_calls_the_hooks_comes_last() {
    assert_eq!(
        paths(&Options::default()),
        [
            "/etc/awf-bpf",
            "/etc/awf-bpf/hooks",
            "/etc/awf-bpf/hooks/pre-job.sh",
            "/etc/awf-bpf/hooks/post-job.sh",
            "/etc/awf-bpf/policy.toml",
            "/etc/sudoers.d/awf-bpf-1001",
            "/etc/systemd/system/actions.runner.o-r.n.service.d",
            "/etc/systemd/system/actions.runner.o-r.n.service.d/awf-bpf.conf",
            "/home/runner/actions-runner/.env",
        ]
    );
    let closing = Options { disable_sudo: true, protect_env: true, ..Options::default() };
    let paths = paths(&closing);
    assert!(paths.contains(&"/etc/sudoers.d/zzzz-awf-bpf-1001".into()), "{paths:?}");
    let runner = ["", "/.path", "/.env"].map(|name| format!("/home/runner/actions-runner{name}"));
    assert_eq!(paths[8..], runner);
}

#[test]
fn env_keeps_its_owner_and_mode_unless_it_is_protected() {
    let env = |options: &Options| pieces(&facts(), options).pop().unwrap().want;
    let State::File { access, bytes } = env(&Options::default()) else { panic!("a file") };
    assert_eq!(access, Access { mode: 0o600, uid: 1001, gid: 1002 });
    assert!(bytes.starts_with(b"LANG=C\nACTIONS_RUNNER_HOOK_JOB_STARTED=/etc/awf-bpf/hooks/pre-job.sh\n"));
    let closed = env(&Options { protect_env: true, ..Options::default() });
    assert_eq!(closed, State::file(Access { mode: 0o640, uid: 0, gid: 1002 }, bytes));
}

#[test]
fn everything_that_speaks_against_it_is_said_at_once() {
    let facts = Facts {
        runner_dir: "/srv/my runner".into(),
        uid: 0,
        dir_owner: 5,
        has_listener: false,
        env: State::Other,
        unit: Some("../x.service".into()),
        binary: "/opt/a,b".into(),
        sudo: None,
        visudo: false,
        ..facts()
    };
    assert_eq!(refusals(&facts, &Options::default()).len(), 9);
}

#[test]
fn each_thing_that_speaks_against_it_is_named() {
    type Change = fn(&mut Facts);
    let cases: [(Change, &str); 9] = [
        (|f| f.has_listener = false, "has no bin/Runner.Listener"),
        (|f| f.dir_owner = 7, "belongs to uid 7"),
        (|f| f.runner_dir = "/srv/a b".into(), "the runner directory /srv/a b has characters"),
        (|f| f.binary = "/opt/$(x)".into(), "the program /opt/$(x) has characters"),
        (|f| f.binary_writable = Some("/usr/bin".into()), "runner can write /usr/bin, and so replace"),
        (|f| f.env = State::Other, ".env is a link"),
        (|f| f.env = State::file(Access::root(0o600).with_uid(9), ""), "somebody else"),
        (|f| f.env = State::file(Access::root(0o600), "ACTIONS_RUNNER_HOOK_JOB_STARTED=/x\n"), "line 1 sets"),
        (|f| f.unit_file = None, "there is no service"),
    ];
    for (change, said) in cases {
        let mut facts = facts();
        change(&mut facts);
        let all = refusals(&facts, &Options::default());
        assert!(all.len() == 1 && all[0].to_string().contains(said), "{said}: {all:?}");
    }
}

#[test]
fn a_runner_of_root_must_be_wanted() {
    let env = State::Absent;
    let facts = Facts { uid: 0, dir_owner: 0, binary_writable: Some("/".into()), env, ..facts() };
    let wanted = Options { allow_root_runner: true, ..Options::default() };
    assert_eq!(refusals(&facts, &Options::default()), [Refusal::RootRunner(facts.runner_dir.clone())]);
    assert_eq!(refusals(&facts, &wanted), []);
}

#[test]
fn unit_names_do_not_leave_their_directory() {
    for good in ["actions.runner.o-r.n.service", "a@b.service", "a:b_c.service"] {
        assert!(is_unit(good), "{good}");
    }
    for bad in [
        "x",
        "x.timer",
        "../x.service",
        "a/b.service",
        "-x.service",
        ".service",
        "a b.service",
        "a\nb.service",
    ] {
        assert!(!is_unit(bad), "{bad}");
    }
}

impl Access {
    fn with_uid(self, uid: u32) -> Self {
        Self { uid, ..self }
    }
}
