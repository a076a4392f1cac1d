//! Reads what a command line names: its files and the caller's environment. All of `config`'s I/O.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, IsTerminal, Read},
    os::unix::{
        ffi::OsStringExt as _,
        fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use bytes::Bytes;
use zeroize::Zeroizing;

use super::{
    ExecArgs, PolicyArgs, env_names,
    file::{self, ConfigFile},
    toolchain::{GITHUB_ENV, GITHUB_PATH},
};

/// A file longer than this is not a list somebody wrote.
const MAX_FILE: u64 = 64 << 20;
/// A private key is longer only if it is none.
const MAX_KEY: u64 = 64 << 10;

/// The world as a command line sees it.
#[derive(Clone, Default)]
pub struct Inputs {
    /// The caller's environment.
    pub env: Vec<(OsString, OsString)>,
    /// The contents of each file named, or why there are none.
    pub files: BTreeMap<PathBuf, Result<Bytes, String>>,
    /// The private key of `--ca-key`, likewise; overwritten when it is dropped.
    pub ca_key: Option<Result<Zeroizing<Vec<u8>>, String>>,
    /// The environment sudo itself was started with, if it was sudo that started us. It is the caller's to choose:
    /// only ever asked for by name, and what it names must be the caller's.
    pub sudo: BTreeMap<OsString, OsString>,
    /// Whether one of stdin, stdout and stderr is a terminal, which has a size of its own.
    pub terminal: bool,
}

impl Inputs {
    /// Reads the environment of this process and every file `args` names. What cannot be read is an error for
    /// `resolve` to report beside the others.
    #[must_use]
    pub fn read(args: &ExecArgs) -> Self {
        let (mut inputs, config) = Self::read_lists(&args.policy);
        let args = &file::merged(args, &config);
        inputs.env = env::vars_os().collect();
        inputs.terminal =
            io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal();
        let more = args.env_file.iter().chain(&args.outbound.upstream_proxy_auth_file).chain(&args.ca_cert);
        inputs.files.extend(more.map(|path| (path.clone(), read(path))));
        inputs.ca_key = args.ca_key.as_deref().map(read_secret);
        if inputs.var("SUDO_UID").is_some() {
            inputs.sudo = of_sudo().unwrap_or_default();
        }
        for name in [GITHUB_PATH, GITHUB_ENV] {
            if let Some(path) = inputs.caller_var(name).map(PathBuf::from) {
                let found = inputs.callers_file(&path);
                inputs.files.entry(path).or_insert(found);
            }
        }
        inputs
    }

    /// Reads the files of a policy only: those named, and those that its configuration file names.
    #[must_use]
    pub fn read_policy(args: &PolicyArgs) -> Self {
        Self::read_lists(args).0
    }

    fn read_lists(args: &PolicyArgs) -> (Self, ConfigFile) {
        let mut files = BTreeMap::new();
        let mut config = ConfigFile::default();
        if let Some(path) = &args.config {
            let found = read(path);
            if let Ok(bytes) = &found {
                // Its mistakes are reported when it is resolved.
                config = file::parse(path, bytes, &mut Vec::new());
            }
            files.insert(path.clone(), found);
        }
        files.extend(lists(args, &config).map(|path| (path.clone(), read(&path))));
        (Self { files, ..Self::default() }, config)
    }

    /// A file the caller's environment names: it must be the caller's, since we read it with root's rights.
    fn callers_file(&self, path: &Path) -> Result<Bytes, String> {
        // There are devices that do something by being opened.
        if !fs::metadata(path).map_err(|error| error.to_string())?.is_file() {
            return Err("not a file".to_owned());
        }
        // Whatever it is by now, opening it must not wait.
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = File::options().read(true).custom_flags(flags).open(path);
        let file = file.map_err(|error| error.to_string())?;
        let meta = file.metadata().map_err(|error| error.to_string())?;
        let caller: Option<u32> = self.var("SUDO_UID").and_then(|uid| uid.to_str()?.parse().ok());
        if !meta.is_file() {
            return Err("not a file".to_owned());
        }
        if caller.is_some_and(|caller| caller != meta.uid()) {
            return Err("not a file of sudo's caller".to_owned());
        }
        read_open(file)
    }

    /// A variable of the environment, else of sudo's caller.
    pub(super) fn caller_var(&self, name: impl AsRef<OsStr>) -> Option<&OsString> {
        self.var(&name).or_else(|| self.sudo.get(name.as_ref()))
    }

    /// What a person means who writes `$NAME`: sudo's caller, who has a HOME and a name of their own, and not root's.
    pub(super) fn persons_var(&self, name: &str) -> Option<&OsString> {
        let theirs = self.sudo.get(OsStr::new(name)).filter(|_| env_names::is_callers_own(name));
        theirs.or_else(|| self.caller_var(name))
    }

    pub(super) fn var(&self, name: impl AsRef<OsStr>) -> Option<&OsString> {
        let name = name.as_ref();
        self.env.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }
}

/// The lists that are typed, and those that the configuration file names.
fn lists<'a>(args: &'a PolicyArgs, config: &'a ConfigFile) -> impl Iterator<Item = PathBuf> {
    let keys = [
        (&args.allow_domains_file, "allow_domains_file"),
        (&args.block_domains_file, "block_domains_file"),
        (&args.ruleset_file, "ruleset_file"),
    ];
    keys.into_iter().flat_map(|(typed, key)| typed.iter().cloned().chain(config.paths(key)))
}

/// Files that decide over this run, and over the next one if it is started alike.
pub(super) fn decisive(args: &ExecArgs, config: &ConfigFile) -> Vec<PathBuf> {
    let typed = args.policy.config.iter().chain(&args.env_file).chain(&args.ca_cert).cloned();
    typed.chain(lists(&args.policy, config)).collect()
}

/// The environment sudo was started with, if it was sudo that started us and not a shell of root's: it passes on
/// little of it, and replaces PATH.
fn of_sudo() -> Option<BTreeMap<OsString, OsString>> {
    let parent = PathBuf::from(format!("/proc/{}", rustix::process::getppid()?.as_raw_nonzero()));
    if fs::read_to_string(parent.join("comm")).ok()?.trim_end() != "sudo" {
        return None;
    }
    let bytes = fs::read(parent.join("environ")).ok()?;
    let pair = |text: &[u8]| {
        let at = text.iter().position(|byte| *byte == b'=')?;
        Some((OsString::from_vec(text[..at].to_vec()), OsString::from_vec(text[at + 1..].to_vec())))
    };
    Some(bytes.split(|byte| *byte == 0).filter_map(pair).collect())
}

fn read(path: &Path) -> Result<Bytes, String> {
    read_open(File::open(path).map_err(|error| error.to_string())?)
}

fn read_open(file: File) -> Result<Bytes, String> {
    // Room for a regular file at once; others have no length.
    let length = file.metadata().map_or(0, |meta| meta.len().min(MAX_FILE));
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1);
    fill(file, &mut bytes, MAX_FILE)?;
    Ok(bytes.into())
}

/// With room from the start: no part of it is left behind where it grew.
fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let meta = file.metadata().map_err(|error| error.to_string())?;
    let roots_alone = meta.uid() == 0 && meta.mode() & 0o077 == 0;
    if meta.nlink() > 1 && !roots_alone {
        return Err(
            "the file has another name (a hard link), by which the command could read it: copy it".into()
        );
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_KEY as usize + 1));
    fill(file, &mut bytes, MAX_KEY)?;
    Ok(bytes)
}

fn fill(file: File, bytes: &mut Vec<u8>, most: u64) -> Result<(), String> {
    file.take(most + 1).read_to_end(bytes).map_err(|error| error.to_string())?;
    match bytes.len() as u64 > most {
        true if most < 1 << 20 => Err(format!("longer than {} KiB", most >> 10)),
        true => Err(format!("longer than {} MiB", most >> 20)),
        false => Ok(()),
    }
}

/// Shows names only: contents and values hold secrets.
impl std::fmt::Debug for Inputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.env.iter().map(|(name, _)| name).collect();
        let files: Vec<_> = self.files.keys().collect();
        f.debug_struct("Inputs").field("env", &names).field("files", &files).finish()
    }
}
