//! Finds the cgroup v2 hierarchy and our place in it, on unified and hybrid hosts. Pure: texts of /proc in.

use std::path::{Path, PathBuf};

/// A mount of the cgroup v2 file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V2Mount {
    /// Where it is mounted.
    point: PathBuf,
    /// Which cgroup is visible there; `/` unless it is a bind of a part.
    root: PathBuf,
}

impl V2Mount {
    /// Whether it shows every cgroup that its mounter could see.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where the cgroup `path` (as in /proc/PID/cgroup) is in the file system; the mount's own root where `path`
    /// is not below it.
    #[must_use]
    pub fn below(&self, path: &Path) -> PathBuf {
        let inside = path.strip_prefix(&self.root).unwrap_or(Path::new(""));
        if inside.as_os_str().is_empty() { self.point.clone() } else { self.point.join(inside) }
    }
}

/// The cgroup v2 mount in the text of /proc/self/mountinfo (proc_pid_mountinfo(5)): the whole hierarchy before a
/// part of it, and a later mount before an earlier one, which it may hide.
#[must_use]
pub fn v2_mount(mountinfo: &str) -> Option<V2Mount> {
    let mounts: Vec<V2Mount> = mountinfo.lines().filter_map(parse_line).collect();
    let whole = mounts.iter().rev().find(|mount| mount.root == Path::new("/"));
    whole.or(mounts.last()).cloned()
}

/// The mount of a v1 `controller`: on a hybrid host v2 does not have it.
#[must_use]
pub(super) fn v1_mount(mountinfo: &str, controller: &str) -> Option<V2Mount> {
    let of_controller = |line: &&str| {
        let mut after = line.split_once(" - ").map_or("", |(_, after)| after).split(' ');
        after.next() == Some("cgroup")
            && after.nth(1).is_some_and(|opts| opts.split(',').any(|o| o == controller))
    };
    mountinfo.lines().filter(of_controller).filter_map(place_of).next_back()
}

/// The path of our cgroup of a v1 `controller` in the text of /proc/self/cgroup.
#[must_use]
pub(super) fn own_v1(text: &str, controller: &str) -> Option<PathBuf> {
    let of_controller = |line: &str| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|known| known == controller).then(|| PathBuf::from(path))
    };
    text.lines().find_map(of_controller)
}

fn parse_line(line: &str) -> Option<V2Mount> {
    let (_, after) = line.split_once(" - ")?;
    if after.split(' ').next()? == "cgroup2" { place_of(line) } else { None }
}

fn place_of(line: &str) -> Option<V2Mount> {
    let (before, _) = line.split_once(" - ")?;
    let mut fields = before.split(' ');
    let root = unescape(fields.nth(3)?);
    let point = unescape(fields.next()?);
    Some(V2Mount { point, root })
}

/// Octal escapes of blanks and backslashes.
fn unescape(field: &str) -> PathBuf {
    let mut out = field.to_owned();
    for (escape, plain) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        out = out.replace(escape, plain);
    }
    PathBuf::from(out)
}

/// The cgroup v2 path in the text of /proc/self/cgroup: its `0::` line.
#[must_use]
pub fn own_cgroup(text: &str) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(PathBuf::from(path.strip_suffix(" (deleted)").unwrap_or(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:27 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:28 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
33 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
";

    #[test]
    fn the_v2_mount_of_a_hybrid_host() {
        let mount = v2_mount(HYBRID).unwrap();
        assert_eq!(mount.below(Path::new("/")), Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(mount.below(Path::new("/a.slice/b")), Path::new("/sys/fs/cgroup/unified/a.slice/b"));
    }

    #[test]
    fn a_unified_host_and_a_path_with_blanks() {
        let text = "30 1 0:26 / /sys/fs/my\\040cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(v2_mount(text).unwrap().below(Path::new("/x")), Path::new("/sys/fs/my cgroup/x"));
    }

    #[test]
    fn a_container_that_sees_a_part() {
        let text = "30 1 0:26 /docker/ab /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        let mount = v2_mount(text).unwrap();
        assert_eq!(mount.below(Path::new("/docker/ab/job")), Path::new("/sys/fs/cgroup/job"));
        assert_eq!(mount.below(Path::new("/elsewhere")), Path::new("/sys/fs/cgroup"));
    }

    #[test]
    fn the_v1_controllers_of_a_hybrid_host() {
        let text = "34 31 0:30 /a /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";
        let mount = v1_mount(&(HYBRID.to_owned() + text), "pids").unwrap();
        let own = own_v1("8:cpu,cpuacct:/c\n4:pids:/a/b\n0::/x\n", "pids").unwrap();
        assert_eq!(mount.below(&own), Path::new("/sys/fs/cgroup/pids/b"));
        assert_eq!(own_v1("8:cpu,cpuacct:/c\n", "cpuacct").unwrap(), Path::new("/c"));
        assert_eq!((v1_mount(HYBRID, "pids"), own_v1("0::/x\n", "pids")), (None, None));
    }

    #[test]
    fn v1_alone_is_none() {
        assert_eq!(v2_mount("33 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"), None);
        assert_eq!(v2_mount("garbage\n\n - \n"), None);
    }

    #[test]
    fn own_cgroup_on_a_hybrid_host() {
        let text = "9:name=systemd:/\n4:memory:/x\n0::/user.slice/session-1.scope\n";
        assert_eq!(own_cgroup(text).unwrap(), Path::new("/user.slice/session-1.scope"));
        assert_eq!(own_cgroup("4:memory:/x\n"), None);
    }
}
