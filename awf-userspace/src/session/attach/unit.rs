//! The daemon's place with systemd: a transient scope of its own, so that no end of a session takes it away, and
//! `systemctl status` shows it.

use std::{fs, io, path::Path, process::Command};

use crate::cgroup;

/// Where systemd's programs are.
pub(super) const PATH: &str = "/usr/bin:/bin:/usr/sbin:/sbin";
/// First argument of the process that stands in for the daemon while its scope is made.
pub const ADOPT_ARG: &str = "__adopt";

/// The name of the scope of run `id`.
fn name(id: &str) -> String {
    format!("{}{id}.scope", cgroup::PREFIX)
}

/// Moves this process into a scope of its own, where systemd is init (sd_booted(3)). Gives the scope's name.
///
/// A daemon has to live on with what it was told, so that it cannot become a child of systemd's: `systemd-run` makes the
/// scope around a helper, which lets the daemon in and ends.
///
/// # Errors
///
/// What is to be said of it: the daemon goes on without.
pub(super) fn enter(id: &str) -> Result<Option<String>, String> {
    if !Path::new("/run/systemd/system").is_dir() {
        return Ok(None);
    }
    let name = name(id);
    let mut command = Command::new("systemd-run");
    command.args(["--scope", "--quiet", "--collect", "--property=KillMode=mixed", "--property=Delegate=yes"]);
    command.arg(format!("--unit={name}")).arg(format!("--description=awf-bpf attach {id}"));
    // It is executed by systemd-run, whose /proc/self/exe is another one.
    let own = std::process::id().to_string();
    command.args(["--", &format!("/proc/{own}/exe"), ADOPT_ARG, &own]);
    let out = command.env_clear().env("PATH", PATH).output().map_err(|e| format!("systemd-run: {e}"))?;
    if out.status.success() {
        return Ok(Some(name));
    }
    Err(format!("systemd-run: {}: {}", out.status, String::from_utf8_lossy(&out.stderr).trim()))
}

/// `awf-bpf __adopt PID`: lets the process in where this one is.
///
/// # Errors
///
/// When it does not get in.
pub fn adopt(pid: &str) -> io::Result<()> {
    let pid: u32 = pid.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let own = cgroup::of_process(std::process::id()).map_err(io::Error::other)?;
    fs::write(own.join("cgroup.procs"), pid.to_string())
}
