//! The values of a configuration file, put under what was typed: a flag beats the file's one value, lists add.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

use clap::ValueEnum;

use super::{ConfigFile, Item, KEYS, keys::Kind};
use crate::config::{ConfigError, ExecArgs, Inputs, TlsMode, resolve::resolve_words};

/// `args`, with what `file` says beside them. The lists of `[policy]` are not among that: their entries keep their places.
pub(in crate::config) fn merged(args: &ExecArgs, file: &ConfigFile) -> ExecArgs {
    let mut args = args.clone();
    if !args.ssl_bump {
        word(&mut args.tls, file, "tls.mode");
    }
    args.tls_exclude.extend(texts(file, "tls.exclude"));
    one(&mut args.ca_cert, file.paths("tls.ca_cert").next());
    one(&mut args.ca_key, file.paths("tls.ca_key").next());
    first(&mut args.outbound.deadline, texts(file, "deadline"));
    one(&mut args.outbound.dns_over_https, text(file, "dns_over_https"));
    one(&mut args.outbound.upstream_proxy, text(file, "upstream_proxy").and_then(|text| text.parse().ok()));
    args.outbound.upstream_no_proxy.extend(texts(file, "upstream_no_proxy"));
    one(&mut args.outbound.upstream_proxy_auth_file, file.paths("upstream_proxy_auth_file").next());
    args.policy.enable_host_access |= file.is("enable_host_access").unwrap_or_default();
    args.mount.extend(words(file, "filesystem.mount"));
    args.share_tmp |= file.is("filesystem.share_tmp").unwrap_or_default();
    args.allow_unix.extend(words(file, "filesystem.allow_unix"));
    word(&mut args.chroot, file, "filesystem.chroot");
    // Of a variable that is set twice the last one counts.
    first(&mut args.env, words(file, "environment.set"));
    first(&mut args.env_file, file.paths("environment.file").collect());
    args.env_all |= file.is("environment.all").unwrap_or_default();
    args.exclude_env.extend(texts(file, "environment.exclude"));
    word(&mut args.network, file, "sandbox.network");
    word(&mut args.proxy_env, file, "sandbox.proxy_env");
    one(&mut args.user, text(file, "sandbox.user"));
    one(&mut args.container_workdir, text(file, "sandbox.workdir").map(PathBuf::from));
    args.tty |= file.is("sandbox.tty").unwrap_or_default();
    one(&mut args.memory_limit, text(file, "limits.memory"));
    one(&mut args.pids_limit, text(file, "limits.pids"));
    one(&mut args.agent_timeout, text(file, "limits.timeout"));
    word(&mut args.log_level, file, "output.log_level");
    if args.proxy_logs_dir.is_none() {
        one(&mut args.audit_dir, file.paths("output.audit_dir").next());
    }
    word(&mut args.summary, file, "output.summary");
    args.fail_on_block |= file.is("output.fail_on_block").unwrap_or_default();
    args.quiet |= file.is("output.quiet").unwrap_or_default();
    args
}

fn one<T>(slot: &mut Option<T>, value: Option<T>) {
    *slot = slot.take().or(value);
}

fn first<T>(list: &mut Vec<T>, before: Vec<T>) {
    list.splice(..0, before);
}

fn text(file: &ConfigFile, key: &str) -> Option<String> {
    file.one(key).map(|item| item.text.clone())
}

fn texts(file: &ConfigFile, key: &str) -> Vec<String> {
    file.items(key).iter().map(|item| item.text.clone()).collect()
}

fn words(file: &ConfigFile, key: &str) -> Vec<OsString> {
    file.items(key).iter().map(|item| OsString::from(&item.text)).collect()
}

fn word<T: ValueEnum>(slot: &mut Option<T>, file: &ConfigFile, key: &str) {
    one(slot, file.one(key).and_then(|item| T::from_str(&item.text, false).ok()));
}

/// What is wrong with single values of `file`, each with its line; they are taken out of it. What is told with its place
/// anyhow, or takes other values to be wrong, is left for later.
pub(in crate::config) fn check(file: &mut ConfigFile, inputs: &Inputs) -> Vec<ConfigError> {
    let mut alone = ConfigFile { path: file.path.clone(), ..ConfigFile::default() };
    let mistakes = |file: &ConfigFile| -> Vec<ConfigError> {
        let mut args = merged(&ExecArgs { command: vec!["true".into()], ..ExecArgs::default() }, file);
        // For what is about interception only.
        let about = ["tls.exclude", "tls.ca_cert", "tls.ca_key"].iter().any(|key| file.has(key));
        args.tls = args.tls.or(about.then_some(TlsMode::On));
        resolve_words(&args, &ConfigFile::default(), inputs).err().map_or(Vec::new(), |errors| errors.0)
    };
    let before = mistakes(&alone);
    let mut errors = Vec::new();
    for (at, items) in &mut file.values {
        let key = &KEYS[*at];
        let placed =
            matches!(key.kind, Kind::Urls | Kind::Ports | Kind::Count(_) | Kind::Bool | Kind::Word(_));
        if placed || key.is("dns_servers") || ["attach", "hook"].contains(&key.table) {
            continue;
        }
        items.retain(|item| {
            alone.values = BTreeMap::from([(*at, vec![Item::clone(item)])]);
            let wrong: Vec<_> = mistakes(&alone)
                .into_iter()
                .filter(|error| !before.contains(error) && !error.takes_two())
                .collect();
            let kept = wrong.is_empty();
            errors.extend(wrong.into_iter().map(|why| ConfigError::At {
                path: alone.path.clone(),
                line: item.line,
                key: format!("{}.{}", key.table, key.name),
                why: Box::new(why),
            }));
            kept
        });
    }
    errors
}

/// As [`check`], where no command is started: what it would be given from here need not be here.
pub(in crate::config) fn check_unstarted(file: &mut ConfigFile, inputs: &Inputs) -> Vec<ConfigError> {
    let mut errors = check(file, inputs);
    errors.retain(|error| !matches!(error, ConfigError::At { why, .. } if why.is_of_a_start()));
    errors
}

impl ConfigError {
    /// Whether it is about what is there when a command is started.
    fn is_of_a_start(&self) -> bool {
        matches!(self, Self::EnvUnset(_) | Self::File { flag: "--env-file", .. })
    }

    /// Whether it is about two values that do not go together.
    fn takes_two(&self) -> bool {
        matches!(
            self,
            Self::TlsUnused { .. }
                | Self::TlsTwice(_)
                | Self::NeedsRoot { .. }
                | Self::UpstreamProxyAuthUse(_)
                | Self::UrlsNeedTls { .. }
                | Self::CaPair { .. }
        )
    }
}
