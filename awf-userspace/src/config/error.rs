//! What can be wrong with the words, files and variables of a run; all of it is reported at once.

use std::{fmt, path::PathBuf};

use super::{jail::MountError, ruleset::RulesetError};
use crate::{
    policy::{Place, RuleError, host_ports::PortProblem},
    upstream_proxy::{BypassError, CredentialsError, ProxyUrlError},
};

/// One thing to correct: the value, where it stands, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "no command: write it behind `--`, as in `awf-bpf exec --allow-domains example.com -- make test`"
    )]
    NoCommand,
    #[error(transparent)]
    Rule(#[from] RuleError),
    #[error("{flag} {}: {why}", path.display())]
    File { flag: &'static str, path: PathBuf, why: String },
    #[error("{flag} {}: {count} more mistakes like these", path.display())]
    More { flag: &'static str, path: PathBuf, count: usize },
    #[error("{flag} {}: line {line} is not UTF-8", path.display())]
    NotUtf8 { flag: &'static str, path: PathBuf, line: usize },
    #[error("{}:{line}: {why}", path.display())]
    Config { path: PathBuf, line: usize, why: String },
    #[error("{}:{line}: `{key}`: {why}", path.display())]
    At { path: PathBuf, line: usize, key: String, why: Box<ConfigError> },
    #[error("{given} without {missing}: a CA is a certificate and its key; name both, or none")]
    CaPair { given: &'static str, missing: &'static str },
    #[error("--ruleset-file {}: {why}", path.display())]
    Ruleset { path: PathBuf, why: RulesetError },
    #[error("{flag}: {text:?} {why}")]
    DnsServer { flag: &'static str, text: String, why: String },
    #[error(
        "--dns-servers: {0} is asked in clear text beside encrypted servers, so that who disturbs these would get \
         the questions; name servers of one kind"
    )]
    DnsServersMixed(String),
    #[error("{place}: {why}; --upstream-proxy none goes without a proxy")]
    UpstreamProxy { place: &'static str, why: ProxyUrlError },
    #[error(
        "--upstream-proxy: {0:?} is a word alone; write http://{0}:3128 if it is a proxy's host, none to go without"
    )]
    UpstreamProxyWord(String),
    #[error(
        "--upstream-proxy: credentials on a command line can be read by every process of the machine, the command \
         included; put them into a file for --upstream-proxy-auth-file, or the URL into https_proxy and use sudo -E"
    )]
    UpstreamProxySecret,
    #[error("--upstream-proxy-auth-file {}: {why}", path.display())]
    UpstreamProxyAuth { path: PathBuf, why: CredentialsError },
    #[error("--upstream-proxy-auth-file: {0}")]
    UpstreamProxyAuthUse(&'static str),
    #[error("--upstream-no-proxy: {0}")]
    UpstreamNoProxy(BypassError),
    #[error("{flag} {}: {why}", path.display())]
    Ca { flag: &'static str, path: PathBuf, why: String },
    #[error(
        "{place}: {text:?} needs --tls on: without it nobody sees which URLs are asked for; add --tls on, or allow the \
         whole host with --allow-domains"
    )]
    UrlsNeedTls { place: Place, text: String },
    #[error(
        "{what}: `attach` cannot look into TLS, because programs that run already do not trust a CA of this run; start \
         them with `awf-bpf exec`, or allow whole hosts with --allow-domains"
    )]
    AttachTls { what: String },
    #[error("{flag} is about {about}; {remedy}")]
    TlsUnused { flag: &'static str, about: &'static str, remedy: &'static str },
    #[error("--ssl-bump is --tls on, and --tls says {0}; leave one of the two out")]
    TlsTwice(&'static str),
    #[error("--agent-timeout: {0:?} is not a time; write minutes (30), or 90s, 30m, 2h, more than nothing")]
    Timeout(String),
    #[error("--deadline: {item:?} names no deadline; write one of {known}, as in idle=10m")]
    DeadlineName { item: String, known: String },
    #[error(
        "--deadline: {0:?} has {time}; write a whole number and ms, s, m or h, as in idle=10m, more than nothing",
        time = if .0.split_once('=').is_none_or(|(_, time)| time.trim().is_empty()) { "no time" } else { "a bad time" }
    )]
    DeadlineTime(String),
    #[error("--container-workdir {}: not an absolute path; it is looked up inside, where there is no current directory", .0.display())]
    Workdir(PathBuf),
    #[error("{place}: {text:?} {problem}")]
    HostPort { place: Place, text: String, problem: PortProblem },
    #[error("--user: the name is empty; write a user or a uid")]
    User,
    #[error("-e {0:?}: not NAME=VALUE, nor the NAME of a variable to pass on")]
    EnvName(String),
    #[error(
        "-e {0}: not set where awf-bpf was started (sudo removes variables); write -e {0}=VALUE, or use sudo -E"
    )]
    EnvUnset(String),
    #[error("-e {0}: set by awf-bpf itself; leave it out")]
    EnvReserved(String),
    #[error("--exclude-env {0:?}: not the name of a variable")]
    ExcludeName(String),
    #[error("--env-file {}:{line}: {text} is not NAME=value (letters, digits, _; no `export`, no blanks before =)", path.display())]
    EnvLine { path: PathBuf, line: usize, text: String },
    #[error(
        "--memory-limit {0:?}: write bytes with b, k, m or g behind them, as 512m or 6g, and at least 16m"
    )]
    MemoryLimit(String),
    #[error("--pids-limit {0:?}: write a number from 1 to 4194304")]
    PidsLimit(String),
    #[error("--mount {text:?}: {why}")]
    Mount { text: String, why: MountError },
    #[error("--allow-unix {text:?}: {why}")]
    AllowUnix { text: String, why: MountError },
    #[error("{flag} needs --chroot auto: with --chroot off the command sees the machine's files as they are")]
    NeedsRoot { flag: &'static str },
    #[error("--{flag}: not built yet; leave it out{}", instead.map_or(String::new(), |i| format!(", or {i}")))]
    NotBuilt { flag: &'static str, instead: Option<&'static str> },
}

/// Every error of one command line; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
