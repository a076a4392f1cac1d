//! `awf-bpf attach`, `awf-bpf detach` and `awf-bpf ps`.

use std::{fmt::Write as _, time::SystemTime};

use clap::{ArgGroup, Args};

use super::{
    EXIT_FAILURE, EXIT_SETUP, complain, is_root, logging, plain, say,
    stdout::{outln, put},
};
use crate::{
    config::{AttachArgs, AttachTo, LogLevel, resolve_attach},
    session::attach::{self, AttachPlan, Attached, OldSockets, RunInfo, Target},
};

/// The flags of `detach`.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("which").required(true).args(["ids", "all"]))]
pub(super) struct DetachArgs {
    /// The runs, as `ps` names them.
    #[arg(value_name = "ID")]
    ids: Vec<String>,

    /// Every attached run.
    #[arg(long)]
    all: bool,
}

/// The flags of `ps`.
#[derive(Args, Clone, Debug)]
pub(super) struct PsArgs {
    /// One JSON array on stdout.
    #[arg(long)]
    json: bool,
}

/// Attaches, and prints the run's id on stdout.
pub(super) fn attach(args: &AttachArgs) -> u8 {
    logging::start(if args.quiet { LogLevel::Error } else { args.log_level });
    let resolved = match resolve_attach(args, &args.read()) {
        Ok(resolved) => resolved,
        Err(errors) => {
            errors.0.iter().for_each(complain);
            return EXIT_SETUP;
        }
    };
    for notice in &resolved.notices {
        log::log!(notice.level, "{}", notice.text);
    }
    let target = match resolved.to {
        AttachTo::Pid(pid) => Target::Pid(pid),
        AttachTo::Cgroup(path) => Target::Cgroup(path),
        AttachTo::Unit(unit) => Target::Unit(unit),
    };
    let plan = AttachPlan {
        name_servers: resolved.name_servers,
        deadlines: resolved.deadlines,
        upstream_proxies: resolved.upstream_proxies,
        audit_dir: resolved.audit_dir,
        invoker: resolved.invoker,
        sockets: if resolved.keep_sockets { OldSockets::Keep } else { OldSockets::Cut },
        ..AttachPlan::new(target, resolved.policy)
    };
    match attach::start(plan) {
        Ok(attached) => {
            tell(&attached, args.quiet);
            outln!("{}", attached.id);
            0
        }
        Err(error) => {
            complain(&error);
            EXIT_SETUP
        }
    }
}

fn tell(attached: &Attached, quiet: bool) {
    if quiet {
        return;
    }
    let mut text = String::new();
    for note in &attached.notes {
        let _ = writeln!(text, "awf-bpf: warning: {}", plain(note));
    }
    for socket in &attached.old_sockets {
        let how = if socket.cut { "was cut" } else { "goes on past the firewall" };
        let (protocol, address, comm) = (&socket.protocol, &socket.address, &socket.comm);
        let line =
            format!("{protocol} {address} of {} {comm} is older than the firewall and {how}", socket.pid);
        let _ = writeln!(text, "awf-bpf: {}", plain(&line).replace('\n', "?"));
    }
    let (count, audit) = (attached.processes, plain(&attached.audit.display().to_string()));
    let who = if count == 1 { "process is" } else { "processes are" };
    let _ = writeln!(text, "awf-bpf: {count} {who} behind the firewall; audit record: {audit}");
    say(&text);
}

/// Ends runs; their processes have the network back.
pub(super) fn detach(args: &DetachArgs) -> u8 {
    logging::start(LogLevel::Info);
    if !is_root("detach") {
        return EXIT_FAILURE;
    }
    let ids = match attach::list() {
        Ok(runs) if args.all => runs.into_iter().filter(|run| run.attached).map(|run| run.id).collect(),
        Ok(_) => args.ids.clone(),
        Err(error) => {
            complain(error);
            return EXIT_FAILURE;
        }
    };
    let mut code = 0;
    for id in ids {
        match attach::detach(&id) {
            Ok(detached) => outln!("detached {}", detached.id),
            Err(error) => {
                complain(error);
                code = EXIT_FAILURE;
            }
        }
    }
    code
}

/// Lists runs.
pub(super) fn ps(args: &PsArgs) -> u8 {
    logging::start(LogLevel::Warn);
    if !is_root("ps") {
        return EXIT_FAILURE;
    }
    let runs = match attach::list() {
        Ok(runs) => runs,
        Err(error) => {
            complain(error);
            return EXIT_FAILURE;
        }
    };
    let text = if args.json { json(&runs) } else { table(&runs) };
    put(format_args!("{text}"));
    0
}

fn json(runs: &[RunInfo]) -> String {
    let since =
        |run: &RunInfo| run.since?.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs());
    let one = |run: &RunInfo| {
        let mut value = serde_json::to_value(run).unwrap_or_default();
        value["since"] = since(run).into();
        value
    };
    format!("{}\n", serde_json::Value::Array(runs.iter().map(one).collect()))
}

fn table(runs: &[RunInfo]) -> String {
    let count = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let mut rows =
        vec![["ID", "TARGET", "AGE", "PROCESSES", "ALLOWED", "DENIED", "DAEMON"].map(str::to_owned)];
    for run in runs {
        let daemon = match (run.alive, run.daemon) {
            (true, Some(pid)) => pid.to_string(),
            (true, None) => "alive".to_owned(),
            (false, _) => "DEAD: network refused".to_owned(),
        };
        rows.push([
            run.id.clone(),
            plain(&run.target),
            age(run.since),
            run.processes.to_string(),
            count(run.allowed),
            count(run.denied),
            daemon,
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..rows[0].len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}

fn age(since: Option<SystemTime>) -> String {
    let seconds = since.and_then(|since| since.elapsed().ok()).unwrap_or_default().as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
