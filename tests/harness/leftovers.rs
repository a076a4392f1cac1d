//! What a run may leave on a machine: its directory, its cgroups, its pins.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{Lab, patience::stretch};

/// Every path under awf-bpf's run directory, the cgroup trees and bpffs with `id` in its name.
#[must_use]
pub fn of_run(lab: &Lab, id: &str) -> Vec<PathBuf> {
    assert!(!id.is_empty(), "every path contains the empty id");
    let mounts = lab.machine().within(|| fs::read_to_string("/proc/thread-self/mountinfo"));
    let mounts = mounts.expect("read the machine's mountinfo");
    let roots = mounts.lines().filter_map(root_of_interest).chain(["/run/awf-bpf".into()]);
    let roots: Vec<PathBuf> = roots.collect();
    lab.machine().within(|| {
        let mut found = Vec::new();
        for root in &roots {
            walk(root, &mut |path| {
                if path.to_string_lossy().contains(id) {
                    found.push(path.to_owned());
                }
            });
        }
        found
    })
}

/// Panics if the run left anything.
#[track_caller]
pub fn assert_none(lab: &Lab, id: &str) {
    let found = of_run(lab, id);
    assert!(found.is_empty(), "run {id} left: {found:#?}");
}

/// Clears what is left of a killed run, by one `gc`. Another test's start may have begun to, which `gc` does not wait for:
/// that is waited for here.
///
/// # Panics
/// If something is left after `limit`.
#[track_caller]
pub fn gc_and_assert_none(lab: &Lab, id: &str, limit: Duration) {
    let end = Instant::now() + stretch(limit);
    lab.awf().subcommand(&["gc"]).ok();
    while !of_run(lab, id).is_empty() && Instant::now() < end {
        std::thread::yield_now();
    }
    assert_none(lab, id);
}

/// The mount point of a cgroup, cgroup2 or bpf file system (proc(5): fields after the separator `-`).
fn root_of_interest(line: &str) -> Option<PathBuf> {
    let (mount, kind) = line.split_once(" - ")?;
    let wanted = kind.starts_with("cgroup2 ") || kind.starts_with("cgroup ") || kind.starts_with("bpf ");
    wanted.then(|| mount.split(' ').nth(4).map(PathBuf::from)).flatten()
}

fn walk(dir: &Path, visit: &mut impl FnMut(&Path)) {
    // Other runs come and go: what is gone when looked at is not left over.
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        visit(&path);
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, visit);
        }
    }
}
