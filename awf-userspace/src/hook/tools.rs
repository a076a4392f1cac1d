//! Programs of the machine that are asked or told: found where root's are, without the caller's environment.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin";
/// No answer of theirs takes this long, in seconds, unless a directory service hangs.
const PATIENCE: &str = "20";

/// Why a program did not say what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    #[error("{0} is not installed")]
    Missing(&'static str),
    #[error("starting {name}: {source}")]
    Start { name: &'static str, source: io::Error },
    #[error("{name} failed{code}: {said}")]
    Failed { name: &'static str, code: String, said: String },
}

/// Where `name` is.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    PATH.split(':').map(|dir| Path::new(dir).join(name)).find(|path| path.is_file())
}

/// What `name` answers, whether it fails or not.
///
/// # Errors
///
/// When it is not there or cannot be started.
pub fn ask<S: AsRef<OsStr>>(name: &'static str, args: &[S]) -> Result<Output, ToolError> {
    let program = find(name).ok_or(ToolError::Missing(name))?;
    let mut command = match find("timeout") {
        Some(timeout) => {
            let mut command = Command::new(timeout);
            command.args(["-k", "1", PATIENCE]).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.args(args).env_clear().env("PATH", PATH).env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
    command.output().map_err(|source| ToolError::Start { name, source })
}

/// What `name` writes when it succeeds.
///
/// # Errors
///
/// When it does not, with what it said.
pub fn run<S: AsRef<OsStr>>(name: &'static str, args: &[S]) -> Result<String, ToolError> {
    let out = ask(name, args)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if out.status.success() {
        return Ok(text(&out.stdout));
    }
    let code = out.status.code().map_or(String::new(), |code| format!(" with exit code {code}"));
    let said = [text(&out.stderr), text(&out.stdout)].join("\n").trim().replace('\n', "; ");
    Err(ToolError::Failed { name, code, said })
}
