//! Hosts of every shape, and what the new root of each is.

mod guards;
mod narrow;
mod sockets;
mod trust;

use std::path::{Path, PathBuf};

use super::*;

/// A host of directories (`/a/`), files (`/a`), links (`/a -> b`) and sockets (`=/a`); all is root's but what is
/// below /home.
fn host(entries: &[&str]) -> Facts {
    let mut facts = Facts::default();
    for text in entries {
        let (path, kind) = match (text.split_once(" -> "), text.strip_suffix('/'), text.strip_prefix('=')) {
            (Some((path, to)), ..) => (path, Kind::Link(to.into())),
            (_, Some(path), _) => (path, Kind::Directory),
            (_, _, Some(path)) => (path, Kind::Other),
            _ => (*text, Kind::File),
        };
        for above in Path::new(path).ancestors().skip(1) {
            facts.entries.entry(above.into()).or_insert_with(|| entry(above, Kind::Directory));
        }
        facts.entries.insert(path.into(), entry(Path::new(path), kind));
    }
    facts
}

fn entry(path: &Path, kind: Kind) -> Entry {
    let uid = if path.starts_with("/home") || path.starts_with("/data") { 1000 } else { 0 };
    Entry { kind, uid, inode: None }
}

const MERGED: &[&str] =
    &["/usr/bin/", "/usr/lib/", "/bin -> usr/bin", "/lib -> usr/lib", "/etc/", "/home/u/", "/home/u/proj/"];

fn wanted() -> Wanted {
    Wanted {
        home: Home::Host("/home/u".into()),
        uid: 1000,
        gid: 1000,
        workspaces: vec!["/home/u/proj".into()],
        own: Own::default(),
        tool_caches: Vec::new(),
        config_dirs: Vec::new(),
        secrets: Vec::new(),
        keep: Vec::new(),
        mounts: Vec::new(),
        unix: Vec::new(),
        allow_write: None,
        share_tmp: false,
        etc: Vec::new(),
        sockets: Vec::new(),
        trust: Trust::default(),
    }
}

fn mount_point(at: &str, fs_type: &str, device: &str, root: &str) -> MountPoint {
    MountPoint { at: at.into(), fs_type: fs_type.into(), device: device.into(), root: root.into() }
}

fn mount(text: &str) -> UserMount {
    let mut parts = text.split(':');
    let mut path = || PathBuf::from(parts.next().unwrap());
    let (source, target) = (path(), path());
    UserMount { source, target, writable: parts.next() != Some("ro") }
}

fn planned(wanted: &Wanted, entries: &[&str]) -> RootfsPlan {
    RootfsPlan::new(wanted, &host(entries)).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

/// What CMD sees: binds and covers only, in order.
fn seen(plan: &RootfsPlan) -> Vec<String> {
    let line = |step: &Step| match step {
        Step::Bind { from, at, writable, .. } => {
            let access = if *writable { "rw" } else { "ro" };
            let from = if from == at { String::new() } else { format!(" from {}", from.display()) };
            Some(format!("{} {access}{from}", at.display()))
        }
        Step::Cover { at, .. } => Some(format!("{} hidden", at.display())),
        _ => None,
    };
    plan.steps.iter().filter_map(line).collect()
}

fn errors(mounts: &[&str], entries: &[&str]) -> Vec<String> {
    let mut wanted = wanted();
    wanted.mounts = mounts.iter().map(|text| mount(text)).collect();
    let errors = RootfsPlan::new(&wanted, &host(&[MERGED, entries].concat())).expect_err("it was planned");
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn a_merged_usr_keeps_its_links() {
    let plan = planned(&wanted(), MERGED);
    assert_eq!(seen(&plan), ["/usr ro", "/etc ro", "/home/u rw"]);
    assert!(plan.steps.contains(&Step::Link { at: "/bin".into(), to: "usr/bin".into() }));
}

#[test]
fn an_unmerged_usr_is_bound_piece_by_piece() {
    let plan = planned(&wanted(), &["/usr/", "/bin/", "/lib/", "/lib64/", "/etc/", "/home/u/proj/"]);
    assert_eq!(seen(&plan), ["/usr ro", "/bin ro", "/lib ro", "/lib64 ro", "/etc ro", "/home/u rw"]);
}

#[test]
fn system_directories_that_are_links_lead_somewhere_inside() {
    let plan = planned(&wanted(), &["/usr/", "/opt -> /data/opt", "/data/opt/", "/home/u/proj/"]);
    assert_eq!(seen(&plan), ["/usr ro", "/data/opt ro", "/home/u rw"]);
    assert!(plan.steps.contains(&Step::Link { at: "/opt".into(), to: "/data/opt".into() }));
}

#[test]
fn everything_is_made_before_something_is_mounted_in_it() {
    let mut wanted = wanted();
    wanted.workspaces = vec!["/data/a b/c".into()];
    wanted.mounts = vec![mount("/data/x:/mnt/deep/x:ro")];
    let entries = [MERGED, &["/data/a b/c/", "/data/x/", "/home/u/.ssh/"]].concat();
    let mut made = std::collections::BTreeSet::from([PathBuf::from("/")]);
    for step in planned(&wanted, &entries).steps {
        let (at, needs_itself) = match &step {
            Step::Dir { at, .. }
            | Step::Link { at, .. }
            | Step::File { at, .. }
            | Step::UserFile { at, .. }
            | Step::Device { at, .. } => (at, false),
            Step::Kernel { what: KernelFs::Cgroup, .. } => continue,
            Step::Bind { at, .. } | Step::Tmpfs { at, .. } | Step::Kernel { at, .. } => (at, true),
            Step::Cover { from, .. } => (from, true),
            Step::Pin { .. } | Step::Socket { .. } | Step::Again { .. } => continue,
        };
        assert!(made.contains(at.parent().unwrap()), "{step:?}: its directory is not there");
        assert!(!needs_itself || made.contains(at), "{step:?}: nothing is there");
        made.insert(at.clone());
    }
}

#[test]
fn a_home_behind_a_link_is_found_by_both_names() {
    let mut wanted = wanted();
    wanted.home = Home::Host("/users/u".into());
    let entries = [MERGED, &["/users -> /home", "/home/u/.aws/"]].concat();
    let plan = planned(&wanted, &entries);
    assert_eq!(seen(&plan), ["/usr ro", "/etc ro", "/home/u rw", "/home/u/.aws hidden"]);
    assert!(plan.steps.contains(&Step::Link { at: "/users".into(), to: "/home".into() }));
}

#[test]
fn a_workspace_elsewhere_is_shown_and_one_that_holds_everything_is_not() {
    let mut wanted = wanted();
    wanted.workspaces = vec!["/data/job".into()];
    let plan = planned(&wanted, &[MERGED, &["/data/job/"]].concat());
    assert_eq!(seen(&plan).last().unwrap(), "/data/job rw");
    for all in ["/", "/home", "/usr", "/etc", "/tmp", "/proc/self", "/run/x", "/var", "/dev/shm"] {
        wanted.workspaces = vec![all.into()];
        let entries = [MERGED, &["/tmp/", "/proc/self/", "/run/x/", "/var/lib/dpkg/", "/dev/shm/"]].concat();
        let plan = planned(&wanted, &entries);
        assert_eq!(seen(&plan).last().unwrap(), "/home/u rw", "{all}");
        assert_eq!(plan.notes.len(), 1, "{all}");
    }
}

#[test]
fn in_a_system_directory_only_ones_own_is_writable() {
    let mut facts = host(&[MERGED, &["/opt/app/", "/usr/src/app/"]].concat());
    facts.entries.get_mut(Path::new("/opt/app")).unwrap().uid = 1000;
    let mut wanted = wanted();
    wanted.workspaces = vec!["/opt/app".into(), "/usr/src/app".into()];
    let plan = RootfsPlan::new(&wanted, &facts).unwrap();
    assert_eq!(seen(&plan), ["/usr ro", "/opt ro", "/etc ro", "/home/u rw", "/opt/app rw"]);
}

#[test]
fn a_tool_cache_is_read_only_even_in_home() {
    let mut wanted = wanted();
    wanted.tool_caches = vec!["/home/u/tools".into(), "/opt/tools".into(), "/gone".into()];
    let plan = planned(&wanted, &[MERGED, &["/home/u/tools/", "/opt/tools/"]].concat());
    assert_eq!(seen(&plan), ["/usr ro", "/opt ro", "/etc ro", "/home/u rw", "/home/u/tools ro"]);
}

#[test]
fn credentials_are_covered_wherever_they_are_shown() {
    let mut wanted = wanted();
    wanted.secrets = vec!["/data/kube/config".into()];
    wanted.config_dirs = vec!["/home/u/cfg".into()];
    wanted.mounts = vec![mount("/data:/mnt/data:ro"), mount("/home/u/proj:/mnt/proj")];
    let secrets = [
        "/home/u/.ssh -> dots/ssh",
        "/home/u/dots/ssh/",
        "/home/u/.netrc",
        "/home/u/cfg/gh/",
        "/home/u/.config/gcloud/",
        "/data/kube/config",
        "/etc/kubernetes/",
    ];
    let plan = planned(&wanted, &[MERGED, &secrets].concat());
    let hidden: Vec<_> = seen(&plan).into_iter().filter(|line| line.ends_with("hidden")).collect();
    let want = [
        "/etc/kubernetes",
        "/home/u/.netrc",
        "/home/u/dots/ssh",
        "/home/u/.config/gcloud",
        "/home/u/cfg/gh",
        "/mnt/data/kube/config",
    ];
    let mut sorted = want.map(|path| format!("{path} hidden"));
    sorted.sort();
    let mut got = hidden.clone();
    got.sort();
    assert_eq!(got, sorted);
}

#[test]
fn a_mount_brings_a_secret_back_and_only_that() {
    let mut wanted = wanted();
    wanted.mounts = vec![
        mount("/home/u/.ssh/known_hosts:/home/u/.ssh/known_hosts:ro"),
        mount("/home/u/.aws:/home/u/.aws:ro"),
    ];
    let entries =
        [MERGED, &["/home/u/.ssh/known_hosts", "/home/u/.ssh/id", "/home/u/.aws/", "/home/u/.gnupg/"]]
            .concat();
    let plan = planned(&wanted, &entries);
    let want = [
        "/usr ro",
        "/etc ro",
        "/home/u rw",
        "/home/u/.ssh hidden",
        "/home/u/.gnupg hidden",
        "/home/u/.aws ro",
    ];
    let mut got = seen(&plan);
    assert_eq!(got.pop().unwrap(), "/home/u/.ssh/known_hosts ro");
    got.sort();
    let mut want = want.map(str::to_owned);
    want.sort();
    assert_eq!(got, want);
    assert!(plan.steps.iter().any(|step| matches!(step, Step::File { at, .. }
        if at.starts_with("/run/awf-bpf/covers") && at.ends_with("known_hosts"))));
}

#[test]
fn a_workspace_is_never_hidden() {
    let mut wanted = wanted();
    wanted.secrets = vec!["/home/u/proj".into(), "/home/u".into(), "/".into()];
    assert_eq!(seen(&planned(&wanted, MERGED)), ["/usr ro", "/etc ro", "/home/u rw"]);
    wanted.workspaces = vec!["/home/u/.aws/proj".into()];
    let plan = planned(&wanted, &[MERGED, &["/home/u/.aws/proj/"]].concat());
    assert_eq!(seen(&plan).last().unwrap(), "/home/u/.aws/proj rw");
}

#[test]
fn a_narrowing_mount_lies_on_top() {
    let mut wanted = wanted();
    wanted.mounts = vec![mount("/home/u/proj:/home/u/proj:ro"), mount("/home/u:/home/u:ro")];
    let plan = planned(&wanted, MERGED);
    assert_eq!(
        seen(&plan),
        ["/usr ro", "/etc ro", "/home/u rw", "/home/u ro", "/home/u/proj rw", "/home/u/proj ro"]
    );
}

#[test]
fn mounts_that_cannot_be_are_refused_all_at_once_with_a_remedy() {
    let entries = ["/data/d/", "/data/f", "/data/link -> d", "=/data/socket", "/opt/", "/proc/1/"];
    let cases = [
        ("/data/gone:/mnt/x", "does not exist"),
        (
            "/data/link:/mnt/x",
            "/data/link is a symbolic link, which could be changed to lead elsewhere; write /data/d",
        ),
        ("/data/link/x:/mnt/x", "does not exist"),
        ("/data/socket:/mnt/x", "neither a file nor a directory"),
        ("/:/mnt/x", "/ belongs to the kernel"),
        ("/proc/1:/mnt/x", "/proc/1 belongs to the kernel"),
        ("/data/d:/", "/ belongs to the kernel"),
        ("/data/d:/dev/x", "/dev/x belongs to the kernel"),
        ("/data/d:/run/awf-bpf/x", "belongs to the kernel"),
        ("/data/d:/usr", "it would hide /usr"),
        ("/data/d:/home", "it would hide /home/u"),
        ("/data/d:/home/u/proj", "it would hide /home/u/proj"),
        ("/data/d:/home/u/new", "/home/u/new does not exist, and is in a directory of the host"),
        ("/data/d:/bin/x", "/bin is a symbolic link inside"),
        ("/data/f:/opt", "it would hide /opt"),
    ];
    for (mount, want) in cases {
        let got = errors(&[mount], &entries);
        assert!(got.len() == 1 && got[0].contains(want), "{mount}: {got:#?}");
    }
    assert_eq!(errors(&cases.map(|(mount, _)| mount), &entries).len(), cases.len());
}

#[test]
fn a_file_and_a_directory_do_not_lie_over_each_other() {
    let entries = ["/data/d/", "/data/f", "/home/u/file", "/home/u/dir/"];
    for mount in ["/data/d:/home/u/file", "/data/f:/home/u/dir"] {
        assert!(errors(&[mount], &entries)[0].contains("is a directory, the other is not"), "{mount}");
    }
}

#[test]
fn kernel_file_systems_below_a_bound_directory_are_covered() {
    let mut facts = host(&[MERGED, &["/home/u/chroot/proc/", "/proc/"]].concat());
    for (at, fs_type) in [("/proc", "proc"), ("/home/u/chroot/proc", "proc"), ("/home/u/proj", "ext4")] {
        facts.mounts.push(mount_point(at, fs_type, at, "/"));
    }
    let plan = RootfsPlan::new(&wanted(), &facts).unwrap();
    assert_eq!(seen(&plan), ["/usr ro", "/etc ro", "/home/u rw", "/home/u/chroot/proc hidden"]);
}

/// As a working directory, a HOME, a tool cache or a mount, by whatever name: a process's directory leads everywhere.
#[test]
fn nothing_in_another_mount_of_a_kernel_file_system_is_shown() {
    let place = "/home/u/chroot/proc/7";
    let mut facts = host(&[MERGED, &["/home/u/chroot/proc/7/"]].concat());
    facts.mounts.push(mount_point("/", "ext4", "8:1", "/"));
    facts.mounts.push(mount_point("/home/u/chroot/proc", "proc", "0:4", "/"));
    let mut wanted = wanted();
    wanted.workspaces.push(place.into());
    wanted.tool_caches.push(place.into());
    wanted.own.writable.push(place.into());
    let plan = RootfsPlan::new(&wanted, &facts).unwrap();
    assert_eq!(seen(&plan), ["/usr ro", "/etc ro", "/home/u rw", "/home/u/chroot/proc hidden"]);
    wanted.home = Home::Host(place.into());
    assert_eq!(seen(&RootfsPlan::new(&wanted, &facts).unwrap()), ["/usr ro", "/etc ro", "/home/u/proj rw"]);
    wanted.mounts = vec![UserMount { source: place.into(), target: "/x".into(), writable: false }];
    let errors = RootfsPlan::new(&wanted, &facts).unwrap_err();
    assert!(matches!(&errors[..], [RootfsError::Forbidden { .. }]), "{errors:?}");
}

#[test]
fn our_resolv_conf_is_put_where_the_hosts_link_leads() {
    let mut wanted = wanted();
    wanted.etc = vec![("/etc/resolv.conf".into(), b"nameserver 127.0.0.1\n".to_vec())];
    let made_at = |entries: &[&str]| {
        let plan = planned(&wanted, &[MERGED, entries].concat());
        let file = |step: &Step| match step {
            Step::File { at, content } if !content.is_empty() => Some(at.display().to_string()),
            _ => None,
        };
        (plan.steps.iter().find_map(file), seen(&plan).last().cloned().unwrap())
    };
    let stub = "/etc/resolv.conf -> ../run/systemd/resolve/stub-resolv.conf";
    let in_run = (Some("/run/systemd/resolve/stub-resolv.conf".to_owned()), "/home/u rw".to_owned());
    assert_eq!(made_at(&[stub, "/run/systemd/resolve/stub-resolv.conf"]), in_run);
    assert_eq!(made_at(&[stub]), in_run);
    let (at, last) = made_at(&["/etc/resolv.conf"]);
    assert!(at.unwrap().starts_with("/run/awf-bpf/covers/") && last == "/etc/resolv.conf hidden");
    assert_eq!(made_at(&[]), (None, "/home/u rw".to_owned()));
}

#[test]
fn a_home_of_its_own_is_in_memory_and_an_odd_one_is_not_made() {
    let mut wanted = wanted();
    wanted.workspaces.clear();
    let tmpfs = |wanted: &Wanted| {
        let steps = planned(wanted, MERGED).steps;
        let of_user = |step: &Step| matches!(step, Step::Tmpfs { owner: (1000, 1000), mode: 0o700, .. });
        steps.into_iter().find(of_user)
    };
    for home in [Home::Memory("/run/awf-bpf/home".into()), Home::Host("/home/gone".into())] {
        wanted.home = home.clone();
        let step = tmpfs(&wanted).unwrap();
        assert!(matches!(&step, Step::Tmpfs { at, .. } if at == home.path()), "{step:?}");
    }
    for odd in ["/", "/usr", "/proc/x"] {
        wanted.home = Home::Host(odd.into());
        assert_eq!(tmpfs(&wanted), None, "{odd}");
    }
}

#[test]
fn a_walk_follows_links_as_the_kernel_does() {
    let facts = host(&["/a/b/f", "/l -> a/b", "/a/up -> ../l/f", "/loop -> loop", "/abs -> /a"]);
    let at = |path: &str| facts.walk(Path::new(path)).map(|walk| walk.path.display().to_string());
    assert_eq!(at("/l/f").as_deref(), Some("/a/b/f"));
    assert_eq!(at("/abs/up").as_deref(), Some("/a/b/f"));
    assert_eq!(at("/a/../../l").as_deref(), Some("/a/b"));
    assert_eq!((at("/loop"), at("/a/b/f/x"), at("/none")), (None, None, None));
}

#[test]
fn what_sudos_caller_names_is_shown_if_it_is_the_users() {
    let mut wanted = wanted();
    wanted.own.writable = ["/data/temp", "/srv/temp", "/home"].map(PathBuf::from).into();
    wanted.own.read_only = ["/data/tools", "/srv/tools", "/home/u/tools"].map(PathBuf::from).into();
    let entries = ["/data/temp/", "/srv/temp/", "/data/tools/", "/srv/tools/", "/home/u/tools/"];
    let got = seen(&planned(&wanted, &[MERGED, &entries].concat()));
    let want = ["/usr ro", "/etc ro", "/home/u rw", "/data/temp rw", "/data/tools ro", "/home/u/tools ro"];
    assert_eq!(got, want);
}
