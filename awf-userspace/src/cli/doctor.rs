//! `awf-bpf doctor`.

use std::io::IsTerminal as _;

use clap::Args;

use super::{EXIT_USAGE, complain, logging, plain, say};
use crate::{
    config::{Chroot, LogLevel},
    doctor::{self, Options, Report, Row, Trial},
};

/// Some client does not work.
const EXIT_DEGRADED: u8 = 1;
/// Nothing could be tried.
const EXIT_UNUSABLE: u8 = 2;

/// The flags of `doctor`.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct DoctorArgs {
    /// Try whether each client that is installed trusts the CA of a run with --tls on.
    #[arg(long)]
    tls: bool,

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
    if !args.tls {
        complain("doctor looks at one thing so far: awf-bpf doctor --tls");
        return EXIT_USAGE;
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
                println!("{}", serde_json::json!(report));
            } else {
                lines(&report).iter().for_each(|line| println!("{}", plain(line)));
            }
            if report.ok { 0 } else { EXIT_DEGRADED }
        }
        Err(error) => {
            if args.json {
                println!("{}", serde_json::json!({ "ok": false, "error": plain(&error.to_string()) }));
            }
            complain(&error);
            EXIT_UNUSABLE
        }
    }
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
