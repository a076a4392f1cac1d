//! The judgements, and what is found on a machine that is made for it.

use std::os::unix::{
    fs::{PermissionsExt as _, chown},
    net::UnixListener,
};

use super::*;

fn somebody() -> Account {
    Account { name: "runner".into(), uid: 4321, gid: 4322, groups: vec![4322, 4323], home: "/".into() }
}

#[test]
fn lists_of_cron_and_at() {
    let (allow, deny) = (Some("root\nrunner\n".to_owned()), Some("runner\n".to_owned()));
    let none = Some("root\n".to_owned());
    for (runs, allow, deny, cron, at) in [
        (false, None, None, Way::Closed, Way::Closed),
        (true, None, None, Way::Open, Way::Closed),
        (true, allow.clone(), deny.clone(), Way::Open, Way::Open),
        (true, none.clone(), None, Way::Closed, Way::Closed),
        (true, None, deny, Way::Closed, Way::Closed),
        (true, None, none, Way::Open, Way::Open),
    ] {
        assert_eq!(daemons::cron(&somebody(), runs, allow.clone(), deny.clone()).way, cron);
        assert_eq!(daemons::at(&somebody(), runs, allow, deny).way, at);
    }
}

#[test]
fn settings_of_sshd() {
    let way = |settings, answers| daemons::ssh(&somebody(), settings, answers).way;
    assert_eq!(way("", false), Way::Closed);
    assert_eq!(way("port 22\npermitrootlogin no\n", true), Way::Open);
    assert_eq!(way("denyusers daemon\ndenyusers runner\n", true), Way::Closed);
    assert_eq!(way("denyusers runner2\n", true), Way::Open);
    assert_eq!(way("allowusers admin\n", true), Way::Closed);
    assert_eq!(way("allowusers admin\nallowusers run*\n", true), Way::Open);
}

#[test]
fn accounts_without_a_password() {
    let way = |shadow| daemons::su(&somebody(), shadow).way;
    assert_eq!(way(Some("root:*:1::::::\nrunner:!:1::::::\nx:$6$a:1::::::\n")), Way::Closed);
    assert_eq!(way(Some("root:*:1::::::\nrunner::1::::::\n")), Way::Open);
    assert_eq!(way(None), Way::Unknown);
}

#[test]
fn tracing() {
    for (scope, way) in
        [(Some("0"), Way::Open), (None, Way::Open), (Some("1"), Way::Closed), (Some("3"), Way::Closed)]
    {
        assert_eq!(processes::judge(scope, &[]).way, way, "{scope:?}");
    }
}

#[test]
fn root_needs_no_way_out() {
    let root = Account { uid: 0, ..somebody() };
    let all = look(&root, None, Path::new("/x"));
    assert!(all.len() == 1 && all[0].way == Way::Open);
}

/// Permission on the socket, and on every directory before it.
#[test]
fn sockets_that_the_user_can_connect_to() {
    let dir = std::env::temp_dir().join(format!("awf-sockets-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let path = dir.join("s");
    let _listener = UnixListener::bind(&path).unwrap();
    let set =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    for (gid, mode, above, wanted) in [
        (0, 0o660, 0o755, false),
        (4323, 0o660, 0o755, true),
        (4323, 0o660, 0o700, false),
        (0, 0o666, 0o755, true),
        (4323, 0o640, 0o755, false),
    ] {
        chown(&path, None, Some(gid)).unwrap();
        set(&path, mode);
        set(&dir, above);
        assert_eq!(sockets::may_connect(&somebody(), &path), wanted, "{gid} {mode:o} {above:o}");
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn vsock_is_known_by_the_kernels_list() {
    let list = "protocol  size sockets  memory press maxhdr  slab module     cl co di ac\nAF_VSOCK  1328      0      -1   NI       0   yes  vsock\nTCP 1 2\n";
    assert!(sockets::has_vsock(list) && !sockets::has_vsock("protocol size\nTCP 1\nX AF_VSOCK\n"));
}

#[test]
fn a_bridge_for_the_user_or_a_group_of_its_is_found() {
    let text = "# user type bridge number\nsomeone veth br0 5\n@ci veth lxcbr0 2\nrunner veth br1 0\n";
    let groups = networks::names("root:x:0:\nci:x:70:a,b\nrunner:x:71:\n", &[71, 70]);
    assert_eq!(groups, ["ci", "runner"]);
    assert_eq!(networks::bridge(text, "runner", &groups), Some("lxcbr0"));
    assert_eq!(networks::bridge(text, "runner", &[]), None, "a number of 0 is none");
    assert_eq!(networks::bridge(text, "someone", &[]), Some("br0"));
    assert_eq!(networks::bridge("", "someone", &[]), None);
}
