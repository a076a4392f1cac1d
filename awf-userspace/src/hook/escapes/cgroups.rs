//! cgroups that the runner's user may put a process into. With `Delegate=yes`, systemd gives the service's own to the
//! service's user (systemd.resource-control(5)): from below it, where a job is, a step could go back up.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
};

use super::Escape;
use crate::{
    cgroup,
    hook::account::{Account, has_acl},
};

/// What systemd gives away (src/core/cgroup.c, `cg_set_access`), and the directory itself.
const GIVEN: [&str; 4] = ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"];
/// No machine has so many.
const MOST: usize = 10_000;

pub(super) fn look(account: &Account) -> Escape {
    const NAME: &str = "cgroups";
    let remedy = "chown root: on the cgroup and its cgroup.procs; a service with Delegate=yes gives its own away again when it starts";
    let Some(root) = root() else {
        return Escape::unknown(
            NAME,
            "no cgroup v2 file system is mounted",
            "mount -t cgroup2 none /sys/fs/cgroup",
        );
    };
    let open = writable(account, &root);
    if open.is_empty() {
        return Escape::closed(NAME, format!("{} may enter none by itself", account.name));
    }
    let shown: Vec<_> = open.iter().take(5).map(|path| path.display().to_string()).collect();
    Escape::open(NAME, format!("{} may enter {}", account.name, shown.join(", ")), remedy)
}

fn root() -> Option<PathBuf> {
    let mount = cgroup::v2_mount(&fs::read_to_string("/proc/self/mountinfo").ok()?)?;
    Some(mount.below(Path::new("/")))
}

/// The cgroups below `root` whose `cgroup.procs` the user can write.
fn writable(account: &Account, root: &Path) -> Vec<PathBuf> {
    let (mut open, mut found) = (vec![root.to_owned()], Vec::new());
    let mut seen = 0;
    while let Some(dir) = open.pop() {
        seen += 1;
        let procs = dir.join("cgroup.procs");
        if fs::metadata(&procs).is_ok_and(|meta| account.may_write(&meta, has_acl(&procs))) {
            found.push(dir.clone());
        }
        if seen < MOST {
            let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
            open.extend(entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()));
        }
    }
    found
}

/// Gives a service's cgroup back to root: moving a process takes write permission on the `cgroup.procs` of the cgroup
/// above both (Documentation/admin-guide/cgroup-v2.rst, Delegation Containment), so no step gets out of one below it.
/// systemd gives it away again only when the service starts.
///
/// # Errors
///
/// When one of its files cannot be given back: then a step can leave.
pub fn take_back(service: &Path) -> io::Result<()> {
    for name in GIVEN {
        let path = if name.is_empty() { service.to_owned() } else { service.join(name) };
        let meta = fs::symlink_metadata(&path)?;
        if (meta.uid(), meta.gid()) != (0, 0) {
            chown(&path, Some(0), Some(0))?;
        }
        let mode = meta.mode() & 0o7777;
        if mode & 0o022 != 0 {
            let closed = std::os::unix::fs::PermissionsExt::from_mode(mode & !0o022);
            fs::set_permissions(&path, closed)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step of the user's in a job's cgroup below the service's tries to go up.
    fn leaves(service: &Path) -> bool {
        let job = service.join("awf-bpf-job");
        fs::create_dir(&job).unwrap();
        let script = "echo 0 > $0/cgroup.procs && \
            exec setpriv --reuid 4321 --regid 4321 --clear-groups sh -c 'echo 0 > $0/../cgroup.procs' $0";
        let step = std::process::Command::new("sh").args(["-c", script]).arg(&job).output().unwrap();
        fs::remove_dir(job).unwrap();
        step.status.success()
    }

    #[test]
    fn what_was_given_away_is_found_and_taken_back() {
        let dir = cgroup::place(&format!("unit-{}-given", std::process::id())).unwrap();
        fs::create_dir(&dir).unwrap();
        let somebody =
            Account { name: "x".into(), uid: 4321, gid: 4321, groups: vec![4321], home: "/".into() };
        let found = |dir: &PathBuf| writable(&somebody, dir.parent().unwrap()).contains(dir);
        let before = (found(&dir), leaves(&dir));
        // As systemd does.
        for name in GIVEN {
            chown(dir.join(name), Some(4321), Some(4321)).unwrap();
        }
        let given = (found(&dir), leaves(&dir));
        take_back(&dir).unwrap();
        let after = (found(&dir), leaves(&dir));
        fs::remove_dir(dir).unwrap();
        assert_eq!((before, given, after), ((false, false), (true, true), (false, false)));
    }
}
