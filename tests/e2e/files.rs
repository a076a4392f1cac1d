//! The files the command sees, on machines of other shapes, and what it may and may not do with them.

use std::{fs, os::unix::fs::chown};

use harness::{Lab, workdir::UID};
use rustix::mount::{MountFlags, mount, mount_bind, mount_remount};

/// A root that cannot be written, homes on another device, blanks in paths, a mount in the workspace.
#[test]
fn odd_machines_are_no_obstacle() {
    let lab = Lab::new();
    let work = lab.dir().home().join("my work");
    let below = work.join("below");
    lab.machine().within(|| {
        let root = lab.dir().root();
        mount_bind(root, root).expect("keep the lab's directory writable");
        let memory = |at: &std::path::Path| mount("t", at, "tmpfs", MountFlags::empty(), c"mode=1777");
        memory(&lab.dir().home()).expect("put the homes on another device");
        fs::create_dir_all(&below).expect("make a workspace");
        memory(&below).expect("mount something in the workspace");
        chown(&work, Some(UID), Some(UID)).expect("give it to the user");
        memory("/run".as_ref()).expect("keep /run writable");
        mount_remount("/", MountFlags::BIND | MountFlags::RDONLY, c"").expect("make the root read-only");
    });
    let script = "pwd; touch f below/g /tmp/x; ls -R; touch /x 2>/dev/null || echo refused";
    // Not by `current_dir`: only the machine has this directory.
    let inner = format!("cd '{}' && exec \"$@\"", work.display());
    let mut command = lab.awf().command(&["bash", "-c", script]);
    command.current_dir("/");
    let mut words = vec![command.get_program().to_owned()];
    words.extend(command.get_args().map(ToOwned::to_owned));
    let mut outer = std::process::Command::new("/bin/sh");
    outer.args(["-c", &inner, "sh"]).args(words).env_clear().env("PATH", harness::tools::PATH);
    let out = lab.machine().within(|| outer.output().expect("start it"));
    let wanted = format!("{}\n.:\nbelow\nf\n\n./below:\ng\nrefused\n", work.display());
    assert_eq!(String::from_utf8_lossy(&out.stdout), wanted, "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn mounts_are_shown_as_they_were_asked_for() {
    let lab = Lab::new();
    let data = lab.dir().root().join("data");
    fs::create_dir(&data).expect("make it");
    fs::write(data.join("f"), "content\n").expect("write it");
    chown(&data, Some(UID), Some(UID)).expect("give it to the user");
    let run = lab.awf().outer_env("DATA", &data).args(["-v", "$DATA:/mnt/rw", "-v", "${DATA}:/mnt/ro:ro"]);
    let script =
        "cat /mnt/ro/f; touch /mnt/rw/new && ls /mnt/ro; touch /mnt/ro/x 2>/dev/null || echo refused";
    run.sh(script).ok().stdout_is("content\nf\nnew\nrefused\n");
    assert!(data.join("new").exists() && !data.join("x").exists());
    lab.awf().sh("ls /mnt 2>/dev/null || echo nothing").ok().stdout_is("nothing\n");
}

#[test]
fn mounts_that_cannot_be_are_said_and_nothing_runs() {
    let lab = Lab::new();
    let witness = lab.dir().work().join("ran");
    let touch = ["touch", witness.to_str().expect("UTF-8")];
    lab.awf()
        .args(["-v", "/no/such/dir:/mnt/a", "-v", "/run:/mnt/b"])
        .run(&touch)
        .code(125)
        .stderr_contains("/no/such/dir does not exist")
        .stderr_contains("/run belongs to");
    lab.awf().args(["-v", "relative:/mnt/a"]).run(&touch).code(125).stderr_contains("does not begin with /");
    assert!(!witness.exists());
}

#[test]
fn the_machines_tmp_is_shown_if_asked_for() {
    let lab = Lab::new();
    let name = lab.dir().root().file_name().expect("it has one").to_str().expect("UTF-8").to_owned();
    let other = format!("/tmp/{name}-other");
    fs::write(&other, "").expect("write a file in /tmp");
    let script = format!("test -e {other} && echo there || echo hidden");
    lab.awf().sh(&script).ok().stdout_is("hidden\n");
    lab.awf().args(["--share-tmp"]).sh(&script).ok().stdout_is("there\n");
    fs::remove_file(&other).expect("remove it");
}

#[test]
fn the_callers_umask_closes_nothing() {
    let lab = Lab::new();
    let mut command = lab.awf().command(&[
        "sh",
        "-c",
        "umask; ls / /run /mnt /tmp >/dev/null; cat /dev/null && echo x > f",
    ]);
    let mut words = vec![command.get_program().to_owned()];
    words.extend(command.get_args().map(ToOwned::to_owned));
    command = std::process::Command::new("/bin/sh");
    command.args(["-c", "umask 077; exec \"$@\"", "sh"]).args(words).current_dir(lab.dir().work());
    let out = lab.machine().within(|| command.output().expect("start it"));
    assert_eq!(String::from_utf8_lossy(&out.stdout), "0077\n", "{}", String::from_utf8_lossy(&out.stderr));
    assert!(lab.dir().work().join("f").exists());
}

/// A machine with its own root keeps the processes of the machine away without Landlock's help.
#[test]
fn processes_of_the_machine_are_not_there() {
    let lab = Lab::new();
    let pid = std::process::id();
    for look in [format!("kill -0 {pid}"), format!("ls -d /proc/{pid}"), "ls -d /proc/1".to_owned()] {
        lab.bare().sh(&format!("test -d /proc/{pid} && ls -d /proc/1")).ok();
        let out = lab.awf().sh(&look);
        out.check([1, 2].contains(&out.exit_code()) && out.stdout().is_empty(), || format!("{look}: nobody"));
    }
}

/// A container: a root on an overlay, processes numbered anew, read-only `/sys`, no right to make devices, a user
/// without an entry in passwd. With `$UNMERGED`, of a distribution whose /bin and /lib are no links.
const CONTAINER: &str = r#"set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 container "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay container -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
# The overlay has only what is in the machine's root itself.
lab=${1%/*}
mkdir -p ".$lab"
mount --bind "$lab" ".$lab"
mount --bind "$3" ".$3"
mount -t proc -o nosuid,nodev,noexec proc proc
mount --rbind /sys sys
mount -o remount,bind,ro sys
mount --rbind /dev dev
mount -t tmpfs -o mode=755 run run
if [ -n "$UNMERGED" ]; then
    for name in bin sbin lib lib64; do
        [ -L "$name" ] || continue
        rm "$name"; mkdir "$name"; mount --bind "/usr/$name" "$name"
    done
fi
pivot_root . .
umount -l .
cd "$2"
shift 2
exec setpriv --bounding-set -mknod --inh-caps -mknod -- "$@"
"#;

#[test]
fn containers_and_unmerged_systems_are_no_obstacle() {
    let lab = Lab::new();
    let place = lab.dir().root().join("container");
    fs::create_dir(&place).expect("make it");
    let script = "id -u; whoami; pwd; touch f; ls; echo $$; head -c 2 /dev/zero | wc -c; ls /dev/null
        test -L /bin && echo merged || echo unmerged; mountpoint -q /proc && echo /proc/[0-9]*";
    for (unmerged, usr) in [("", "merged"), ("1", "unmerged")] {
        let awf = lab.awf().command(&["bash", "-c", script]);
        let mut outer = std::process::Command::new("unshare");
        outer.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", CONTAINER, "sh"]);
        outer.arg(&place).arg(lab.dir().work()).arg(awf.get_program()).args(awf.get_args());
        outer.env_clear().env("PATH", harness::tools::PATH).env("UNMERGED", unmerged);
        let out = lab.machine().within(|| outer.output().expect("start it"));
        let work = lab.dir().work();
        let wanted = format!("{UID}\n{UID}\n{}\nf\n2\n2\n/dev/null\n{usr}\n/proc/2\n", work.display());
        assert_eq!(String::from_utf8_lossy(&out.stdout), wanted, "{}", String::from_utf8_lossy(&out.stderr));
    }
}

#[test]
fn a_workspace_is_found_by_the_link_that_names_it() {
    let lab = Lab::new();
    let real = lab.dir().root().join("real job");
    fs::create_dir(&real).expect("make it");
    chown(&real, Some(UID), Some(UID)).expect("give it to the user");
    let link = lab.dir().root().join("job");
    std::os::unix::fs::symlink("real job", &link).expect("make a link");
    let script = format!("cd '{}' && touch f && pwd -P", link.display());
    let wanted = format!("{}\n", real.display());
    lab.awf().outer_env("GITHUB_WORKSPACE", &link).sh(&script).ok().stdout_is(&wanted);
    assert!(real.join("f").exists());
    lab.awf().sh(&script).fails();
}

#[test]
fn only_what_is_listed_can_be_written_to() {
    let lab = Lab::new();
    let out = lab.dir().work().join("out");
    fs::create_dir(&out).expect("make it");
    chown(&out, Some(UID), Some(UID)).expect("give it to the user");
    let script = "for d in ~ . out /tmp /dev/shm; do if (echo x > $d/x) 2>/dev/null; then echo ${d#$HOME}; fi; done; if [ -e out/x ]; then rm out/x; fi; if mv out no 2>/dev/null; then echo moved; fi";
    let all = "/tmp\n/dev/shm\n";
    for (list, wanted) in [("[]".to_owned(), all.to_owned()), (format!("[{out:?}]"), format!("out\n{all}"))] {
        let config = lab.dir().file("config.toml", format!("[filesystem]\nallow_write = {list}\n"));
        let run = lab.awf().args(["-c", config.to_str().expect("UTF-8")]);
        run.sh(script).ok().stdout_is(&wanted);
    }
    let config = lab.dir().file("config.toml", "[filesystem]\nallow_write = [\"/etc\"]\n");
    let run = lab.awf().args(["-c", config.to_str().expect("UTF-8")]);
    run.sh("echo ran").code(125).stdout_is("").stderr_contains("allow_write /etc: is not in what");
}
