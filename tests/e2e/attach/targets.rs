//! Whom one can attach, and whom not.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use harness::Lab;

use super::{Shell, assert_nothing_left, attach, death::wait_for, lab, runs, try_attach};

/// A cgroup (v2) of the test's own.
pub(super) struct Cgroup(PathBuf);

impl Cgroup {
    pub(super) fn new(name: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("read it");
        let of_v2 = |line: &str| {
            let (mount, kind) = line.split_once(" - ")?;
            kind.starts_with("cgroup2 ").then(|| mount.split(' ').nth(4).map(PathBuf::from)).flatten()
        };
        let root = mounts.lines().find_map(of_v2).expect("cgroup v2 is mounted");
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = root.join(format!("e2e-attach-{name}-{}-{number}", std::process::id()));
        fs::create_dir(&dir).expect("make a cgroup");
        Self(dir)
    }

    pub(super) fn enter(&self, shell: &Shell<'_>) {
        fs::write(self.0.join("cgroup.procs"), shell.pid().to_string()).expect("move it in");
    }

    pub(super) fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        let end = std::time::Instant::now() + super::SOON;
        while !remove(&self.0) && std::time::Instant::now() < end {
            std::thread::yield_now();
        }
    }
}

/// With what was made in it.
fn remove(dir: &Path) -> bool {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    fs::remove_dir(dir).is_ok()
}

fn cgroup_of(shell: &Shell<'_>) -> String {
    v2_of(shell.pid()).expect("it lives")
}

/// Of v1 an ending process shows another one.
fn v2_of(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    text.lines().find(|line| line.starts_with("0::")).map(str::to_owned)
}

#[test]
fn a_cgroup_as_a_whole_now_and_later() {
    let lab = lab();
    let cgroup = Cgroup::new("whole");
    let (first, later) = (Shell::start(&lab), Shell::start(&lab));
    cgroup.enter(&first);
    let before = cgroup_of(&first);
    let run = attach(&lab, &["--cgroup", cgroup.path(), "-d", "allowed.test"]);
    assert_eq!(cgroup_of(&first), before, "nobody is moved");
    cgroup.enter(&later);
    for shell in [&first, &later] {
        assert_eq!(shell.curl("", "allowed.test").code, 0);
        assert_ne!(shell.curl("", "denied.test").code, 0);
    }
    // Empty, it waits for who starts there next; it is not cleared away either.
    run.kill_daemon();
    lab.awf().subcommand(&["gc"]).ok();
    assert_ne!(first.curl("", "allowed.test").code, 0);
    let id = run.id.clone();
    run.detach().ok();
    assert_eq!(first.curl("", "denied.test").code, 0);
    assert_nothing_left(&lab, &id);
}

#[test]
fn relative_paths_are_the_callers() {
    let lab = lab();
    let cgroup = Cgroup::new("relative");
    let shell = Shell::start(&lab);
    cgroup.enter(&shell);
    let here = cgroup.0.parent().expect("it is below").to_owned();
    let name = cgroup.0.file_name().expect("a name").to_str().expect("UTF-8").to_owned();
    let run = lab.awf().cwd(&here);
    let audit = run.audit_dir().to_str().expect("UTF-8");
    run.subcommand(&["attach", "--cgroup", &name, "-d", "allowed.test", "--audit-dir", audit]).ok();
    assert!(shell.curl("", "allowed.test").code == 0 && shell.curl("", "denied.test").code != 0);
    lab.awf().subcommand(&["detach", "--all"]).ok();
    let audit = lab.dir().work();
    let pid = shell.pid().to_string();
    let words = ["attach", "--pid", &pid, "-d", "allowed.test", "--audit-dir", "here"];
    lab.awf().cwd(&audit).subcommand(&words).ok();
    assert!(audit.join("here/audit.jsonl").exists() && audit.join("here/awf-bpf.log").exists());
    lab.awf().subcommand(&["detach", "--all"]).ok();
}

#[test]
fn a_run_of_a_cgroup_ends_when_that_is_removed() {
    let lab = lab();
    let cgroup = Cgroup::new("removed");
    let shell = Shell::start(&lab);
    cgroup.enter(&shell);
    let run = attach(&lab, &["--cgroup", cgroup.path(), "-d", "allowed.test"]);
    let daemon =
        rustix::process::pidfd_open(run.daemon(), rustix::process::PidfdFlags::empty()).expect("it lives");
    drop(shell);
    drop(cgroup);
    assert!(harness::process::wait_readable(&daemon, super::SOON), "the daemon ends by itself");
    assert_nothing_left(&lab, &run.id);
}

/// Each process of the tree, also those that come and go while it is moved.
#[test]
fn a_process_and_all_that_it_started() {
    let lab = lab();
    let shell = Shell::start(&lab);
    let begun = lab.dir().work().join("begun");
    let script = "(sleep 1000 & exec setsid sh -c 'sleep 1000; :') >&- 2>&- <&- & \
        (while :; do (true & true) ; done) >&- 2>&- <&- & ";
    shell.order(&format!("{script} touch {}; wait", begun.display()));
    wait_for(&begun);
    let run = shell.attach(&["-d", "allowed.test"]);
    let inside = cgroup_of(&shell);
    assert!(inside.contains(&run.id), "{inside}");
    let is_outside = |pid: &u32| v2_of(*pid).is_some_and(|own| own != inside);
    let outside: Vec<_> = tree(shell.pid()).into_iter().filter(is_outside).collect();
    assert_eq!(outside, Vec::<u32>::new());
    let processes = run.ps().expect("it is listed")["processes"].as_u64();
    assert!(processes >= Some(4), "{processes:?}");
    let members: Vec<u32> = tree(shell.pid());
    run.detach().ok();
    for pid in members.into_iter().skip(1) {
        let _ = rustix::process::Pid::from_raw(pid.cast_signed())
            .map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL));
    }
}

fn tree(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        let children =
            fs::read_to_string(format!("/proc/{0}/task/{0}/children", found[at])).unwrap_or_default();
        found.extend(children.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        at += 1;
    }
    found
}

/// What is behind a firewall stays there: nobody gets more by asking for another one.
#[test]
fn who_is_attached_is_not_attached_again() {
    let lab = lab();
    let shell = Shell::start(&lab);
    let run = shell.attach(&["-d", "allowed.test"]);
    let pid = shell.pid().to_string();
    let again = try_attach(&lab, &["--pid", &pid, "-d", "denied.test"]);
    again.code(125).stderr_contains(&format!("behind run {}", run.id));
    let cgroup = run.ps().expect("it is listed")["cgroup"].as_str().expect("a path").to_owned();
    let again = try_attach(&lab, &["--cgroup", &cgroup, "-d", "denied.test"]);
    again.code(125).stderr_contains(&format!("behind run {}", run.id));
    let above = Path::new(&cgroup).parent().expect("it is below").to_str().expect("UTF-8").to_owned();
    try_attach(&lab, &["--cgroup", &above, "-d", "denied.test"]).code(125);
    assert_eq!(runs(&lab).len(), 1);
    assert_eq!(shell.curl("", "allowed.test").code, 0);
    assert_ne!(shell.curl("", "denied.test").code, 0);
    run.detach().ok();
}

/// The programs of what is outside see what the inner run does, too, and know nothing of its proxy.
#[test]
fn a_run_inside_of_what_is_attached_gets_no_more() {
    let lab = lab();
    let shell = Shell::start_as(&lab, &lab.bare().as_root());
    let run = shell.attach(&["-d", "allowed.test"]);
    let awf = harness::tools::awf_bpf();
    for network in ["isolated", "host"] {
        let inner = format!(
            "{} exec --network {network} --chroot off -d denied.test -- curl -sS -m 10 https://denied.test/",
            awf.display()
        );
        let said = shell.sh(&inner);
        assert!(said.code != 0 && !said.text.contains("hello"), "{network}: {said:?}");
    }
    lab.assert_not_dialled("denied.test");
    run.detach().ok();
    assert_eq!(shell.curl("", "denied.test").code, 0, "as before");
}

#[test]
fn nobody_attaches_what_cannot_be() {
    let lab = lab();
    let refused = |words: &[&str], why: &str| {
        try_attach(&lab, words).code(125).stderr_contains(why);
    };
    refused(&["--pid", "1"], "init");
    refused(&["--pid", "2"], "kernel");
    refused(&["--pid", "4194305"], "no process has the number 4194305");
    refused(&["--cgroup", "/tmp"], "is no cgroup (v2)");
    refused(&["--cgroup", "/nonexistent"], "No such file");
    refused(&["--unit", "x.service"], "--unit x.service");
    // In no network of this machine: it would have none at all.
    refused(&["--pid", &foreign(&lab).to_string()], "another network namespace");
    refused(&["--pid", "7", "--tls", "on"], "cannot look into TLS");
    lab.awf().subcommand(&["detach", "0123456789ab"]).code(1).stderr_contains("there is no attached run");
    lab.awf().subcommand(&["detach"]).code(2);
    assert_eq!(runs(&lab).len(), 0);
}

/// This process: the tests run in the network that the lab was made from.
fn foreign(_lab: &Lab) -> u32 {
    std::process::id()
}
