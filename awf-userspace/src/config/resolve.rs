//! From words to a plan. Pure: files and environment were read before; every error is collected.

use std::ffi::OsString;

use super::{
    ConfigError, ConfigErrors, Deadlines, ExecArgs, IdentitySource, Inputs, Mode, Notice, PolicyArgs,
    Resolved, SessionPlan, TlsMode, args::ModeArg, env, file, file::ConfigFile, jail, name_servers, rules,
    tls, upstream, values,
};
use crate::policy::Policy;

/// Makes a plan of what was typed.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn resolve(args: &ExecArgs, inputs: &Inputs) -> Result<Resolved, ConfigErrors> {
    let mut errors = Vec::new();
    let mut config = file::load(&args.policy, inputs, &mut errors);
    errors.extend(file::check(&mut config, inputs));
    match resolve_words(&file::merged(args, &config), &config, inputs) {
        Ok(resolved) if errors.is_empty() => Ok(resolved),
        resolved => {
            errors.extend(resolved.err().map_or(Vec::new(), |errors| errors.0));
            Err(ConfigErrors(errors))
        }
    }
}

/// As [`resolve`], with what the file says among `args` already.
pub(super) fn resolve_words(
    args: &ExecArgs,
    config: &ConfigFile,
    inputs: &Inputs,
) -> Result<Resolved, ConfigErrors> {
    let mut errors = Vec::new();
    let mut notices = ignored(config);
    compat(args, &mut errors, &mut notices);
    let policy = rules::policy(&args.policy, config, inputs, &mut errors);
    notices.extend(rules::notices(&policy, "the command has"));
    let argv = argv(&args.command);
    if argv.is_empty() {
        errors.push(ConfigError::NoCommand);
    }
    let plan = SessionPlan {
        policy,
        argv,
        env: env::plan(args, inputs, &mut errors, &mut notices),
        identity: identity(args, inputs, &mut errors),
        network: args.network.unwrap_or_default(),
        jail: jail::plan(args, config, inputs, &mut errors),
        memory_limit: args.memory_limit.as_deref().and_then(|text| keep(values::memory(text), &mut errors)),
        pids_limit: args.pids_limit.as_deref().and_then(|text| keep(values::pids(text), &mut errors)),
        dns_servers: name_servers::servers(args, config, &mut errors),
        deadlines: Deadlines::read(&args.outbound.deadline, &mut errors),
        upstream_proxies: upstream::proxies(args, inputs, &mut errors, &mut notices),
        tls: tls::plan(args, inputs, &mut errors),
        audit_dir: args.audit_dir.as_ref().or(args.proxy_logs_dir.as_ref()).cloned(),
        summary: args.summary.unwrap_or_default(),
        fail_on_block: args.fail_on_block,
        mode: Mode::Enforce,
        timeout: args.agent_timeout.as_deref().and_then(|text| keep(values::timeout(text), &mut errors)),
        tty: args.tty,
        quiet: args.quiet,
        workdir: args.container_workdir.clone(),
        log_level: args.log_level.unwrap_or_default(),
        dry_run: args.dry_run,
    };
    if let Some(rule) = plan.policy.secure_url_rule().filter(|_| plan.tls.mode != TlsMode::On) {
        let (place, text) = (rule.place().clone(), rule.text().to_string());
        errors.push(ConfigError::UrlsNeedTls { place, text });
    }
    notices.extend(tls::overruled(&plan.tls, &plan.policy));
    if let Some(dir) = plan.workdir.as_ref().filter(|dir| !dir.is_absolute()) {
        errors.push(ConfigError::Workdir(dir.clone()));
    }
    if errors.is_empty() { Ok(Resolved { plan, notices }) } else { Err(ConfigErrors(errors)) }
}

/// The policy of what was typed, for who runs nothing.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn resolve_policy(args: &PolicyArgs, inputs: &Inputs) -> Result<(Policy, Vec<Notice>), ConfigErrors> {
    let mut errors = Vec::new();
    let mut config = file::load(args, inputs, &mut errors);
    errors.extend(file::check_unstarted(&mut config, inputs));
    let words = file::merged(&ExecArgs { policy: args.clone(), ..ExecArgs::default() }, &config);
    let policy = rules::policy(&words.policy, &config, inputs, &mut errors);
    name_servers::written(&config, &mut errors);
    if errors.is_empty() {
        let mut notices = ignored(&config);
        notices.extend(rules::notices(&policy, "the command has"));
        if let Some(rule) = policy.secure_url_rule() {
            let text = format!("{} holds in a run with --tls on; without it nothing is run", rule.text());
            notices.push(Notice { level: log::Level::Warn, text });
        }
        return Ok((policy, notices));
    }
    Err(ConfigErrors(errors))
}

/// Keys of awf's file that mean nothing here.
fn ignored(config: &ConfigFile) -> Vec<Notice> {
    if config.ignored.is_empty() {
        return Vec::new();
    }
    let (path, keys) = (config.path.display(), config.ignored.join(", "));
    let text = format!("{path}: ignored, because they mean nothing here: {keys}");
    vec![Notice { level: log::Level::Warn, text }]
}

/// One word is a line for the shell, several are an argv.
fn argv(command: &[OsString]) -> Vec<OsString> {
    match command {
        [line] => vec!["bash".into(), "-c".into(), line.clone()],
        words => words.to_vec(),
    }
}

/// Flags that do nothing: tolerated or refused.
fn compat(args: &ExecArgs, errors: &mut Vec<ConfigError>, notices: &mut Vec<Notice>) {
    if !args.compat.docker.is_empty() {
        let flags = args.compat.docker.iter().map(|flag| format!("--{flag}")).collect::<Vec<_>>().join(", ");
        let text = format!("ignored, because there are no containers here: {flags}");
        notices.push(Notice { level: log::Level::Warn, text });
    }
    if let (Some(used), Some(_)) = (&args.audit_dir, &args.proxy_logs_dir) {
        let text = format!("--proxy-logs-dir is not used: the record goes to --audit-dir {}", used.display());
        notices.push(Notice { level: log::Level::Warn, text });
    }
    let typed = args.compat.not_built.iter().copied();
    let mode = (args.mode == ModeArg::Audit).then_some(("mode audit", Some("use --mode enforce")));
    let not_built = typed.chain(mode);
    errors.extend(not_built.map(|(flag, instead)| ConfigError::NotBuilt { flag, instead }));
}

fn identity(args: &ExecArgs, inputs: &Inputs, errors: &mut Vec<ConfigError>) -> IdentitySource {
    if args.user.as_deref().is_some_and(|user| user.trim().is_empty()) {
        errors.push(ConfigError::User);
    }
    let var = |name| inputs.var(name).map(|value| value.to_string_lossy().into_owned());
    IdentitySource {
        user: args.user.clone(),
        sudo_uid: var("SUDO_UID"),
        sudo_gid: var("SUDO_GID"),
        sudo_user: var("SUDO_USER"),
    }
}

fn keep<T>(result: Result<T, ConfigError>, errors: &mut Vec<ConfigError>) -> Option<T> {
    result.map_err(|error| errors.push(error)).ok()
}
