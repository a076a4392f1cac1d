//! Runner.Listener: loads `.env`, and starts a Worker for each job.

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
};

/// Works at the jobs, one after another.
pub(crate) fn run(own: &Path, jobs: &[String]) -> ExitCode {
    let root = own.ancestors().nth(2).expect("ROOT/bin/Runner.Listener");
    let env = fs::read_to_string(root.join(".env")).unwrap_or_default();
    for job in jobs {
        let mut worker = Command::new(own.with_file_name("Runner.Worker"));
        worker.args(["spawnclient", job]).current_dir(root.join("bin"));
        worker.envs(env.lines().filter_map(|line| line.split_once('=')));
        let status = worker.status().expect("start the Worker");
        println!("Listener: {job} completed: {status}");
    }
    ExitCode::SUCCESS
}
