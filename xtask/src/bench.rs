//! `cargo xtask bench`: release builds of awf-bpf and of the harness that measures it (`tests/bench`).

use anyhow::Result;

use crate::{build, cmd};

/// `args` go to the harness.
pub(crate) fn main(args: &[String]) -> Result<()> {
    let awf_bpf = build::awf_bpf("bench")?;
    // The harness starts the load client that stands beside it.
    build::release("awf-tests", "load")?;
    let bench = build::release("awf-tests", "bench")?;
    let mut cmd = cmd::as_root_in_our_env(&bench)?;
    cmd.args(args.strip_prefix(&["--".to_owned()]).unwrap_or(args));
    cmd::forget_cargo_and_rustup(cmd.env(build::BIN_VAR, awf_bpf));
    Err(cmd::become_command(&mut cmd))
}
