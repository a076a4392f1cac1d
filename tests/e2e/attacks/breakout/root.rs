//! `--user root`: what uid 0 could try beyond what everybody can, and what is left outside of what it made.

use std::{fs, os::unix::fs::MetadataExt, time::Duration};

use harness::{Lab, workdir::UID};
use rustix::process::Signal;

use super::{as_root, shut_inside, tries};
use crate::{attack::Attack, outside};

const ROOT: &str = include_str!("root.py");

#[test]
fn who_is_called_root_can_do_nothing_of_roots() {
    let lab = Lab::new();
    let bare = tries(&lab, &lab.bare().as_root(), ROOT);
    let inside = as_root(&lab.awf()).env("INSIDE", "1");
    // Not tried outside: what a map that is written refuses. Shut there at times: what a container's root has no right to.
    let never = ["uid_map", "gid_map", "hard_limit", "oom_score"];
    for run in [inside.clone(), inside.clone().machine_files(), inside.host_network()] {
        shut_inside(&bare, &tries(&lab, &run, ROOT), &never);
    }
}

/// Everything it makes is its user's outside, and so is what a setuid file gives.
#[test]
fn what_root_makes_is_the_users_outside() {
    let lab = Lab::new();
    let script = "cp /usr/bin/id id; chown 0:0 id; chmod 6755 id; mkdir dir; ln -s id link; mkfifo fifo; \
        touch ~/home; ! touch /usr/x /etc/x 2>/dev/null; [ $(id -u) = 0 ]; whoami; echo $HOME $USER; stat -c %U .";
    let out = as_root(&lab.awf()).sh(script);
    out.ok().stdout_is(&format!("root\n{} root\nroot\n", lab.dir().home().display()));
    let work = lab.dir().work();
    for name in ["id", "dir", "link", "fifo", "../home/home"] {
        let meta = fs::symlink_metadata(work.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((meta.uid(), meta.gid()), (UID, UID), "{name}");
    }
    assert_eq!(fs::metadata(work.join("id")).expect("it is there").mode() & 0o7777, 0o6755);
    lab.bare().as_root().sh("./id -u").ok().stdout_is(&format!("{UID}\n"));
}

#[test]
fn git_takes_the_workspace_for_its_own() {
    let lab = Lab::new();
    lab.bare().sh("git init -q .; echo x > x").ok();
    as_root(&lab.awf()).sh("git add x && git status --porcelain").ok().stdout_is("A  x\n");
}

/// Signals, exit codes and the record know no other user.
#[test]
fn the_record_names_the_user_it_is_outside() {
    let lab = Lab::new();
    let out =
        as_root(&lab.awf().allow("allowed.test")).sh("curl -s http://denied.test/ -o /dev/null; exit 7");
    assert_eq!(out.exit_code(), 7, "{out}");
    let records = out.audit();
    let uids: Vec<_> = records.iter().filter_map(|record| record["uid"].as_u64()).collect();
    out.check(!uids.is_empty() && uids.iter().all(|uid| *uid == u64::from(UID)), || {
        format!("{UID}: {uids:?}")
    });
}

/// Init is in another user namespace, and its only right reaches into this one.
#[test]
fn signals_reach_who_is_called_root() {
    let lab = Lab::new();
    for run in [as_root(&lab.awf()), as_root(&lab.awf().machine_files())] {
        let process =
            run.spawn(&["bash", "-c", "trap 'echo got it; exit 7' TERM; echo up; sleep 1000 & wait"]);
        process.wait_for_stdout("up", Duration::from_secs(10));
        process.signal(Signal::TERM);
        run.finish(process).code(7).stdout_contains("got it");
    }
}

/// Ways around the network's hooks that are root's.
#[test]
fn the_network_is_as_shut() {
    const EXPERIMENTAL: u8 = 253;
    for (vector, attack) in [
        ("tcp4", Attack::heard4(6)),
        ("raw4", Attack::heard4(EXPERIMENTAL).root()),
        ("unshare_user_net", Attack::opened()),
        ("cgroup_leave", Attack::heard4(6).root().prepare(outside::in_a_cgroup)),
        ("setns_path", Attack::heard4(17).root().prepare(outside::bystander)),
    ] {
        attack.behind(vector, |run| as_root(&run));
        attack.behind(vector, |run| as_root(&run.host_network().machine_files()));
    }
}
