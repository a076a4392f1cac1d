//! `awf-bpf doctor`.

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{EXIT_USAGE, complain, logging, plain, say, stdout::outln};
use crate::{
    config::{Chroot, LogLevel},
    doctor::{
        self, Options, Report, Row, Trial,
        health::{self, Finding, Level},
    },
    hook::{
        account::Account,
        escapes::{self, Escape, Way},
        install::{self, record},
    },
};

/// Some client does not work.
const EXIT_DEGRADED: u8 = 1;
/// Nothing could be tried.
const EXIT_UNUSABLE: u8 = 2;

/// The flags of `doctor`.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct DoctorArgs {
    /// Instead of the machine, try whether each client that is installed trusts the CA of a run with --tls on.
    #[arg(long)]
    tls: bool,

    /// Instead of the machine, look for ways by which the steps of a runner with hooks can leave their job's cgroup.
    #[arg(long, conflicts_with = "tls")]
    hook: bool,

    /// With --hook: the runner's directory; without it, every runner whose hooks are installed.
    #[arg(long, value_name = "DIR", requires = "hook")]
    runner_dir: Option<PathBuf>,

    /// Answer with one JSON object on stdout.
    #[arg(long)]
    json: bool,

    /// Only these; without any, every client that is known. One of two words is written 'node fetch'.
    #[arg(value_name = "CLIENT")]
    only: Vec<String>,

    /// As in exec: the files that the clients see.
    #[arg(long, value_name = "MODE", value_enum)]
    chroot: Option<Chroot>,

    /// As in exec: whom the clients run as.
    #[arg(long, value_name = "USER[:GROUP]")]
    user: Option<String>,
}

/// Prints the matrix.
pub(super) fn doctor(args: &DoctorArgs) -> u8 {
    logging::start(LogLevel::Warn);
    if args.hook {
        return ways_out(args);
    }
    if !args.tls {
        return machine(args);
    }
    let chroot = args.chroot.filter(|chroot| *chroot == Chroot::Off).map(|_| "--chroot=off".to_owned());
    let user = args.user.as_ref().map(|user| format!("--user={user}"));
    let options = Options { flags: chroot.into_iter().chain(user).collect(), only: args.only.clone() };
    let watched = std::io::stderr().is_terminal();
    let report = doctor::tls(&options, |client| {
        if watched {
            say(&format!("awf-bpf: trying {client}\n"));
        }
    });
    match report {
        Ok(report) => {
            if args.json {
                outln!("{}", serde_json::json!(report));
            } else {
                lines(&report).iter().for_each(|line| outln!("{}", plain(line)));
            }
            if report.ok { 0 } else { EXIT_DEGRADED }
        }
        Err(error) => {
            if args.json {
                outln!("{}", serde_json::json!({ "ok": false, "error": plain(&error.to_string()) }));
            }
            complain(&error);
            EXIT_UNUSABLE
        }
    }
}

/// Prints the ways out of a job.
fn ways_out(args: &DoctorArgs) -> u8 {
    let runners = match runners(args.runner_dir.as_deref()) {
        Ok(runners) if !runners.is_empty() => runners,
        other => {
            let why = other
                .err()
                .unwrap_or_else(|| "no hooks are installed: name the runner with --runner-dir".into());
            if args.json {
                outln!("{}", serde_json::json!({ "ok": false, "error": plain(&why) }));
            }
            complain(why);
            return EXIT_UNUSABLE;
        }
    };
    let looked: Vec<_> = runners
        .iter()
        .map(|(dir, account, binary)| (dir, account, escapes::look(account, Some(dir), binary)))
        .collect();
    let ok = looked.iter().flat_map(|(_, _, all)| all).all(|escape| escape.way == Way::Closed);
    if args.json {
        let one = |(dir, account, all): &(&PathBuf, &Account, Vec<Escape>)| serde_json::json!({ "runner_dir": dir, "user": account.name, "escapes": all });
        outln!("{}", serde_json::json!({ "ok": ok, "runners": looked.iter().map(one).collect::<Vec<_>>() }));
    } else {
        for (dir, account, all) in &looked {
            outln!("{}", plain(&format!("{} (user {})", dir.display(), account.name)));
            all.iter().flat_map(way_out).for_each(|line| outln!("{}", plain(&line)));
        }
    }
    if ok { 0 } else { EXIT_DEGRADED }
}

/// Directory, user, and what sudo runs for the hooks.
fn runners(dir: Option<&Path>) -> Result<Vec<(PathBuf, Account, PathBuf)>, String> {
    if !rustix::process::geteuid().is_root() {
        return Err(
            "what sudo and other users' processes allow is told to root: sudo awf-bpf doctor --hook".into()
        );
    }
    let records = record::all().map_err(|e| e.to_string())?;
    let Some(dir) = dir else {
        let known = |record: &record::Record| {
            let account = Account::find(&record.uid.to_string()).map_err(|e| e.to_string())?;
            Ok((record.runner_dir.clone(), account, record.binary.clone()))
        };
        return records.iter().map(known).collect();
    };
    let (dir, account) = install::runner(dir).map_err(|e| e.to_string())?;
    let on_record =
        records.iter().find(|record| record.runner_dir == dir).map(|record| record.binary.clone());
    let binary =
        on_record.map_or_else(|| std::fs::read_link("/proc/self/exe"), Ok).map_err(|e| e.to_string())?;
    Ok(vec![(dir, account, binary)])
}

fn way_out(escape: &Escape) -> Vec<String> {
    let way = match escape.way {
        Way::Closed => "closed",
        Way::Unknown => "unknown",
        Way::Open => "OPEN",
    };
    let first = format!("{way:7}  {}: {}", escape.name, escape.found);
    let remedy = escape.remedy.iter().map(|remedy| format!("         {remedy}"));
    std::iter::once(first).chain(remedy).collect()
}

/// Prints what was found of the machine.
fn machine(args: &DoctorArgs) -> u8 {
    if !args.only.is_empty() || args.chroot.is_some() || args.user.is_some() {
        complain("CLIENT, --chroot and --user are about clients: awf-bpf doctor --tls");
        return EXIT_USAGE;
    }
    let health = health::health();
    if args.json {
        outln!("{}", serde_json::json!(health));
    } else {
        health.findings.iter().flat_map(finding).for_each(|line| outln!("{}", plain(&line)));
    }
    match health.verdict {
        Level::Ok => 0,
        Level::Unknown | Level::Degraded => EXIT_DEGRADED,
        Level::Unusable => EXIT_UNUSABLE,
    }
}

fn finding(finding: &Finding) -> Vec<String> {
    let level = match finding.level {
        Level::Ok => "ok",
        Level::Unknown => "unknown",
        Level::Degraded => "degraded",
        Level::Unusable => "unusable",
    };
    let first = format!("{level:8}  {}: {}", finding.check, finding.found);
    let remedy = finding.remedy.iter().map(|remedy| format!("          {remedy}"));
    std::iter::once(first).chain(remedy).collect()
}

fn lines(report: &Report) -> Vec<String> {
    let widest = |of: fn(&Row) -> &str, title: &str| {
        report.clients.iter().map(|row| of(row).len()).chain([title.len()]).max().unwrap_or_default()
    };
    let (client, version) = (widest(|row| row.client, "client"), widest(|row| &row.version, "version"));
    let ipv4 = widest(|row| &row.ipv4.result, "IPv4");
    let line = |a: &str, b: &str, c: &str, d: &str| format!("{a:client$}  {b:version$}  {c:ipv4$}  {d}");
    let mut lines = vec![line("client", "version", "IPv4", "IPv6")];
    for row in &report.clients {
        lines.push(line(row.client, &row.version, &row.ipv4.result, &row.ipv6.result));
        lines.extend(remedies(row));
    }
    if !report.absent.is_empty() {
        lines.push(format!("not installed: {}", report.absent.join(", ")));
    }
    lines
}

/// One line each, or one for both if they are the same.
fn remedies(row: &Row) -> Vec<String> {
    let text = |trial: &Trial| {
        let alert = trial.tls_alert.as_ref().map(|alert| format!("({alert}) "));
        let detail = trial.detail.as_deref().unwrap_or("it gives no reason");
        (!trial.ok).then(|| format!("    {}{detail}", alert.unwrap_or_default()))
    };
    let mut lines: Vec<_> = [&row.ipv4, &row.ipv6].into_iter().filter_map(text).collect();
    lines.dedup();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_followed_by_its_remedy_once() {
        let failed = Trial {
            ok: false,
            result: "tls_untrusted".into(),
            tls_alert: Some("unknown_ca".into()),
            detail: Some("do this".into()),
        };
        let ok = Trial { ok: true, result: "ok".into(), ..Trial::default() };
        let row = |client, ipv4: &Trial, ipv6: &Trial| Row {
            client,
            version: "1.2".into(),
            ipv4: ipv4.clone(),
            ipv6: ipv6.clone(),
        };
        let clients = vec![row("curl", &failed, &failed), row("perl LWP", &ok, &ok)];
        let report = Report { ok: false, clients, absent: vec!["gh", "deno"] };
        assert_eq!(
            lines(&report),
            [
                "client    version  IPv4           IPv6",
                "curl      1.2      tls_untrusted  tls_untrusted",
                "    (unknown_ca) do this",
                "perl LWP  1.2      ok             ok",
                "not installed: gh, deno",
            ]
        );
    }
}
