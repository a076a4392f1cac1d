//! With systemd as init: units as targets, and the daemon in a scope of its own. The systemd is a real one, in
//! namespaces of the test's own, with no unit but what the test starts.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use harness::{Lab, Process, tools};

use super::{death::wait_for, lab, targets::Cgroup};

const SYSTEMD: &str = "/lib/systemd/systemd";

/// `$0`: a directory with units. Nothing of the machine's own is started, nor seen in /run.
const INIT: &str = "mount --make-rprivate / && mount -t proc proc /proc && mount -t tmpfs tmpfs /run && \
    { umount -R /sys/fs/cgroup || true; } && mount -t cgroup2 none /sys/fs/cgroup && \
    mkdir -p /run/systemd /run/lock && \
    exec env -i container=lxc SYSTEMD_UNIT_PATH=\"$0\" PATH=/usr/bin:/bin:/usr/sbin:/sbin \
    /lib/systemd/systemd --system --unit=empty.target --log-target=null";

/// Reads orders as `Shell` does, and tells by files.
const VICTIM: &str = "exec 3<>\"$0/orders\"; touch \"$0/up\"; while read -r order <&3; do \
    bash \"$0/$order\" >\"$0/$order.out\" 2>&1; echo \"$?\" >\"$0/$order.code.new\"; \
    mv \"$0/$order.code.new\" \"$0/$order.code\"; done";

struct Systemd {
    _process: Process,
    // Gone after the process.
    _cgroup: Cgroup,
    pid: u32,
    dir: PathBuf,
}

impl Systemd {
    fn start(lab: &Lab) -> Self {
        assert!(Path::new(SYSTEMD).exists(), "{SYSTEMD} is needed: install systemd");
        let dir = lab.dir().work();
        for name in ["empty", "sysinit", "basic", "shutdown"] {
            let text = format!("[Unit]\nDescription={name}\nDefaultDependencies=no\n");
            fs::write(dir.join(format!("{name}.target")), text).expect("write a unit");
        }
        let cgroup = Cgroup::new("systemd");
        let mut shell = Command::new("/bin/bash");
        let enter = "echo 0 >\"$0/cgroup.procs\" && exec unshare --fork --kill-child --pid --mount --cgroup --uts \
            --ipc bash -c \"$1\" \"$2\"";
        shell.args(["-c", enter, cgroup.path(), INIT]).arg(&dir);
        let process = lab.machine().within(|| Process::spawn(&mut shell, Vec::new()));
        let parent = process.pid().as_raw_nonzero();
        let end = std::time::Instant::now() + super::SOON;
        let pid = loop {
            let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
            let child = children.unwrap_or_default().trim().parse::<u32>().ok();
            let is_up = |pid: &u32| Path::new(&format!("/proc/{pid}/root/run/systemd/private")).exists();
            if let Some(pid) = child.filter(is_up) {
                break pid;
            }
            assert!(std::time::Instant::now() < end, "systemd does not come up");
            std::thread::yield_now();
        };
        Self { _process: process, _cgroup: cgroup, pid, dir }
    }

    /// A program beside it.
    fn run(&self, argv: &[&str]) -> Output {
        let mut command = Command::new(tools::require("nsenter"));
        command.args(["-t", &self.pid.to_string(), "-p", "-m", "-n", "-C", "-u"]).args(argv);
        command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("SYSTEMD_PAGER", "");
        command.output().expect("run nsenter")
    }

    #[track_caller]
    fn ok(&self, argv: &[&str]) -> String {
        let out = self.run(argv);
        assert!(out.status.success(), "{argv:?}: {out:?}");
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    /// curl's exit code, asked for by the service.
    fn curl(&self, number: usize, host: &str) -> i32 {
        let order = format!("order{number}");
        fs::write(self.dir.join(&order), format!("curl -sS -m 20 https://{host}/"))
            .expect("write the script");
        let fifo = fs::OpenOptions::new().write(true).open(self.dir.join("orders"));
        std::io::Write::write_all(&mut fifo.expect("open it"), format!("{order}\n").as_bytes())
            .expect("order");
        let code = self.dir.join(format!("{order}.code"));
        wait_for(&code);
        fs::read_to_string(code).expect("it is there").trim().parse().expect("a code")
    }
}

#[test]
fn a_unit_is_attached_and_the_daemon_is_a_scope() {
    let lab = lab();
    let systemd = Systemd::start(&lab);
    let dir = systemd.dir.to_str().expect("UTF-8").to_owned();
    tools::succeed(Command::new("mkfifo").arg(systemd.dir.join("orders")));
    systemd.ok(&["systemd-run", "--quiet", "--unit=victim.service", "bash", "-c", VICTIM, &dir]);
    wait_for(&systemd.dir.join("up"));
    assert_eq!(systemd.curl(0, "denied.test"), 0);

    let awf = tools::awf_bpf();
    let awf = awf.to_str().expect("UTF-8");
    let audit = format!("{dir}/audit");
    let attach = |unit: &str| {
        systemd.run(&[awf, "attach", "--unit", unit, "-d", "allowed.test", "--audit-dir", &audit])
    };
    let out = attach("victim.service");
    assert!(out.status.success(), "{out:?}");
    let id = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    let scope = format!("awf-bpf-{id}.scope");
    assert_eq!((systemd.curl(1, "allowed.test"), systemd.curl(2, "denied.test") != 0), (0, true));
    assert_eq!(systemd.ok(&["systemctl", "is-active", &scope]), "active");
    assert!(systemd.ok(&["systemctl", "show", "-p", "ControlGroup", "--value", &scope]).ends_with(&scope));

    // However systemd ends the daemon, that opens nothing.
    systemd.ok(&["systemctl", "stop", &scope]);
    assert!(systemd.ok(&[awf, "ps"]).contains("DEAD: network refused"));
    assert_ne!(systemd.curl(3, "allowed.test"), 0);
    systemd.ok(&[awf, "gc"]);
    assert_ne!(systemd.curl(4, "denied.test"), 0);
    systemd.ok(&[awf, "detach", &id]);
    assert_eq!(systemd.curl(5, "denied.test"), 0, "as before");

    let out = attach("nosuch.service");
    assert!(
        String::from_utf8_lossy(&out.stderr).contains("does not run, or there is no such unit"),
        "{out:?}"
    );
}

/// The run ends with the unit, and with it the scope.
#[test]
fn a_unit_that_is_stopped_ends_its_run() {
    let lab = lab();
    let systemd = Systemd::start(&lab);
    systemd.ok(&["systemd-run", "--quiet", "--unit=victim.service", "sleep", "1000"]);
    let awf = tools::awf_bpf();
    let awf = awf.to_str().expect("UTF-8");
    let audit = systemd.dir.join("audit");
    let pid = systemd.ok(&["systemctl", "show", "-p", "MainPID", "--value", "victim.service"]);
    let id = systemd.ok(&[awf, "attach", "--pid", &pid, "--audit-dir", audit.to_str().expect("UTF-8")]);
    let scope = format!("awf-bpf-{id}.scope");
    assert_eq!(systemd.ok(&["systemctl", "is-active", &scope]), "active");
    systemd.ok(&["systemctl", "stop", "victim.service"]);
    let end = std::time::Instant::now() + super::SOON;
    while systemd.run(&["systemctl", "is-active", &scope]).status.success() {
        assert!(std::time::Instant::now() < end, "the scope is still there");
    }
    assert_eq!(systemd.ok(&[awf, "ps", "--json"]), "[]");
}
