//! `awf-bpf hook`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{EXIT_FAILURE, EXIT_SETUP, complain, logging, plain, stdout::outln};
use crate::{
    config::LogLevel,
    hook::{
        install::{
            self, InstallError, Options, Outcome,
            piece::Role,
            status::{self, Condition, Status},
        },
        job,
    },
};

/// The verbs of `hook`.
#[derive(Debug, Subcommand)]
pub(super) enum HookCommand {
    /// Have a self-hosted GitHub Actions runner call awf-bpf before and after each job.
    ///
    /// What it changes is printed, recorded in /etc/awf-bpf/installed and undone by `hook uninstall`.
    /// docs/runner-install.md names it all. Exit codes: 0 it is installed, 1 it is not, and nothing was changed.
    Install(InstallArgs),
    /// Undo what `hook install` did, and nothing else.
    ///
    /// What somebody changed since is left alone, and named. Exit codes: 0 it is undone, 1 it is not.
    Uninstall(UninstallArgs),
    /// Say whether what was installed is still there, and whether the runner knows of it.
    ///
    /// Exit codes: 0 all is there, 1 something is not, or nothing is installed.
    Status(StatusArgs),
    /// What the runner calls before a job, as root: hold its steps to the policy.
    ///
    /// Takes no words: what it goes by is in /etc/awf-bpf, and in the processes that called it. Exit codes: 0 the job is held,
    /// 125 it is not as it should be (the steps have no network, and an ::error:: says why).
    PreJob,
    /// What the runner calls after a job, as root: end what the steps left, and report.
    ///
    /// Exit codes: 0 done, or there was nothing to do; 125 not, and an ::error:: says why.
    PostJob,
}

/// The flags of `hook install`.
#[derive(Args, Clone, Debug)]
pub(super) struct InstallArgs {
    /// The runner's directory, with config.sh and run.sh in it.
    #[arg(long, value_name = "DIR")]
    runner_dir: PathBuf,

    /// The runner's systemd service; the one in DIR/.service unless given.
    #[arg(long, value_name = "NAME.service")]
    unit: Option<String>,

    /// Have sudo refuse the runner's user everything but the two hooks: root can leave a job's cgroup.
    #[arg(long)]
    disable_sudo: bool,

    /// Give the runner's .env and directory to root: a job could take the hooks out of .env for the next one.
    #[arg(long)]
    protect_env: bool,

    /// Install for a runner that runs as root, whose jobs nothing can hold.
    #[arg(long)]
    allow_root_runner: bool,

    /// Only say what would be changed.
    #[arg(long)]
    dry_run: bool,
}

/// The flags of `hook uninstall`.
#[derive(Args, Clone, Debug)]
pub(super) struct UninstallArgs {
    /// The runner's directory, as it was given to `hook install`.
    #[arg(long, value_name = "DIR")]
    runner_dir: PathBuf,
}

/// The flags of `hook status`.
#[derive(Args, Clone, Debug)]
pub(super) struct StatusArgs {
    /// Only this runner; without it, every one that is installed.
    #[arg(long, value_name = "DIR")]
    runner_dir: Option<PathBuf>,

    /// Answer with one JSON object on stdout.
    #[arg(long)]
    json: bool,
}

/// Does what the words say.
pub(super) fn hook(command: &HookCommand) -> u8 {
    logging::start(LogLevel::Warn);
    match command {
        HookCommand::Install(args) => {
            let options = Options {
                unit: args.unit.clone(),
                disable_sudo: args.disable_sudo,
                protect_env: args.protect_env,
                allow_root_runner: args.allow_root_runner,
            };
            told(install::install(&args.runner_dir, &options, args.dry_run))
        }
        HookCommand::Uninstall(args) => told(install::uninstall(&args.runner_dir)),
        HookCommand::Status(args) => show(args),
        HookCommand::PreJob => {
            job::leave_the_caller();
            let (outcome, last) = job::pre_job(sudo_uid().as_deref());
            let code = report(&outcome);
            if let Some(last) = last {
                last.take();
            }
            code
        }
        HookCommand::PostJob => {
            job::leave_the_caller();
            report(&job::post_job(sudo_uid().as_deref()))
        }
    }
}

/// Who called sudo; the variable is sudo's own.
fn sudo_uid() -> Option<String> {
    std::env::var("SUDO_UID").ok()
}

/// Lines for the runner, whole and at once. That nobody reads them any more changes nothing.
fn report(outcome: &job::Outcome) -> u8 {
    use std::io::Write as _;
    let mut text = outcome.lines.join("\n");
    text.push('\n');
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    if outcome.failed { EXIT_SETUP } else { 0 }
}

fn told(result: Result<Outcome, InstallError>) -> u8 {
    match result {
        Ok(Outcome { changes, notes }) => {
            changes.iter().for_each(|line| outln!("{}", plain(line)));
            if changes.is_empty() {
                outln!("nothing to change");
            }
            notes.iter().for_each(|line| outln!("note: {}", plain(line)));
            0
        }
        Err(InstallError::Refused(refusals)) => {
            refusals.iter().for_each(complain);
            EXIT_FAILURE
        }
        Err(error) => {
            complain(&error);
            EXIT_FAILURE
        }
    }
}

fn show(args: &StatusArgs) -> u8 {
    let all = match status::status(args.runner_dir.as_deref()) {
        Ok(all) => all,
        Err(error) => {
            if args.json {
                outln!("{}", serde_json::json!({ "ok": false, "error": plain(&error.to_string()) }));
            }
            complain(&error);
            return EXIT_FAILURE;
        }
    };
    let ok = !all.is_empty() && all.iter().all(|status| status.ok);
    if args.json {
        outln!("{}", serde_json::json!({ "ok": ok, "runners": all }));
    } else if all.is_empty() {
        outln!("no hooks are installed");
    } else {
        all.iter().flat_map(lines).for_each(|line| outln!("{}", plain(&line)));
    }
    if ok { 0 } else { EXIT_FAILURE }
}

fn lines(status: &Status) -> Vec<String> {
    let unit = status.unit.as_deref().unwrap_or("no service");
    let mut lines = vec![format!("{} (user {}, {unit})", status.runner_dir.display(), status.user)];
    let mut line = |good: bool, text: String| {
        lines.push(format!("  {:8} {text}", if good { "ok" } else { "not ok" }));
    };
    if status.half_done {
        line(false, "an install or uninstall was killed: the next one undoes it".into());
    }
    for piece in &status.pieces {
        let (good, what) = match piece.condition {
            Condition::Ok => (true, ""),
            Condition::Changed => (piece.role == Role::Policy, ", changed since it was made"),
            Condition::Missing => (false, ", missing"),
        };
        line(good, format!("{} ({}{what})", piece.path.display(), piece.role.name()));
    }
    line(status.hooks_allowed, "sudo lets the runner's user call the hooks".into());
    match &status.sudo_beyond {
        Some(all) if all.is_empty() => line(true, "and nothing else".into()),
        Some(all) => {
            line(false, format!("and this, too, by which a job can leave its cgroup: {}", all.join("; ")))
        }
        None => line(false, "what else it lets it call is not known".into()),
    }
    match status.restart_needed {
        Some(true) => {
            line(false, "the runner began before its .env was changed: restart it when no job runs".into())
        }
        Some(false) => line(true, "the runner has read its .env since".into()),
        None => line(true, "no runner runs from this directory now".into()),
    }
    lines
}
