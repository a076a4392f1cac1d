//! One process of a job, as `ProcessInvoker` starts it and waits for it: its own working directory and environment, stdin
//! closed, both outputs read for workflow commands, and 5 s for whoever still holds them when it has ended.

use std::{
    ffi::OsStr,
    fs::File,
    io::{BufRead as _, BufReader, PipeReader, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use harness::runner::commands::Said;

/// `ProcessInvoker`: how long outputs may stay open after the process's end.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a process ended.
pub(crate) struct Ended {
    pub(crate) exit: i32,
    pub(crate) said: Said,
    pub(crate) left_open: bool,
}

/// Runs `argv` to its end.
pub(crate) fn invoke(argv: &[&OsStr], cwd: &Path, env: &[(String, String)]) -> Ended {
    let (output, sender) = std::io::pipe().expect("make a pipe");
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]).current_dir(cwd).env_clear().envs(env.iter().map(|(k, v)| (k, v)));
    command.stdin(Stdio::null()).stdout(sender.try_clone().expect("copy the pipe")).stderr(sender);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => {
            let mut said = Said::default();
            said.line(&format!("starting {}: {e}", argv[0].display()));
            return Ended { exit: 127, said, left_open: false };
        }
    };
    // It holds the pipe's other end.
    drop(command);
    let (sender, heard) = mpsc::channel();
    let ended = sender.clone();
    let waiting = thread::spawn(move || {
        let status = child.wait().expect("wait for the process");
        let _ = ended.send(Heard::Ended);
        status
    });
    read(output, sender);
    let (said, left_open) = listen(&heard);
    let status = waiting.join().expect("the waiting thread");
    let exit = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
    Ended { exit, said, left_open }
}

/// What the Worker hears of a process.
enum Heard {
    Line(String),
    Closed,
    Ended,
}

fn read(pipe: PipeReader, sender: mpsc::Sender<Heard>) {
    thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
            let text = String::from_utf8_lossy(&line);
            if sender.send(Heard::Line(text.trim_end_matches(['\n', '\r']).to_owned())).is_err() {
                return;
            }
            line.clear();
        }
        let _ = sender.send(Heard::Closed);
    });
}

/// Everything said, and whether its end was not waited for.
fn listen(heard: &mpsc::Receiver<Heard>) -> (Said, bool) {
    let (mut said, mut closed, mut deadline) = (Said::default(), false, None::<Instant>);
    loop {
        let next = match deadline {
            None => heard.recv().map_err(|_| ()),
            Some(end) => heard.recv_timeout(end.saturating_duration_since(Instant::now())).map_err(|_| ()),
        };
        match next {
            Ok(Heard::Line(line)) => {
                // The test may wait for it.
                let _ = writeln!(std::io::stdout(), "{line}");
                said.line(&line);
            }
            Ok(Heard::Closed) => closed = true,
            Ok(Heard::Ended) => deadline = Some(Instant::now() + PATIENCE),
            Err(()) => return (said, !closed),
        }
        if closed && deadline.is_some() {
            return (said, false);
        }
    }
}

/// What a step wrote to the file of its summary.
pub(crate) fn take_summary(path: &Path, said: &mut Said) -> String {
    use std::io::Read as _;
    /// `CreateStepSummaryCommand.AttachmentSizeLimit`.
    const MAX: u64 = 1024 * 1024;
    let len = path.metadata().map_or(0, |meta| meta.len());
    if len > MAX {
        let max = MAX / 1024;
        said.line(&format!(
            "::error::$GITHUB_STEP_SUMMARY upload aborted, supports content up to a size of {max}k, got {}k.",
            len / 1024
        ));
        return String::new();
    }
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        let _ = file.take(MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
