//! A self-hosted runner of GitHub Actions on the lab's machine: a stand-in that does to processes what the real one does.
//!
//! The Listener and the Worker are copies of one program of this package, named as the real ones are, which matters to
//! whoever asks /proc for them. What is not here is what reaches no process: messages of the server, uploads, expressions.

pub mod commands;
pub mod job;
pub mod transcript;

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

pub use job::{Job, Kind, Step};
pub use transcript::{Done, Transcript};

use crate::{
    Lab, Process, cgroup, machine,
    tools::{self, PATH},
    workdir::UID,
};

/// A job takes as long as its steps, and each of ours a debug build's time.
const LIMIT: Duration = Duration::from_secs(120);

/// An installed runner, in a service's cgroup of its own.
#[derive(Debug)]
pub struct Runner<'lab> {
    lab: &'lab Lab,
    dir: PathBuf,
    service: ServiceCgroup,
}

/// Jobs that a Listener is working at.
#[derive(Debug)]
pub struct Running {
    process: Process,
    transcripts: Vec<PathBuf>,
}

impl<'lab> Runner<'lab> {
    /// A runner in its user's HOME, without hooks.
    ///
    /// # Panics
    /// Without cgroup v2, or if it is there already.
    #[must_use]
    pub fn new(lab: &'lab Lab, name: &str) -> Self {
        let runner = Self { lab, dir: lab.dir().home().join(name), service: ServiceCgroup::new() };
        for dir in ["bin", "_work/p/p", "_work/_temp/_runner_file_commands", "_work/_actions", "_work/_tool"]
        {
            runner.make_dir(dir);
        }
        for program in ["Runner.Listener", "Runner.Worker"] {
            let to = runner.dir.join("bin").join(program);
            let mut install = Command::new(tools::require("install"));
            let uid = UID.to_string();
            tools::succeed(install.args(["-m", "755", "-o", &uid, "-g", &uid]).arg(program_file()).arg(to));
        }
        runner.write(".env", "LANG=C.UTF-8\n");
        runner
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    #[must_use]
    pub fn workspace(&self) -> PathBuf {
        self.dir.join("_work/p/p")
    }

    /// The cgroup that its service would have.
    #[must_use]
    pub fn service(&self) -> &Path {
        &self.service.0
    }

    /// A file of the runner's user's, below the runner's directory.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.join(name);
        self.make_dir(Path::new(name).parent().and_then(Path::to_str).unwrap_or(""));
        fs::write(&path, content).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
        chown(&path, Some(UID), Some(UID)).expect("give it to the user");
        path
    }

    /// Names the hooks in the runner's `.env`.
    pub fn hook(&self, started: &Path, completed: &Path) {
        let (started, completed) = (started.display(), completed.display());
        self.write(
            ".env",
            format!(
                "LANG=C.UTF-8\nACTIONS_RUNNER_HOOK_JOB_STARTED={started}\nACTIONS_RUNNER_HOOK_JOB_COMPLETED={completed}\n"
            ),
        );
    }

    /// Works at one job to its end.
    #[track_caller]
    pub fn run(&self, job: &Job) -> Transcript {
        self.start(std::slice::from_ref(job)).finish().remove(0)
    }

    /// Starts the Listener as the service would, with these jobs waiting for it.
    #[track_caller]
    #[must_use]
    pub fn start(&self, jobs: &[Job]) -> Running {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mut argv = vec!["run".to_owned()];
        let mut transcripts = Vec::new();
        for job in jobs {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let message = serde_json::to_string(job).expect("a job is JSON");
            let path = self.write(&format!("_diag/job-{number}.json"), message);
            argv.push(path.display().to_string());
            transcripts.push(path.with_extension("done"));
        }
        // The cgroup is the service manager's to give, so that root enters it and only then becomes the user.
        let script =
            r#"echo 0 >"$0/cgroup.procs" && exec setpriv --reuid "$1" --regid "$1" --clear-groups "${@:2}""#;
        let mut command = Command::new(tools::require("bash"));
        command.args(["-c", script]).arg(self.service()).arg(UID.to_string());
        command.arg(self.dir.join("bin/Runner.Listener")).args(argv).current_dir(&self.dir).env_clear();
        command.env("PATH", PATH).env("HOME", self.lab.dir().home()).env("USER", machine::USER);
        let process = self.lab.machine().within(|| Process::spawn(&mut command, Vec::new()));
        Running { process, transcripts }
    }

    fn make_dir(&self, name: &str) {
        let (home, dir) = (self.lab.dir().home(), self.dir.join(name));
        fs::create_dir_all(&dir).expect("make a directory");
        for dir in dir.ancestors().take_while(|dir| *dir != home) {
            chown(dir, Some(UID), Some(UID)).expect("give it to the user");
        }
    }
}

impl Running {
    /// Waits until the log of the running step shows `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        self.process.wait_for_stdout(text, LIMIT)
    }

    /// The Listener.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// As [`Self::finish`], of the last job alone: the Workers of others may have been killed.
    #[track_caller]
    #[must_use]
    pub fn finish_last(mut self) -> Transcript {
        let others = self.transcripts.len() - 1;
        self.transcripts.drain(..others);
        self.finish().remove(0)
    }

    /// Waits for the end of the only job; `None`: its Worker was killed.
    ///
    /// # Panics
    /// If there is another number of jobs.
    #[track_caller]
    #[must_use]
    pub fn finish_any(self) -> Option<Transcript> {
        let Self { process, transcripts } = self;
        let [path] = &transcripts[..] else { panic!("{transcripts:?}") };
        process.finish(LIMIT);
        fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok())
    }

    /// Waits for the end of the last job.
    #[track_caller]
    pub fn finish(self) -> Vec<Transcript> {
        let Self { process, transcripts } = self;
        let ended = process.finish(LIMIT);
        let said = || {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            format!("--- stdout\n{}\n--- stderr\n{}", text(&ended.stdout), text(&ended.stderr))
        };
        assert!(ended.status.success(), "the Listener: {}\n{}", ended.status, said());
        let read = |path: &PathBuf| {
            let text = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}\n{}", path.display(), said()));
            serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        };
        transcripts.iter().map(read).collect()
    }
}

/// The stand-in, beside the tests that run.
fn program_file() -> PathBuf {
    let own = std::env::current_exe().expect("this test has a path");
    let target = own.ancestors().nth(2).expect("target/debug/deps/test");
    let program = target.join("runner");
    assert!(program.is_file(), "{} is not built: cargo build -p awf-tests", program.display());
    program
}

/// What systemd gives to a service with `Delegate=yes`: a cgroup that is its user's (systemd.resource-control(5)).
/// Removed when dropped.
#[derive(Debug)]
struct ServiceCgroup(PathBuf);

impl ServiceCgroup {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let root = cgroup::root().expect("find cgroup v2");
        let dir = root.join(format!("actions.runner.test-{}-{number}.service", std::process::id()));
        fs::create_dir(&dir).unwrap_or_else(|e| panic!("make {}: {e}", dir.display()));
        for name in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
            let path = if name.is_empty() { dir.clone() } else { dir.join(name) };
            chown(&path, Some(UID), Some(UID))
                .unwrap_or_else(|e| panic!("give {} away: {e}", path.display()));
        }
        Self(dir)
    }
}

impl Drop for ServiceCgroup {
    fn drop(&mut self) {
        cgroup::end(&self.0);
    }
}

/// What is in the service's cgroup below it.
#[must_use]
pub fn cgroups_below(dir: &Path) -> Vec<PathBuf> {
    cgroup::below(dir)
}

/// Lets `path` be executed.
pub fn executable(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("let it run");
}
