//! What was typed after `awf-bpf exec`: words, not yet meanings.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, ValueEnum};

use super::{
    compat::Compat,
    jail::Chroot,
    outbound_args::OutboundArgs,
    plan::{LogLevel, NetworkMode, ProxyEnv, SummaryMode},
    policy_args::PolicyArgs,
    tls::TlsMode,
};

/// `--mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ModeArg {
    /// Refusals are refusals.
    #[default]
    Enforce,
    /// Not built yet.
    #[value(hide = true)]
    Audit,
}

/// The flags of `exec` and its command.
#[derive(Args, Clone, Debug, Default)]
pub struct ExecArgs {
    #[command(flatten)]
    pub policy: PolicyArgs,

    /// What a refusal does.
    #[arg(long, value_enum, default_value_t, help_heading = "Policy", hide = true)]
    pub mode: ModeArg,

    /// Which TLS ends in the proxy, in the name of the server and with a CA that the command's programs trust. Default:
    /// off.
    #[arg(long, value_enum, value_name = "WHICH", help_heading = "TLS")]
    pub tls: Option<TlsMode>,

    /// The same as --tls on.
    #[arg(long, help_heading = "TLS")]
    pub ssl_bump: bool,

    /// Hosts whose TLS is passed through untouched with --tls on, written as in --block-domains (repeatable).
    #[arg(long, value_name = "LIST", help_heading = "TLS")]
    pub tls_exclude: Vec<String>,

    /// An organisation's CA instead of one that is made for the run: PEM, its certificate first, then those that signed it.
    #[arg(long, value_name = "FILE", help_heading = "TLS", requires = "ca_key")]
    pub ca_cert: Option<PathBuf>,

    /// Its private key: PEM, not encrypted. The command does not see the file.
    #[arg(long, value_name = "FILE", help_heading = "TLS", requires = "ca_cert")]
    pub ca_key: Option<PathBuf>,

    #[command(flatten)]
    pub outbound: OutboundArgs,

    /// The network the command sees. Default: isolated.
    #[arg(long, value_enum, value_name = "MODE", help_heading = "Sandbox")]
    pub network: Option<NetworkMode>,

    /// The files the command sees: a root of its own, or the machine's. Default: auto.
    #[arg(long, value_enum, value_name = "WHEN", help_heading = "Sandbox")]
    pub chroot: Option<Chroot>,

    /// Show a file or directory of the machine: /data:/mnt/data:ro, $HOME/.aws:$HOME/.aws:ro; rw unless ro is said
    /// (repeatable).
    #[arg(short = 'v', long, value_name = "SOURCE:TARGET[:ro|rw]", help_heading = "Sandbox")]
    pub mount: Vec<OsString>,

    /// Show the machine's /tmp instead of an empty one.
    #[arg(long, help_heading = "Sandbox")]
    pub share_tmp: bool,

    /// Let the command use the unix socket of a service outside (repeatable). What that service does for it is not
    /// behind the firewall.
    #[arg(long, value_name = "PATH", help_heading = "Sandbox")]
    pub allow_unix: Vec<OsString>,

    /// The same as --allow-unix /var/run/docker.sock: who can use it is root on this machine.
    #[arg(long, help_heading = "Sandbox")]
    pub enable_dind: bool,

    /// Set HTTP_PROXY and its kin for the command. It is enforced on either way. Default: auto.
    #[arg(long, value_enum, value_name = "WHEN", help_heading = "Sandbox")]
    pub proxy_env: Option<ProxyEnv>,

    /// Set a variable for the command, or pass on the caller's (repeatable). Also what else is left out:
    /// `-e GITHUB_TOKEN`.
    #[arg(short = 'e', long, value_name = "NAME[=VALUE]", help_heading = "Sandbox")]
    pub env: Vec<OsString>,

    /// Pass on all variables but credentials, proxy variables and the caller's own session.
    #[arg(long, help_heading = "Sandbox")]
    pub env_all: bool,

    /// Files of NAME=value lines; beats --env-all, is beaten by -e (repeatable).
    #[arg(long, value_name = "FILE", help_heading = "Sandbox")]
    pub env_file: Vec<PathBuf>,

    /// Never pass this variable, whatever else says so (repeatable).
    #[arg(long, value_name = "NAME", help_heading = "Sandbox")]
    pub exclude_env: Vec<String>,

    /// Where the command starts. Default: the current directory.
    #[arg(long, value_name = "DIR", help_heading = "Sandbox")]
    pub container_workdir: Option<PathBuf>,

    /// Who the command runs as, names or ids. Default: who called sudo, else the owner of the current directory, else
    /// nobody; root is the same user, who is called root inside and has no right of root's.
    #[arg(long, value_name = "USER[:GROUP]", help_heading = "Sandbox")]
    pub user: Option<String>,

    /// Memory the command may use, swap included: 512m, 6g. Beyond it its processes are killed.
    #[arg(long, value_name = "SIZE", help_heading = "Sandbox")]
    pub memory_limit: Option<String>,

    /// Processes and threads the command may have.
    #[arg(long, value_name = "COUNT", help_heading = "Sandbox")]
    pub pids_limit: Option<String>,

    /// How long the command may run, in minutes, or as 90s, 30m, 2h. It ends with 124.
    #[arg(long, value_name = "TIME", help_heading = "Sandbox")]
    pub agent_timeout: Option<String>,

    /// Give the command a terminal even where there is none, for all three streams. Without this flag it gets one of its
    /// own for each stream that is one.
    #[arg(long, help_heading = "Sandbox")]
    pub tty: bool,

    /// How much the firewall says on stderr. Default: info.
    #[arg(long, value_enum, value_name = "LEVEL", help_heading = "Output")]
    pub log_level: Option<LogLevel>,

    /// Where audit.jsonl is written.
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub audit_dir: Option<PathBuf>,

    /// The same as --audit-dir, which beats it.
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub proxy_logs_dir: Option<PathBuf>,

    /// When to print what was blocked, or not reached. Default: auto.
    #[arg(long, value_enum, value_name = "WHEN", help_heading = "Output")]
    pub summary: Option<SummaryMode>,

    /// Exit with 3 if the command succeeded but something was blocked.
    #[arg(long, help_heading = "Output")]
    pub fail_on_block: bool,

    /// Print the plan, run nothing.
    #[arg(long, help_heading = "Output")]
    pub dry_run: bool,

    /// Say nothing but errors.
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,

    #[command(flatten)]
    pub(super) compat: Compat,

    /// The command. One word is a line for `bash -c`; several are run as they are.
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}
