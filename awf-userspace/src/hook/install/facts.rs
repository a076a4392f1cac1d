//! Reads what the plan is made from.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    InstallError, disk,
    piece::{Role, State},
    plan::{Facts, Options},
    record::Record,
};
use crate::hook::{account::Account, tools};

/// Where units of an administrator and of packages are (systemd.unit(5)).
const UNITS: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
];

/// The directory without links, and the runner's user.
///
/// # Errors
///
/// When it cannot be looked at, or its owner is nobody.
pub(super) fn runner(dir: &Path) -> Result<(PathBuf, Account), InstallError> {
    let failed = |path: &Path, source| InstallError::Path { path: path.to_owned(), source };
    let dir = dir.canonicalize().map_err(|e| failed(dir, e))?;
    // Its directory may have become root's, with --protect-env, and its programs, as doctor advises.
    let looked_at = ["bin/Runner.Listener", "", ".runner", "_work"].map(|name| dir.join(name));
    let owners = looked_at.iter().filter_map(|path| fs::symlink_metadata(path).ok());
    let owners: Vec<u32> = owners.map(|meta| std::os::unix::fs::MetadataExt::uid(&meta)).collect();
    let owner = owners.iter().find(|uid| **uid != 0).or(owners.first());
    let owner = owner.ok_or_else(|| failed(&dir, io::ErrorKind::NotFound.into()))?;
    let account = Account::find(&owner.to_string())?;
    Ok((dir, account))
}

/// What is found of a runner, with `old` on record.
///
/// # Errors
///
/// Names what cannot be looked at.
pub(super) fn read(
    dir: PathBuf,
    account: &Account,
    options: &Options,
    old: Option<&Record>,
) -> Result<Facts, InstallError> {
    let failed = |path: &Path, source| InstallError::Path { path: path.to_owned(), source };
    let observe = |path: &Path| disk::observe(path).map_err(|e| failed(path, e));
    let own = Path::new("/proc/self/exe");
    let binary = fs::read_link(own).map_err(|e| failed(own, e))?;
    let binary_writable = account.writable_on_the_way(&binary).map_err(|e| failed(&binary, e))?;
    let now = observe(&dir)?;
    let on_record =
        old.and_then(|old| old.changes.iter().find(|change| change.role == Role::RunnerDirectory));
    let original = on_record.map_or(&now, |change| if change.made(&now) { &change.before } else { &now });
    let dir_owner = match original {
        State::Directory(access) => access.uid,
        _ => return Err(failed(&dir, io::ErrorKind::NotADirectory.into())),
    };
    let unit = options.unit.clone().or_else(|| service(&dir));
    let unit_file = unit
        .as_ref()
        .and_then(|unit| UNITS.iter().map(|units| Path::new(units).join(unit)).find(|path| path.is_file()));
    Ok(Facts {
        user: account.name.clone(),
        uid: account.uid,
        gid: account.gid,
        has_listener: dir.join("bin/Runner.Listener").is_file(),
        env: observe(&dir.join(".env"))?,
        path: observe(&dir.join(".path"))?,
        dir_owner,
        unit,
        unit_file,
        binary,
        binary_writable,
        sudo: tools::find("sudo"),
        visudo: tools::find("visudo").is_some(),
        runner_dir: dir,
    })
}

/// The name that `svc.sh install` left. Who can write it could name any service: only a runner's is taken.
fn service(dir: &Path) -> Option<String> {
    let State::File { bytes, .. } = disk::observe(&dir.join(".service")).ok()? else { return None };
    let name = String::from_utf8(bytes).ok()?.trim().to_owned();
    name.starts_with("actions.runner.").then_some(name)
}
