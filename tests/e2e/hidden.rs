//! What of the machine would carry bytes out for the command is not there for it.

use std::{
    fs::Permissions,
    io::{BufRead as _, BufReader},
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram, net::UnixListener},
    path::Path,
    process::{Command, Stdio},
};

use harness::{Lab, Process, Run, workdir::UID};

/// Connects to `$1` and sends to `$2`; says which of them took it.
const TALK: &str = "\
import socket, sys
for kind, path in ((socket.SOCK_STREAM, sys.argv[1]), (socket.SOCK_DGRAM, sys.argv[2])):
    try: socket.socket(socket.AF_UNIX, kind).connect(path); print('reached')
    except OSError as e: print(type(e).__name__)
";

/// An ssh master in the home, a syslog, a database: whoever listens outside is outside the firewall.
#[test]
fn unix_sockets_of_others_refuse_the_command_wherever_they_are() {
    let lab = Lab::new();
    let (stream, datagram) = (lab.dir().work().join("a master"), lab.dir().work().join("log"));
    let (_master, _log) = lab.machine().within(|| {
        (UnixListener::bind(&stream).expect("listen"), UnixDatagram::bind(&datagram).expect("bind"))
    });
    let open = |path: &Path| {
        std::fs::set_permissions(path, Permissions::from_mode(0o777)).expect("let everyone connect");
        path.to_str().expect("UTF-8").to_owned()
    };
    let (stream, datagram) = (open(&stream), open(&datagram));
    let words = ["python3", "-c", TALK, &stream, &datagram];
    lab.bare().run(&words).ok().stdout_is("reached\nreached\n");
    for run in [lab.awf(), lab.awf().machine_files(), lab.awf().host_network()] {
        run.run(&words).ok().stdout_is("ConnectionRefusedError\nConnectionRefusedError\n");
    }
}

/// By `--allow-unix` one, wherever it is, and no other.
#[test]
fn a_unix_socket_that_is_allowed_can_be_used() {
    let lab = Lab::new();
    let (seen, unseen) = (lab.dir().work().join("a service"), lab.dir().root().join("engine"));
    let (other, agent) = (lab.dir().work().join("other"), lab.dir().home().join(".gnupg/S.agent"));
    std::fs::create_dir(agent.parent().expect("a directory")).expect("create .gnupg");
    let _served = lab
        .machine()
        .within(|| [&seen, &unseen, &other, &agent].map(|path| UnixListener::bind(path).expect("listen")));
    for path in [&seen, &unseen, &other, &agent] {
        std::fs::set_permissions(path, Permissions::from_mode(0o777)).expect("let everyone connect");
    }
    let [seen, unseen, other, agent] =
        [&seen, &unseen, &other, &agent].map(|path| path.to_str().expect("UTF-8"));
    for run in [lab.awf(), lab.awf().machine_files(), lab.awf().host_network()] {
        let out = run
            .args(["--allow-unix", seen, "--allow-unix", unseen])
            .run(&["python3", "-c", TALK, seen, other]);
        out.ok().stdout_is("reached\nConnectionRefusedError\n");
        out.stderr_contains(&format!("--allow-unix {seen}: what serves it is not behind the firewall"));
    }
    // Also where everything else is hidden.
    for path in [unseen, agent] {
        let out = lab.awf().args(["--allow-unix", path]).run(&["python3", "-c", TALK, path, seen]);
        out.ok().stdout_is("reached\nConnectionRefusedError\n");
    }
    let link = lab.dir().work().join("link");
    std::os::unix::fs::symlink(unseen, &link).expect("make a link");
    std::os::unix::fs::lchown(&link, Some(UID), None).expect("give it to the command");
    for (path, why) in [
        (link.to_str().expect("UTF-8").to_owned(), "is a symbolic link of a user's"),
        (other.to_owned() + "?", "start the service first"),
        ("/etc/passwd".to_owned(), "it is no unix socket"),
        ("relative".to_owned(), "does not begin with /"),
    ] {
        let out = lab.awf().args(["--allow-unix", &path]).run(&["true"]);
        out.code(125).stderr_contains(why);
    }
}

/// The command's own sockets are its own affair.
#[test]
fn unix_sockets_of_its_own_work() {
    let lab = Lab::new();
    let script = "import socket; s = socket.socket(socket.AF_UNIX); s.bind('own'); s.listen(); \
        socket.socket(socket.AF_UNIX).connect('own'); print('reached')";
    lab.awf().run(&["python3", "-c", script]).ok().stdout_is("reached\n");
}

/// A tap that belongs to the user takes whole frames.
#[test]
fn network_devices_are_not_there() {
    if !Path::new("/dev/net/tun").exists() {
        return eprintln!("NOT SHOWN: this machine has no /dev/net/tun");
    }
    let lab = Lab::new();
    lab.bare().run(&["test", "-e", "/dev/net/tun"]).ok();
    for run in [lab.awf(), lab.awf().machine_files(), lab.awf().host_network()] {
        run.run(&["test", "-e", "/dev/net/tun"]).fails();
    }
}

/// Listens at `$1`, says so, and ends with its input.
const LISTEN: &str = "\
import os, socket, sys
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); os.chmod(sys.argv[1], 0o777); s.listen()
print('ready', flush=True); sys.stdin.read()
";

/// A container's, or another run's: by a directory that both share, under its own name there.
#[test]
fn unix_sockets_in_other_networks_refuse_the_command() {
    let lab = Lab::new();
    let work = lab.dir().work();
    let shared = format!("mount --bind '{}' /srv && exec \"$@\"", work.display());
    let (near, far) = (work.join("near"), work.join("far"));
    let near = near.to_str().expect("UTF-8");
    let serve = |words: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = unshare.spawn().expect("start a server");
        let mut said = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut said).expect("read it");
        assert_eq!(said, "ready\n");
        child
    };
    let servers = [
        serve(&["-n", "python3", "-c", LISTEN, near]),
        serve(&["-nm", "sh", "-c", &shared, "sh", "python3", "-c", LISTEN, "/srv/far"]),
    ];
    let talk = TALK.replace("socket.SOCK_DGRAM", "socket.SOCK_STREAM");
    let words = ["python3", "-c", &talk, near, far.to_str().expect("UTF-8")];
    lab.bare().run(&words).ok().stdout_is("reached\nreached\n");
    for run in [lab.awf(), lab.awf().machine_files(), lab.awf().host_network()] {
        run.run(&words).ok().stdout_is("ConnectionRefusedError\nConnectionRefusedError\n");
    }
    for mut server in servers {
        drop(server.stdin.take());
        server.wait().expect("wait for it");
    }
}

/// Some of them everybody may write to.
#[test]
fn files_of_security_modules_are_read_only_without_a_root_of_its_own() {
    let lab = Lab::new();
    let mounted = |run: &Run<'_>| {
        let command = run.command(&["grep", "-w", "securityfs", "/proc/self/mounts"]);
        let mut shell = Command::new("/usr/bin/unshare");
        let script = "mount -t securityfs securityfs /sys/kernel/security && exec \"$@\"";
        shell
            .args(["--mount", "/bin/bash", "-c", script, "bash"])
            .arg(command.get_program())
            .args(command.get_args());
        shell.current_dir(lab.dir().work());
        let out = run.finish(lab.machine().within(|| Process::spawn(&mut shell, Vec::new())));
        out.ok().stdout()
    };
    let outside = mounted(&lab.bare());
    assert!(outside.contains(" /sys/kernel/security securityfs rw,"), "{outside}");
    let inside = mounted(&lab.awf().machine_files());
    assert!(inside.contains(" /sys/kernel/security securityfs ro,"), "{inside}");
}
