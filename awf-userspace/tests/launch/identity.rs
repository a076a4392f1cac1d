//! Who CMD is, and that it cannot be anybody else again.

use crate::support::{UID, command, python, sh};

fn status_of(run: crate::support::Run) -> impl Fn(&str) -> String {
    let text = run.run().text().to_owned();
    move |key: &str| {
        let line =
            text.lines().find(|line| line.starts_with(&format!("{key}:"))).unwrap_or_else(|| panic!("{key}"));
        line.split_once(':').unwrap().1.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn nothing_of_root_is_left() {
    let mut run = command(&["cat", "/proc/self/status"]);
    run.init.identity.groups = vec![4243, 4244];
    let status = status_of(run);
    assert_eq!(status("Uid"), format!("{UID} {UID} {UID} {UID}"));
    assert_eq!(status("Gid"), format!("{UID} {UID} {UID} {UID}"));
    assert_eq!(status("Groups"), "4243 4244");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status(set), "0000000000000000", "{set}");
    }
    assert_eq!((status("NoNewPrivs"), status("Seccomp")), ("1".into(), "2".into()));
}

/// uid 0 in a user namespace of its own.
fn called_root(mut run: crate::support::Run) -> crate::support::Run {
    run.init.identity.called_root = true;
    run
}

#[test]
fn who_is_called_root_has_nothing_of_root() {
    let mut run = called_root(command(&["cat", "/proc/self/status"]));
    run.init.identity.groups = vec![4243];
    let status = status_of(run);
    assert_eq!((status("Uid"), status("Gid")), ("0 0 0 0".into(), "0 0 0 0".into()));
    assert_eq!(status("Groups"), "65534", "the group is there, and has no name inside");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status(set), "0000000000000000", "{set}");
    }
    assert_eq!((status("NoNewPrivs"), status("Seccomp")), ("1".into(), "2".into()));
    let maps =
        called_root(sh("cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups | tr -s ' '")).run();
    assert_eq!(maps.text(), format!(" 0 {UID} 1\n 0 {UID} 1\ndeny\n"));
    let ran = called_root(python(
        "import ctypes\nc = ctypes.CDLL(None)\nn = ctypes.c_int()\nc.prctl(2, ctypes.byref(n), 0, 0, 0)\n\
         print(hex(c.prctl(27, 0, 0, 0, 0)), n.value, c.prctl(3, 0, 0, 0, 0))",
    ));
    assert_eq!(ran.run().text(), "0xeb 9 1\n", "securebits, death signal, may be traced by itself");
}

#[test]
fn securebits_are_locked() {
    // PR_GET_SECUREBITS; NOROOT and every lock, see capabilities(7).
    let ran = python("import ctypes; print(hex(ctypes.CDLL(None).prctl(27, 0, 0, 0, 0)))").run();
    assert_eq!(ran.text(), "0xeb\n");
}

#[test]
fn a_setuid_file_gives_nothing() {
    let dir = crate::support::Dir::new("setuid");
    let id = dir.0.join("id");
    std::fs::copy("/usr/bin/id", &id).unwrap();
    crate::support::set_mode(&id, 0o6755);
    assert_eq!(sh(&format!("{} -u", id.display())).run().text(), format!("{UID}\n"));
}

#[test]
fn the_command_dies_with_its_parent_and_can_be_debugged() {
    // PR_GET_PDEATHSIG (2) and PR_GET_DUMPABLE (3).
    let script = "import ctypes\nc = ctypes.CDLL(None)\nn = ctypes.c_int()\n\
        c.prctl(2, ctypes.byref(n), 0, 0, 0)\nprint(n.value, c.prctl(3, 0, 0, 0, 0))";
    assert_eq!(python(script).run().text(), "9 1\n");
}

#[test]
fn the_umask_is_kept() {
    assert_eq!(sh("umask").run().text(), format!("{:04o}\n", current_umask()));
}

fn current_umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("Umask:")).unwrap();
    u32::from_str_radix(line.split_whitespace().nth(1).unwrap(), 8).unwrap()
}
