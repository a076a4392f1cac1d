//! `awf-bpf attach`: from what was typed to what is to be attached. The policy and the network are `exec`'s; of a
//! sandbox there is none.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::{
    ConfigError, ConfigErrors, Deadlines, ExecArgs, HookSettings, Inputs, LogLevel, Notice, PolicyArgs,
    TlsMode, file, name_servers, outbound_args::OutboundArgs, rules, upstream,
};
use crate::{audit::Invoker, policy::Policy, resolve::NameServer, upstream_proxy::UpstreamProxies};

/// The flags of `attach`.
#[derive(Args, Clone, Debug, Default)]
#[command(group = ArgGroup::new("target").required(true).args(["pid", "cgroup", "unit"]))]
pub struct AttachArgs {
    /// A process and its descendants. They are moved to a cgroup of their own, and back by `detach`.
    #[arg(long, value_name = "PID", value_parser = pid, help_heading = "Target")]
    pub pid: Option<u32>,

    /// All that is in a cgroup (v2), now and later: /sys/fs/cgroup/system.slice/x.service.
    #[arg(long, value_name = "DIR", help_heading = "Target")]
    pub cgroup: Option<PathBuf>,

    /// All that a unit of systemd runs: x.service.
    #[arg(long, value_name = "NAME", help_heading = "Target")]
    pub unit: Option<String>,

    #[command(flatten)]
    pub policy: PolicyArgs,

    #[command(flatten)]
    pub outbound: OutboundArgs,

    /// Let sockets go on that the processes had before. What they send and receive passes the firewall by.
    #[arg(long, help_heading = "Target")]
    pub keep_sockets: bool,

    /// How much is said on stderr, and in the daemon's log.
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t, help_heading = "Output")]
    pub log_level: LogLevel,

    /// Where audit.jsonl and the daemon's log (awf-bpf.log) are written. Default: /var/log/awf-bpf/ID.
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub audit_dir: Option<PathBuf>,

    /// Print the run's id alone, and errors.
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,

    /// Only exec has it.
    #[arg(long, value_enum, hide = true)]
    pub tls: Option<TlsMode>,

    /// Only exec has it.
    #[arg(long, hide = true)]
    pub ssl_bump: bool,
}

/// Whom to attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttachTo {
    Pid(u32),
    Cgroup(PathBuf),
    Unit(String),
}

/// What was typed, understood.
#[derive(Clone, Debug)]
pub struct ResolvedAttach {
    pub to: AttachTo,
    pub policy: Policy,
    /// `None` is the host's own configuration.
    pub name_servers: Option<Vec<NameServer>>,
    pub deadlines: Deadlines,
    pub upstream_proxies: UpstreamProxies,
    pub audit_dir: Option<PathBuf>,
    /// Who called sudo.
    pub invoker: Option<Invoker>,
    pub keep_sockets: bool,
    pub hook: HookSettings,
    pub notices: Vec<Notice>,
}

/// The number of a process.
fn pid(text: &str) -> Result<u32, &'static str> {
    text.parse()
        .ok()
        .filter(|pid| *pid > 0)
        .ok_or("write the number of a process, as `ps` and `pgrep` print it")
}

impl AttachArgs {
    /// The same words as `exec`'s.
    fn as_exec(&self) -> ExecArgs {
        ExecArgs { policy: self.policy.clone(), outbound: self.outbound.clone(), ..ExecArgs::default() }
    }

    /// Reads what they name.
    #[must_use]
    pub fn read(&self) -> Inputs {
        Inputs::read(&self.as_exec())
    }
}

/// Makes a plan of what was typed.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn resolve_attach(args: &AttachArgs, inputs: &Inputs) -> Result<ResolvedAttach, ConfigErrors> {
    let (mut errors, mut notices) = (Vec::new(), Vec::new());
    let mut config = file::load(&args.policy, inputs, &mut errors);
    errors.extend(file::check_unstarted(&mut config, inputs));
    let exec = file::merged(&args.as_exec(), &config);
    let policy = rules::policy(&exec.policy, &config, inputs, &mut errors);
    notices.extend(rules::notices(&policy, "what is attached has"));
    for (flag, given) in
        [("--tls", args.tls.is_some_and(|mode| mode != TlsMode::Off)), ("--ssl-bump", args.ssl_bump)]
    {
        if given {
            errors.push(ConfigError::AttachTls { what: flag.to_owned() });
        }
    }
    if let Some(mode) = config.one("tls.mode").filter(|mode| mode.text != "off") {
        let what = format!("{}:{}: [tls] mode = {:?}", config.path.display(), mode.line, mode.text);
        errors.push(ConfigError::AttachTls { what });
    }
    if let Some(rule) = policy.secure_url_rule() {
        errors.push(ConfigError::AttachTls { what: format!("{}: {:?}", rule.place(), rule.text()) });
    }
    let id_of = |name: &str| inputs.var(name).and_then(|value| value.to_str()?.parse().ok());
    let resolved = ResolvedAttach {
        to: match (args.pid, &args.cgroup, &args.unit) {
            (Some(pid), ..) => AttachTo::Pid(pid),
            (None, Some(path), _) => AttachTo::Cgroup(path.clone()),
            (None, None, unit) => AttachTo::Unit(unit.clone().unwrap_or_default()),
        },
        policy,
        name_servers: name_servers::servers(&exec, &config, &mut errors),
        deadlines: Deadlines::read(&exec.outbound.deadline, &mut errors),
        upstream_proxies: upstream::proxies(&exec, inputs, &mut errors, &mut notices),
        audit_dir: args.audit_dir.as_ref().or(exec.audit_dir.as_ref()).cloned(),
        invoker: id_of("SUDO_UID").zip(id_of("SUDO_GID")).map(|(uid, gid)| Invoker { uid, gid }),
        keep_sockets: args.keep_sockets || config.is("attach.keep_sockets").unwrap_or_default(),
        hook: HookSettings::of(&config),
        notices: Vec::new(),
    };
    if errors.is_empty() { Ok(ResolvedAttach { notices, ..resolved }) } else { Err(ConfigErrors(errors)) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: AttachArgs,
    }

    fn resolved(words: &[&str]) -> Result<ResolvedAttach, Vec<String>> {
        let words = [&["attach"], words].concat();
        let args = Cli::try_parse_from(words).map_err(|e| vec![e.to_string()])?.args;
        resolve_attach(&args, &Inputs::default())
            .map_err(|errors| errors.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn one_target_and_no_more() {
        assert_eq!(resolved(&["--pid", "7"]).unwrap().to, AttachTo::Pid(7));
        let notices = resolved(&["--pid", "7"]).unwrap().notices;
        assert!(
            notices[0].text.starts_with("nothing is allowed: what is attached has no network"),
            "{notices:?}"
        );
        assert_eq!(resolved(&["--unit", "x.service"]).unwrap().to, AttachTo::Unit("x.service".into()));
        for wrong in [&["--pid", "0"][..], &["--pid", "x"], &[], &["--pid", "7", "--unit", "x"]] {
            assert!(resolved(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_tables_of_a_file_are_read_and_tls_is_refused_there_too() {
        let of = |text: &'static str| {
            let path = PathBuf::from("/x/policy.toml");
            let policy = PolicyArgs { config: Some(path.clone()), ..PolicyArgs::default() };
            let mut inputs = Inputs::default();
            inputs.files.insert(path, Ok(text.into()));
            resolve_attach(&AttachArgs { policy, ..AttachArgs::default() }, &inputs)
                .map_err(|errors| errors.to_string())
        };
        assert_eq!(of("").unwrap().hook, HookSettings::default());
        let text = "[attach]\nkeep_sockets = true\n[hook]\nallow_repository_policy = true\n\
            worker_hosts_extra = \"a.test, b.test\"\nsummary = false\nannotations = 3\n";
        let read = of(text).unwrap();
        assert!(read.keep_sockets && read.hook.allow_repository_policy && !read.hook.summary);
        assert_eq!(read.hook.worker_hosts_extra, ["a.test", "b.test"]);
        assert_eq!(read.hook.annotations, 3);
        for (wrong, part) in [
            ("[hook]\nannotations = 11\n", ":2: `annotations` is 11"),
            ("[hook]\nallow_repo = true\n", "allow_repo"),
            ("[policy]\n[tls]\nmode = \"on\"\n", "/x/policy.toml:3: [tls] mode"),
        ] {
            let error = of(wrong).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert!(of("[tls]\nmode = \"off\"\n").is_ok());
    }

    #[test]
    fn tls_is_not_for_who_runs_already() {
        let words = [
            "--pid",
            "7",
            "--tls",
            "on",
            "--allow-urls",
            "https://x.test/a",
            "-d",
            "*",
            "--deadline",
            "x=1s",
        ];
        let errors = resolved(&words).unwrap_err();
        assert_eq!(errors.len(), 4, "all at once: {errors:#?}");
        assert!(errors.iter().filter(|error| error.contains("cannot look into TLS")).count() == 2);
        assert!(resolved(&["--pid", "7", "--tls", "off", "-d", "x.test"]).is_ok());
    }
}
