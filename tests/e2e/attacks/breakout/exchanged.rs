//! Files and directories that a process of the user's outside exchanges for others of their kind while awf-bpf starts:
//! between its look at them and the mount.

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use harness::{Lab, workdir::UID};
use rustix::fs::{CWD, RenameFlags, renameat_with};

/// As many runs as it takes until both were seen, an exchange that came in between and none: with so many the chance that
/// chance alone decides is small.
const RUNS: usize = 60;

fn owned(dir: PathBuf, mark: &str) -> PathBuf {
    fs::create_dir(&dir).expect("make a directory");
    fs::write(dir.join(mark), "").expect("write into it");
    chown(&dir, Some(UID), Some(UID)).expect("hand it over");
    dir
}

/// Runs `run` while `one` and `other` are exchanged all the time: it starts, or names the path.
fn raced(one: &Path, other: &Path, mut run: impl FnMut() -> (i32, String)) {
    let done = AtomicBool::new(false);
    let (mut started, mut refused) = (0, 0);
    let odd = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).expect("exchange them");
            }
        });
        let wanted = format!("{} was exchanged for another file", one.display());
        let mut odd = None;
        for _ in 0..RUNS {
            match run() {
                (0, _) => started += 1,
                (125, said) if said.contains(&wanted) => refused += 1,
                other => odd = Some(other),
            }
            if odd.is_some() || (started > 0 && refused > 0) {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
        odd
    });
    assert!(odd.is_none() && started > 0 && refused > 0, "{started} started, {refused} refused: {odd:#?}");
}

#[test]
fn a_mounts_source_is_what_was_looked_at() {
    let lab = Lab::new();
    let one = owned(lab.dir().work().join("one"), "a");
    let other = owned(lab.dir().work().join("other"), "b");
    let mount = format!("{}:/mnt/x:ro", one.display());
    raced(&one, &other, || {
        let out = lab.awf().args(["-v", &mount]).run(&["ls", "/mnt/x"]);
        (out.exit_code(), out.stderr())
    });
}

#[test]
fn a_place_of_credentials_is_what_was_looked_at() {
    let lab = Lab::new();
    let one = owned(lab.dir().home().join(".aws"), "credentials");
    let other = owned(lab.dir().home().join("other"), "b");
    raced(&one, &other, || {
        let out = lab.awf().run(&["true"]);
        (out.exit_code(), out.stderr())
    });
}
