//! `attach`: processes that run already get a firewall, lose it by `detach` alone, and have no network when it dies.

mod death;
mod dialled;
mod hiding;
mod live;
mod live_exec;
mod near;
mod nested;
mod policy;
mod reuse;
mod sockets;
mod systemd;
mod targets;

use std::{
    fs,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use harness::{Lab, Output, Process, Run, machine, tools};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

pub(super) const SOON: Duration = Duration::from_secs(20);

/// A lab whose machine has a state directory of its own: other tests' runs are not seen there.
pub(super) fn lab() -> Lab {
    let lab = Lab::new();
    // Whichever test is first makes what is covered.
    let _ = fs::DirBuilder::new().mode(0o700).create("/run/awf-bpf");
    let own = lab.dir().root().join("run-awf-bpf");
    fs::create_dir(&own).expect("make the machine's state directory");
    fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).expect("make it root's alone");
    machine::cover(lab.machine(), Path::new("/run/awf-bpf"), &own);
    lab
}

/// A program that runs before anything is attached, and does what it is told one script after another.
#[derive(Debug)]
pub(super) struct Shell<'lab> {
    lab: &'lab Lab,
    process: Process,
    dir: PathBuf,
    number: AtomicU32,
}

/// What a script printed, both streams, and its exit code.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) code: i32,
}

impl<'lab> Shell<'lab> {
    pub(super) fn start(lab: &'lab Lab) -> Self {
        Self::start_as(lab, &lab.bare())
    }

    pub(super) fn start_as(lab: &'lab Lab, run: &Run<'_>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("shell-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let dir = lab.dir().work().join(name);
        fs::create_dir(&dir).expect("make the shell's directory");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).expect("let the shell write there");
        tools::succeed(Command::new("mkfifo").args(["-m", "666"]).arg(dir.join("orders")));
        let script = "exec 3<>\"$0/orders\"; echo up; while read -r order <&3; do \
            bash \"$0/$order\" >\"$0/$order.out\" 2>&1; echo \"$?\" >\"$0/$order.code\"; echo \"done $order.\"; done";
        let process = run.spawn(&["bash", "-c", script, dir.to_str().expect("UTF-8")]);
        process.wait_for_stdout("up", SOON);
        Self { lab, process, dir, number: AtomicU32::new(0) }
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid().as_raw_nonzero().get().cast_unsigned()
    }

    /// Runs a script in it, and waits for its end.
    #[track_caller]
    pub(super) fn sh(&self, script: &str) -> Said {
        let order = self.order(script);
        self.wait(&order, Duration::from_secs(60))
    }

    /// What an order said, which has ended by then.
    #[track_caller]
    pub(super) fn wait(&self, order: &str, limit: Duration) -> Said {
        self.process.wait_for_stdout(&format!("done {order}."), limit);
        let read = |end: &str| {
            String::from_utf8_lossy(&fs::read(self.dir.join(format!("{order}.{end}"))).expect("it has ended"))
                .into_owned()
        };
        Said { text: read("out"), code: read("code").trim().parse().expect("an exit code") }
    }

    /// Starts a script in it.
    pub(super) fn order(&self, script: &str) -> String {
        let order = format!("order{}", self.number.fetch_add(1, Ordering::Relaxed));
        fs::write(self.dir.join(&order), script).expect("write the script");
        let fifo = fs::OpenOptions::new().write(true).open(self.dir.join("orders"));
        std::io::Write::write_all(&mut fifo.expect("open the FIFO"), format!("{order}\n").as_bytes())
            .expect("order it");
        order
    }

    /// Whether its children reach a host; curl's error otherwise.
    #[track_caller]
    pub(super) fn curl(&self, more: &str, host: &str) -> Said {
        self.sh(&format!("curl -sS -m 20 {more} https://{host}/"))
    }

    /// Attaches it.
    #[track_caller]
    pub(super) fn attach(&self, flags: &[&str]) -> Attached<'lab> {
        attach(self.lab, &[&["--pid", &self.pid().to_string()], flags].concat())
    }
}

/// A run that was attached; detached when dropped.
#[derive(Debug)]
pub(super) struct Attached<'lab> {
    lab: &'lab Lab,
    pub(super) id: String,
    pub(super) out: Output,
    ended: bool,
}

/// `awf-bpf attach FLAGS`.
#[track_caller]
pub(super) fn attach<'lab>(lab: &'lab Lab, flags: &[&str]) -> Attached<'lab> {
    let out = try_attach(lab, flags);
    let id = out.ok().stdout().trim().to_owned();
    Attached { lab, id, out, ended: false }
}

/// The same where it may fail.
pub(super) fn try_attach(lab: &Lab, flags: &[&str]) -> Output {
    let run = lab.awf();
    let audit = run.audit_dir().to_str().expect("UTF-8").to_owned();
    run.subcommand(&[&["attach", "--audit-dir", &audit], flags].concat())
}

impl Attached<'_> {
    /// What `ps` says of it.
    #[track_caller]
    pub(super) fn ps(&self) -> Option<Value> {
        runs(self.lab).into_iter().find(|run| run["id"] == self.id.as_str())
    }

    pub(super) fn daemon(&self) -> Pid {
        let pid = self.ps().expect("ps lists it")["daemon"].as_i64().expect("its daemon lives");
        Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid")
    }

    /// Kills its daemon, and waits until it is dead.
    pub(super) fn kill_daemon(&self) {
        let daemon = self.daemon();
        let pidfd =
            rustix::process::pidfd_open(daemon, rustix::process::PidfdFlags::empty()).expect("it lives");
        kill_process(daemon, Signal::KILL).expect("kill it");
        assert!(harness::process::wait_readable(&pidfd, SOON), "it is dead");
    }

    #[track_caller]
    pub(super) fn detach(mut self) -> Output {
        self.ended = true;
        self.lab.awf().subcommand(&["detach", &self.id])
    }
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        if !self.ended && !std::thread::panicking() {
            self.lab.awf().subcommand(&["detach", &self.id]);
        }
    }
}

/// What `ps --json` lists.
#[track_caller]
pub(super) fn runs(lab: &Lab) -> Vec<Value> {
    let out = lab.awf().subcommand(&["ps", "--json"]);
    serde_json::from_str(&out.ok().stdout()).expect("ps prints a JSON array")
}

/// Panics unless the machine is as it was.
#[track_caller]
pub(super) fn assert_nothing_left(lab: &Lab, id: &str) {
    harness::leftovers::assert_none(lab, id);
    assert_eq!(runs(lab), Vec::<Value>::new());
}
