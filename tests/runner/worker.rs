//! Runner.Worker: the started hook, the steps, their posts in reverse, the completed hook, and the end of orphans.

use std::{
    ffi::OsStr,
    fs,
    io::{Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use harness::runner::{
    Job, Kind, Step,
    transcript::{COMPLETED, Done, STARTED, Transcript},
};
use rustix::process::{Pid, Signal, kill_process};

use crate::invoke::{invoke, take_summary};

/// One job being worked at.
struct Worker {
    root: PathBuf,
    job: Job,
    /// What each process gets, before what is the step's own.
    env: Vec<(String, String)>,
    tracking: String,
    failed: bool,
    transcript: Transcript,
    files: u32,
}

/// Works at the job of the message in `path`.
pub(crate) fn run(own: &Path, path: &Path) -> ExitCode {
    let message = fs::read(path).expect("read the job's message");
    let job: Job = serde_json::from_slice(&message).expect("it is a job");
    let root = own.ancestors().nth(2).expect("ROOT/bin/Runner.Worker").to_owned();
    let mut worker = Worker::new(root, job);
    worker.work();
    let done = serde_json::to_vec(&worker.transcript).expect("a transcript is JSON");
    fs::write(path.with_extension("done"), done).expect("write the transcript");
    // The real one says by its code what became of the job (`TaskResultUtil`); nobody reads ours.
    ExitCode::SUCCESS
}

impl Worker {
    fn new(root: PathBuf, job: Job) -> Self {
        let tracking = format!("github_{}-{}", job.run_id, std::process::id());
        let work = root.join("_work");
        let text = |path: PathBuf| path.display().to_string();
        let mut env: Vec<(String, String)> = std::env::vars().collect();
        let own = [
            ("CI", "true".into()),
            ("GITHUB_ACTIONS", "true".into()),
            ("GITHUB_ACTOR", "octocat".into()),
            ("GITHUB_API_URL", job.api_url.clone()),
            ("GITHUB_EVENT_NAME", "push".into()),
            ("GITHUB_JOB", job.job.clone()),
            ("GITHUB_REF", "refs/heads/main".into()),
            ("GITHUB_REPOSITORY", "p/p".into()),
            ("GITHUB_RUN_ATTEMPT", job.run_attempt.clone()),
            ("GITHUB_RUN_ID", job.run_id.clone()),
            ("GITHUB_SERVER_URL", job.server_url.clone()),
            ("GITHUB_WORKFLOW", "CI".into()),
            ("GITHUB_WORKSPACE", text(work.join("p/p"))),
            ("RUNNER_NAME", "test".into()),
            ("RUNNER_OS", "Linux".into()),
            ("RUNNER_TEMP", text(work.join("_temp"))),
            ("RUNNER_TOOL_CACHE", text(work.join("_tool"))),
            ("RUNNER_TRACKING_ID", tracking.clone()),
            ("RUNNER_WORKSPACE", text(work.join("p"))),
        ];
        env.extend(own.map(|(name, value)| (name.to_owned(), value)));
        env.extend(job.env.iter().cloned());
        let transcript = Transcript { worker: std::process::id(), ..Transcript::default() };
        Self { root, job, env, tracking, failed: false, transcript, files: 0 }
    }

    fn work(&mut self) {
        self.hook("ACTIONS_RUNNER_HOOK_JOB_STARTED", STARTED);
        let mut posts = Vec::new();
        for step in self.job.steps.clone() {
            if self.failed && !step.always {
                let done = Done { name: step.action.clone(), exit: -1, ..Done::default() };
                self.transcript.steps.push(done);
                continue;
            }
            self.step(&step);
            if let Some(script) = step.post {
                posts.push(Step::new(&step.action, step.kind, &script));
            }
        }
        while let Some(post) = posts.pop() {
            self.step(&post);
        }
        self.hook("ACTIONS_RUNNER_HOOK_JOB_COMPLETED", COMPLETED);
        self.end_orphans();
    }

    /// `JobHookProvider`: on the host, in the workspace, with nothing of the workflow's environment.
    fn hook(&mut self, variable: &str, name: &str) {
        let Some((_, script)) = self.env.iter().find(|(key, _)| key == variable).cloned() else { return };
        let argv = ["bash", "-e", &script].map(OsStr::new);
        self.execute(name, &argv, Vec::new());
    }

    fn step(&mut self, step: &Step) {
        let mut env = vec![("GITHUB_ACTION".to_owned(), step.action.clone())];
        if step.kind == Kind::Worker {
            return self.ask(step);
        }
        if step.kind == Kind::Node {
            let file = self.file("_work/_actions", "js", &step.script);
            let argv = [OsStr::new("/usr/bin/node"), file.as_os_str()];
            return self.execute(&step.action, &argv, env);
        }
        if step.kind == Kind::Composite {
            let dir = self.root.join("_work/_actions").display().to_string();
            env.push(("GITHUB_ACTION_PATH".into(), dir));
        }
        let file = self.file("_work/_temp", "sh", &step.script);
        let argv = [OsStr::new("/usr/bin/bash"), OsStr::new("-e"), file.as_os_str()];
        self.execute(&step.action, &argv, env);
    }

    fn execute(&mut self, name: &str, argv: &[&OsStr], own: Vec<(String, String)>) {
        let summary = self.file("_work/_temp/_runner_file_commands", "summary", "");
        let mut env = self.env.clone();
        for file in ["ENV", "PATH", "OUTPUT", "STATE"] {
            let path = self.file("_work/_temp/_runner_file_commands", file, "");
            env.push((format!("GITHUB_{file}"), path.display().to_string()));
        }
        env.push(("GITHUB_STEP_SUMMARY".into(), summary.display().to_string()));
        env.extend(own);
        let workspace = self.root.join("_work/p/p");
        let ended = invoke(argv, &workspace, &env);
        let mut said = ended.said;
        let summary = take_summary(&summary, &mut said);
        self.failed |= ended.exit != 0;
        let (name, left_open) = (name.to_owned(), ended.left_open);
        self.transcript.steps.push(Done {
            name,
            exit: ended.exit,
            said,
            summary,
            left_open,
            got: String::new(),
        });
    }

    fn file(&mut self, dir: &str, extension: &str, content: &str) -> PathBuf {
        self.files += 1;
        // The real names are random UUIDs.
        let name = format!("{:08x}-0000-4000-8000-{:012x}.{extension}", std::process::id(), self.files);
        let path = self.root.join(dir).join(name);
        fs::write(&path, content).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
        path
    }

    /// The Worker's own traffic: its sockets are this process's, no child's.
    fn ask(&mut self, step: &Step) {
        let got = get(&step.script).unwrap_or_else(|e| format!("error: {e}"));
        let (name, exit) = (step.action.clone(), 0);
        self.transcript.steps.push(Done { name, exit, got, ..Done::default() });
    }

    /// `JobExtension.FinalizeJob`: whatever still has the job's tracking id in its environment.
    fn end_orphans(&mut self) {
        let wanted = format!("RUNNER_TRACKING_ID={}", self.tracking);
        let entries = fs::read_dir("/proc").expect("read /proc").flatten();
        let own = std::process::id().cast_signed();
        for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            if pid == own || !environ.split(|byte| *byte == 0).any(|one| one == wanted.as_bytes()) {
                continue;
            }
            self.transcript.orphans.push(pid);
            let pid = Pid::from_raw(pid).expect("a pid is positive");
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// One request, and what came back.
fn get(url: &str) -> std::io::Result<String> {
    const PATIENCE: Duration = Duration::from_secs(20);
    let rest = url.strip_prefix("http://").expect("the URL is of http");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut last = std::io::Error::other("the name has no address");
    for address in (host, 80).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer)?;
                return Ok(String::from_utf8_lossy(&answer).into_owned());
            }
            Err(e) => last = e,
        }
    }
    Err(last)
}
