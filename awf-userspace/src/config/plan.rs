//! What a run is: the plain data that `session` carries out.

use std::{ffi::OsString, fmt, path::PathBuf, time::Duration};

use super::{Chroot, Deadlines, EnvPlan, JailPlan, TlsPlan};
use crate::{policy::Policy, resolve::NameServer, upstream_proxy::UpstreamProxies};

/// Everything about a run that is known before it starts.
#[derive(Clone, Debug)]
pub struct SessionPlan {
    pub policy: Policy,
    /// The program and its arguments; never empty. The program is looked up in the PATH of `env`.
    pub argv: Vec<OsString>,
    pub env: EnvPlan,
    pub identity: IdentitySource,
    pub network: NetworkMode,
    pub jail: JailPlan,
    /// Bytes the command may use, swap included.
    pub memory_limit: Option<u64>,
    /// Processes and threads the command may have.
    pub pids_limit: Option<u64>,
    /// Where names are resolved; `None` is the host's own configuration.
    pub dns_servers: Option<Vec<NameServer>>,
    /// How long the proxy waits for what.
    pub deadlines: Deadlines,
    /// What is not dialled straight away.
    pub upstream_proxies: UpstreamProxies,
    /// What is intercepted.
    pub tls: TlsPlan,
    /// Where the audit record is kept; `None` leaves the place to the session.
    pub audit_dir: Option<PathBuf>,
    pub summary: SummaryMode,
    /// Exit with 3 if the command succeeded but something was blocked.
    pub fail_on_block: bool,
    pub mode: Mode,
    /// How long the command may run; it ends with 124.
    pub timeout: Option<Duration>,
    /// A terminal for all three streams, whatever the caller's are.
    pub tty: bool,
    /// Nothing but errors on stderr.
    pub quiet: bool,
    /// The command's working directory, absolute; `None` is the caller's.
    pub workdir: Option<PathBuf>,
    pub log_level: LogLevel,
    /// Print the plan, run nothing.
    pub dry_run: bool,
}

/// What is known about whom to run the command as. Texts as found: `jail` looks them up and decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentitySource {
    /// `--user`: `USER` or `USER:GROUP`, each a name or an id.
    pub user: Option<String>,
    /// `SUDO_UID` of the caller's environment; means something for uid 0 only.
    pub sudo_uid: Option<String>,
    /// `SUDO_GID`, likewise.
    pub sudo_gid: Option<String>,
    /// `SUDO_USER`, likewise.
    pub sudo_user: Option<String>,
}

/// Which network the command sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum NetworkMode {
    /// Its own namespace with a loopback interface only.
    #[default]
    Isolated,
    /// The host's; the kernel programs alone enforce.
    Host,
}

/// Whether refusals are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    #[default]
    Enforce,
}

/// When the summary is printed at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum SummaryMode {
    /// If something was blocked, or allowed and not reached.
    #[default]
    Auto,
    Always,
    Never,
}

/// Whether the command is told of the proxy by variables. Enforcement does not depend on them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ProxyEnv {
    #[default]
    Auto,
    None,
}

/// How much the firewall says on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogLevel {
    Debug,
    #[default]
    Info,
    Warn,
    Error,
}

impl LogLevel {
    /// The filter of the `log` crate.
    #[must_use]
    pub fn filter(self) -> log::LevelFilter {
        match self {
            Self::Debug => log::LevelFilter::Debug,
            Self::Info => log::LevelFilter::Info,
            Self::Warn => log::LevelFilter::Warn,
            Self::Error => log::LevelFilter::Error,
        }
    }
}

/// A plan, and what the user should hear of how it came about.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub plan: SessionPlan,
    pub notices: Vec<Notice>,
}

/// One line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub level: log::Level,
    pub text: String,
}

/// Files with more rules are summed up.
const MOST_RULES: usize = 100;

/// The text of `--dry-run`. Names of variables, never values: they hold secrets.
impl fmt::Display for SessionPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "command    {:?}", self.argv)?;
        self.policy.shown(MOST_RULES).iter().try_for_each(|line| writeln!(f, "{line}"))?;
        writeln!(f, "network    {}", or(self.network, NetworkMode::Host, "host", "isolated"))?;
        writeln!(f, "chroot     {}", or(self.jail.chroot, Chroot::Off, "off", "auto"))?;
        self.jail.mounts.iter().try_for_each(|mount| writeln!(f, "mount      {mount}"))?;
        if self.jail.share_tmp {
            writeln!(f, "mount      /tmp:/tmp:rw (--share-tmp)")?;
        }
        if let Some(paths) = &self.jail.allow_write {
            let paths = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
            let paths = if paths.is_empty() { "nothing".to_owned() } else { paths.join(" ") };
            writeln!(f, "writable   {paths} (allow_write)")?;
        }
        self.jail.unix.iter().try_for_each(|path| writeln!(f, "socket     {}", path.display()))?;
        match &self.dns_servers {
            Some(servers) => writeln!(f, "dns        {}", join(servers))?,
            None => writeln!(f, "dns        as the host is configured")?,
        }
        if self.deadlines != Deadlines::default() {
            writeln!(f, "deadlines  {}", self.deadlines)?;
        }
        self.upstream_proxies.lines().iter().try_for_each(|line| writeln!(f, "upstream   {line}"))?;
        write!(f, "{}", self.tls)?;
        writeln!(f, "user       {}", self.identity)?;
        writeln!(
            f,
            "workdir    {}",
            self.workdir.as_ref().map_or("the caller's".into(), |d| d.display().to_string())
        )?;
        writeln!(f, "variables  {}", self.env.names().join(" "))?;
        if let Some(timeout) = self.timeout {
            writeln!(f, "timeout    {} s", timeout.as_secs())?;
        }
        if let Some(bytes) = self.memory_limit {
            writeln!(f, "memory     {bytes} bytes")?;
        }
        if let Some(count) = self.pids_limit {
            writeln!(f, "processes  {count}")?;
        }
        if self.tty {
            writeln!(f, "terminal   for all three streams")?;
        }
        if let Some(dir) = &self.audit_dir {
            writeln!(f, "audit      {}", dir.display())?;
        }
        Ok(())
    }
}

impl fmt::Display for IdentitySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.user, &self.sudo_uid) {
            (Some(user), _) => f.write_str(user),
            (None, Some(uid)) => write!(f, "uid {uid}, who called sudo"),
            (None, None) => f.write_str("decided at launch: the owner of the working directory, or nobody"),
        }
    }
}

fn or<T: PartialEq>(value: T, wanted: T, yes: &'static str, no: &'static str) -> &'static str {
    if value == wanted { yes } else { no }
}

fn join(servers: &[NameServer]) -> String {
    servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
