//! `awf-bpf hook install`, `uninstall` and `status`: a plan that is pure, carried out under a record of what was there
//! before, and undone by it.
//!
//! ```text
//! facts   what is found of a runner         plan    pieces, or what speaks against it
//! piece   how one path is, was, is to be    files   what the files say      env_file  the runner's .env
//! disk    looks and writes without links    work    makes, undoes           record    what is undone after a crash
//! status  what is there now
//! ```

pub mod disk;
pub mod env_file;
mod facts;
pub mod files;
pub mod piece;
pub mod plan;
pub mod record;
pub mod status;
mod work;

use std::{
    io,
    path::{Path, PathBuf},
};

pub use files::{POLICY, SAID};
pub use plan::{Options, Refusal};

use self::{piece::Role, record::Record, work::Undone};
use super::{
    account::{Account, AccountError},
    escapes::sudo,
    tools::{self, ToolError},
};

/// Why nothing was installed or uninstalled, or not all.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error("awf-bpf hook {0} takes root: sudo awf-bpf hook {0}")]
    NotRoot(&'static str),
    #[error("another awf-bpf hook install or uninstall is at work")]
    Busy,
    #[error("{path}: {source}")]
    Path { path: PathBuf, source: io::Error },
    #[error("{path} is no record of an installation: {source}")]
    Record { path: PathBuf, source: serde_json::Error },
    #[error("{path} has format {format}, which another version of awf-bpf wrote: uninstall with that one")]
    Format { path: PathBuf, format: u32 },
    #[error("{0} is there, and not of our making; look at it, and move it away")]
    Occupied(PathBuf),
    #[error(
        "{0} is not a directory that root alone can write; mend that first: chown root: {0}; chmod 755 {0}"
    )]
    NotRoots(PathBuf),
    #[error("{}", lines(.0))]
    Refused(Vec<Refusal>),
    #[error("nothing is installed for the runner in {0}; awf-bpf hook status lists what is")]
    NotInstalled(PathBuf),
    #[error(
        "sudo does not let {user} run the hooks: {why}; is there @includedir /etc/sudoers.d in /etc/sudoers?"
    )]
    SudoRefuses { user: String, why: String },
    #[error(
        "sudo still lets {user} run {what}, by a rule that is read after ours; remove that rule (visudo), and install again"
    )]
    SudoOpen { user: String, what: String },
    #[error("{0}; what was done is undone")]
    Undone(#[source] Box<InstallError>),
    #[error("{first}; undoing that failed, too: {then}; awf-bpf hook uninstall tries again")]
    Stuck { first: Box<InstallError>, then: Box<InstallError> },
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Tool(#[from] ToolError),
}

fn lines(refusals: &[Refusal]) -> String {
    refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The directory of a runner without links, and whom it runs as.
///
/// # Errors
///
/// When it cannot be looked at, or nobody has that uid.
pub fn runner(dir: &Path) -> Result<(PathBuf, Account), InstallError> {
    facts::runner(dir)
}

/// What was done, a line each, and what the administrator should know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub changes: Vec<String>,
    pub notes: Vec<String>,
}

/// Installs the hooks of the runner in `dir`; with `dry_run`, only says what would change.
///
/// # Errors
///
/// When something speaks against it, or a step fails: what was done is undone then.
pub fn install(dir: &Path, options: &Options, dry_run: bool) -> Result<Outcome, InstallError> {
    need_root("install")?;
    let _lock = record::lock()?;
    let mut outcome = Outcome::default();
    if !dry_run {
        undo_half_done(&mut outcome)?;
    }
    let (dir, account) = facts::runner(dir)?;
    let (old, mut others): (Vec<_>, Vec<_>) =
        record::all()?.into_iter().filter(|record| record.done).partition(|record| record.runner_dir == dir);
    let old = old.into_iter().next();
    let facts = facts::read(dir, &account, options, old.as_ref())?;
    let refusals = plan::refusals(&facts, options);
    if !refusals.is_empty() {
        return Err(InstallError::Refused(refusals));
    }
    let mut new = Record::new(facts.runner_dir.clone(), account.name.clone(), account.uid);
    new.unit.clone_from(&facts.unit);
    new.binary.clone_from(&facts.binary);
    (new.disable_sudo, new.protect_env) = (options.disable_sudo, options.protect_env);
    new.changes = work::changes(plan::pieces(&facts, options), old.as_ref(), &others)?;
    let dropped = dropped(old.as_ref(), &new);
    if dry_run {
        outcome.changes = would(&dropped, &new)?;
        return Ok(outcome);
    }
    carry_out(old.as_ref(), &dropped, &mut new, &mut others, &account, &mut outcome)?;
    notes(&new, &account, &mut outcome);
    Ok(outcome)
}

/// What an earlier installation made and this one does not.
fn dropped(old: Option<&Record>, new: &Record) -> Vec<piece::Change> {
    let changes = old.map_or(&[][..], |old| &old.changes);
    changes.iter().filter(|change| new.change(&change.path).is_none()).cloned().collect()
}

fn would(dropped: &[piece::Change], new: &Record) -> Result<Vec<String>, InstallError> {
    let mut lines: Vec<_> = dropped.iter().map(|change| format!("would undo {}", shown(change))).collect();
    for change in &new.changes {
        if work::is_due(change)? {
            lines.push(format!("would write {}", shown(change)));
        }
    }
    Ok(lines)
}

fn carry_out(
    old: Option<&Record>,
    dropped: &[piece::Change],
    new: &mut Record,
    others: &mut [Record],
    account: &Account,
    outcome: &mut Outcome,
) -> Result<(), InstallError> {
    let made = new.changes.clone();
    let mut due = Vec::new();
    for change in &made {
        if work::is_due(change)? {
            due.push(change);
        }
    }
    if due.is_empty() && old.is_some_and(|old| *old == Record { done: true, ..new.clone() }) {
        return check_sudo(new, account);
    }
    work::make_record_directory()?;
    // Until it is done, what is to be undone is all that was ever made.
    new.changes.extend(dropped.iter().cloned());
    new.store()?;
    let all = || -> Result<Vec<String>, InstallError> {
        let mut lines = Vec::new();
        for change in dropped.iter().rev() {
            if work::undo(change, others)? == Undone::Yes {
                lines.push(format!("undid {}", shown(change)));
            }
        }
        for change in due {
            work::make(change)?;
            lines.push(format!("wrote {}", shown(change)));
        }
        if !lines.is_empty() {
            reload_systemd(&new.changes)?;
        }
        check_sudo(new, account)?;
        Ok(lines)
    };
    match all() {
        Ok(lines) => outcome.changes.extend(lines),
        Err(first) => {
            return Err(match undo_all(new, others, &mut Outcome::default()) {
                Ok(()) => InstallError::Undone(Box::new(first)),
                Err(then) => InstallError::Stuck { first: Box::new(first), then: Box::new(then) },
            });
        }
    }
    for other in others {
        adopt(other, &made)?;
    }
    (new.changes, new.done) = (made, true);
    new.changes.iter_mut().for_each(|change| change.earlier = None);
    new.store()
}

/// What is shared with another runner is now as this installation made it.
fn adopt(other: &mut Record, made: &[piece::Change]) -> Result<(), InstallError> {
    let before = other.clone();
    for own in &mut other.changes {
        if let Some(change) = made.iter().find(|change| change.path == own.path) {
            own.after.clone_from(&change.after);
        }
    }
    if *other == before { Ok(()) } else { other.store() }
}

/// Both hooks are allowed, and, with `--disable-sudo`, nothing else.
fn check_sudo(record: &Record, account: &Account) -> Result<(), InstallError> {
    for word in ["pre-job", "post-job"] {
        let binary = record.binary.display().to_string();
        let asked = tools::run("sudo", &["-n", "-U", &account.name, "-l", &binary, "hook", word]);
        asked.map_err(|e| InstallError::SudoRefuses { user: account.name.clone(), why: e.to_string() })?;
    }
    if record.disable_sudo && account.uid != 0 {
        let open = sudo::beyond_the_hooks(&account.name, &record.binary)?;
        if let Some(entry) = open.first() {
            return Err(InstallError::SudoOpen { user: account.name.clone(), what: entry.to_string() });
        }
    }
    Ok(())
}

fn notes(record: &Record, account: &Account, outcome: &mut Outcome) {
    let some = |outcome: &mut Outcome, text: String| outcome.notes.push(text);
    match &record.unit {
        None => some(
            outcome,
            "no service is known for this runner (--unit): start it again for .env to be read".into(),
        ),
        Some(unit) if !outcome.changes.is_empty() => {
            some(outcome, format!("for the hooks to be called, when no job runs: systemctl restart {unit}"))
        }
        Some(_) => {}
    }
    let above = record.runner_dir.parent().filter(|_| record.protect_env && record.uid != 0);
    if let Some(open) = above.and_then(|above| account.writable_on_the_way(above).ok().flatten()) {
        let (user, open) = (&account.name, open.display());
        some(
            outcome,
            format!(
                "{user} can write {open}, and so put another directory in the place of the runner's: move it to one of root's, as /srv"
            ),
        );
    }
    if record.uid == 0 {
        some(outcome, "this runner runs as root: its steps can undo all that the hooks do".into());
    }
}

/// Undoes the installation of the runner in `dir`.
///
/// # Errors
///
/// When there is none, or a step fails; the record stays then, and the next call goes on.
pub fn uninstall(dir: &Path) -> Result<Outcome, InstallError> {
    need_root("uninstall")?;
    let _lock = record::lock()?;
    let mut outcome = Outcome::default();
    // The runner may be gone.
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let half_done = undo_half_done(&mut outcome)?;
    let (own, others): (Vec<_>, Vec<_>) =
        record::all()?.into_iter().partition(|record| record.runner_dir == dir);
    let Some(mut record) = own.into_iter().next() else {
        return if half_done.contains(&dir) { Ok(outcome) } else { Err(InstallError::NotInstalled(dir)) };
    };
    // Killed from here on, it is half done.
    record.done = false;
    record.store()?;
    undo_all(&record, &others, &mut outcome)?;
    if let Some(unit) = &record.unit {
        outcome
            .notes
            .push(format!("for the runner to forget the hooks, when no job runs: systemctl restart {unit}"));
    }
    Ok(outcome)
}

/// Undoes what a killed install or uninstall left half done; the directories of those runners.
fn undo_half_done(outcome: &mut Outcome) -> Result<Vec<PathBuf>, InstallError> {
    record::sweep();
    let (done, half_done): (Vec<_>, Vec<_>) = record::all()?.into_iter().partition(|record| record.done);
    for record in &half_done {
        outcome.notes.push(format!(
            "an installation for {} was not finished, and is undone",
            record.runner_dir.display()
        ));
        undo_all(record, &done, outcome)?;
    }
    Ok(half_done.into_iter().map(|record| record.runner_dir).collect())
}

/// Undoes every change, the last one first, and forgets the record.
fn undo_all(record: &Record, others: &[Record], outcome: &mut Outcome) -> Result<(), InstallError> {
    let etc = |change: &&piece::Change| change.path != Path::new(files::ETC);
    for change in record.changes.iter().rev().filter(etc) {
        let shown = shown(change);
        match work::undo(change, others)? {
            Undone::Yes => outcome.changes.push(format!("undid {shown}")),
            Undone::Before => {}
            Undone::Shared => outcome.notes.push(format!("kept {shown}: another runner needs it")),
            Undone::Changed => outcome.notes.push(format!("left {shown}: it was changed since")),
            Undone::NotEmpty => outcome.notes.push(format!("left {shown}: it is not empty")),
        }
    }
    reload_systemd(&record.changes)?;
    record.remove()?;
    work::remove_directories(record);
    let gone = |change: &&piece::Change| change.path == Path::new(files::ETC) && !change.path.exists();
    outcome.changes.extend(record.changes.iter().find(gone).map(|change| format!("undid {}", shown(change))));
    Ok(())
}

/// systemd reads its drop-ins when told to.
fn reload_systemd(changes: &[piece::Change]) -> Result<(), InstallError> {
    let concerned = changes.iter().any(|change| change.role == Role::DropIn);
    // sd_booted(3)
    if concerned && Path::new("/run/systemd/system").is_dir() {
        tools::run("systemctl", &["daemon-reload"])?;
    }
    Ok(())
}

fn shown(change: &piece::Change) -> String {
    format!("{} ({})", change.path.display(), change.role.name())
}

fn need_root(verb: &'static str) -> Result<(), InstallError> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(InstallError::NotRoot(verb)) }
}
