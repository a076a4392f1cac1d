//! The programs the tests drive: found or the test fails, with the package to install.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The PATH of every process a test starts.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The path of a program on [`PATH`].
///
/// # Panics
/// If it is not installed.
#[must_use]
pub fn require(program: &str) -> PathBuf {
    PATH.split(':').map(|dir| Path::new(dir).join(program)).find(|path| path.is_file()).unwrap_or_else(|| {
        panic!("{program} is not installed; `cargo xtask test` installs what the tests need")
    })
}

/// Runs a tool to its end.
///
/// # Panics
/// If it cannot be started or fails; with what it wrote.
pub fn succeed(command: &mut Command) -> String {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        out.status.success(),
        "{command:?}: {}\n{}{}",
        out.status,
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// The binary under test: `AWF_BPF_BIN`, or the newest of this workspace's release and debug builds.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn awf_bpf() -> PathBuf {
    if let Some(path) = std::env::var_os("AWF_BPF_BIN") {
        let path = std::path::absolute(path).expect("make AWF_BPF_BIN absolute");
        assert!(path.is_file(), "AWF_BPF_BIN={} is not a file", path.display());
        return path;
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    ["release/awf-bpf", "debug/awf-bpf"]
        .iter()
        .map(|name| target.join(name))
        .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
        .max()
        .unwrap_or_else(|| panic!("no awf-bpf under {}: cargo build -p awf-userspace", target.display()))
        .1
}
