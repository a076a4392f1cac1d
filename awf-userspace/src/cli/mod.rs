//! The command line: words in, exit code out. One file a subcommand.
//!
//! The only place that prints; from the moment the command runs, its stdout is its own.

mod attach;
pub(crate) mod check;
mod doctor;
mod exec;
mod gc;
mod hook;
mod logging;
mod policy;
mod stdout;
mod usage;
mod version;

use std::{ffi::OsString, io::Write as _, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    config::{AttachArgs, ExecArgs},
    session::attach::{probe, unit},
};

/// The firewall could not be set up, nothing was run; usage errors of `exec`, too: the codes below are the
/// command's own, and 125 is what `env`, `timeout` and `docker run` use for "not the command's".
pub const EXIT_SETUP: u8 = 125;
/// `--fail-on-block`: the command succeeded, but something was blocked.
const EXIT_BLOCKED: u8 = 3;
/// Another subcommand failed.
const EXIT_FAILURE: u8 = 1;
/// A usage error of another subcommand.
const EXIT_USAGE: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  sudo awf-bpf exec --allow-domains example.com,*.example.org -- curl https://example.com/
  sudo awf-bpf -d github.com -- 'git pull && make test'      one word: a line for bash
  sudo awf-bpf -d db.example.com:5432 --env-all -- psql      a port of its own

Exit codes:
  the command's own; 128+N when signal N ended it; 124 when its time was up;
  125 the firewall could not be set up, nothing was run;
  126 the command is not executable; 127 it was not found;
  3 with --fail-on-block, when it succeeded but something was blocked";

/// Runs a command behind an eBPF-enforced egress firewall: what it reaches is decided by name.
///
/// `awf-bpf [FLAGS] -- CMD` is `awf-bpf exec [FLAGS] -- CMD`.
#[derive(Debug, Parser)]
#[command(name = "awf-bpf", version, after_help = EXAMPLES, max_term_width = 110)]
#[command(args_conflicts_with_subcommands = true, subcommand_value_name = "SUBCOMMAND")]
#[command(
    override_usage = "awf-bpf [exec] [FLAGS] -- CMD [ARGS]...\n       awf-bpf check [POLICY] [URL|HOST[:PORT]]...\n       awf-bpf doctor [--tls | --hook] [--json]\n       awf-bpf attach (--pid PID | --cgroup DIR | --unit NAME) [POLICY]\n       awf-bpf detach ID... | ps [--json]\n       awf-bpf policy allow|deny [--run ID] [--remove] ENTRY... | show | init | schema\n       awf-bpf hook install|uninstall|status ...\n       awf-bpf gc | version [--json]"
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    exec: ExecArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a command behind the firewall.
    #[command(visible_alias = "run", after_help = EXAMPLES)]
    #[command(override_usage = "awf-bpf exec [FLAGS] -- CMD [ARGS]...")]
    Exec(Box<ExecArgs>),
    /// Say whether a policy is valid, and what it would let through: no root, no network.
    ///
    /// Exit codes: 0 all is allowed, 1 something is denied, 2 the policy, a target or a record is invalid.
    Check(Box<check::CheckArgs>),
    /// Say whether awf-bpf works on this machine, and what to do where it does not.
    ///
    /// It loads and attaches the kernel programs, and tries what they must refuse. With --tls: which clients of this
    /// machine trust the CA of a run that intercepts TLS; with --hook: how steps can leave their job's cgroup. Exit codes:
    /// 0 all is well, 1 something is not, with what to do, 2 no run would begin, or nothing could be tried.
    Doctor(doctor::DoctorArgs),
    /// Put processes that run already behind the firewall; a daemon holds it up until `detach`.
    ///
    /// Prints the run's id on stdout. Exit codes: 0 attached, 125 not: everything is as it was, or the message says what is
    /// not.
    #[command(override_usage = "awf-bpf attach (--pid PID | --cgroup DIR | --unit NAME) [POLICY]")]
    Attach(Box<AttachArgs>),
    /// End attached runs: their processes live on, with the network that they had before.
    ///
    /// Exit codes: 0 ended, 1 something is left, 2 a usage error.
    Detach(attach::DetachArgs),
    /// List runs that go on. Where the daemon of an attached one is DEAD, its processes have no network.
    ///
    /// Exit codes: 0 listed, be it none, 1 not, 2 a usage error.
    Ps(attach::PsArgs),
    /// Change or show the rules of a run while it goes on; begin a configuration file.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Remove what killed runs left behind. Processes that were attached are left alone.
    ///
    /// Prints what it removed. Exit codes: 0 nothing is left, or only what lives, 1 something could not be removed, 2 a usage
    /// error.
    Gc,
    /// Put a self-hosted GitHub Actions runner's jobs behind the firewall.
    #[command(subcommand)]
    Hook(hook::HookCommand),
    /// Say which version this is.
    Version(version::VersionArgs),
}

/// Parses `argv`, program name first, and does what it says.
pub fn main(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    let argv: Vec<OsString> = argv.into_iter().collect();
    if let Some(code) = internal(&argv) {
        return code;
    }
    let cli = match Cli::try_parse_from(&argv) {
        Ok(cli) => cli,
        Err(error) => return usage::usage(error, &argv),
    };
    ExitCode::from(stdout::code(match cli.command {
        Some(Command::Exec(args)) => exec::exec(&args),
        None => exec::exec(&cli.exec),
        Some(Command::Check(args)) => check::check(&args),
        Some(Command::Doctor(args)) => doctor::doctor(&args),
        Some(Command::Attach(args)) => attach::attach(&args),
        Some(Command::Detach(args)) => attach::detach(&args),
        Some(Command::Ps(args)) => attach::ps(&args),
        Some(Command::Policy(command)) => policy::policy(&command),
        Some(Command::Gc) => gc::gc(),
        Some(Command::Hook(command)) => hook::hook(&command),
        Some(Command::Version(args)) => version::version(&args),
    }))
}

/// What awf-bpf starts itself as, for a daemon.
fn internal(argv: &[OsString]) -> Option<ExitCode> {
    let failed = |error: String| {
        complain(error);
        ExitCode::from(EXIT_SETUP)
    };
    match (argv.get(1)?.to_str()?, argv.get(2).and_then(|word| word.to_str())) {
        (probe::PROBE_ARG, None) => Some(probe::main().map_or_else(failed, |()| ExitCode::SUCCESS)),
        (unit::ADOPT_ARG, Some(pid)) => {
            Some(unit::adopt(pid).map_or_else(|e| failed(e.to_string()), |()| ExitCode::SUCCESS))
        }
        _ => None,
    }
}

/// Whether we are root; says it if we are not.
fn is_root(subcommand: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        complain(format_args!("awf-bpf {subcommand} takes root: sudo awf-bpf {subcommand}"));
    }
    root
}

/// One error on stderr.
fn complain(text: impl std::fmt::Display) {
    say(&format!("awf-bpf: error: {}\n", plain(&text.to_string())));
}

/// Text on stderr. Not `eprint!`: it panics when stderr cannot be written (a closed pipe, a socket), and the exit
/// code would be neither ours nor the command's.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Names in a message may be the command's words: none of them may steer the user's terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// The command of `argv` as `exec` gets it.
    fn exec_args(argv: &[&str]) -> ExecArgs {
        let cli = Cli::try_parse_from(argv).unwrap();
        match cli.command {
            Some(Command::Exec(args)) => *args,
            None => cli.exec,
            Some(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_three_forms_of_exec_are_one() {
        let bare = exec_args(&["awf-bpf", "-d", "x.test", "--", "curl", "-sS", "--", "gc"]);
        assert_eq!(bare.command, ["curl", "-sS", "--", "gc"]);
        assert_eq!(bare.policy.allow_domains, ["x.test"]);
        for name in ["exec", "run"] {
            let long = exec_args(&["awf-bpf", name, "-d", "x.test", "--", "curl", "-sS", "--", "gc"]);
            assert_eq!(format!("{long:?}"), format!("{bare:?}"));
        }
    }

    #[test]
    fn a_command_needs_its_dashes() {
        for argv in
            [&["awf-bpf", "curl"][..], &["awf-bpf", "exec", "curl"], &["awf-bpf", "exec", "-d", "x", "curl"]]
        {
            assert!(Cli::try_parse_from(argv).is_err(), "{argv:?}");
        }
    }

    #[test]
    fn messages_do_not_steer_the_terminal() {
        assert_eq!(plain("a\u{1b}]0;b\u{7}\u{9b}2J\r\n c"), "a?]0;b??2J?\n c");
    }

    #[test]
    fn other_subcommands_are_found() {
        let parsed = |argv: &[&str]| Cli::try_parse_from(argv).unwrap().command;
        assert!(matches!(parsed(&["awf-bpf", "gc"]), Some(Command::Gc)));
        assert!(matches!(parsed(&["awf-bpf", "version", "--json"]), Some(Command::Version(_))));
    }
}
