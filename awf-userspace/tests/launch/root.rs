//! The new root as CMD sees it, and what is left of the host's.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use awf_userspace::jail::rootfs::{Home, Own, RootfsPlan, Trust, UserMount, Wanted};
use awf_userspace::jail::survey;

use crate::support::{Cgroup, Dir, Run, UID, command, python, set_mode, sh};

/// A directory with a home and a workspace of [`UID`].
pub(crate) struct Place(pub(crate) Dir);

impl Place {
    pub(crate) fn new(name: &str) -> Self {
        let place = Self(Dir::new(name));
        for name in ["home", "work space"] {
            place.owned(name);
        }
        place
    }

    pub(crate) fn owned(&self, name: &str) -> PathBuf {
        let path = self.0.0.join(name);
        fs::create_dir_all(&path).unwrap();
        chown(&path, Some(UID), Some(UID)).unwrap();
        path
    }

    pub(crate) fn wanted(&self) -> Wanted {
        Wanted {
            home: Home::Host(self.0.0.join("home")),
            uid: UID,
            gid: UID,
            workspaces: vec![self.0.0.join("work space")],
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

    /// A HOME with something to guard, also where there was another one.
    fn remade(&self) -> std::io::Result<()> {
        for name in ["home/d", "home/.ssh", "home/.config/gh"] {
            self.owned(name);
        }
        fs::write(self.str("home/.bashrc"), "")
    }

    pub(crate) fn inside(&self, run: Run) -> Run {
        jailed(run, &self.wanted())
    }

    fn str(&self, name: &str) -> String {
        self.0.0.join(name).to_str().unwrap().to_owned()
    }
}

pub(crate) fn jailed(mut run: Run, wanted: &Wanted) -> Run {
    let plan = RootfsPlan::new(wanted, &survey::look(wanted).unwrap()).unwrap();
    run.init.root = Some(plan);
    run.init.cwd = wanted.workspaces[0].clone();
    run.init.identity.home = wanted.home.path().into();
    run
}

pub(crate) fn mount(source: &Path, target: &str, writable: bool) -> UserMount {
    UserMount { source: source.into(), target: target.into(), writable }
}

#[test]
fn the_root_has_what_programs_need_and_nothing_else() {
    let place = Place::new("root-plain");
    let ran = place.inside(sh("ls -A /; echo; ls -A /tmp /run /dev; pwd; echo x > f && cat f")).run();
    let text = ran.text();
    for name in ["usr", "bin", "etc", "proc", "sys", "dev", "tmp", "run", "var"] {
        assert!(text.lines().any(|line| line == name), "{name}: {ran:?}");
    }
    for name in ["root", "boot", "home", "mnt", "srv", "work"] {
        assert!(!text.lines().take_while(|l| !l.is_empty()).any(|line| line == name), "{name}: {ran:?}");
    }
    assert!(!text.contains("kmsg") && !text.contains("vda") && !text.contains("docker"), "{ran:?}");
    assert!(text.ends_with(&format!("{}\nx\n", place.str("work space"))), "{ran:?}");
    assert_eq!(fs::read_to_string(place.str("work space/f")).unwrap(), "x\n");
}

#[test]
fn exit_codes_and_signals_come_through_init() {
    let place = Place::new("root-codes");
    for code in [0, 1, 125, 255] {
        assert_eq!(place.inside(sh(&format!("exit {code}"))).run().code(), code);
    }
    for (name, signo) in [("KILL", 9), ("TERM", 15), ("SEGV", 11)] {
        let ran = place.inside(sh(&format!("kill -{name} $$"))).run();
        assert_eq!(ran.exit, awf_userspace::launch::Exit::Signal(signo));
    }
    let error = place.inside(command(&["no-such-command"])).refused();
    assert_eq!(error.exit_code(), 127, "{error}");
}

#[test]
fn only_cmds_processes_are_there() {
    let place = Place::new("root-proc");
    let script = "echo $$; cd /proc; echo [0-9]*; cat /proc/1/cmdline 2>&1 | head -c 20; readlink /proc/self/exe; \
        cat /proc/self/cgroup | tail -1; hostname >/dev/null && echo named";
    let ran = place.inside(sh(script)).run();
    let lines: Vec<_> = ran.text().lines().collect();
    // The shell itself, and nobody else: init is not shown.
    assert_eq!(lines[..2], ["2", "2"], "{ran:?}");
    assert!(!ran.text().contains("awf-bpf"), "{ran:?}");
    assert_eq!(lines[lines.len() - 2..], ["0::/", "named"], "{ran:?}");
}

#[test]
fn orphans_are_reaped_and_everything_ends_with_cmd() {
    let place = Place::new("root-reap");
    // Two hundred orphans of the shell, gone when the last has said so; no zombie of init is left.
    let script = "import os, time\n\
        for i in range(200):\n\
        \x20 if os.fork() == 0:\n\
        \x20  if os.fork() == 0: os._exit(0)\n\
        \x20  os._exit(0)\n\
        \x20 os.wait()\n\
        deadline = time.time() + 20\n\
        while [p for p in os.listdir('/proc') if p.isdigit()] != [str(os.getpid())]:\n\
        \x20 assert time.time() < deadline, os.listdir('/proc')\n\
        print('alone')";
    assert_eq!(place.inside(python(script)).run().text(), "alone\n");
    let cgroup = Cgroup::new();
    let daemon = "setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 1; done' <&- >&- 2>&- & echo started";
    assert_eq!(place.inside(sh(daemon)).try_run_in(&cgroup).unwrap().text(), "started\n");
    let events = fs::read_to_string(cgroup.path.join("cgroup.events")).unwrap();
    assert!(events.contains("populated 0"), "{events}");
}

#[test]
fn nothing_of_the_system_can_be_written_and_devices_are_the_harmless_ones() {
    let place = Place::new("root-ro");
    let script = "for p in /x /usr/x /etc/x /dev/x /run/x /proc/sys/kernel/core_pattern /sys/x /sys/fs/cgroup/x; do \
        (echo x > $p) 2>/dev/null && echo wrote $p; done; echo > /dev/null && head -c 4 /dev/zero | wc -c; \
        echo x > /tmp/x && echo x > /var/tmp/x && echo x > /dev/shm/x && echo x > ~/x && ls /dev";
    let mut run = place.inside(sh(script));
    run.init.env.push(("HOME".into(), place.str("home").into()));
    let ran = run.run();
    let want = "4\nfd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n";
    assert_eq!(ran.text(), want, "{ran:?}");
    assert!(Path::new(&place.str("home/x")).exists() && !Path::new("/tmp/x").exists());
}

#[test]
fn read_only_mounts_refuse_writes_below_mounts_too() {
    let place = Place::new("root-mounts");
    let data = place.owned("data");
    let below = place.owned("data/below");
    let _mounted = Mounted::tmpfs(&below);
    let file = place.0.file("file", "content", 0o644);
    let mut wanted = place.wanted();
    wanted.mounts =
        vec![mount(&data, "/mnt/ro", false), mount(&data, "/mnt/rw", true), mount(&file, "/mnt/file", false)];
    let script = "cat /mnt/file; ls /mnt/ro; for p in ro/x ro/below/x rw/x rw/below/x file; do \
        (echo x > /mnt/$p) 2>/dev/null && echo wrote $p; done; true";
    let ran = jailed(sh(script), &wanted).run();
    assert_eq!(ran.text(), "contentbelow\nwrote rw/x\nwrote rw/below/x\n", "{ran:?}");
}

/// A tmpfs on a directory of the host, everybody's, unmounted at the end.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: &Path) -> Self {
        rustix::mount::mount("test", at, "tmpfs", rustix::mount::MountFlags::empty(), c"mode=1777").unwrap();
        Self(at.into())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::empty()).unwrap();
    }
}

#[test]
fn the_hosts_mounts_are_as_they_were() {
    let place = Place::new("root-host");
    let table = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mine = |table: &str| {
        table.lines().filter(|l| l.contains("root-host") || l.contains("awf-bpf/covers")).count()
    };
    fs::create_dir(place.str("home/.ssh")).unwrap();
    let ran = place
        .inside(sh("grep -c . /proc/self/mountinfo; grep -c ' /old\\| / / ' /proc/self/mountinfo"))
        .run();
    assert!(ran.text().lines().next().unwrap().parse::<u32>().unwrap() < 25, "{ran:?}");
    assert_eq!(mine(&table()), 0);
    assert!(fs::read_dir(place.str("home/.ssh")).unwrap().next().is_none());
}

#[test]
fn sockets_of_others_are_hidden_where_they_are_mounted() {
    let place = Place::new("root-sockets");
    let socket = place.0.0.join("home/socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    set_mode(&socket, 0o777);
    let script = "import socket, os\n\
        for p in (os.environ['S'], '/mnt/socket'):\n\x20 print(socket.socket(socket.AF_UNIX).connect_ex(p))";
    let run = |sockets: Vec<PathBuf>| {
        let mut wanted = place.wanted();
        wanted.mounts = vec![mount(&place.0.0.join("home"), "/mnt", true)];
        wanted.sockets = sockets;
        let mut run = jailed(python(script), &wanted);
        run.init.env.push(("S".into(), OsString::from(&socket)));
        run.run().text().to_owned()
    };
    assert_eq!(run(vec![]), "0\n0\n", "they answer when they are not hidden");
    assert_eq!(run(vec![socket.clone()]), format!("{0}\n{0}\n", libc::ECONNREFUSED));
}

/// Between the plan and the mount whoever may write there puts something else in its place.
#[test]
fn a_path_that_is_exchanged_meanwhile_is_an_error() {
    type Swap = fn(&Place);
    let swaps: [(&str, Swap); 12] = [
        ("the workspace", |p| swap(&p.str("work space"), |at| symlink("/etc", at))),
        ("a mount's source", |p| swap(&p.str("data/d"), |at| symlink("/etc", at))),
        ("a directory above the source", |p| swap(&p.str("data"), |at| symlink("data.old", at))),
        ("a mount's target", |p| swap(&p.str("home/d"), |at| symlink("/etc", at))),
        ("what hides credentials", |p| swap(&p.str("home/.ssh"), |at| symlink("/etc", at))),
        // Of the same kind, so that nothing else betrays it.
        ("the workspace, for another", |p| swap(&p.str("work space"), |at| fs::create_dir(at))),
        ("HOME, for another", |p| swap(&p.str("home"), |_| p.remade())),
        ("a mount's source, for another", |p| swap(&p.str("data/d"), |at| fs::create_dir(at))),
        ("a file that is mounted, for another", |p| swap(&p.str("data/f"), |at| fs::write(at, ""))),
        ("a place of credentials, for another", |p| swap(&p.str("home/.ssh"), |at| fs::create_dir(at))),
        ("a start-up file, for another", |p| swap(&p.str("home/.bashrc"), |at| fs::write(at, ""))),
        ("the way to a place of credentials, for another", |p| {
            swap(&p.str("home/.config"), |at| fs::create_dir_all(Path::new(at).join("gh")))
        }),
    ];
    for (what, exchange) in swaps {
        let place = Place::new(&format!("root-race-{}", what.len()));
        place.owned("data/d");
        fs::write(place.str("data/f"), "").unwrap();
        place.remade().unwrap();
        let mut wanted = place.wanted();
        wanted.mounts = vec![
            mount(&place.0.0.join("data/d"), "/mnt/d", true),
            mount(&place.0.0.join("data/d"), &place.str("home/d"), true),
            mount(&place.0.0.join("data/f"), "/mnt/f", false),
        ];
        let run = |wanted: &Wanted| jailed(sh("echo ran"), wanted);
        assert_eq!(run(&wanted).run().text(), "ran\n");
        let planned = run(&wanted);
        exchange(&place);
        let error = planned.refused();
        assert!(error.exit_code() == 125 && error.to_string().contains("exchanged"), "{what}: {error}");
    }
}

/// Filled, they would leave the kernel nothing, and no process of CMD's to take it back from.
#[test]
fn what_is_in_memory_is_less_than_memory_together() {
    let place = Place::new("root-memory");
    let mut wanted = place.wanted();
    wanted.home = Home::Memory("/run/awf-bpf/home".into());
    let script = "import os\n\
        size = lambda at: (lambda s: s.f_blocks * s.f_frsize)(os.statvfs(at))\n\
        all = sum(map(size, ('/', '/tmp', '/var/tmp', '/dev/shm', '/run/awf-bpf/home')))\n\
        print(all < os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'))";
    assert_eq!(jailed(python(script), &wanted).run().text(), "True\n");
}

/// Puts something else where a directory is, which is `NAME.old` then.
fn swap(path: &str, make: impl Fn(&str) -> std::io::Result<()>) {
    fs::rename(path, format!("{path}.old")).unwrap();
    make(path).unwrap();
}
