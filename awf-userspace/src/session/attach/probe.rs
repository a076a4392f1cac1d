//! The self-test of an attached network: a process of ours enters the cgroup, dials addresses that are nobody's, and
//! must be answered by our proxy.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};

use super::AttachError;
use crate::jail::{SelfTest, selftest};

/// First argument of the process that makes the test.
pub const PROBE_ARG: &str = "__probe";

/// What it is told, by its stdin.
#[derive(Serialize, Deserialize)]
struct Order {
    cgroup: PathBuf,
    test: SelfTest,
}

/// Makes the test from within `cgroup`, and waits for its end. The proxy must be served meanwhile.
///
/// # Errors
///
/// What went wrong in it.
pub(super) fn run(cgroup: &Path, id: &str, test: &SelfTest) -> Result<(), AttachError> {
    // Where a cgroup passes controllers on, only those below it have processes (cgroups(7)).
    let divided =
        fs::read_to_string(cgroup.join("cgroup.subtree_control")).is_ok_and(|own| !own.trim().is_empty());
    let below = cgroup.join(format!("probe-{id}"));
    if !divided {
        return dial(cgroup, test);
    }
    fs::create_dir(&below).map_err(|e| AttachError::Probe(format!("making {}: {e}", below.display())))?;
    let outcome = dial(&below, test);
    crate::cgroup::remove_one(&below)?;
    outcome
}

fn dial(cgroup: &Path, test: &SelfTest) -> Result<(), AttachError> {
    let failed = |e: io::Error| AttachError::Probe(format!("its process: {e}"));
    let order = Order { cgroup: cgroup.into(), test: test.clone() };
    let mut command = Command::new("/proc/self/exe");
    command.arg(PROBE_ARG).env_clear().stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let mut stdin = child.stdin.take().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
    stdin.write_all(&serde_json::to_vec(&order).map_err(|e| failed(e.into()))?).map_err(failed)?;
    drop(stdin);
    // Each of its waits has a bound of its own.
    let out = child.wait_with_output().map_err(failed)?;
    if out.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
    Err(AttachError::Probe(if said.is_empty() { out.status.to_string() } else { said }))
}

/// `awf-bpf __probe`: makes the test that its stdin describes.
///
/// # Errors
///
/// What went wrong.
pub fn main() -> Result<(), String> {
    let mut text = Vec::new();
    io::stdin().take(1 << 16).read_to_end(&mut text).map_err(|e| e.to_string())?;
    let order: Order = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
    let procs = order.cgroup.join("cgroup.procs");
    // 0 is whoever writes.
    fs::write(&procs, "0").map_err(|e| format!("entering {}: {e}", procs.display()))?;
    selftest::run(&order.test).map_err(|e| e.to_string())
}
