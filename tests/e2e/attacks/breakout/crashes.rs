//! A crash on purpose: where `core_pattern` is a pipe, the kernel starts a program for it as root, outside of
//! everything, and feeds it the memory of whoever crashed.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use harness::{Lab, Run};

use super::as_root;

const PATTERN: &str = "/proc/sys/kernel/core_pattern";

/// The machine's pattern, while it is another.
struct Pattern(Vec<u8>);

impl Pattern {
    /// `None` where it cannot be set.
    fn set(to: &str) -> Option<Self> {
        let before = fs::read(PATTERN).ok()?;
        fs::write(PATTERN, to).ok().map(|()| Self(before))
    }
}

impl Drop for Pattern {
    fn drop(&mut self) {
        fs::write(PATTERN, &self.0).expect("set the pattern back");
    }
}

/// Says in a file beside it whose crash it was started for.
fn helper(lab: &Lab) -> (PathBuf, PathBuf) {
    let (helper, log) = (lab.dir().root().join("h"), lab.dir().root().join("crashed"));
    fs::write(&helper, format!("#!/bin/sh\necho \"$1\" >> {}\n", log.display())).expect("write the helper");
    fs::set_permissions(&helper, PermissionsExt::from_mode(0o755)).expect("make it a program");
    (helper, log)
}

/// Crashes with every limit that can be had, under the name of `$0`.
const CRASH: &str = "cp /bin/sh \"$0\"; for limit in 0 1 unlimited 4096; do for kind in -Sc -Hc -c; do \
    ./\"$0\" -c \"ulimit $kind $limit; kill -SEGV \\$\\$\" || true; done; done; \
    python3 -c 'import os, resource, sys\nfor limit in ((0, 0), (0, resource.RLIM_INFINITY)):\n \
     try: resource.prlimit(0, resource.RLIMIT_CORE, limit)\n \
     except (ValueError, OSError): pass\n \
     os.spawnv(os.P_WAIT, \"./\" + sys.argv[1], [\"x\", \"-c\", \"kill -SEGV $$\"])' \"$0\"";

fn crash(run: &Run<'_>, name: &str) {
    run.run(&["bash", "-c", CRASH, name]).ok();
}

fn names(log: &Path) -> Vec<String> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let mut names: Vec<String> = text.lines().map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn a_crash_starts_nothing_outside() {
    let lab = Lab::new();
    let (helper, log) = helper(&lab);
    let Some(pattern) = Pattern::set(&format!("|{} %e", helper.display())) else {
        return eprintln!("NOT SHOWN: {PATTERN} cannot be written to here");
    };
    for run in [lab.awf(), as_root(&lab.awf()), lab.awf().machine_files()] {
        crash(&run, "crash-inside");
    }
    // Who asks for the limit is told one, and scripts that set it go on.
    lab.awf().sh("ulimit -c 0; ulimit -c unlimited; ulimit -c").ok();
    crash(&lab.bare(), "crash-outside");
    // The last one: what came before it is there by then.
    let end = Instant::now() + Duration::from_secs(10);
    while !names(&log).contains(&"crash-outside".to_owned()) && Instant::now() < end {
        std::thread::yield_now();
    }
    drop(pattern);
    assert_eq!(names(&log), ["crash-outside"]);

    // A file's stays: it is the command's own, where it works.
    let Some(_pattern) = Pattern::set("core-of-%e") else { return };
    let out = lab.awf().sh("cp /bin/sh dies; ./dies -c 'ulimit -c unlimited; kill -SEGV $$' || true; ls");
    out.ok().stdout_contains("core-of-dies");
}
