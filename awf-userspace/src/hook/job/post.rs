//! The completed hook: ends what the steps left, and reports.
//!
//! It does not end the enforcement: a step can call it, too, and would be free. The Worker stays where it is until it ends,
//! a moment later, and its run ends with it.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    END, JOB, Outcome,
    context::{Context, ContextError, Key},
    is_of_hook, label, lock, policies, summary,
    tally::Tally,
    worker::{self, Worker, WorkerError},
    worker_of, workflow,
};
use crate::{
    cgroup::{self, CgroupError},
    session::attach::{self, AttachError, RunInfo},
};

/// How long a killed process may take to go.
const PATIENCE: Duration = Duration::from_secs(10);
/// One post-job at a time moves a Worker on: others would be among what is left.
const LOCK: &str = "hook-end.lock";
/// Longest line of a record; ours are shorter.
const LINE_MAX: u64 = 256 * 1024;

/// Why there is nothing to report.
#[derive(Debug, thiserror::Error)]
enum PostError {
    #[error(transparent)]
    Worker(#[from] WorkerError),
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error(transparent)]
    Attach(#[from] AttachError),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error("the job of this Worker is {own}, and the hook says that it is {said}; nothing was changed")]
    Other { own: String, said: String },
}

/// Ends and reports the job of the Worker above this process.
#[must_use]
pub fn post_job(sudo_uid: Option<&str>) -> Outcome {
    match report(sudo_uid) {
        Ok(lines) => Outcome { lines, failed: false },
        Err(e) => Outcome { lines: vec![workflow::annotation("error", &e.to_string())], failed: true },
    }
}

fn report(sudo_uid: Option<&str>) -> Result<Vec<String>, PostError> {
    let worker = Worker::find(sudo_uid)?;
    let context = Context::of(worker.caller())?;
    let is_own = |run: &RunInfo| worker_of(run) == Some((worker.process.tgid, worker.process.started));
    let Some(run) = attach::list()?.into_iter().find(|run| is_of_hook(run) && is_own(run)) else {
        let text = "no run of awf-bpf holds this job: its started hook has not run, or failed; there is nothing to report";
        return Ok(vec![workflow::annotation("warning", text)]);
    };
    same_job(&run, &context.key)?;
    let mut lines = Vec::new();
    if !run.alive {
        let text = "the firewall's daemon died during this job; from then on its steps had no network";
        lines.push(workflow::annotation("warning", text));
    }
    let ended = lock(LOCK)
        .map_err(|e| e.to_string())
        .and_then(|_one| end_leftovers(&worker, &run.cgroup).map_err(|e| e.to_string()));
    match ended {
        Ok(0) => {}
        Ok(killed) => {
            lines.push(workflow::line(&format!("{killed} processes that the steps left were ended")))
        }
        Err(e) => {
            lines.push(workflow::annotation("warning", &format!("what the steps left may still run: {e}")))
        }
    }
    let settings = policies::of_machine().map(|machine| machine.hook).unwrap_or_default();
    let Some(record) = &run.audit else { return Ok(lines) };
    let tally = match tally(record, &run.id) {
        Ok(tally) => tally,
        Err(e) => {
            lines.push(workflow::annotation("warning", &format!("the record cannot be read: {e}")));
            return Ok(lines);
        }
    };
    let (allowed, denied) = (tally.all.allowed, tally.all.denied);
    lines.push(format!("awf-bpf: {allowed} allowed, {denied} denied (run {})", run.id));
    lines.extend(warnings(&tally, settings.annotations));
    if settings.summary
        && let Some(path) = &context.summary
    {
        let shown = record.display().to_string();
        let written =
            summary::append(path, worker.uid, worker.gid, |room| summary::markdown(&tally, &shown, room));
        if let Err(e) = written {
            lines.push(workflow::line(&format!("No summary was written: {e}")));
        }
    }
    Ok(lines)
}

/// Of a job whose environment could not be read when it started nothing is known; its Worker says whose it is.
fn same_job(run: &RunInfo, key: &Key) -> Result<(), PostError> {
    let of = |name: &str| run.labels.get(name).map(String::as_str);
    let own = [of(label::RUN_ID), of(label::ATTEMPT), of(label::JOB)];
    let said = [&key.run_id, &key.attempt, &key.job].map(|text| Some(text.as_str()));
    if own == said || own == [None; 3] {
        return Ok(());
    }
    let shown = |parts: [Option<&str>; 3]| parts.map(|part| part.unwrap_or("?")).join("/");
    Err(PostError::Other { own: shown(own), said: shown(said) })
}

/// Kills all that the steps left: everything in the Worker's cgroup but the Worker, and what calls us. How many.
fn end_leftovers(worker: &Worker, agent: &Path) -> Result<usize, CgroupError> {
    let here = cgroup::of_process(worker.process.tgid)?;
    let name = here.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let last = name.strip_prefix(END).and_then(|number| number.parse::<u64>().ok());
    if here.parent() != Some(agent) || (name != JOB && last.is_none()) {
        let source = std::io::Error::other("the Worker is not in a cgroup of its run's");
        return Err(CgroupError::Open { path: here, source });
    }
    let next = make_next(agent, last)?;
    for (pid, _) in worker.between.iter().rev().filter(|(pid, started)| worker::lives(*pid, *started)) {
        cgroup::enter(&next, *pid)?;
    }
    cgroup::enter(&next, worker.process.tgid)?;
    // All the others, not only where the Worker was: a step may have called the hook, and stopped it half way.
    let mut left = 0;
    for entry in fs::read_dir(agent).into_iter().flatten().flatten() {
        let other = entry.path();
        if other != next && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            left += cgroup::members(&other, true)?.len();
            cgroup::kill(&other, PATIENCE)?;
            cgroup::remove_one(&other)?;
        }
    }
    Ok(left)
}

/// A step that calls the hook moves the Worker on, too, perhaps just now, and may be stopped in it: there is always a next one.
fn make_next(agent: &Path, last: Option<u64>) -> Result<PathBuf, CgroupError> {
    const TRIES: u64 = 1000;
    let mut number = last.unwrap_or(0);
    for _ in 0..TRIES {
        number = number.saturating_add(1);
        let path = agent.join(format!("{END}{number}"));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(CgroupError::Make { path, source }),
        }
    }
    let source = std::io::ErrorKind::AlreadyExists.into();
    Err(CgroupError::Make { path: agent.join(END), source })
}

fn tally(path: &Path, run: &str) -> std::io::Result<Tally> {
    let mut tally = Tally::of(run);
    let mut reader = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(tally);
        }
        tally.add(&line);
    }
}

/// What was refused most often, one warning each.
fn warnings(tally: &Tally, most: usize) -> Vec<String> {
    let rows = tally.refusals();
    let mut shown: Vec<_> = rows
        .iter()
        .map(|(refused, times)| {
            let port = refused.port.map_or(String::new(), |port| format!(":{port}"));
            let steps = times.steps.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            let programs = times.programs.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            let remedy = refused.entry().map_or(String::new(), |entry| format!("; to allow it: {entry}"));
            let (host, reason, count) = (&refused.host, refused.reason.replace('_', " "), times.count);
            let text =
                format!("denied {host}{port} ({reason}), {count} times, in {steps} by {programs}{remedy}");
            workflow::annotation("warning", &text.replace('\n', " "))
        })
        .take(most)
        .collect();
    if rows.len() > most && most > 0 {
        let more = rows.len() - most + 1;
        shown.truncate(most - 1);
        shown.push(workflow::annotation(
            "warning",
            &format!("and {more} more targets were denied; see the job's summary"),
        ));
    }
    shown
}
