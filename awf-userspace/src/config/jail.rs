//! What the command is to see of the machine's files: `--chroot`, `--mount`, `--share-tmp`, and the places that the
//! caller's environment names.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Component, Path, PathBuf},
};

use super::{
    ConfigError, ExecArgs, Inputs,
    file::{ALLOW_WRITE, ConfigFile},
    inputs, runner,
};

/// `--chroot`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Chroot {
    /// A root of its own: the system read-only, its HOME without credentials, the workspace.
    #[default]
    Auto,
    /// The machine's files, with the rights of the command's user.
    Off,
}

/// One `--mount`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub source: PathBuf,
    pub target: PathBuf,
    pub writable: bool,
}

/// The command's view of files, as wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JailPlan {
    pub chroot: Chroot,
    pub mounts: Vec<Mount>,
    /// Of what the command could write to, only this; `None`: all of it.
    pub allow_write: Option<Vec<PathBuf>>,
    /// Unix sockets that processes outside serve, and that the command may use all the same.
    pub unix: Vec<PathBuf>,
    /// The machine's /tmp instead of an empty one.
    pub share_tmp: bool,
    /// Writable beside the working directory.
    pub workspaces: Vec<PathBuf>,
    /// As sudo's caller says: writable if they are the command's user's.
    pub own: Vec<PathBuf>,
    /// As sudo's caller says: read-only if they are the command's user's.
    pub own_caches: Vec<PathBuf>,
    /// Below those: what programs outside use later, and must find as it was.
    pub keep: Vec<PathBuf>,
    /// Of whose files, but not of its directories, the same is true.
    pub temp: Option<PathBuf>,
    /// Read-only.
    pub tool_caches: Vec<PathBuf>,
    /// Where settings are kept instead of in `~/.config`.
    pub config_dirs: Vec<PathBuf>,
    /// Files and directories with credentials; as typed, so perhaps relative to where awf-bpf was started.
    pub secrets: Vec<PathBuf>,
    /// Files of which the next run is made, too: policy, lists, variables; likewise.
    pub decisive: Vec<PathBuf>,
}

/// Why a `--mount` cannot be meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    #[error("is not SOURCE:TARGET, SOURCE:TARGET:ro or SOURCE:TARGET:rw")]
    Form,
    #[error("has an empty path")]
    Empty,
    #[error("has a path that does not begin with /; write it whole, as $PWD/data or $HOME/data")]
    Relative,
    #[error("has a path with . or .. in it; write where it leads to")]
    Dots,
    #[error("has an unknown mode; write ro or rw")]
    Mode,
    #[error("names a variable that is not set where awf-bpf was started")]
    Unset,
    #[error("has a $ that is not followed by the name of a variable")]
    Dollar,
    #[error("has the same target as another one")]
    Duplicate,
}

/// Of `--enable-dind`.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";
const WORKSPACE: &str = "GITHUB_WORKSPACE";
const TOOL_CACHES: [&str; 2] = ["RUNNER_TOOL_CACHE", "AGENT_TOOLSDIRECTORY"];
const CONFIG_DIRS: [&str; 1] = ["XDG_CONFIG_HOME"];
/// Their values are paths of credentials, or of directories with some. KUBECONFIG is a list.
#[rustfmt::skip]
const SECRETS: [&str; 16] = [
    "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AZURE_CONFIG_DIR", "CLOUDSDK_CONFIG", "DOCKER_CONFIG",
    "GH_CONFIG_DIR", "GNUPGHOME", "GOOGLE_APPLICATION_CREDENTIALS", "HF_TOKEN_PATH", "KUBECONFIG", "NETRC",
    "NPM_CONFIG_USERCONFIG", "npm_config_userconfig", "PASSWORD_STORE_DIR", "PGPASSFILE", "PIP_CONFIG_FILE",
];

pub(super) fn plan(
    args: &ExecArgs,
    config: &ConfigFile,
    inputs: &Inputs,
    errors: &mut Vec<ConfigError>,
) -> JailPlan {
    let mut mounts: Vec<Mount> = Vec::new();
    for text in &args.mount {
        let parsed =
            mount(text, inputs).and_then(|mount| match mounts.iter().any(|m| m.target == mount.target) {
                true => Err(MountError::Duplicate),
                false => Ok(mount),
            });
        match parsed {
            Ok(mount) => mounts.push(mount),
            Err(why) => errors.push(ConfigError::Mount { text: text.to_string_lossy().into_owned(), why }),
        }
    }
    let chroot = args.chroot.unwrap_or_default();
    if chroot == Chroot::Off {
        let given = [
            ("--mount", !args.mount.is_empty()),
            ("--share-tmp", args.share_tmp),
            ("[filesystem] allow_write", config.has(ALLOW_WRITE)),
        ];
        errors
            .extend(given.into_iter().filter(|(_, is)| *is).map(|(flag, _)| ConfigError::NeedsRoot { flag }));
    }
    let own = |names: &[&str]| names.iter().flat_map(|name| paths(inputs.var(name))).collect::<Vec<_>>();
    let sudos = |names: &[&str]| {
        let values = names.iter().filter_map(|name| inputs.sudo.get(OsStr::new(name)));
        values.flat_map(|value| paths(Some(value))).collect::<Vec<_>>()
    };
    let both = |names: &[&str]| [own(names), sudos(names)].concat();
    let mut secrets = both(&SECRETS);
    let cargo_homes = both(&["CARGO_HOME"]);
    secrets
        .extend(cargo_homes.iter().flat_map(|dir| ["credentials", "credentials.toml"].map(|f| dir.join(f))));
    let runner = runner::of(inputs);
    secrets.extend(runner.secrets);
    secrets.extend(args.outbound.upstream_proxy_auth_file.iter().chain(&args.ca_key).cloned());
    JailPlan {
        chroot,
        mounts,
        allow_write: config.has(ALLOW_WRITE).then(|| allow_write(config, inputs, errors)),
        unix: unix(args, inputs, errors),
        share_tmp: args.share_tmp,
        workspaces: own(&[WORKSPACE]),
        own: sudos(&[WORKSPACE]).into_iter().chain(runner.temp.clone()).collect(),
        keep: runner.keep,
        temp: runner.temp,
        tool_caches: own(&TOOL_CACHES),
        own_caches: sudos(&TOOL_CACHES),
        config_dirs: both(&CONFIG_DIRS),
        secrets,
        decisive: inputs::decisive(args, config),
    }
}

fn allow_write(config: &ConfigFile, inputs: &Inputs, errors: &mut Vec<ConfigError>) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for item in config.items(ALLOW_WRITE) {
        match path(item.text.as_bytes(), inputs) {
            Ok(path) => paths.push(path),
            Err(why) => {
                let why = format!("`{ALLOW_WRITE}`: {:?} {why}", item.text);
                errors.push(ConfigError::Config { path: config.path.clone(), line: item.line, why });
            }
        }
    }
    paths
}

/// The absolute paths in a variable, which may be a list.
fn paths(value: Option<&OsString>) -> Vec<PathBuf> {
    let value = value.map_or(&b""[..], |value| value.as_bytes());
    let paths = value.split(|byte| *byte == b':').map(|path| PathBuf::from(OsStr::from_bytes(path)));
    paths.filter(|path| path.is_absolute()).collect()
}

fn mount(text: &OsStr, inputs: &Inputs) -> Result<Mount, MountError> {
    // Split before the values are put in: one of them may contain a colon.
    let parts: Vec<_> = text.as_bytes().split(|byte| *byte == b':').collect();
    let (source, target, mode) = match parts[..] {
        [source, target] => (source, target, &b"rw"[..]),
        [source, target, mode] => (source, target, mode),
        _ => return Err(MountError::Form),
    };
    let writable = match mode {
        b"rw" => true,
        b"ro" => false,
        _ => return Err(MountError::Mode),
    };
    Ok(Mount { source: path(source, inputs)?, target: path(target, inputs)?, writable })
}

fn unix(args: &ExecArgs, inputs: &Inputs, errors: &mut Vec<ConfigError>) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for text in &args.allow_unix {
        match path(text.as_bytes(), inputs) {
            Ok(path) => all.push(path),
            Err(why) => {
                errors.push(ConfigError::AllowUnix { text: text.to_string_lossy().into_owned(), why });
            }
        }
    }
    all.extend(args.enable_dind.then(|| DOCKER_SOCKET.into()));
    all
}

fn path(text: &[u8], inputs: &Inputs) -> Result<PathBuf, MountError> {
    let path = PathBuf::from(OsString::from_vec(expand(text, inputs)?));
    if path.as_os_str().is_empty() {
        return Err(MountError::Empty);
    }
    if !path.is_absolute() {
        return Err(MountError::Relative);
    }
    let bytes = path.as_os_str().as_bytes();
    if bytes.split(|byte| *byte == b'/').any(|name| name == b"." || name == b"..") {
        return Err(MountError::Dots);
    }
    // Without double and trailing slashes.
    Ok(path.components().filter(|part| *part != Component::CurDir).collect::<PathBuf>())
}

/// `$NAME` and `${NAME}`.
fn expand(text: &[u8], inputs: &Inputs) -> Result<Vec<u8>, MountError> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == b'$') {
        out.extend_from_slice(&rest[..at]);
        let (name, after) = name(&rest[at + 1..]).ok_or(MountError::Dollar)?;
        let value = std::str::from_utf8(name).ok().and_then(|name| inputs.persons_var(name));
        out.extend_from_slice(value.ok_or(MountError::Unset)?.as_bytes());
        rest = after;
    }
    out.extend_from_slice(rest);
    Ok(out)
}

fn name(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let braced = text.strip_prefix(b"{");
    let inner = braced.unwrap_or(text);
    let end =
        inner.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_').unwrap_or(inner.len());
    let (name, after) = inner.split_at(end);
    let after = if braced.is_some() { after.strip_prefix(b"}")? } else { after };
    let begins = name.first().is_some_and(|byte| !byte.is_ascii_digit());
    begins.then_some((name, after))
}

/// For `--dry-run`.
impl std::fmt::Display for Mount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let show = |path: &Path| path.display().to_string();
        let mode = if self.writable { "rw" } else { "ro" };
        write!(f, "{}:{}:{mode}", show(&self.source), show(&self.target))
    }
}
