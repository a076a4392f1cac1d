//! Which runs are dead, whoever looks and whatever they left.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::*;

/// Who sweeps holds the locks of what it finds dead, which another test would take for life.
fn alone() -> MutexGuard<'static, ()> {
    static SWEEPS: Mutex<()> = Mutex::new(());
    SWEEPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run's directory, with or without its lock.
fn run_dir(name: &str, lock: bool) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("awf-state-{}-{name}", std::process::id()));
    make_private(&dir).unwrap();
    if lock {
        open_lock(&dir, true).unwrap();
    }
    dir
}

#[test]
fn a_run_is_dead_when_nobody_holds_its_lock_or_it_has_none() {
    let (dir, bare) = (run_dir("free", true), run_dir("bare", false));
    let held = open_lock(&dir, false).unwrap();
    flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
    assert!(dead_run(dir.clone(), "0123456789ab", false).is_none(), "its owner lives");
    drop(held);
    assert!(dead_run(dir.clone(), "0123456789ab", false).is_some());
    assert!(dead_run(bare.clone(), "0123456789ab", false).is_some(), "without a lock nobody lives");
    assert!(dead_run(bare.clone(), "0123456789ab", true).is_none(), "it is being made");
    remove_dir(&dir).unwrap();
    remove_dir(&bare).unwrap();
}

/// What sweeps while others begin must not make them fail.
#[test]
fn a_run_that_is_being_made_survives_being_swept() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let _alone = alone();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let unborn = |run: &DeadRun| run.dir.to_string_lossy().contains(UNBORN);
                let dead = find().unwrap().dead.into_iter().filter(unborn);
                dead.for_each(|run| run.remove().unwrap());
            }
        });
        let runs: Vec<_> =
            (0..2000).map(|_| new_id().and_then(RunState::create).and_then(RunState::remove)).collect();
        done.store(true, Ordering::Relaxed);
        runs.into_iter().for_each(|run| run.unwrap());
    });
}

/// Whoever cannot look (no descriptor left, say) must not take the owner for dead and kill a living run.
#[test]
fn a_lock_that_cannot_be_opened_says_nothing_of_its_owner() {
    let dir = run_dir("unreadable", false);
    std::os::unix::fs::symlink("/dev/null", dir.join("lock")).unwrap();
    assert!(dead_run(dir.clone(), "0123456789ab", false).is_none());
    remove_dir(&dir).unwrap();
}

/// The bpffs is unmounted under an exclusive lock: never while a run lives or begins.
#[test]
fn a_living_run_keeps_the_bpffs() {
    let run = RunState::create(new_id().unwrap()).unwrap();
    assert!(lock_any(FlockOperation::NonBlockingLockExclusive).is_err());
    run.remove().unwrap();
}

/// Who does not know what is written there must not clear it.
#[test]
fn a_state_of_another_format_is_left_alone_and_named() {
    let _alone = alone();
    let run = RunState::create(new_id().unwrap()).unwrap();
    let (id, dir) = (run.id().to_owned(), run.dir().to_owned());
    drop(run);
    fs::write(dir.join(FORMAT_FILE), "2").unwrap();
    let found = find().unwrap();
    assert!(found.unknown.contains(&id) && !found.dead.iter().any(|run| run.id == id));
    assert!(matches!(look(&id), Err(StateError::Format { found, .. }) if found == "2"));
    fs::write(dir.join(FORMAT_FILE), FORMAT).unwrap();
    assert!(matches!(look(&id), Ok(Some(Life::Dead(_)))));
    remove_dir(&dir).unwrap();
    assert!(matches!(look(&id), Ok(None)));
}
