//! The command's environment: which variables of whom, and who beats whom.
//!
//! 1. The caller's: a short list (also of sudo's caller), or with `--env-all` everything, without credentials and
//!    without what is true of the caller only. 2. `--env-file`, with the same exceptions. 3. What the run itself sets: PATH, HOME,
//!    USER and their kin, the proxy. 4. `-e`, which may set anything: who writes a name means it. 5. When
//!    something is intercepted, where the run's CA is, with what these variables named. `--exclude-env` beats them all.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fmt,
    net::SocketAddr,
    os::unix::ffi::OsStrExt,
    path::Path,
};

use super::{
    ConfigError, ExecArgs, Inputs, Notice, ProxyEnv, env_file,
    env_names::{self, NO_PROXY, PROXY_URL, RESERVED},
    toolchain,
};

/// A longer value is left out: execve refuses a single string of 128 KiB (`MAX_ARG_STRLEN`), and what is this long
/// is rarely meant for the command.
const MAX_VALUE: usize = 64 << 10;
/// Above this much, execve may fail with E2BIG (a quarter of the usual stack limit, less the arguments).
const MUCH: usize = 3 << 19;

/// The command's environment, as far as it is known before the run.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EnvPlan {
    /// All that the caller has, passed on or not.
    callers: BTreeMap<OsString, OsString>,
    passed: BTreeMap<OsString, OsString>,
    path: OsString,
    explicit: BTreeMap<OsString, OsString>,
    excluded: BTreeSet<OsString>,
    proxy_env: ProxyEnv,
    terminal: Vec<(&'static str, OsString)>,
}

/// What only the run knows.
#[derive(Clone, Copy, Debug)]
pub struct RunFacts<'a> {
    /// Where the proxy listens, as the command reaches it.
    pub proxy: SocketAddr,
    pub run_id: &'a str,
    pub user: &'a str,
    pub home: &'a Path,
    pub shell: &'a Path,
    /// What makes programs trust the run's CA; nothing where nothing is intercepted.
    pub trust: &'a [(OsString, OsString)],
}

impl EnvPlan {
    /// The environment to execute the command with, sorted by name.
    #[must_use]
    pub fn finish(&self, run: &RunFacts<'_>) -> Vec<(OsString, OsString)> {
        let mut env = self.passed.clone();
        let mut set = |name: &str, value: &OsStr| env.insert(name.into(), value.to_owned());
        set("PATH", &self.path);
        set("HOME", run.home.as_os_str());
        set("SHELL", run.shell.as_os_str());
        set("USER", run.user.as_ref());
        set("LOGNAME", run.user.as_ref());
        if self.proxy_env == ProxyEnv::Auto {
            let url = format!("http://{}", run.proxy);
            PROXY_URL.iter().for_each(|name| drop(set(name, url.as_ref())));
            NO_PROXY.iter().for_each(|name| drop(set(name, "localhost,127.0.0.1,::1".as_ref())));
        }
        env.extend(self.terminal.iter().map(|(name, value)| ((*name).into(), value.clone())));
        env.extend(self.explicit.clone());
        // Whoever names a CA of theirs means that it is trusted, too: it is, the files have it.
        env.extend(run.trust.iter().cloned());
        env.retain(|name, _| !self.excluded.contains(name));
        env.insert("AWF_BPF".into(), "1".into());
        env.insert("AWF_BPF_RUN_ID".into(), run.run_id.into());
        env.into_iter().collect()
    }

    /// What the caller has, sudo's caller before, and what the command was to have instead.
    #[must_use]
    pub fn known(&self) -> BTreeMap<OsString, OsString> {
        let all = self.callers.iter().chain(&self.passed).chain(&self.explicit);
        all.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// PATH, unless `-e` sets another.
    #[must_use]
    pub fn path(&self) -> &OsStr {
        &self.path
    }

    /// The names of the variables that are the caller's or the user's, sorted; for display.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let names: BTreeSet<_> = self.passed.keys().chain(self.explicit.keys()).collect();
        let kept = names.into_iter().filter(|name| !self.excluded.contains(*name));
        kept.map(|name| name.to_string_lossy().into_owned()).collect()
    }
}

/// Shows names only: values hold secrets.
impl fmt::Debug for EnvPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvPlan").field("names", &self.names()).field("proxy_env", &self.proxy_env).finish()
    }
}

/// Chooses among the caller's variables.
pub(super) fn plan(
    args: &ExecArgs,
    inputs: &Inputs,
    errors: &mut Vec<ConfigError>,
    notices: &mut Vec<Notice>,
) -> EnvPlan {
    let mut left_out = BTreeSet::new();
    let mut passed = BTreeMap::new();
    let toolchains = toolchain::find(inputs, notices);
    for (name, value) in inherited(args, inputs).chain(&toolchains.recovered) {
        if value.len() > MAX_VALUE {
            let (name, kib) = (name.to_string_lossy(), value.len() >> 10);
            notices.push(warn(format!(
                "{name} is not passed on: its value has {kib} KiB (-e {name} passes it all the same)"
            )));
        } else {
            pass(&mut passed, &mut left_out, name.clone(), value.clone());
        }
    }
    for (name, value) in from_files(args, inputs, errors) {
        pass(&mut passed, &mut left_out, name, value);
    }
    let explicit = explicit(args, inputs, errors);
    let excluded = excluded(args, errors);
    left_out.retain(|name| !explicit.contains_key(OsStr::new(name)) && !excluded.contains(OsStr::new(name)));
    if !left_out.is_empty() {
        let names = left_out.into_iter().collect::<Vec<_>>().join(", ");
        let text = format!("credentials are not passed on: {names} (-e NAME passes one)");
        notices.push(Notice { level: log::Level::Info, text });
    }
    let total: usize = passed.iter().chain(&explicit).map(|(name, value)| name.len() + value.len() + 2).sum();
    if total > MUCH {
        notices.push(warn(format!(
            "the environment has {} KiB: the command may not start (E2BIG)",
            total >> 10
        )));
    }
    let terminal = if args.tty { terminal(inputs) } else { Vec::new() };
    let callers = inputs.sudo.iter().map(|(name, value)| (name.clone(), value.clone()));
    let callers = callers.chain(inputs.env.iter().cloned()).collect();
    EnvPlan {
        callers,
        passed,
        path: toolchains.path,
        explicit,
        excluded,
        proxy_env: args.proxy_env.unwrap_or_default(),
        terminal,
    }
}

/// What awf tells a command of its terminal; what the caller's own says is better.
fn terminal(inputs: &Inputs) -> Vec<(&'static str, OsString)> {
    let known = inputs.var("TERM").filter(|term| !term.is_empty() && *term != "dumb" && *term != "unknown");
    let mut set =
        vec![("FORCE_COLOR", "1".into()), ("TERM", known.map_or("xterm-256color".into(), Clone::clone))];
    if !inputs.terminal {
        set.push(("COLUMNS", "120".into()));
    }
    set
}

fn warn(text: String) -> Notice {
    Notice { level: log::Level::Warn, text }
}

/// The caller's variables that may be passed on, before exceptions; later beats earlier.
fn inherited<'a>(args: &ExecArgs, inputs: &'a Inputs) -> impl Iterator<Item = (&'a OsString, &'a OsString)> {
    let all = args.env_all;
    let is_default = |name: &OsString| name.to_str().is_some_and(env_names::is_default);
    let of_sudo = inputs.sudo.iter().filter(move |(name, _)| is_default(name));
    let own = inputs.env.iter().map(|(name, value)| (name, value));
    of_sudo.chain(own.filter(move |(name, _)| all || is_default(name)))
}

fn pass(
    passed: &mut BTreeMap<OsString, OsString>,
    left_out: &mut BTreeSet<String>,
    name: OsString,
    value: OsString,
) {
    match name.to_str() {
        Some(known) if env_names::is_credential(known) => drop(left_out.insert(known.to_owned())),
        Some(known) if env_names::is_callers_own(known) => {}
        _ => drop(passed.insert(name, value)),
    }
}

fn from_files(args: &ExecArgs, inputs: &Inputs, errors: &mut Vec<ConfigError>) -> Vec<(OsString, OsString)> {
    let mut variables = Vec::new();
    for path in &args.env_file {
        match inputs.files.get(path) {
            Some(Ok(bytes)) => {
                for variable in env_file::parse(path, bytes) {
                    variable.map_or_else(|error| errors.push(error), |variable| variables.push(variable));
                }
            }
            other => errors.push(super::rules::unread("--env-file", path, other)),
        }
    }
    variables
}

/// `-e NAME=VALUE` and `-e NAME`; the last of a name counts.
fn explicit(args: &ExecArgs, inputs: &Inputs, errors: &mut Vec<ConfigError>) -> BTreeMap<OsString, OsString> {
    let mut variables = BTreeMap::new();
    for text in &args.env {
        match split(text, inputs) {
            Ok((name, value)) => drop(variables.insert(name, value)),
            Err(error) => errors.push(error),
        }
    }
    variables
}

fn split(text: &OsStr, inputs: &Inputs) -> Result<(OsString, OsString), ConfigError> {
    let bytes = text.as_bytes();
    let (name, value) = match bytes.iter().position(|&b| b == b'=') {
        Some(at) => (OsStr::from_bytes(&bytes[..at]), Some(OsStr::from_bytes(&bytes[at + 1..]))),
        None => (text, None),
    };
    let shown = || name.to_string_lossy().into_owned();
    if name.is_empty() || name.as_bytes().iter().any(|b| b.is_ascii_whitespace() || b.is_ascii_control()) {
        return Err(ConfigError::EnvName(shown()));
    }
    if name.to_str().is_some_and(|name| RESERVED.contains(&name)) {
        return Err(ConfigError::EnvReserved(shown()));
    }
    match value.or_else(|| inputs.caller_var(name).map(OsString::as_os_str)) {
        Some(value) => Ok((name.to_owned(), value.to_owned())),
        None => Err(ConfigError::EnvUnset(shown())),
    }
}

fn excluded(args: &ExecArgs, errors: &mut Vec<ConfigError>) -> BTreeSet<OsString> {
    let mut names = BTreeSet::new();
    for name in &args.exclude_env {
        if name.is_empty() || name.contains('=') {
            errors.push(ConfigError::ExcludeName(name.clone()));
        } else {
            names.insert(name.into());
        }
    }
    names
}
