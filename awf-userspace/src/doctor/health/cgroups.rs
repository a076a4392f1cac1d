//! The cgroup v2 hierarchy, and our place in it.

use super::{Finding, Level, read};
use crate::cgroup;

const CHECK: &str = "cgroup2";

pub(super) fn look(root: bool) -> Vec<Finding> {
    let mountinfo = read("/proc/self/mountinfo").unwrap_or_default();
    let own = read("/proc/self/cgroup").unwrap_or_default();
    let mut findings = vec![mounted(&mountinfo, &own)];
    if findings[0].level == Level::Ok
        && let Ok(place) = cgroup::place("")
        && let Some(dir) = place.parent()
    {
        findings.push(delegated(dir, root));
    }
    findings
}

/// Texts of /proc/self/mountinfo and /proc/self/cgroup in.
pub(super) fn mounted(mountinfo: &str, own: &str) -> Finding {
    let v1 = mountinfo.lines().filter(|line| line.contains(" - cgroup ")).count();
    let Some(mount) = cgroup::v2_mount(mountinfo) else {
        let host = if v1 > 0 { "only version 1 is mounted" } else { "not mounted" };
        return Finding::bad(
            CHECK,
            Level::Unusable,
            host,
            "mount -t cgroup2 none /sys/fs/cgroup, or boot with systemd.unified_cgroup_hierarchy=1",
        );
    };
    let Some(own) = cgroup::own_cgroup(own) else {
        return Finding::bad(CHECK, Level::Unusable, "this process is in none", "enter one: see cgroups(7)");
    };
    let hybrid = if v1 > 0 { format!(", beside {v1} mounts of version 1") } else { String::new() };
    Finding::ok(CHECK, format!("{}{hybrid}", mount.below(&own).display()))
}

/// Whether a cgroup can be made below `dir`, and what controllers there are.
fn delegated(dir: &std::path::Path, root: bool) -> Finding {
    const CHECK: &str = "cgroup delegation";
    let controllers = read(&dir.join("cgroup.controllers").display().to_string()).unwrap_or_default();
    let with = if controllers.is_empty() { "no controllers".into() } else { controllers };
    match rustix::fs::access(dir, rustix::fs::Access::WRITE_OK) {
        Ok(()) => Finding::ok(CHECK, format!("cgroups can be made below {} ({with})", dir.display())),
        Err(_) if !root => Finding::unknown(CHECK, format!("{} is root's", dir.display())),
        Err(e) => Finding::bad(
            CHECK,
            Level::Unusable,
            format!("no cgroup can be made in {}: {e}", dir.display()),
            "mount cgroup2 read-write (in a container: --cgroupns=private, and /sys/fs/cgroup rw)",
        ),
    }
}
