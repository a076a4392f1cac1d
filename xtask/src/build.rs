//! Builds the binaries that the other verbs start.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::{cmd, setup};

/// The variable that tells the programs of `awf-tests` which `awf-bpf` to try.
pub(crate) const BIN_VAR: &str = "AWF_BPF_BIN";

/// Builds the release `awf-bpf`, eBPF programs and all, after setting up what is missing; returns its path.
pub(crate) fn awf_bpf(verb: &str) -> Result<PathBuf> {
    setup::ensure_not_skipped(verb)?;
    setup::ensure_builder()?;
    release("awf-userspace", "awf-bpf")
}

/// Builds one binary in the release profile in the caller's own environment.
pub(crate) fn release(package: &str, bin: &str) -> Result<PathBuf> {
    let path = cmd::target_dir()?.join("release").join(bin);
    if !path.is_file() {
        cmd::say(&format!("building {bin} for the first time: this takes minutes"));
    }
    cmd::run(cmd::cargo()?.args(["build", "--locked", "--release", "--package", package, "--bin", bin]))?;
    ensure!(path.is_file(), "cargo reported success, but {} is not there", path.display());
    Ok(path)
}

/// Builds one binary in the debug profile, likewise.
pub(crate) fn debug(package: &str, bin: &str) -> Result<PathBuf> {
    let path = cmd::target_dir()?.join("debug").join(bin);
    cmd::run(cmd::cargo()?.args(["build", "--locked", "--package", package, "--bin", bin]))?;
    ensure!(path.is_file(), "cargo reported success, but {} is not there", path.display());
    Ok(path)
}
