//! Whatever of a run dies, and whenever: its processes have no network, until somebody says so.

use std::{
    io::Read as _,
    net::{TcpListener, UdpSocket},
    process::Command,
    time::Duration,
};

use harness::{Lab, tools};

use super::{Shell, assert_nothing_left, lab, runs};

#[test]
fn a_dead_daemon_refuses_everything_until_detach() {
    let lab = lab();
    let shell = Shell::start(&lab);
    let run = shell.attach(&["-d", "allowed.test"]);
    assert_eq!(shell.curl("", "allowed.test").code, 0);
    run.kill_daemon();
    let refused = |family: &str| {
        let said = shell.curl(
            &format!("{family} --resolve allowed.test:443:203.0.113.10,[2001:db8:2::10]"),
            "allowed.test",
        );
        assert!(said.code != 0 && !said.text.contains("hello"), "{family}: {said:?}");
        assert!(!said.text.contains("timed out"), "at once: {said:?}");
    };
    ["-4", "-6"].into_iter().for_each(refused);
    let ps = run.ps().expect("it is listed");
    assert!(ps["alive"] == false && ps["daemon"].is_null(), "{ps}");
    lab.awf().subcommand(&["ps"]).ok().stdout_contains("DEAD: network refused");
    // Clearing away what dead runs left must not give anybody the network.
    lab.awf().subcommand(&["gc"]).ok().stderr_contains(&format!("`awf-bpf detach {}` gives it back", run.id));
    lab.awf().run(&["true"]).ok();
    ["-4", "-6"].into_iter().for_each(refused);
    let id = run.id.clone();
    run.detach().ok();
    assert_eq!(shell.curl("", "denied.test").code, 0, "as before");
    assert_nothing_left(&lab, &id);
}

#[test]
fn gc_clears_a_dead_run_whose_processes_have_ended() {
    let lab = lab();
    let shell = Shell::start(&lab);
    let run = shell.attach(&["-d", "allowed.test"]);
    run.kill_daemon();
    drop(shell);
    let gc = lab.awf().subcommand(&["gc"]);
    gc.ok().stdout_contains(&run.id);
    assert_nothing_left(&lab, &run.id);
}

#[test]
fn a_run_ends_with_its_last_process() {
    let lab = lab();
    let shell = Shell::start(&lab);
    let run = shell.attach(&["-d", "allowed.test"]);
    let daemon =
        rustix::process::pidfd_open(run.daemon(), rustix::process::PidfdFlags::empty()).expect("it lives");
    drop(shell);
    assert!(harness::process::wait_readable(&daemon, Duration::from_secs(20)), "the daemon ends by itself");
    assert_nothing_left(&lab, &run.id);
}

/// Ports of the proxy and the stub of a run, from the sockets of its daemon.
pub(super) fn listening(lab: &Lab) -> Vec<u16> {
    let tables = lab.machine().within(|| {
        ["tcp", "tcp6", "udp", "udp6"]
            .map(|name| std::fs::read_to_string(format!("/proc/thread-self/net/{name}")))
    });
    let lines = tables
        .into_iter()
        .flat_map(|table| table.expect("read it").lines().skip(1).map(str::to_owned).collect::<Vec<_>>());
    let port = |line: String| {
        let fields: Vec<_> = line.split_ascii_whitespace().map(str::to_owned).collect();
        // Listening, or a datagram socket without a peer.
        (fields[3] == "0A" || fields[3] == "07")
            .then(|| u16::from_str_radix(fields[1].rsplit(':').next()?, 16).ok())
            .flatten()
    };
    let mut ports: Vec<_> = lines.filter_map(port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Takes a port as soon as it can be had: the kernel closes the sockets of the dead in its own time.
fn squat<T>(bind: impl Fn() -> std::io::Result<T>) -> T {
    let end = std::time::Instant::now() + super::SOON;
    loop {
        match bind() {
            Ok(socket) => return socket,
            Err(e) => assert!(std::time::Instant::now() < end, "take the port: {e}"),
        }
        std::thread::yield_now();
    }
}

/// The links lead to ports that nobody has any more: who takes them must not get what the processes say.
#[test]
fn who_takes_the_ports_of_a_dead_daemon_hears_nothing() {
    let lab = lab();
    let shell = Shell::start(&lab);
    let run = shell.attach(&["-d", "allowed.test"]);
    let ports = listening(&lab);
    assert!(ports.len() >= 2, "the proxy's and the stub's: {ports:?}");
    run.kill_daemon();
    // What is left of connections keeps a port for a minute.
    let forget =
        || tools::succeed(Command::new(tools::require("ss")).args(["-K", "-t", "state", "time-wait"]));
    lab.machine().within(forget);
    let (tcp, udp) = lab.machine().within(|| {
        let each = |at: &str| ports.iter().map(move |port| format!("{at}:{port}")).collect::<Vec<_>>();
        let addresses = [each("127.0.0.1"), each("[::1]")].concat();
        let tcp: Vec<_> = addresses.iter().map(|at| squat(|| TcpListener::bind(at))).collect();
        let udp: Vec<_> = addresses.iter().map(|at| squat(|| UdpSocket::bind(at))).collect();
        (tcp, udp)
    });
    let script = "for at in 203.0.113.10 2001:db8:2::10; do exec 4<>/dev/tcp/$at/80 && echo 'CONNECTED' && echo leak >&4; done\n\
        getent ahosts allowed.test && echo RESOLVED\n\
        /usr/bin/python3 -c \"import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('203.0.113.53', 53)); s.send(b'leak')\"\n";
    let said = shell.sh(script);
    assert!(!said.text.contains("CONNECTED") && !said.text.contains("RESOLVED"), "{said:?}");
    for port in &ports {
        let direct = format!(
            "for at in 127.0.0.1 ::1 127.0.0.5; do exec 4<>/dev/tcp/$at/{port} && echo CONNECTED; done"
        );
        let said = shell.sh(&direct);
        assert!(!said.text.contains("CONNECTED"), "{said:?}");
    }
    for listener in tcp {
        listener.set_nonblocking(true).expect("set it");
        if let Ok((mut stream, from)) = listener.accept() {
            let mut text = String::new();
            let _ = stream.read_to_string(&mut text);
            panic!("{from} came with {text:?}");
        }
    }
    for socket in udp {
        socket.set_nonblocking(true).expect("set it");
        let heard = socket.recv_from(&mut [0; 512]);
        assert!(heard.is_err(), "{heard:?}");
    }
    run.detach().ok();
}

/// What was sent before the listener went, and is sent again after: a SYN, and the next query of a connected socket.
#[test]
fn what_was_on_its_way_when_the_daemon_died_does_not_reach_who_comes_next() {
    let lab = lab();
    let shell = Shell::start(&lab);
    let run = shell.attach(&["-d", "allowed.test"]);
    let ports = listening(&lab);
    // Connected while the stub lives, used when it is dead.
    let script = "import socket, time, os\n\
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('203.0.113.53', 53))\n\
        open('connected', 'w').close()\n\
        while not os.path.exists('squatted'): time.sleep(0.01)\n\
        try:\n  s.send(b'leak')\nexcept OSError as e: print(e)\n\
        print('tried')\n";
    let work = lab.dir().work();
    lab.dir().file("late.py", script);
    let order = shell.order(&format!("cd {} && /usr/bin/python3 late.py", work.display()));
    wait_for(&work.join("connected"));
    run.kill_daemon();
    let udp: Vec<_> = lab.machine().within(|| {
        let bind = |port: &u16| squat(|| UdpSocket::bind(("127.0.0.1", *port)));
        ports.iter().map(bind).collect()
    });
    std::fs::write(work.join("squatted"), "").expect("say so");
    shell.process.wait_for_stdout(&format!("done {order}."), super::SOON);
    for socket in udp {
        socket.set_nonblocking(true).expect("set it");
        let heard = socket.recv_from(&mut [0; 512]);
        assert!(heard.is_err(), "{heard:?}");
    }
    run.detach().ok();
}

/// Waits for a file that a program makes.
#[track_caller]
pub(super) fn wait_for(path: &std::path::Path) {
    let end = std::time::Instant::now() + harness::patience::stretch(super::SOON);
    while !path.exists() {
        assert!(std::time::Instant::now() < end, "{} is not there", path.display());
        std::thread::yield_now();
    }
}

/// `attach` whose processes are killed as each makes its `number`th write(2): a step told, a file of a cgroup, a record.
/// Whether somebody was.
fn killed_at_write(lab: &Lab, number: usize, target: &[&str]) -> bool {
    let run = lab.awf();
    let mut shell = Command::new("/bin/bash");
    let script = "exec strace -f -qq -o /dev/null -e trace=write -e inject=write:signal=KILL:when=\"$0\" \
        \"$@\" </dev/null >/dev/null 2>&1";
    shell.args(["-c", script]).arg(number.to_string()).arg(tools::awf_bpf()).arg("attach");
    shell.args(["-d", "allowed.test", "--audit-dir"]).arg(run.audit_dir()).args(target);
    shell.env_clear().env("PATH", tools::PATH);
    let strace = lab.machine().within(|| harness::Process::spawn(&mut shell, Vec::new()));
    let pid = strace.pid().as_raw_nonzero();
    // It goes on for as long as a daemon does: that is no child of its.
    let children = || std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while !strace.wait_exit(Duration::from_millis(20)) {
        assert!(std::time::Instant::now() < end, "write {number}: neither attached nor dead");
        if children().trim().is_empty() && runs(lab).iter().any(|run| run["allowed"].is_u64()) {
            lab.awf().subcommand(&["detach", "--all"]).ok();
            assert!(strace.wait_exit(super::SOON), "the daemon ends");
            return false;
        }
    }
    true
}

/// Killed at any of their writes, the caller and the daemon leave the processes as they were, or without a network; never
/// moved and free.
#[test]
fn sigkill_at_each_step_of_the_start_never_leaves_a_moved_process_free() {
    let lab = lab();
    let shell = Shell::start(&lab);
    let pid = shell.pid().to_string();
    let (mut closed, mut number) = (0, 1);
    while killed_at_write(&lab, number, &["--pid", &pid]) {
        let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it lives");
        let moved = cgroup.contains("awf-bpf-");
        closed += usize::from(moved);
        let reached = ["allowed.test", "denied.test"].map(|host| shell.curl("", host).code == 0);
        assert_eq!(reached, [!moved; 2], "write {number}");
        lab.awf().subcommand(&["gc"]).ok();
        assert_eq!(
            shell.curl("", "denied.test").code == 0,
            !moved,
            "write {number}: gc gives nobody the network"
        );
        lab.awf().subcommand(&["detach", "--all"]).ok();
        assert_eq!(shell.curl("", "denied.test").code, 0, "write {number}");
        assert_eq!(runs(&lab).len(), 0, "write {number}");
        number += 1;
    }
    assert!(number > 12 && closed > 2, "{closed} of {number} died with processes inside");
}

/// Of a cgroup as a whole nobody is moved: it is behind the programs from the moment that they are attached.
#[test]
fn sigkill_at_each_step_leaves_a_cgroup_as_it_was_or_without_network() {
    let lab = lab();
    let cgroup = super::targets::Cgroup::new("killed");
    let shell = Shell::start(&lab);
    cgroup.enter(&shell);
    let (mut closed, mut number) = (0, 1);
    while killed_at_write(&lab, number, &["--cgroup", cgroup.path()]) {
        // Nobody is let through whose policy was not open: all or nothing.
        let reached = ["allowed.test", "denied.test"].map(|host| shell.curl("", host).code == 0);
        assert_eq!(reached[0], reached[1], "write {number}");
        closed += usize::from(!reached[0]);
        lab.awf().subcommand(&["gc"]).ok();
        assert_eq!(shell.curl("", "denied.test").code == 0, reached[1], "write {number}: gc changes nothing");
        lab.awf().subcommand(&["detach", "--all"]).ok();
        assert_eq!(shell.curl("", "denied.test").code, 0, "write {number}");
        number += 1;
    }
    assert!(number > 12 && closed > 3, "{closed} of {number} died with programs attached");
}

/// The daemon is told by nobody then whether its run is wanted: it undoes it, or it stands.
#[test]
fn a_caller_that_is_killed_leaves_nobody_moved_and_free() {
    let lab = lab();
    let shell = Shell::start(&lab);
    let pid = shell.pid().to_string();
    let inside =
        || std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it lives").contains("awf-bpf-");
    for moment in 0..12 {
        let run = lab.awf();
        let mut command = Command::new(tools::awf_bpf());
        command.args(["attach", "--pid", &pid, "-d", "allowed.test", "--audit-dir"]).arg(run.audit_dir());
        let caller = lab.machine().within(|| harness::Process::spawn(&mut command, Vec::new()));
        // Not a wait for anything: the moment is what varies.
        if !caller.wait_exit(Duration::from_millis(moment * 10)) {
            caller.signal(rustix::process::Signal::KILL);
        }
        assert!(caller.wait_exit(super::SOON));
        let before = inside();
        let reached = shell.curl("", "denied.test").code == 0;
        assert!(!(before && inside() && reached), "moved, and free");
        // Whatever stands is ended; what is being undone is over when nobody is listed any more.
        let end = std::time::Instant::now() + super::SOON;
        while inside() || !runs(&lab).is_empty() {
            assert!(std::time::Instant::now() < end, "{:?}", runs(&lab));
            lab.awf().subcommand(&["detach", "--all"]);
        }
        assert_eq!(shell.curl("", "denied.test").code, 0, "as before");
    }
}

#[test]
fn a_start_that_fails_leaves_everything_as_it_was() {
    let lab = lab();
    let shell = Shell::start_as(&lab, &lab.bare().as_root());
    // A socket that cannot be cut: it hears every frame of the machine.
    let script = "import os, socket, time\ns = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 768)\n\
        open('open', 'w').close()\nwhile not os.path.exists('close'): time.sleep(0.01)\n";
    lab.dir().file("packet.py", script);
    let work = lab.dir().work();
    // Beside what the shell does for us.
    shell.order(&format!("cd {}; /usr/bin/python3 packet.py", work.display()));
    wait_for(&work.join("open"));
    let pid = shell.pid().to_string();
    let out = super::try_attach(&lab, &["--pid", &pid, "-d", "allowed.test"]);
    out.code(125).stderr_contains("cannot be cut").stderr_contains("--keep-sockets");
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it lives");
    assert!(!cgroup.contains("awf-bpf-"), "{cgroup}");
    assert_eq!(runs(&lab).len(), 0);
    let run = shell.attach(&["-d", "allowed.test", "--keep-sockets"]);
    run.out.stderr_contains("goes on past the firewall");
    lab.dir().file("close", "");
    assert_ne!(shell.curl("", "denied.test").code, 0);
    run.detach().ok();
}
