//! Which TLS ends in the proxy, and in whose name: `--tls`, `--ca-cert`, `--ca-key`, `--tls-exclude`.

use std::{fmt, path::PathBuf, sync::Arc};

use super::{ConfigError, ExecArgs, Inputs, Notice, lists, rules::unread};
use crate::{
    ca::Authority,
    policy::{Builder, Host, List, Place, Policy, Protocol, Reason, Rule, Target, UrlRule},
};

const EXCLUDE: &str = "--tls-exclude";

/// `--tls`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum TlsMode {
    /// None: what is allowed goes through as it is, and a refusal is a TLS alert.
    #[default]
    Off,
    /// What is refused, so that the client reads why; what is allowed goes through as it is.
    DenyOnly,
    /// All of it: each request inside is judged and recorded.
    On,
}

impl TlsMode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::DenyOnly => "deny-only",
            Self::On => "on",
        }
    }
}

/// What is intercepted.
#[derive(Clone, Debug, Default)]
pub struct TlsPlan {
    pub mode: TlsMode,
    /// An organisation's own CA; `None`: one is made for the run.
    pub authority: Option<Arc<Authority>>,
    /// Where the key of that is, as typed.
    pub key: Option<PathBuf>,
    exclude: Exclude,
}

/// Hosts whose TLS is passed through: rules of the block list, of which one without a port is about every port.
#[derive(Clone, Debug, Default)]
pub struct Exclude {
    hosts: Policy,
    /// As written.
    texts: Vec<String>,
}

impl TlsPlan {
    #[must_use]
    pub fn exclude(&self) -> &Exclude {
        &self.exclude
    }
}

impl Exclude {
    /// Whether the TLS of `host` on `port` is passed through.
    #[must_use]
    pub fn contains(&self, host: &Host, port: u16) -> bool {
        let verdict = self.hosts.judge(&Target { host, port, protocol: Protocol::Tls });
        verdict.denied().is_some_and(|denied| denied.reason == Reason::Blocked)
    }
}

pub(super) fn plan(args: &ExecArgs, inputs: &Inputs, errors: &mut Vec<ConfigError>) -> TlsPlan {
    let mode = match (args.tls, args.ssl_bump) {
        (Some(mode), true) if mode != TlsMode::On => {
            errors.push(ConfigError::TlsTwice(mode.as_str()));
            mode
        }
        (_, true) => TlsMode::On,
        (mode, false) => mode.unwrap_or_default(),
    };
    if mode != TlsMode::On && !args.tls_exclude.is_empty() {
        let (about, remedy) = ("what is intercepted with --tls on", "add --tls on, or leave it out");
        errors.push(ConfigError::TlsUnused { flag: EXCLUDE, about, remedy });
    }
    // Typed, they need each other; of a file one may be there alone.
    for (given, missing, is) in [
        ("--ca-cert", "--ca-key", args.ca_cert.is_some() && args.ca_key.is_none()),
        ("--ca-key", "--ca-cert", args.ca_key.is_some() && args.ca_cert.is_none()),
    ] {
        if is {
            errors.push(ConfigError::CaPair { given, missing });
        }
    }
    if mode == TlsMode::Off && args.ca_cert.is_some() {
        let (about, remedy) = ("intercepted TLS", "add --tls on or --tls deny-only, or leave it out");
        errors.push(ConfigError::TlsUnused { flag: "--ca-cert", about, remedy });
    }
    TlsPlan {
        mode,
        authority: authority(args, inputs, errors),
        key: args.ca_key.clone(),
        exclude: exclude(args, errors),
    }
}

fn authority(args: &ExecArgs, inputs: &Inputs, errors: &mut Vec<ConfigError>) -> Option<Arc<Authority>> {
    let (cert, key) = args.ca_cert.as_ref().zip(args.ca_key.as_ref())?;
    let certificates = match inputs.files.get(cert) {
        Some(Ok(bytes)) => Some(bytes),
        other => {
            errors.push(unread("--ca-cert", cert, other));
            None
        }
    };
    let secret = match &inputs.ca_key {
        Some(Ok(bytes)) => Some(bytes),
        other => {
            let why = match other {
                Some(Err(why)) => why.clone(),
                _ => "was not read".to_owned(),
            };
            errors.push(ConfigError::File { flag: "--ca-key", path: key.clone(), why });
            None
        }
    };
    match Authority::from_pem(certificates?, secret?) {
        Ok(authority) => Some(Arc::new(authority)),
        Err(error) => {
            let (flag, path) = if error.is_the_keys() { ("--ca-key", key) } else { ("--ca-cert", cert) };
            errors.push(ConfigError::Ca { flag, path: path.clone(), why: error.to_string() });
            None
        }
    }
}

fn exclude(args: &ExecArgs, errors: &mut Vec<ConfigError>) -> Exclude {
    let mut builder = Builder::default();
    let mut texts = Vec::new();
    for text in lists::items(args.tls_exclude.iter().flat_map(|list| list.split(','))) {
        match Rule::parse(text, List::Block, Place::Flag(EXCLUDE)) {
            Ok(rule) => {
                builder.rule(rule);
                texts.push(text.to_owned());
            }
            Err(error) => errors.push(error.into()),
        }
    }
    Exclude { hosts: builder.build(), texts }
}

/// What is to be said of exclusions that URL rules are stronger than, as far as names that rules write out show it.
pub(super) fn overruled(plan: &TlsPlan, policy: &Policy) -> Vec<Notice> {
    let excluded = policy.url_rules().iter().filter(|rule| {
        let host = rule.base().filter(|_| rule.protocol() == Protocol::Tls);
        host.is_some_and(|host| plan.exclude.contains(&host, rule.port()))
    });
    let said = |rule: &Arc<UrlRule>| Notice {
        level: log::Level::Warn,
        text: format!("{rule}: its TLS is intercepted in spite of {EXCLUDE}"),
    };
    excluded.map(said).collect()
}

/// For `--dry-run`.
impl fmt::Display for TlsPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.mode == TlsMode::Off {
            return Ok(());
        }
        writeln!(f, "tls        {}", self.mode.as_str())?;
        if let Some(authority) = &self.authority {
            writeln!(f, "ca         {}", authority.fingerprint())?;
        }
        self.exclude.texts.iter().try_for_each(|text| writeln!(f, "untouched  {text} ({EXCLUDE})"))
    }
}
