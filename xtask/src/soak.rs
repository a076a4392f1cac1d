//! `cargo xtask soak`: thousands of connections through awf-bpf for minutes (`tests/soak`), in release builds, or in
//! debug ones with `--debug`.

use anyhow::Result;

use crate::{build, cmd};

/// `args`: `[--debug] [--minutes N | --seconds N] [--connections N]`; all but the first go to the harness.
pub(crate) fn main(args: &[String]) -> Result<()> {
    let debug = args.first().is_some_and(|first| first == "--debug");
    let (awf_bpf, soak) = if debug {
        let awf_bpf = build::debug("awf-userspace", "awf-bpf")?;
        build::debug("awf-tests", "churn")?;
        (awf_bpf, build::debug("awf-tests", "soak")?)
    } else {
        let awf_bpf = build::awf_bpf("soak")?;
        // The harness starts the load that stands beside it.
        build::release("awf-tests", "churn")?;
        (awf_bpf, build::release("awf-tests", "soak")?)
    };
    let mut cmd = cmd::as_root_in_our_env(&soak)?;
    cmd.args(&args[usize::from(debug)..]);
    cmd::forget_cargo_and_rustup(cmd.env(build::BIN_VAR, awf_bpf));
    Err(cmd::become_command(&mut cmd))
}
