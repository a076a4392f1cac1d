//! Exit codes, streams, environment, descriptors, signals: CMD starts as if nobody stood in between.

use std::ffi::OsString;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, Instant};

use awf_userspace::jail::SelfTest;
use awf_userspace::launch::{Exit, LaunchError, LaunchSpec, spawn, start};
use awf_userspace::sys::inherit::GATE_FD;
use awf_userspace::sys::signalfd::SignalMask;
use rustix::process::Signal;

use crate::support::{AWF_BPF, Cgroup, Dir, Run, command, memory, python, runtime, set_mode, sh};

#[test]
fn exit_codes_are_the_commands_own() {
    for code in [0, 1, 7, 124, 255] {
        assert_eq!(sh(&format!("exit {code}")).run().exit, Exit::Code(code));
    }
    for (name, signo) in [("KILL", 9), ("TERM", 15), ("SEGV", 11)] {
        let ran = sh(&format!("kill -{name} $$")).run();
        assert_eq!((ran.exit, ran.code()), (Exit::Signal(signo), 128 + signo as u8));
    }
}

#[test]
fn a_command_that_does_not_exist_is_127() {
    for argv in [&["no-such-command"][..], &["/no/such/command"], &["/etc/passwd/x"]] {
        let error = command(argv).refused();
        assert_eq!(error.exit_code(), 127, "{error}");
        assert!(error.to_string().starts_with(argv[0]), "{error}");
    }
}

#[test]
fn a_command_that_cannot_be_executed_is_126() {
    let dir = Dir::new("noexec");
    let no_interpreter = dir.file("no-interpreter", "#!/no/such/interpreter\n", 0o755);
    let cases = [dir.file("not-executable", "#!/bin/sh\n", 0o644), dir.file("no-head", "exit 0\n", 0o755)];
    for path in cases.iter().chain([&dir.0]) {
        let error = command(&[path.to_str().unwrap()]).refused();
        let LaunchError::Exec { exit_code: 126, errno: Some(_), message } = error else {
            panic!("{error:?}")
        };
        assert!(message.contains(path.to_str().unwrap()), "{message}");
    }
    let error = command(&[no_interpreter.to_str().unwrap()]).refused();
    assert!(error.exit_code() == 126 && error.to_string().contains("interpreter"), "{error}");
}

#[test]
fn path_is_searched_as_a_shell_does_it() {
    let (first, second) = (Dir::new("path1"), Dir::new("path2"));
    first.file("tool", "#!/bin/sh\n", 0o644);
    second.file("tool", "#!/bin/sh\necho \"found $0\"\n", 0o755);
    let mut run = command(&["tool"]);
    let path = format!("/etc/passwd:/no/such/dir:{}:{}", first.0.display(), second.0.display());
    run.init.env = vec![("PATH".into(), path.into())];
    assert_eq!(run.run().text(), format!("found {}/tool\n", second.0.display()));
}

/// As bash and docker say it, not as env(1) does: 126 is for what was found.
#[test]
fn a_directory_of_path_that_may_not_be_searched_is_passed_over() {
    let (closed, other) = (Dir::new("path-closed"), Dir::new("path-other"));
    closed.file("tool", "#!/bin/sh\necho closed\n", 0o755);
    std::fs::create_dir(other.0.join("tool")).unwrap();
    set_mode(&closed.0, 0o700);
    let dirs = [&closed.0, &other.0].map(|dir| dir.display().to_string());
    let with_path = |name: &str| {
        let mut run = command(&[name]);
        run.init.env = vec![("PATH".into(), dirs.join(":").into())];
        run
    };
    let error = with_path("tool").refused();
    let expected =
        format!("tool: command not found (the user it runs as may not search {} of PATH)", dirs[0]);
    assert_eq!((error.exit_code(), error.to_string()), (127, expected));
    // Found and not executable is still 126, and what can be executed later in PATH still runs.
    let found = other.file("other", "#!/bin/sh\n", 0o644);
    let error = with_path("other").refused();
    assert_eq!(error.exit_code(), 126, "{error}");
    set_mode(&found, 0o755);
    assert_eq!(with_path("other").run().code(), 0);
    // Named by its path, it is there for all that is known.
    let by_path = command(&[closed.0.join("tool").to_str().unwrap()]).refused();
    assert_eq!(by_path.exit_code(), 126, "{by_path}");
}

#[test]
fn set_up_that_fails_is_125_and_names_the_step() {
    let not_a_cgroup = Dir::new("not-a-cgroup");
    let run = command(&["true"]);
    let mut broken = run.init.clone();
    broken.identity.uid = 0;
    let root = Run { init: broken, stdin: run.stdin, netns: None }.refused();
    assert!(root.exit_code() == 125 && root.to_string().contains("uid 0"), "{root}");

    let dir = std::fs::File::open(&not_a_cgroup.0).unwrap();
    let spec = LaunchSpec::new(dir.as_fd(), None, command(&["true"]).init);
    let error = runtime().block_on(spawn(&spec)).unwrap_err();
    assert!(matches!(error, LaunchError::Clone { .. }) && error.exit_code() == 125, "{error:?}");
}

#[test]
fn a_start_up_process_that_says_nothing_is_a_failure() {
    let cgroup = Cgroup::new();
    let mut spec = LaunchSpec::new(cgroup.fd(), None, command(&["true"]).init);
    spec.program = "/bin/false".into();
    let error = runtime().block_on(spawn(&spec)).unwrap_err();
    assert!(matches!(error, LaunchError::Vanished(Exit::Code(1))), "{error:?}");
    spec.program = "/no/such/program".into();
    let error = runtime().block_on(spawn(&spec)).unwrap_err();
    assert!(matches!(error, LaunchError::Reexec { step: "execve", .. }), "{error:?}");
}

/// Whatever takes long outside, and whether it fails: nothing of the command runs before all of it stands.
#[test]
fn nothing_runs_before_the_gate_is_opened() {
    let (cgroup, dir) = (Cgroup::new(), Dir::new("gate"));
    set_mode(&dir.0, 0o777);
    let mark = dir.0.join("ran");
    let init = command(&["/usr/bin/touch", mark.to_str().unwrap()]).init;
    let mut spec = LaunchSpec::new(cgroup.fd(), None, init);
    spec.program = AWF_BPF.into();
    let runtime = runtime();
    let _reactor = runtime.enter();

    let starting = start(&spec).unwrap();
    let inside = || std::fs::read_to_string(cgroup.path.join("cgroup.procs")).unwrap();
    let call = format!("/proc/{}/syscall", inside().trim());
    let waits = format!("{} {GATE_FD:#x} ", libc::SYS_read);
    let begun = Instant::now();
    while !std::fs::read_to_string(&call).unwrap().starts_with(&waits) {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not come to the gate");
        std::thread::yield_now();
    }
    drop(starting);
    assert!(inside().is_empty() && !mark.exists());

    let mut child = runtime.block_on(spawn(&spec)).unwrap();
    assert_eq!(runtime.block_on(child.wait()).unwrap().code(), 0);
    assert!(mark.exists());
}

#[test]
fn init_by_hand_does_nothing() {
    let status = std::process::Command::new(AWF_BPF).arg("__init").status().unwrap();
    assert_eq!(status.code(), Some(125));
}

#[test]
fn the_command_is_born_in_its_cgroup() {
    let cgroup = Cgroup::new();
    let ran = command(&["cat", "/proc/self/cgroup"]).try_run_in(&cgroup).unwrap();
    let line = ran.text().lines().find(|line| line.starts_with("0::")).unwrap().to_owned();
    assert!(line.ends_with(cgroup.path.file_name().unwrap().to_str().unwrap()), "{line}");
}

#[test]
fn every_byte_of_stdin_reaches_stdout() {
    let mut bytes = vec![0; 4 << 20];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    let mut run = command(&["cat"]);
    run.stdin = memory(&bytes).into();
    let ran = run.run();
    assert!(ran.stdout == bytes, "{} of {} bytes, or others", ran.stdout.len(), bytes.len());
    assert_eq!(ran.stderr, "");
}

#[test]
fn arguments_and_environment_arrive_byte_by_byte_and_nothing_else() {
    let odd = || OsString::from_vec(vec![0xff, b'\n', b'=', b'"', b'\\']);
    let mut run =
        command(&["/usr/bin/python3", "-c", "import os, sys\nos.write(1, os.fsencode(sys.argv[1]))"]);
    run.init.argv.push(odd());
    assert_eq!(run.run().stdout, odd().into_vec());

    let mut run = command(&["/usr/bin/env", "-0"]);
    run.init.env = vec![("ODD".into(), odd()), ("EMPTY".into(), "".into())];
    assert_eq!(run.run().stdout, [b"ODD=", odd().into_vec().as_slice(), b"\0EMPTY=\0"].concat());
}

#[test]
fn no_descriptor_but_the_standard_ones_gets_through() {
    // Without close-on-exec: what a careless parent of awf-bpf leaves open.
    let file = std::fs::File::open("/etc/passwd").unwrap();
    let leaked: Vec<_> = (0..20).map(|_| rustix::io::dup(&file).unwrap()).collect();
    let script = "import os\n\
        def open_(n):\n try: os.fstat(n); return True\n except OSError: return False\n\
        print([n for n in range(4096) if open_(n)])";
    assert_eq!(python(script).run().text(), "[0, 1, 2]\n");
    drop(leaked);
}

#[test]
fn signals_are_as_awf_bpf_found_them() {
    let argv = ["grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status"];
    let show = || command(&argv);
    // The standard library starts a program with nothing blocked, SIGPIPE at its default, and the rest inherited.
    let bare = std::process::Command::new(argv[0]).args(&argv[1..]).output().unwrap();
    // Signals 32 and up are left out: libc uses some of them itself.
    let masks = |text: &str| -> Vec<u64> {
        let hex =
            |line: &str| u64::from_str_radix(line.rsplit('\t').next().unwrap(), 16).unwrap() & 0x7fff_ffff;
        text.lines().map(hex).collect()
    };
    let got = masks(show().run().text());
    assert_eq!(got, masks(&String::from_utf8(bare.stdout).unwrap()));
    assert_eq!(got[1] & 1 << (libc::SIGPIPE - 1), 0, "SIGPIPE is ignored");

    let mut run = show();
    run.init.restore.sigmask = SignalMask::of(&[Signal::USR1]);
    assert!(run.run().text().starts_with("SigBlk:\t0000000000000200\n"));
}

#[test]
fn limits_and_score_are_put_back() {
    let mut run = sh("ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj");
    run.init.restore.nofile = Some((123, 456));
    run.init.restore.oom_score_adj = Some(321);
    assert_eq!(run.run().text(), "123\n456\n321\n");
}

#[test]
fn the_working_directory_is_the_wanted_one_or_said() {
    let (open, closed) = (Dir::new("cwd-open"), Dir::new("cwd-closed"));
    set_mode(&closed.0, 0o700);
    let start_in = |cwd: &std::path::Path, home: &str| {
        let mut run = command(&["/bin/pwd"]);
        run.init.cwd = cwd.into();
        run.init.identity.home = home.into();
        let ran = run.run();
        (
            ran.text().trim_end().to_owned(),
            ran.notes.iter().any(|note| note.contains("is not there for the command")),
        )
    };
    let open_path = open.0.to_str().unwrap();
    assert_eq!(start_in(&open.0, "/"), (open_path.to_owned(), false));
    assert_eq!(start_in(&closed.0, open_path), (open_path.to_owned(), true));
    assert_eq!(start_in(&closed.0, "/no/such/home"), ("/".to_owned(), true));
    let mut run = command(&["/bin/pwd"]);
    (run.init.cwd, run.init.cwd_must) = (closed.0.clone(), true);
    let refused = run.refused();
    assert!(refused.exit_code() == 125 && refused.to_string().contains("--container-workdir"), "{refused}");
}

#[test]
fn the_self_test_decides_whether_the_command_runs() {
    let answer = |listen: &str, answer: &'static [u8]| {
        let listener = std::net::TcpListener::bind(listen).unwrap();
        let address = listener.local_addr().unwrap();
        let serve = move || std::io::Write::write_all(&mut listener.accept().unwrap().0, answer).unwrap();
        (address, std::thread::spawn(serve))
    };
    for (v6_answer, passes) in [(&b"nonce"[..], true), (b"NONCE", false)] {
        let ((v4, first), (v6, second)) = (answer("127.0.0.1:0", b"nonce"), answer("[::1]:0", v6_answer));
        let mut run = sh("echo ran");
        run.init.self_test = Some(SelfTest { addresses: vec![v4, v6], nonce: b"nonce".to_vec() });
        match run.try_run() {
            Ok(ran) => assert!(passes && ran.text() == "ran\n"),
            Err(error) => assert!(!passes && error.to_string().contains("self-test"), "{error}"),
        }
        first.join().unwrap();
        second.join().unwrap();
    }
}
