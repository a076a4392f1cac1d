//! `awf-bpf hook status`: what of an installation is there, and whether the runner knows of it.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::Serialize;

use super::{
    InstallError,
    piece::{Change, Role, State},
    record::{self, Record},
    work,
};
use crate::hook::{account::Account, escapes::sudo, tools};

/// How a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    Ok,
    /// It is there, but not as it was made; of a policy that is what is wanted.
    Changed,
    Missing,
}

/// One path.
#[derive(Clone, Debug, Serialize)]
pub struct PieceStatus {
    pub role: Role,
    pub path: PathBuf,
    pub condition: Condition,
}

/// One runner.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Nothing is missing or changed, and sudo lets the hooks through.
    pub ok: bool,
    pub runner_dir: PathBuf,
    pub user: String,
    pub unit: Option<String>,
    /// A killed install or uninstall: the next one undoes it.
    pub half_done: bool,
    pub pieces: Vec<PieceStatus>,
    /// sudo lets the user run the hooks.
    pub hooks_allowed: bool,
    /// What else sudo lets the user run; `null` if it does not say.
    pub sudo_beyond: Option<Vec<String>>,
    /// A Runner.Listener that read `.env` before the hooks were in it; `null` if none runs.
    pub restart_needed: Option<bool>,
}

/// The installations of this machine, or the one of the runner in `dir`.
///
/// # Errors
///
/// When a record cannot be read, or there is none for `dir`.
pub fn status(dir: Option<&Path>) -> Result<Vec<Status>, InstallError> {
    super::need_root("status")?;
    let dir = dir.map(|dir| dir.canonicalize().unwrap_or_else(|_| dir.to_owned()));
    let wanted = |record: &Record| dir.as_ref().is_none_or(|dir| record.runner_dir == *dir);
    let records: Vec<_> = record::all()?.into_iter().filter(wanted).collect();
    match dir {
        Some(dir) if records.is_empty() => Err(InstallError::NotInstalled(dir)),
        _ => Ok(records.iter().map(of).collect()),
    }
}

fn of(record: &Record) -> Status {
    let pieces: Vec<_> = record.changes.iter().map(piece).collect();
    let whole = |piece: &PieceStatus| {
        piece.condition == Condition::Ok
            || (piece.role == Role::Policy && piece.condition == Condition::Changed)
    };
    let account = Account::find(&record.uid.to_string());
    let user = account.map_or_else(|_| record.user.clone(), |account| account.name);
    let binary = record.binary.display().to_string();
    let allows = |word| tools::run("sudo", &["-n", "-U", &user, "-l", &binary, "hook", word]).is_ok();
    let hooks_allowed = allows("pre-job") && allows("post-job");
    let beyond = sudo::beyond_the_hooks(&user, &record.binary).ok();
    Status {
        ok: record.done && hooks_allowed && pieces.iter().all(whole),
        runner_dir: record.runner_dir.clone(),
        unit: record.unit.clone(),
        half_done: !record.done,
        pieces,
        hooks_allowed,
        sudo_beyond: beyond.map(|all| all.iter().map(ToString::to_string).collect()),
        restart_needed: restart_needed(&record.runner_dir),
        user,
    }
}

fn piece(change: &Change) -> PieceStatus {
    let condition = match work::observe(&change.path) {
        Ok(now) if now == change.after => Condition::Ok,
        Ok(State::Directory(_)) if change.role == Role::Directory => Condition::Ok,
        Ok(State::File { bytes, .. }) if change.role == Role::Env && has_hooks(&bytes) => Condition::Ok,
        Ok(State::Absent) | Err(_) => Condition::Missing,
        Ok(_) => Condition::Changed,
    };
    PieceStatus { role: change.role, path: change.path.clone(), condition }
}

/// Other lines of `.env` are the runner's.
fn has_hooks(bytes: &[u8]) -> bool {
    super::env_file::with(bytes, super::plan::hooks()).is_ok_and(|with| with == bytes)
}

/// Whether a Listener of `dir` is older than the hooks in its `.env`. Its environment does not tell: what it reads
/// there is in its memory only.
fn restart_needed(dir: &Path) -> Option<bool> {
    let written = fs::metadata(dir.join(".env")).ok()?.ctime();
    let started = listeners(dir).into_iter().map(|pid| started(pid).unwrap_or_default());
    started.min().map(|oldest| oldest <= written)
}

/// The Listeners that run from `dir`, by their executable: a name proves nothing.
#[must_use]
pub fn listeners(dir: &Path) -> Vec<u32> {
    let of_dir = |pid: &u32| {
        let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        exe.starts_with(dir) && exe.file_name().is_some_and(|name| name == "Runner.Listener")
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(of_dir).collect()
}

/// When a process began, in seconds since 1970, rounded down: proc_pid_stat(5), field 22.
fn started(pid: u32) -> Option<i64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks: u64 = stat.rsplit_once(')')?.1.split(' ').nth(20)?.parse().ok()?;
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split(' ').next()?.parse().ok()?;
    // USER_HZ is 100 on every architecture that this runs on.
    let age = Duration::try_from_secs_f64(uptime - ticks as f64 / 100.0).ok()?;
    let since = SystemTime::now().checked_sub(age)?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    since.as_secs().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_began_a_moment_ago() {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let age = i64::try_from(now).unwrap() - started(std::process::id()).unwrap();
        assert!((0..600).contains(&age), "{age}");
    }
}
