//! A runner of GitHub Actions as its variables tell it: where a step may leave files, and what of the runner's own the
//! command could change there to be outside by the next step.
//!
//! The layout (actions/runner, `Constants.cs` and `FileCommandManager.cs`): `RUNNER/_work/_temp` is `$RUNNER_TEMP`; the
//! files of a step's commands are in `_temp/_runner_file_commands`, its script in `_temp`, other actions' programs in
//! `_work/_actions`, and the runner's own, with its settings and credentials, in `RUNNER`.

use std::path::PathBuf;

use super::{
    Inputs,
    toolchain::{GITHUB_ENV, GITHUB_PATH},
};

const TEMP: &str = "RUNNER_TEMP";
/// Files that decide what later steps run, and as what.
const FILES: [&str; 4] = [GITHUB_ENV, GITHUB_PATH, "GITHUB_STATE", "GITHUB_EVENT_PATH"];
/// In `RUNNER`: programs, and settings that name programs.
#[rustfmt::skip]
const RUNNERS: [&str; 12] = [
    "bin", "externals", ".env", ".path", ".runner", ".service", "run.sh", "run-helper.sh", "config.sh", "env.sh",
    "runsvc.sh", "svc.sh",
];
const CREDENTIALS: [&str; 4] =
    [".credentials", ".credentials_rsaparams", ".credentials_migrated", ".runner_migrated"];

/// What there is of a runner; all empty where there is none.
#[derive(Debug, Default)]
pub(super) struct Runner {
    pub(super) temp: Option<PathBuf>,
    pub(super) keep: Vec<PathBuf>,
    pub(super) secrets: Vec<PathBuf>,
}

/// Reads the variables, those of sudo's caller included.
pub(super) fn of(inputs: &Inputs) -> Runner {
    let path = |name: &str| inputs.caller_var(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let Some(temp) = path(TEMP) else { return Runner::default() };
    let mut keep: Vec<PathBuf> = FILES.iter().filter_map(|name| path(name)).collect();
    let work = temp.parent().filter(|_| temp.file_name().is_some_and(|name| name == "_temp"));
    keep.extend(work.map(|work| work.join("_actions")));
    let mut secrets = Vec::new();
    if let Some(runner) = work.and_then(|work| work.parent()) {
        keep.extend(RUNNERS.iter().map(|name| runner.join(name)));
        secrets.extend(CREDENTIALS.iter().map(|name| runner.join(name)));
    }
    Runner { temp: Some(temp), keep, secrets }
}
