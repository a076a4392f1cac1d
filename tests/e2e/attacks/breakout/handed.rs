//! What is handed in, or waits to be found: descriptors, programs with privileges, memory and sockets of others, awf-bpf
//! itself.

use std::{
    fs,
    os::unix::{fs::chown, net::UnixListener},
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use harness::{Lab, Output, Run, tools, workdir::UID};

/// Runs `run` after `first`, a line of the shell that starts it.
fn after(lab: &Lab, run: &Run<'_>, first: &str, argv: &[&str]) -> (i32, String, String) {
    let command = run.command(argv);
    let mut shell = Command::new("/bin/bash");
    shell
        .args(["-c", &format!("{first}\nexec \"$@\""), "bash"])
        .arg(command.get_program())
        .args(command.get_args());
    shell.env_clear().env("PATH", tools::PATH).current_dir(lab.dir().work());
    let out = lab.machine().within(|| shell.output().expect("start a shell"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}

/// Root's files and directories, a place by O_PATH, a cgroup, a terminal's other end: none comes in.
#[test]
fn no_descriptor_of_the_caller_comes_in() {
    let lab = Lab::new();
    let many = "exec 3</ 4</etc/shadow 5<>/dev/null 9</proc/self/ns/net 63</sys/fs/cgroup 200</proc/self/root 7</dev/ptmx";
    // Its own, for the directory it reads, is the lowest that is free.
    let list = ["/usr/bin/python3", "-c", "import os; print(os.listdir('/proc/self/fd'))"];
    let (_, bare, _) = after(&lab, &lab.bare().as_root(), many, &list);
    assert!(
        ["3", "4", "5", "7", "9", "63", "200"].iter().all(|fd| bare.contains(&format!("'{fd}'"))),
        "{bare}"
    );
    for run in [lab.awf(), lab.awf().machine_files()] {
        let (_, inside, said) = after(&lab, &run, many, &list);
        assert_eq!(inside, "['0', '1', '2', '3']\n", "{said}");
    }
}

/// CVE-2024-21626, by the streams, which do come in.
#[test]
fn a_directory_is_no_stream() {
    let lab = Lab::new();
    let reach = ["ls", "/proc/self/fd/0/root/"];
    let (bare, ..) = after(&lab, &lab.bare().as_root(), "exec </", &reach);
    assert_eq!(bare, 0, "without awf-bpf it leads to the files of the machine");
    for stream in ["</", "<.", ">&5 5</", "2>&5 5</"] {
        let first =
            if stream.contains('5') { "exec 5</; exec 1>&5".to_owned() } else { format!("exec {stream}") };
        let (code, _, said) = after(&lab, &lab.awf(), &first, &["true"]);
        assert!(code == 125 && said.contains("is a directory"), "{stream}: {code} {said}");
    }
}

/// Programs with the setgid bit, or with capabilities of their own.
#[test]
fn programs_with_privileges_give_none() {
    let lab = Lab::new();
    let bin = lab.dir().root().join("bin");
    let copy = |name: &str, as_: &str, words: &[&str]| {
        let to = bin.join(as_);
        let mut install = Command::new(tools::require("install"));
        tools::succeed(install.args(words).arg(tools::require(name)).arg(&to));
        to.display().to_string()
    };
    let setgid = copy("id", "setgid", &["-g", "54321", "-m", "2755"]);
    let capable = copy("grep", "capable", &["-m", "755"]);
    tools::succeed(Command::new(tools::require("setcap")).args(["cap_net_admin,cap_net_raw+ep", &capable]));
    let script = format!("{setgid} -g; {capable} CapEff /proc/self/status || true");
    let out = lab.bare().sh(&script);
    out.ok().stdout_is("54321\nCapEff:\t0000000000003000\n");
    for run in [lab.awf(), lab.awf().machine_files()] {
        let out = run.sh(&script);
        out.ok();
        let said = out.stdout();
        assert!(said.starts_with(&format!("{UID}\n")) && !said.contains("3000"), "{out}");
    }
}

/// System V and POSIX objects outlive who made them, and any process of the user finds them.
#[test]
fn shared_memory_and_queues_of_others_are_not_there() {
    let lab = Lab::new();
    let key = 0x0a3f_0000 | (std::process::id() & 0xffff);
    let make = format!(
        "import ctypes, os\nc = ctypes.CDLL(None)\nr = ctypes.CDLL('librt.so.1')\n\
         print(c.shmget({key}, 64, FLAGS) >= 0, c.semget({key}, 1, FLAGS) >= 0, c.msgget({key}, FLAGS) >= 0, \
         r.mq_open(b'/awf-{key}', MODE, 0o600, None) >= 0)"
    );
    let script = |flags: &str, mode: &str| make.replace("FLAGS", flags).replace("MODE", mode);
    let (create, find) = (script("0o1600", "0o102"), script("0o600", "0"));
    let run = |run: Run<'_>, script: &str| run.run(&["/usr/bin/python3", "-c", script]).ok().stdout();
    let created = run(lab.bare(), &create);
    let inside = [run(lab.awf(), &find), run(lab.awf().machine_files(), &find)];
    let outside = run(lab.bare(), &find);
    let remove = format!(
        "import ctypes\nc = ctypes.CDLL(None)\nc.shmctl(c.shmget({key}, 0, 0), 0, None)\nc.semctl(c.semget({key}, 0, 0), 0, 0)\n\
         c.msgctl(c.msgget({key}, 0), 0, None)\nctypes.CDLL('librt.so.1').mq_unlink(b'/awf-{key}')"
    );
    run(lab.bare(), &remove);
    assert_eq!((created.as_str(), outside.as_str()), ("True True True True\n", "True True True True\n"));
    assert_eq!(inside, ["False False False False\n", "False False False False\n"]);
}

/// Runs `words`, which open `go` and then connect to `late`, where somebody listens from in between.
fn connect_late(run: &Run<'_>, words: &[&str], go: &Path, late: &Path) -> Output {
    let process = run.spawn(words);
    // Opens when the command reads, and it goes on when we close.
    let gate = fs::OpenOptions::new().write(true).open(go).expect("open the gate");
    let _listener = UnixListener::bind(late).expect("listen");
    fs::set_permissions(late, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("for all");
    drop(gate);
    run.finish(process)
}

/// A service that starts to listen when the command runs already, where the command does not see it.
#[test]
fn a_socket_made_later_outside_the_view_is_out_of_reach() {
    let lab = Lab::new();
    let (late, go) = (lab.dir().root().join("late.sock"), lab.dir().work().join("go"));
    tools::succeed(Command::new(tools::require("mkfifo")).args(["-m", "666"]).arg(&go));
    let script = "import os, socket, sys\nopen(sys.argv[1]).read()\ns = socket.socket(socket.AF_UNIX)\n\
        try: s.connect(sys.argv[2]); print('connected')\nexcept OSError as e: print('refused')";
    let words = ["/usr/bin/python3", "-c", script, &go.display().to_string(), &late.display().to_string()];
    for (run, wanted) in [(lab.bare(), "connected\n"), (lab.awf(), "refused\n")] {
        connect_late(&run, &words, &go, &late).ok().stdout_is(wanted);
        fs::remove_file(&late).expect("remove the socket");
    }
}

/// A terminal multiplexer of the user's, started later: who talks to it types outside.
#[test]
fn a_multiplexer_in_the_shared_tmp_is_out_of_reach() {
    struct Place(String);
    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
    let lab = Lab::new();
    let (place, go) = (Place(format!("/tmp/tmux-{UID}")), lab.dir().work().join("go"));
    fs::create_dir_all(&place.0).expect("make its directory");
    chown(&place.0, Some(UID), Some(UID)).expect("give it to the user");
    let late = format!("{}/late", place.0);
    tools::succeed(Command::new(tools::require("mkfifo")).args(["-m", "666"]).arg(&go));
    let script = "import os, socket, sys\nopen(sys.argv[1]).read()\ns = socket.socket(socket.AF_UNIX)\n\
        try: s.connect(sys.argv[2]); print('connected')\nexcept OSError as e: print('refused')\n\
        try: os.rename(os.path.dirname(sys.argv[2]), '/tmp/tmux-away-%d' % os.getuid()); print('moved')\nexcept OSError: pass";
    let words = ["/usr/bin/python3", "-c", script, &go.display().to_string(), &late];
    let shared = lab.awf().args(["--share-tmp"]);
    let mounted = lab.awf().args(["--mount", "/tmp:/tmp"]);
    for (run, wanted) in [(shared, "refused\n"), (mounted, "refused\n"), (lab.bare(), "connected\nmoved\n")] {
        connect_late(&run, &words, &go, late.as_ref()).ok().stdout_is(wanted);
        let _ = fs::remove_file(&late);
    }
    let _ = fs::remove_dir_all(format!("/tmp/tmux-away-{UID}"));
}

/// In awf-bpf's own process, by the loader, before it is replaced by anything: opens its file to write, then again when
/// it runs no more.
const OVERWRITE: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
__attribute__((constructor)) static void overwrite(void) {
    char exe[4096] = {0}, again[64];
    if (readlink("/proc/self/exe", exe, sizeof exe - 1) < 0 || !strstr(exe, "awf-bpf")) return;
    int direct = open("/proc/self/exe", O_WRONLY);
    dprintf(1, "direct %s\n", direct < 0 ? "refused" : "OPEN");
    int place = open("/proc/self/exe", O_PATH);
    snprintf(again, sizeof again, "/proc/self/fd/%d", place);
    char *const argv[] = {"sh", "-c", "(: >> $0) 2>/dev/null && echo later OPEN || echo later refused", again, 0};
    char *const env[] = {0};
    execve("/bin/sh", argv, env);
}
"#;

/// CVE-2019-5736: `/proc/self/exe` as the command, or as the interpreter of the command.
#[test]
fn awf_bpf_itself_cannot_be_overwritten() {
    let lab = Lab::new();
    let source = lab.dir().file("overwrite.c", OVERWRITE);
    let library = lab.dir().work().join("overwrite.so");
    tools::succeed(
        Command::new(tools::require("gcc")).args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source),
    );
    let script = lab.dir().file("script", "#!/proc/self/exe\n");
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("make it a program");
    // The user's own: nothing but the jail protects it.
    let own = lab.dir().root().join("bin/awf-bpf");
    tools::succeed(
        Command::new(tools::require("install")).args(["-m", "755"]).arg(tools::awf_bpf()).arg(&own),
    );
    chown(&own, Some(UID), Some(UID)).expect("give it to the user");
    let before = fs::read(&own).expect("read it");
    let preload = library.display().to_string();
    let bare = lab.bare().env("LD_PRELOAD", &preload).run(&[&own.display().to_string(), "version"]);
    bare.check(bare.stdout().contains("later OPEN"), || "the attack to work without awf-bpf".into());
    for run in [lab.awf(), lab.awf().machine_files()] {
        // A second word: one alone is a line for the shell.
        for words in ["/proc/self/exe", script.to_str().expect("UTF-8")] {
            let prepared = run.clone().env("LD_PRELOAD", &preload).command(&[words, "version"]);
            let mut command = Command::new(&own);
            command
                .args(prepared.get_args())
                .current_dir(lab.dir().work())
                .env_clear()
                .env("PATH", tools::PATH);
            let out = lab.machine().within(|| command.output().expect("start it"));
            let said = String::from_utf8_lossy(&out.stdout).into_owned();
            assert!(
                said.contains("later refused") && !said.contains("OPEN"),
                "{words}: {said}{}",
                String::from_utf8_lossy(&out.stderr)
            );
        }
    }
    assert_eq!(fs::read(&own).expect("read it"), before);
}

/// Nothing that is planted where credentials and settings are makes the start hang, or reads without end.
#[test]
fn what_is_planted_in_home_is_not_read() {
    let lab = Lab::new();
    let home = lab.dir().home();
    let plant = lab.bare().sh(
        "cd; mkfifo .netrc .npmrc .bashrc .gitconfig; mkdir -p .config .cargo; mkfifo .config/gh .config/git; \
         truncate -s 1T .git-credentials; truncate -s 1T .profile; ln -s /dev/zero .pgpass; ln -s loop .vimrc; ln -s .vimrc loop; \
         ln -s /proc/self/fd/0 .zshrc; ln -s / .aws; mkfifo ~/../work/.env ~/../work/.npmrc",
    );
    plant.ok();
    let _socket = UnixListener::bind(home.join(".s3cfg")).expect("plant a socket");
    let out = lab.awf().sh(
        "cat ~/.netrc ~/.git-credentials ~/.config/gh | wc -c; mv ~/.config ~/x 2>/dev/null || echo kept",
    );
    out.ok().stdout_is("0\nkept\n").fast();
}

/// `--mount` of a directory that is exchanged for a link all the time.
#[test]
fn a_link_swapped_in_during_the_start_is_not_followed() {
    let lab = Lab::new();
    let (secret, source) = (lab.dir().root().join("secret"), lab.dir().work().join("source"));
    fs::create_dir(&secret).expect("make it");
    fs::write(secret.join("canary"), "x").expect("write it");
    let (spare, link) = (lab.dir().work().join("spare"), lab.dir().work().join("link"));
    fs::create_dir(&source).expect("make it");
    std::os::unix::fs::symlink(&secret, &link).expect("make a link");
    let swap = || {
        fs::rename(&source, &spare).and_then(|()| fs::rename(&link, &source)).expect("swap it in");
        fs::rename(&source, &link).and_then(|()| fs::rename(&spare, &source)).expect("swap it out");
    };
    let done = AtomicBool::new(false);
    let mount = format!("{}:/mnt/x", source.display());
    let seen = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                swap()
            }
        });
        let one = |_| lab.awf().args(["-v", &mount]).run(&["ls", "/mnt/x"]).stdout();
        let seen: Vec<String> = (0..12).map(one).collect();
        done.store(true, Ordering::Relaxed);
        seen
    });
    assert!(seen.iter().all(|listed| !listed.contains("canary")), "{seen:?}");
    let out = lab.bare().run(&["ls", Path::new(&link).to_str().expect("UTF-8")]);
    out.ok().stdout_contains("canary");
}
