//! Debian packages: asked for by name, installed with one call, lists fetched only when they are needed.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::cmd;

/// Whether this machine installs with apt.
pub(crate) fn is_here() -> bool {
    cmd::which("apt-get").is_some() && cmd::which("apt-cache").is_some()
}

/// Whether `package` is, or will be once the lists are fetched, one that apt can install: the lists know it, or this
/// is Debian and they are those of a fresh image.
pub(super) fn may_have(package: &str) -> Result<bool> {
    let os = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    Ok(os.lines().any(|l| l == "ID=debian") || has_candidate(package)?)
}

/// Installs `packages`, with fresh lists if the ones here are empty or name files the mirror no longer has.
///
/// # Errors
/// apt's own words are on stderr; the error says what to run by hand.
pub(crate) fn install(packages: &[String]) -> Result<()> {
    let mut fresh = false;
    for package in packages {
        if !has_candidate(package)? && !fresh {
            update()?;
            fresh = true;
        }
        if !has_candidate(package)? {
            bail!(
                "apt knows no package {package}: on Debian 12 it is in bookworm or bookworm-security; \
                 are both in /etc/apt/sources.list?"
            );
        }
    }
    let args: Vec<_> = ["install", "--yes", "--no-install-recommends"]
        .into_iter()
        .chain(packages.iter().map(String::as_str))
        .collect();
    match apt_get(&args) {
        Err(why) if !fresh => {
            cmd::say(&format!("{why:#}; once more with fresh lists"));
            update()?;
            apt_get(&args)
        }
        result => result,
    }
}

pub(crate) fn update() -> Result<()> {
    cmd::say("apt-get update");
    apt_get(&["update"])
}

fn apt_get(args: &[&str]) -> Result<()> {
    let by_hand = || format!("as root: apt-get {}", args.join(" "));
    let mut cmd = cmd::as_root(Path::new("env")).with_context(by_hand)?;
    // Another apt (unattended upgrades of a fresh machine) is waited for, not failed on.
    cmd.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]).args(args);
    cmd::run(&mut cmd).with_context(by_hand)
}

fn has_candidate(package: &str) -> Result<bool> {
    let out = Command::new("apt-cache").args(["policy", package]).output().context("starting apt-cache")?;
    let text = String::from_utf8_lossy(&out.stdout);
    Ok(text.lines().filter_map(|l| l.trim().strip_prefix("Candidate:")).any(|c| c.trim() != "(none)"))
}
