//! `cargo xtask deny`: licenses, bans and sources of the dependencies, and their advisories where there is a network.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::{cmd, setup::linker::bare_cargo};

/// Checks the lock file against `deny.toml`.
///
/// Without a network the advisories cannot be had: that is said, not failed on, and the rest is checked.
pub(crate) fn main(args: &[String]) -> Result<()> {
    ensure!(args.is_empty(), "usage: cargo xtask deny");
    let checks: &[&str] = if cmd::succeeds(deny().args(["fetch", "db"])) {
        &["advisories", "bans", "licenses", "sources"]
    } else {
        cmd::say("deny: the advisory database cannot be fetched here: ADVISORIES ARE NOT CHECKED");
        &["bans", "licenses", "sources"]
    };
    // Of every platform: the dependency graph is made of all of them, and a build fetches its own only.
    cmd::run(bare_cargo(&["fetch", "--locked", "--quiet"]).current_dir(cmd::root()))?;
    cmd::run(deny().args(["--offline", "check", "--hide-inclusion-graph"]).args(checks))
}

fn deny() -> Command {
    let mut cmd = bare_cargo(&["deny", "--locked", "--all-features"]);
    cmd.current_dir(cmd::root());
    cmd
}
