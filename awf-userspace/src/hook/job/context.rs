//! Which job it is: read from the environment of the hook's process, not of ours, which sudo has emptied. Whoever calls
//! the hook by hand chooses every value, so each is checked, and none is used for more than what its check allows.

use std::{
    collections::HashMap,
    fs::File,
    io::Read as _,
    path::{Component, Path, PathBuf},
};

use crate::policy::Host;

/// Bytes read of an environment.
const ENVIRON_MAX: u64 = 1 << 20;
const NUMBER_MAX: usize = 20;
const NAME_MAX: usize = 100;

/// A value that no runner sets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ContextError {
    #[error("the environment of the hook cannot be read")]
    Unread,
    #[error("{0} is not set: the hook was not called by a runner")]
    Unset(&'static str),
    #[error("{name} is {value}, which is not {wanted}")]
    Value { name: &'static str, value: String, wanted: &'static str },
}

/// What tells a job from every other one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) run_id: String,
    pub(super) attempt: String,
    pub(super) job: String,
}

/// A job, as its hook's environment has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) key: Key,
    pub(super) workspace: PathBuf,
    pub(super) summary: Option<PathBuf>,
    /// Hosts of the server that the runner works for, with their ports.
    pub(super) servers: Vec<(Host, Option<u16>)>,
}

impl Context {
    /// Of the process that called.
    ///
    /// # Errors
    ///
    /// Names the variable and what it should be.
    pub(super) fn of(pid: Option<u32>) -> Result<Self, ContextError> {
        let mut bytes = Vec::new();
        let file = pid.and_then(|pid| File::open(format!("/proc/{pid}/environ")).ok());
        let file = file.ok_or(ContextError::Unread)?;
        file.take(ENVIRON_MAX).read_to_end(&mut bytes).map_err(|_| ContextError::Unread)?;
        Self::parse(&bytes)
    }

    fn parse(environ: &[u8]) -> Result<Self, ContextError> {
        let pairs = environ.split(|byte| *byte == 0).filter_map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=')?;
            Some((&pair[..at], &pair[at + 1..]))
        });
        // Of two of a name the last one is bash's.
        let vars: HashMap<&[u8], &[u8]> = pairs.collect();
        let var = |name: &'static str| vars.get(name.as_bytes()).copied();
        let needed = |name: &'static str| var(name).ok_or(ContextError::Unset(name));
        let key = Key {
            run_id: number("GITHUB_RUN_ID", needed("GITHUB_RUN_ID")?)?,
            attempt: number("GITHUB_RUN_ATTEMPT", needed("GITHUB_RUN_ATTEMPT")?)?,
            job: job_name(needed("GITHUB_JOB")?)?,
        };
        let mut servers = Vec::new();
        for name in ["GITHUB_SERVER_URL", "GITHUB_API_URL"] {
            let server = server(name, needed(name)?)?;
            if !servers.contains(&server) {
                servers.push(server);
            }
        }
        let summary = var("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty());
        let summary = summary.map(|text| path("GITHUB_STEP_SUMMARY", text)).transpose()?;
        let workspace = path("GITHUB_WORKSPACE", needed("GITHUB_WORKSPACE")?)?;
        Ok(Self { key, workspace, summary, servers })
    }
}

fn wrong(name: &'static str, value: &[u8], wanted: &'static str) -> ContextError {
    let value: String = String::from_utf8_lossy(value).chars().take(60).collect();
    ContextError::Value { name, value: format!("{value:?}"), wanted }
}

fn number(name: &'static str, value: &[u8]) -> Result<String, ContextError> {
    let fits = (1..=NUMBER_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    let text = String::from_utf8(value.to_vec()).ok().filter(|_| fits);
    text.ok_or_else(|| wrong(name, value, "a number"))
}

fn job_name(value: &[u8]) -> Result<String, ContextError> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-".contains(byte);
    let fits = (1..=NAME_MAX).contains(&value.len()) && value.iter().all(plain);
    let text = String::from_utf8(value.to_vec()).ok().filter(|_| fits);
    text.ok_or_else(|| wrong("GITHUB_JOB", value, "a job's name: at most 100 letters, digits, - and _"))
}

fn path(name: &'static str, value: &[u8]) -> Result<PathBuf, ContextError> {
    let refuse = || wrong(name, value, "an absolute path without ..");
    let path = PathBuf::from(str::from_utf8(value).map_err(|_| refuse())?);
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    let fits = value.len() < 4096 && !value.iter().any(u8::is_ascii_control);
    if fits && path.is_absolute() && path.components().all(plain) && path != Path::new("/") {
        return Ok(path);
    }
    Err(refuse())
}

/// `https://HOST[:PORT]`, and a path behind it.
fn server(name: &'static str, value: &[u8]) -> Result<(Host, Option<u16>), ContextError> {
    let refuse = || wrong(name, value, "an https:// URL with a host and no user");
    let text = str::from_utf8(value).ok().filter(|text| text.len() <= 300).ok_or_else(refuse)?;
    let uri: http::Uri = text.parse().map_err(|_| refuse())?;
    let authority =
        uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(refuse)?;
    if uri.scheme_str() != Some("https") || uri.query().is_some() {
        return Err(refuse());
    }
    let port = authority.port().map(|port| port.as_str().parse::<u16>()).transpose().map_err(|_| refuse())?;
    let host = Host::parse(authority.host()).map_err(|_| refuse())?;
    Ok((host, port.filter(|port| *port != 443)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[(&str, &str)] = &[
        ("GITHUB_RUN_ID", "123"),
        ("GITHUB_RUN_ATTEMPT", "1"),
        ("GITHUB_JOB", "build-1"),
        ("GITHUB_SERVER_URL", "https://github.com"),
        ("GITHUB_API_URL", "https://api.github.com"),
        ("GITHUB_WORKSPACE", "/r/_work/p/p"),
    ];

    fn parse(change: &[(&str, &str)]) -> Result<Context, ContextError> {
        let all = PLAIN.iter().chain(change).map(|(name, value)| format!("{name}={value}\0"));
        Context::parse(all.collect::<String>().as_bytes())
    }

    #[test]
    fn an_ordinary_job_is_known() {
        let context = parse(&[("GITHUB_STEP_SUMMARY", "/r/_temp/s")]).unwrap();
        assert_eq!((&*context.key.run_id, &*context.key.job), ("123", "build-1"));
        assert_eq!(context.summary.as_deref(), Some(Path::new("/r/_temp/s")));
        assert_eq!(context.servers.len(), 2);
        let ghes = parse(&[
            ("GITHUB_SERVER_URL", "https://ghes.test:8443/x"),
            ("GITHUB_API_URL", "https://ghes.test:8443/api/v3"),
        ]);
        assert_eq!(ghes.unwrap().servers, [(Host::parse("ghes.test").unwrap(), Some(8443))]);
        assert_eq!(Context::parse(b""), Err(ContextError::Unset("GITHUB_RUN_ID")));
    }

    #[test]
    fn what_no_runner_sets_is_refused_and_named() {
        let long = "1".repeat(21);
        for (name, value) in [
            ("GITHUB_RUN_ID", ""),
            ("GITHUB_RUN_ID", "1\n2"),
            ("GITHUB_RUN_ID", &long),
            ("GITHUB_RUN_ID", "-1"),
            ("GITHUB_RUN_ATTEMPT", "../1"),
            ("GITHUB_JOB", "a\n::error::b"),
            ("GITHUB_JOB", "a/../b"),
            ("GITHUB_JOB", "$(id)"),
            ("GITHUB_JOB", ""),
            ("GITHUB_WORKSPACE", "relative"),
            ("GITHUB_WORKSPACE", "/r/../etc"),
            ("GITHUB_WORKSPACE", "/r/\n"),
            ("GITHUB_WORKSPACE", "/"),
            ("GITHUB_STEP_SUMMARY", "summary"),
            ("GITHUB_SERVER_URL", "http://github.com"),
            ("GITHUB_SERVER_URL", "https://user:p@github.com"),
            ("GITHUB_SERVER_URL", "https://github.com/?x"),
            ("GITHUB_API_URL", "https://"),
            ("GITHUB_API_URL", "file:///etc"),
            ("GITHUB_API_URL", "https://*.com"),
            ("GITHUB_API_URL", "https://a b"),
        ] {
            let error = parse(&[(name, value)]).unwrap_err();
            let named = matches!(&error, ContextError::Value { name: of, .. } if *of == name);
            assert!(named && !error.to_string().contains('\n'), "{name}={value:?}: {error}");
        }
    }
}
