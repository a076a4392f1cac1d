//! Ways out of the cgroup, the namespaces and the process tree.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::support::{Cgroup, UID, command, python, sh};

#[test]
fn the_cgroup_file_system_is_read_only() {
    let cgroup = Cgroup::new();
    // Even when the user owns both cgroups, as under a delegating service manager.
    let other = Cgroup::new();
    for dir in [&cgroup, &other] {
        std::os::unix::fs::chown(dir.path.join("cgroup.procs"), Some(UID), Some(UID)).unwrap();
    }
    let script = format!(
        "import os, errno\n\
         for p in ['{}', '{}']:\n \
          try: open(p + '/cgroup.procs', 'w').write(str(os.getpid())); print('moved')\n \
          except OSError as e: print(errno.errorcode[e.errno])",
        other.path.display(),
        cgroup.path.display()
    );
    assert_eq!(python(&script).try_run_in(&cgroup).unwrap().text(), "EROFS\nEROFS\n");
}

#[test]
fn a_network_socket_as_a_standard_stream_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut run = sh("echo ran");
    run.stdin = stream.into();
    let error = run.refused();
    assert!(error.exit_code() == 125 && error.to_string().contains("stdin is a network socket"), "{error}");

    let (ours, theirs) = UnixStream::pair().unwrap();
    std::io::Write::write_all(&mut &ours, b"hello").unwrap();
    drop(ours);
    let mut run = command(&["cat"]);
    run.stdin = OwnedFd::from(theirs);
    assert_eq!(run.run().text(), "hello", "a socket pair is a pipe to its user");
}

#[test]
fn the_network_namespace_is_the_one_given() {
    let netns = std::thread::spawn(|| {
        // SAFETY: NEWNET of this thread only; it shares no descriptors table changes.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
        std::fs::File::open("/proc/thread-self/ns/net").unwrap()
    })
    .join()
    .unwrap();
    let inode = rustix::fs::fstat(&netns).unwrap().st_ino;
    let mut run = sh("readlink /proc/self/ns/net; tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '");
    run.netns = Some(netns.into());
    assert_eq!(run.run().text(), format!("net:[{inode}]\nlo\n"));
}

#[test]
fn ipc_is_not_shared_with_the_host() {
    let host = std::fs::read_link("/proc/self/ns/ipc").unwrap();
    let ran = sh("readlink /proc/self/ns/ipc").run();
    assert_ne!(ran.text().trim_end(), host.to_str().unwrap());
}

#[test]
fn a_process_of_the_same_user_outside_cannot_be_touched() {
    let mut victim =
        Command::new("cat").uid(UID).gid(UID).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // It answers: the exec is over and it is the user's own, readable process.
    std::io::Write::write_all(victim.stdin.as_mut().unwrap(), b"x").unwrap();
    victim.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let script = format!(
        "import ctypes, os, errno\n\
         def tried(f):\n \
          try: f(); return 'ok'\n \
          except OSError as e: return errno.errorcode[e.errno]\n\
         def attach():\n \
          c = ctypes.CDLL(None, use_errno=True)\n \
          if c.ptrace(16, {pid}, 0, 0) < 0: raise OSError(ctypes.get_errno(), '')\n\
         print(tried(attach), tried(lambda: open('/proc/{pid}/mem', 'r+b')), \
         tried(lambda: os.readlink('/proc/{pid}/root')), tried(lambda: open('/proc/{pid}/environ').read()))",
        pid = victim.id()
    );
    let unconfined =
        Command::new("/usr/bin/python3").args(["-c", &script]).uid(UID).gid(UID).output().unwrap();
    assert_eq!(unconfined.stdout, b"ok ok ok ok\n", "unconfined it works, or the test proves nothing");
    assert_eq!(python(&script).run().text(), "EPERM EACCES EACCES EACCES\n");
    victim.kill().unwrap();
    victim.wait().unwrap();
}
