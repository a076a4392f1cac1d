//! Reads what a command line names: its files and the caller's environment. All of `config`'s I/O.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::{
    ExecArgs, PolicyArgs,
    file::{self, ConfigFile},
};

/// A file longer than this is not a list somebody wrote.
const MAX_FILE: u64 = 64 << 20;

/// The world as a command line sees it.
#[derive(Clone, Default)]
pub struct Inputs {
    /// The caller's environment.
    pub env: Vec<(OsString, OsString)>,
    /// The contents of each file named, or why there are none.
    pub files: BTreeMap<PathBuf, Result<Bytes, String>>,
}

impl Inputs {
    /// Reads the environment of this process and every file `args` names. What cannot be read is an error for
    /// `resolve` to report beside the others.
    #[must_use]
    pub fn read(args: &ExecArgs) -> Self {
        let mut inputs = Self::read_policy(&args.policy);
        inputs.env = env::vars_os().collect();
        let more = args.env_file.iter().chain(&args.upstream_proxy_auth_file);
        inputs.files.extend(more.map(|path| (path.clone(), read(path))));
        inputs
    }

    /// Reads the files of a policy only: those named, and those that its configuration file names.
    #[must_use]
    pub fn read_policy(args: &PolicyArgs) -> Self {
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
        for (typed, key) in [
            (&args.allow_domains_file, "allow_domains_file"),
            (&args.block_domains_file, "block_domains_file"),
            (&args.ruleset_file, "ruleset_file"),
        ] {
            let paths = typed.iter().cloned().chain(config.paths(key));
            files.extend(paths.map(|path| (path.clone(), read(&path))));
        }
        Self { env: Vec::new(), files }
    }

    pub(super) fn var(&self, name: &str) -> Option<&OsString> {
        self.env.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }
}

fn read(path: &Path) -> Result<Bytes, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| {
            // Room for a regular file at once; others have no length.
            let length = file.metadata().map_or(0, |meta| meta.len().min(MAX_FILE));
            bytes.reserve_exact(usize::try_from(length).unwrap_or_default() + 1);
            file.take(MAX_FILE + 1).read_to_end(&mut bytes)
        })
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("longer than {} MiB", MAX_FILE >> 20));
    }
    Ok(bytes.into())
}

/// Shows names only: contents and values hold secrets.
impl std::fmt::Debug for Inputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.env.iter().map(|(name, _)| name).collect();
        let files: Vec<_> = self.files.keys().collect();
        f.debug_struct("Inputs").field("env", &names).field("files", &files).finish()
    }
}
