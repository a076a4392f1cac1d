//! A machine with an /etc, an /opt and a /var/log of its own, and installed hooks.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use harness::{
    Lab, Output, leftovers,
    patience::stretch,
    runner::{Done, Job, Runner, Transcript, cgroups_below},
    tools,
};
use rustix::{
    mount::mount_bind,
    process::{Pid, Signal, kill_process},
};
use serde_json::Value;

pub(super) const BINARY: &str = "/opt/awf-bpf";
/// What the runner works for: its Worker may reach it, and no step.
pub(super) const SERVER: &str = "other.test";

/// Longest time that a run takes to go after its Worker.
const LIMIT: Duration = Duration::from_secs(20);

/// What a step does to see whether it reaches a host; it says so in a word.
pub(super) fn try_host(host: &str) -> String {
    format!(
        "curl -sS -o /dev/null --max-time 20 http://{host}/ --fail && echo {host}=reached || echo {host}=refused"
    )
}

pub(super) struct Machine {
    lab: Lab,
}

impl Machine {
    /// `policy`: what is in /etc/awf-bpf/policy.toml.
    pub(super) fn new(policy: &str) -> Self {
        let machine = Self { lab: Lab::new() };
        let root = machine.lab.dir().root().to_owned();
        let etc = root.join("machine-etc");
        machine.lab.machine().within(|| {
            tools::succeed(Command::new("/bin/cp").arg("-a").arg("/etc").arg(&etc));
            // State of its own, too: another awf-bpf of this host, of another version, would clear ours.
            fs::create_dir_all("/run/awf-bpf").expect("make the state directory");
            for (name, covered) in
                [("machine-opt", "/opt"), ("machine-log", "/var/log"), ("machine-run", "/run/awf-bpf")]
            {
                fs::create_dir(root.join(name)).expect("make a directory of the machine");
                if covered == "/run/awf-bpf" {
                    let private = fs::Permissions::from_mode(0o700);
                    fs::set_permissions(root.join(name), private).expect("close the state directory");
                }
                mount_bind(root.join(name), covered).unwrap_or_else(|e| panic!("cover {covered}: {e}"));
            }
            mount_bind(&etc, "/etc").expect("cover /etc");
            let mut install = Command::new(tools::require("install"));
            tools::succeed(install.args(["-m", "755"]).arg(tools::awf_bpf()).arg(BINARY));
        });
        machine.root_sh(
            "mkdir -p /etc/awf-bpf /etc/sudoers.d; echo 'runner:*:19000:0:99999:7:::' >> /etc/shadow",
        );
        machine.set_policy(policy);
        machine
    }

    pub(super) fn lab(&self) -> &Lab {
        &self.lab
    }

    pub(super) fn set_policy(&self, policy: &str) {
        fs::write(self.lab.dir().root().join("machine-etc/awf-bpf/policy.toml"), policy)
            .expect("write the policy");
    }

    /// A runner whose hooks were installed as an administrator does it.
    pub(super) fn runner(&self, name: &str) -> Runner<'_> {
        let runner = Runner::new(&self.lab, name);
        let dir = runner.dir().display().to_string();
        let out = self.lab.bare().as_root().cwd("/").run(&[BINARY, "hook", "install", "--runner-dir", &dir]);
        out.ok();
        runner
    }

    #[track_caller]
    pub(super) fn root_sh(&self, script: &str) -> Output {
        let out = self.lab.bare().as_root().cwd("/").run(&["bash", "-ec", script]);
        out.ok();
        out
    }

    /// The records of a run.
    pub(super) fn records(&self, id: &str) -> Vec<Value> {
        let path = self.lab.dir().root().join("machine-log/awf-bpf").join(id).join("audit.jsonl");
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        text.lines().map(|line| serde_json::from_str(line).expect("a record is JSON")).collect()
    }

    /// Processes of this machine's awf-bpf.
    pub(super) fn processes(&self) -> Vec<u32> {
        let id = |path: &Path| fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
        let own = id(&self.lab.dir().root().join("machine-opt/awf-bpf"));
        let entries = fs::read_dir("/proc").expect("read /proc").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| id(Path::new(&format!("/proc/{pid}/exe"))) == own).collect()
    }

    pub(super) fn kill_all(&self) -> usize {
        let found = self.processes();
        for pid in &found {
            // It may have ended meanwhile.
            let _ = kill_process(Pid::from_raw(pid.cast_signed()).expect("a pid is positive"), Signal::KILL);
        }
        found.len()
    }

    /// Waits until nothing is left of the runs, nor in the cgroup of the runner's service.
    #[track_caller]
    pub(super) fn assert_clean(&self, runner: &Runner<'_>, ids: &[String]) {
        let end = Instant::now() + stretch(LIMIT);
        loop {
            let left: Vec<PathBuf> = ids.iter().flat_map(|id| leftovers::of_run(&self.lab, id)).collect();
            let (left, cgroups) = (
                left.into_iter().filter(|path| !path.starts_with("/var/log")).collect::<Vec<_>>(),
                cgroups_below(runner.service()),
            );
            if left.is_empty() && cgroups.is_empty() && self.processes().is_empty() {
                return;
            }
            assert!(Instant::now() < end, "left: {left:?} {cgroups:?} {:?}", self.processes());
            std::thread::yield_now();
        }
    }
}

/// A job of a server that the lab has.
pub(super) fn job(number: u64) -> Job {
    let server = format!("https://{SERVER}");
    Job { server_url: server.clone(), api_url: server, ..Job::new(number) }
}

/// The run that the started hook named.
#[track_caller]
pub(super) fn run_of(done: &Transcript) -> String {
    let group = done.started().said.groups.first().unwrap_or_else(|| panic!("{done:#?}"));
    let (_, id) = group.rsplit_once("(run ").unwrap_or_else(|| panic!("{group}"));
    id.trim_end_matches(')').to_owned()
}

/// What a step said of a host.
#[track_caller]
pub(super) fn said(done: &Done, host: &str, word: &str) {
    done.shows(&format!("{host}={word}"));
}
