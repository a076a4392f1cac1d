//! The sandbox language: how a test says what to run, and behind which policy.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use crate::{
    Lab, Output, OwnCgroup, Process, hosts, machine,
    tools::{self, PATH},
    workdir::UID,
};

/// The longest a run may take before its group is killed and the test fails; nothing waits for it otherwise.
pub const LIMIT: Duration = Duration::from_secs(60);

/// One command to run on the lab's machine, behind awf-bpf or (to compare with) without it.
#[derive(Clone, Debug)]
pub struct Run<'lab> {
    lab: &'lab Lab,
    firewalled: bool,
    verb: &'static str,
    uid: u32,
    flags: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    outer_env: Vec<(OsString, OsString)>,
    dns: bool,
    own_root: bool,
    stdin: Vec<u8>,
    cwd: PathBuf,
    limit: Duration,
    audit: PathBuf,
    cgroup: Option<PathBuf>,
}

impl<'lab> Run<'lab> {
    pub(crate) fn firewalled(lab: &'lab Lab) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            lab,
            firewalled: true,
            verb: "exec",
            uid: UID,
            flags: Vec::new(),
            env: Vec::new(),
            outer_env: Vec::new(),
            dns: true,
            own_root: true,
            stdin: Vec::new(),
            cwd: lab.dir().work(),
            limit: LIMIT,
            audit: lab.dir().root().join(format!("audit-{number}")),
            cgroup: None,
        }
    }

    pub(crate) fn bare(lab: &'lab Lab) -> Self {
        Self { firewalled: false, ..Self::firewalled(lab) }
    }

    /// Another verb than `exec`; the empty one is the bare form `awf-bpf FLAGS -- CMD`.
    #[must_use]
    pub fn verb(mut self, verb: &'static str) -> Self {
        self.verb = verb;
        self
    }

    /// `--allow-domains LIST`.
    #[must_use]
    pub fn allow(self, list: &str) -> Self {
        self.args(["--allow-domains", list])
    }

    /// `--block-domains LIST`.
    #[must_use]
    pub fn block(self, list: &str) -> Self {
        self.args(["--block-domains", list])
    }

    /// `--proxy-env none`: the command gets no proxy variable.
    #[must_use]
    pub fn no_proxy_env(self) -> Self {
        self.args(["--proxy-env", "none"])
    }

    /// `--network host`: no namespace of its own, the kernel hooks alone.
    #[must_use]
    pub fn host_network(self) -> Self {
        self.args(["--network", "host"])
    }

    /// `--chroot off`: the command sees the machine's files.
    #[must_use]
    pub fn machine_files(mut self) -> Self {
        self.own_root = false;
        self
    }

    /// Flags of awf-bpf, in front of the command.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.flags.extend(args.into_iter().map(Into::into));
        self
    }

    /// A variable for the command (`-e NAME=VALUE`).
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// A variable in the environment awf-bpf itself is started with.
    #[must_use]
    pub fn outer_env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.outer_env.push((name.into(), value.into()));
        self
    }

    /// Without `--dns-servers`: awf-bpf reads the machine's resolv.conf.
    #[must_use]
    pub fn machine_dns(mut self) -> Self {
        self.dns = false;
        self
    }

    /// What the command reads from stdin; nothing unless given.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// The directory to start in; its owner is whom the command becomes.
    #[must_use]
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = dir.into();
        self
    }

    /// `--audit-dir`, instead of a directory of this run's own.
    #[must_use]
    pub fn audit_in(mut self, dir: impl Into<PathBuf>) -> Self {
        self.audit = dir.into();
        self
    }

    /// Starts awf-bpf in that cgroup, if there is one.
    #[must_use]
    pub fn in_cgroup<'c>(mut self, cgroup: impl Into<Option<&'c OwnCgroup>>) -> Self {
        self.cgroup = cgroup.into().map(OwnCgroup::procs);
        self
    }

    /// Without awf-bpf: as root instead of as the lab's user.
    #[must_use]
    pub fn as_root(mut self) -> Self {
        self.uid = 0;
        self
    }

    /// A hard limit other than [`LIMIT`].
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs to the end.
    #[track_caller]
    pub fn run(&self, argv: &[&str]) -> Output {
        let process = self.spawn(argv);
        self.finish(process)
    }

    /// Runs a script with `bash -ec`.
    #[track_caller]
    pub fn sh(&self, script: &str) -> Output {
        self.run(&["bash", "-ec", script])
    }

    /// Starts the command and returns at once.
    #[track_caller]
    pub fn spawn(&self, argv: &[&str]) -> Process {
        let mut command = self.command(argv);
        self.lab.machine().within(|| Process::spawn(&mut command, self.stdin.clone()))
    }

    /// The command as [`Self::spawn`] starts it, for a test that prepares more of the process.
    #[must_use]
    pub fn command(&self, argv: &[&str]) -> Command {
        let argv: Vec<OsString> = argv.iter().map(OsString::from).collect();
        let mut command =
            if self.firewalled { self.firewalled_command(&argv) } else { self.bare_command(&argv) };
        command.current_dir(&self.cwd);
        command
    }

    /// Waits for a process of [`Self::spawn`].
    #[track_caller]
    pub fn finish(&self, process: Process) -> Output {
        Output::new(process.finish(self.limit), self.audit.clone(), &self.flags)
    }

    /// Runs awf-bpf with these arguments alone (`gc`, `version` ...), as root on the machine.
    #[track_caller]
    pub fn subcommand(&self, args: &[&str]) -> Output {
        let mut command = self.outer_command();
        command.args(args).current_dir(&self.cwd);
        let process = self.lab.machine().within(|| Process::spawn(&mut command, self.stdin.clone()));
        self.finish(process)
    }

    /// Where this run's audit records are.
    #[must_use]
    pub fn audit_dir(&self) -> &PathBuf {
        &self.audit
    }

    fn outer_command(&self) -> Command {
        let mut command = match &self.cgroup {
            Some(procs) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", r#"echo 0 >"$0" && exec "$@""#]).arg(procs).arg(tools::awf_bpf());
                shell
            }
            None => Command::new(tools::awf_bpf()),
        };
        command.env_clear().env("PATH", PATH).env("HOME", "/root").env("TERM", "dumb").env("LANG", "C.UTF-8");
        command.envs(self.outer_env.iter().map(|(name, value)| (name, value)));
        command
    }

    fn firewalled_command(&self, argv: &[OsString]) -> Command {
        let mut command = self.outer_command();
        command.args(Some(self.verb).filter(|verb| !verb.is_empty())).arg("--audit-dir").arg(&self.audit);
        if self.dns {
            command.arg("--dns-servers").arg(format!("{},{}", hosts::DNS_V4, hosts::DNS_V6));
        }
        if self.own_root {
            for dir in ["bin", "etc"] {
                let dir = self.lab.dir().root().join(dir).display().to_string();
                command.args(["--mount", &format!("{dir}:{dir}:ro")]);
            }
        } else {
            command.args(["--chroot", "off"]);
        }
        command.args(&self.flags);
        for (name, value) in &self.env {
            let mut pair = name.clone();
            pair.push("=");
            pair.push(value);
            command.arg("-e").arg(pair);
        }
        command.arg("--").args(argv);
        command
    }

    fn bare_command(&self, argv: &[OsString]) -> Command {
        let mut command = Command::new(&argv[0]);
        let home = if self.uid == 0 { PathBuf::from("/root") } else { self.lab.dir().home() };
        command.args(&argv[1..]).uid(self.uid).gid(self.uid).env_clear();
        command.env("PATH", PATH).env("HOME", home).env("USER", machine::USER).env("LANG", "C.UTF-8");
        command.env("TMPDIR", self.lab.dir().tmp()).envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
}
