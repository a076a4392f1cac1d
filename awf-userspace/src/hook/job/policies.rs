//! What the steps may reach, and what the Worker alone may.
//!
//! The steps: the machine's policy, narrowed by the repository's if the machine's says so. The repository's file is
//! anybody's who may write the workspace, so it is read as such, and can only take away.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use super::context::Context;
use crate::{
    config::{AttachArgs, HookSettings, Inputs, PolicyArgs, ResolvedAttach, resolve_attach, resolve_policy},
    hook::install::files::POLICY,
    policy::{Host, List, Place, Policy, Rule},
};

/// Where a repository says what its jobs need.
pub(super) const REPOSITORY: &str = ".github/awf-bpf.toml";
/// A list that somebody wrote is shorter.
const REPOSITORY_MAX: u64 = 64 * 1024;
const POLICY_MAX: u64 = 8 << 20;
/// What a repository may say. Nothing that names another file, which root would read for it.
const KEYS: [&str; 5] = ["allow_dns", "allow_domains", "allow_ip", "allow_urls", "block_domains"];

/// What Runner.Worker speaks to on its own: jobs, logs, artifacts, caches, actions and packages of GitHub
/// (docs.github.com, "Self-hosted runners reference", "Communication with GitHub").
pub(super) const WORKER_HOSTS: [&str; 12] = [
    "=github.com",
    "=api.github.com",
    "=codeload.github.com",
    "=ghcr.io",
    "=pkg-containers.githubusercontent.com",
    "=objects.githubusercontent.com",
    "=objects-origin.githubusercontent.com",
    "=github-releases.githubusercontent.com",
    "=release-assets.githubusercontent.com",
    "=github-registry-files.githubusercontent.com",
    "*.actions.githubusercontent.com",
    "*.blob.core.windows.net",
];

/// Why there is no policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PolicyError {
    pub(super) why: String,
    /// The line of the repository's file, if it is that one that is wrong.
    pub(super) line: Option<Option<usize>>,
}

impl PolicyError {
    fn own(why: impl Into<String>) -> Self {
        Self { why: why.into(), line: None }
    }

    fn repository(why: impl Into<String>, line: Option<usize>) -> Self {
        Self { why: why.into(), line: Some(line) }
    }
}

/// The machine's policy, as it stands.
///
/// # Errors
///
/// When others than root could have written it, or it is wrong.
pub(super) fn of_machine() -> Result<ResolvedAttach, PolicyError> {
    let path = Path::new(POLICY);
    for part in path.ancestors() {
        let meta =
            fs::symlink_metadata(part).map_err(|e| PolicyError::own(format!("{}: {e}", part.display())))?;
        let kind = if part == path { meta.is_file() } else { meta.is_dir() };
        if !kind || meta.uid() != 0 || meta.mode() & 0o022 != 0 {
            return Err(PolicyError::own(format!(
                "{}: is not root's alone to write (owner {}, mode {:o}): chown root, chmod go-w",
                part.display(),
                meta.uid(),
                meta.mode() & 0o7777
            )));
        }
    }
    let text =
        read(File::open(path), POLICY_MAX).map_err(|why| PolicyError::own(format!("{POLICY}: {why}")))?;
    let policy = PolicyArgs { config: Some(path.to_owned()), ..PolicyArgs::default() };
    // Without anybody's environment: the job's would name a proxy of its own choice.
    let mut inputs = Inputs::read_policy(&policy);
    inputs.files.insert(path.to_owned(), Ok(text.into()));
    let args = AttachArgs { policy, ..AttachArgs::default() };
    resolve_attach(&args, &inputs).map_err(|e| PolicyError::own(e.to_string()))
}

/// What the repository's file allows, if there is one.
///
/// # Errors
///
/// When it is wrong, or not a file of the runner's user's in the workspace.
pub(super) fn of_repository(context: &Context, uid: u32) -> Result<Option<Policy>, PolicyError> {
    let refuse = |why: String| PolicyError::repository(why, None);
    let workspace = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let workspace = openat2(CWD, &context.workspace, workspace, Mode::empty(), ResolveFlags::NO_MAGICLINKS);
    let Ok(workspace) = workspace else { return Ok(None) };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let file = match openat2(workspace, REPOSITORY, flags, Mode::empty(), resolve) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        Err(e) => return Err(refuse(format!("it cannot be opened without following a link: {e}"))),
    };
    let meta = file.metadata().map_err(|e| refuse(e.to_string()))?;
    if !meta.is_file() || meta.nlink() != 1 || meta.uid() != uid {
        return Err(refuse("it is not a regular file of the runner's user with one name".into()));
    }
    let text = read(Ok(file), REPOSITORY_MAX).map_err(refuse)?;
    repository(&text).map(Some)
}

fn repository(text: &str) -> Result<Policy, PolicyError> {
    let table: toml::Table = toml::from_str(text).map_err(|e: toml::de::Error| {
        let at = e.span().map_or(0, |span| span.start);
        PolicyError::repository(e.message().replace('\n', " "), Some(line_at(text, at)))
    })?;
    let policy = table.get("policy").and_then(toml::Value::as_table);
    let odd = table.keys().filter(|key| *key != "policy");
    let inside = policy.into_iter().flat_map(toml::Table::keys);
    let odd = odd.chain(inside.filter(|key| !KEYS.contains(&key.replace('-', "_").as_str()))).next();
    if let Some(key) = odd {
        let known = KEYS.join(", ");
        let why = format!("unknown key {key:.60}: a repository's file has [policy] with {known}");
        return Err(PolicyError::repository(why, line_of(text, key)));
    }
    let path = PathBuf::from(REPOSITORY);
    let args = PolicyArgs { config: Some(path.clone()), ..PolicyArgs::default() };
    let mut inputs = Inputs::default();
    inputs.files.insert(path, Ok(text.to_owned().into()));
    match resolve_policy(&args, &inputs) {
        Ok((policy, _)) => {
            no_urls(&policy).map(|()| policy).map_err(|why| PolicyError::repository(why, None))
        }
        Err(errors) => {
            let all = errors.to_string();
            let line = all.split_once(&format!("{REPOSITORY}:")).and_then(|(_, rest)| {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                digits.parse().ok()
            });
            Err(PolicyError::repository(all, line))
        }
    }
}

/// What the Worker itself may reach.
///
/// # Errors
///
/// Names the entry that is wrong.
pub(super) fn of_worker(context: Option<&Context>, settings: &HookSettings) -> Result<Policy, PolicyError> {
    let place = |name: &'static str| Place::Flag(name);
    let mut rules = Vec::new();
    for host in WORKER_HOSTS {
        rules.extend(Rule::parse(host, List::Allow, place("GitHub")).ok());
    }
    for (host, port) in context.into_iter().flat_map(|context| &context.servers) {
        let alone = if matches!(host, Host::Name(_)) { "=" } else { "" };
        let text = match (host, port) {
            (Host::Ip(std::net::IpAddr::V6(ip)), port) => format!("[{ip}]:{}", port.unwrap_or(443)),
            (host, Some(port)) => format!("{alone}{host}:{port}"),
            (host, None) => format!("{alone}{host}"),
        };
        rules.extend(Rule::parse(&text, List::Allow, place("GITHUB_SERVER_URL")).ok());
    }
    for text in &settings.worker_hosts_extra {
        let rule = Rule::parse(text, List::Allow, Place::Line { path: Arc::from(POLICY), line: 0 });
        rules.push(rule.map_err(|e| PolicyError::own(format!("worker_hosts_extra: {e}")))?);
    }
    Ok(Policy::new(rules))
}

/// Without interception nobody sees a URL of https.
fn no_urls(policy: &Policy) -> Result<(), String> {
    if policy.url_rules().is_empty() {
        return Ok(());
    }
    Err("allow_urls needs TLS interception, which a runner's jobs do not have: allow the hosts with allow_domains".into())
}

fn read(file: std::io::Result<File>, most: u64) -> Result<String, String> {
    let mut text = String::new();
    file.and_then(|file| file.take(most + 1).read_to_string(&mut text)).map_err(|e| e.to_string())?;
    if text.len() as u64 > most { Err(format!("longer than {} KiB", most >> 10)) } else { Ok(text) }
}

fn line_at(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// The first line that begins with the key.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let starts = |line: &str| line.trim_start().trim_start_matches('[').trim_start().starts_with(key);
    text.lines().position(starts).map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::DomainName;

    fn allows(policy: &Policy, name: &str) -> bool {
        policy.judge_name(&DomainName::parse(name).unwrap()).is_allow()
    }

    #[test]
    fn the_worker_gets_its_hosts_and_its_servers_and_nothing_else() {
        let context = |servers: Vec<_>| Context {
            key: super::super::context::Key { run_id: "1".into(), attempt: "1".into(), job: "j".into() },
            workspace: "/w".into(),
            summary: None,
            servers,
        };
        let extra =
            HookSettings { worker_hosts_extra: vec!["=extra.test".into()], ..HookSettings::default() };
        let ghes = context(vec![(Host::parse("ghes.test").unwrap(), None)]);
        let policy = of_worker(Some(&ghes), &extra).unwrap();
        for name in [
            "api.github.com",
            "a.actions.githubusercontent.com",
            "x.blob.core.windows.net",
            "ghes.test",
            "extra.test",
        ] {
            assert!(allows(&policy, name), "{name}");
        }
        for name in ["gist.github.com", "evil.test", "sub.ghes.test", "raw.githubusercontent.com"] {
            assert!(!allows(&policy, name), "{name}");
        }
        assert_eq!(policy.count(List::Allow), WORKER_HOSTS.len() + 2);
        let wrong = HookSettings { worker_hosts_extra: vec!["a b".into()], ..HookSettings::default() };
        assert!(of_worker(None, &wrong).unwrap_err().why.contains("worker_hosts_extra"));
    }

    #[test]
    fn a_repository_says_what_it_needs_and_nothing_that_names_a_file() {
        let policy =
            repository("[policy]\nallow_domains = [\"a.test\"]\nblock-domains = [\"b.a.test\"]\n").unwrap();
        assert!(allows(&policy, "a.test") && !allows(&policy, "b.a.test"));
        for (text, line, part) in [
            ("[policy]\nallow_domains_file = \"/etc/shadow\"\n", Some(2), "allow_domains_file"),
            ("\n[hook]\nallow_repository_policy = true\n", Some(2), "hook"),
            ("[filesystem]\nallow_write = [\"/\"]\n", Some(1), "filesystem"),
            ("[policy]\n\nallow_domains = [\"a b\"]\n", Some(3), "a b"),
            ("[policy]\nallow_domains = 1\n", Some(2), "allow_domains"),
            ("policy = 1\n", Some(1), "policy"),
            ("[policy\n", Some(1), ""),
            ("[policy]\nallow_urls = [\"https://a.test/x\"]\n", None, "allow_urls"),
        ] {
            let error = repository(text).unwrap_err();
            assert!(error.why.contains(part), "{error:?}");
            assert_eq!(error.line, Some(line), "{text:?}: {error:?}");
        }
    }
}
