//! Who wants out: the caller's terminal is not to be read, typed into or changed, and nobody's memory filled.

use harness::Lab;

use super::{Shell, both, quiet, start};

/// Tries to type into every terminal there is, by every call.
const INJECT: &str = "import fcntl, os, errno, termios, glob\n\
    def tried(f):\n \
     try: f(); return 'done'\n \
     except OSError as e: return errno.errorcode[e.errno]\n\
    fds = [0, 1, 2, os.open('/dev/tty', os.O_RDWR)]\n\
    for path in glob.glob('/dev/pts/[0-9]*') + glob.glob('/dev/tty[0-9S]*') + ['/dev/console']:\n \
     try: fds.append(os.open(path, os.O_RDWR | os.O_NOCTTY))\n \
     except OSError: pass\n\
    sti = {tried(lambda: fcntl.ioctl(fd, termios.TIOCSTI, c)) for fd in fds for c in (b'i', b'd', b'\\n')}\n\
    linux = {tried(lambda: fcntl.ioctl(fd, termios.TIOCLINUX, b'\\3')) for fd in fds}\n\
    wide = {tried(lambda: fcntl.ioctl(fd, termios.TIOCSTI | 1 << 31, b'i')) for fd in fds}\n\
    cons = {tried(lambda: fcntl.ioctl(fd, termios.TIOCCONS)) for fd in fds}\n\
    sctty = {tried(lambda: fcntl.ioctl(fd, termios.TIOCSCTTY, 1)) for fd in fds}\n\
    print('sti', sti, 'linux', linux, 'cons', cons, 'done' in wide)";

#[test]
fn nothing_can_be_typed_for_the_caller() {
    let lab = Lab::new();
    for run in both(&lab) {
        let mut shell = Shell::start(&run, &lab, &["/usr/bin/python3", "-c", INJECT]);
        shell.type_line("@");
        shell.expect("sti {'EPERM'} linux {'EPERM'} cons {'EPERM'} False");
        shell.expect("outer> ");
        shell.send("echo nothing''was typed; exit\n");
        let shown = shell.terminal.ends_with(0);
        assert!(!shown.contains("uid="), "{}", shown.escape_debug());
    }
}

#[test]
fn the_callers_terminal_cannot_be_opened_by_any_name() {
    let lab = Lab::new();
    for run in both(&lab) {
        // The outer terminal has 33 lines and 99 columns; the inner one is set to others by the command.
        let script = "import os, glob, fcntl, struct, termios\n\
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 11, 22, 0, 0))\n\
            seen = set()\n\
            for path in glob.glob('/proc/[0-9]*/fd/*') + glob.glob('/dev/pts/*') + glob.glob('/dev/tty*') + glob.glob('/dev/fd/*') + ['/dev/console', '/dev/tty']:\n \
             try:\n  \
              fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)\n  \
              if os.isatty(fd) and 'ptmx' not in path: seen.add(struct.unpack('HHHH', fcntl.ioctl(fd, termios.TIOCGWINSZ, b'\\0' * 8))[:2])\n  \
              os.close(fd)\n \
             except OSError: pass\n\
            print('sizes', seen)";
        let mut at = start(&run, &lab, &["/usr/bin/python3", "-c", script]);
        at.resize(33, 99);
        at.expect("sizes {(11, 22)}");
        at.ends_with(0);
    }
}

#[test]
fn modes_changed_inside_stay_inside() {
    let lab = Lab::new();
    let mut shell = Shell::start(
        &quiet(lab.awf()),
        &lab,
        &["bash", "-c", "stty -echo raw intr x; stty 300; echo changed"],
    );
    let modes = shell.terminal.modes();
    shell.type_line("@");
    shell.expect("changed");
    shell.expect("outer> ");
    shell.send("true\n");
    shell.expect("outer> ");
    assert_eq!(shell.terminal.modes(), modes);
    shell.send("exit\n");
    shell.terminal.ends_with(0);
}

#[test]
fn without_any_stream_of_it_the_callers_terminal_is_still_not_there() {
    let lab = Lab::new();
    let script = "echo typed by nobody > /dev/tty; stty -F /dev/tty -echo; ls /dev/pts > seen";
    for run in both(&lab) {
        let mut shell = Shell::start(&run, &lab, &["bash", "-c", script]);
        shell.type_line("@ </dev/null >/dev/null 2>&1; stty -a | grep -ow -e '-*echo'");
        // Shown, because it is written to a terminal that leads here; the mode is the other's.
        shell.expect("\r\necho\r\n");
        let seen = std::fs::read_to_string(lab.dir().work().join("seen")).expect("the command ran");
        assert_eq!(seen, "0\nptmx\n");
        shell.send("exit\n");
        shell.terminal.end();
    }
}

#[test]
fn the_master_is_not_inside_and_nothing_can_be_hung_up() {
    let lab = Lab::new();
    for run in both(&lab) {
        let script = "import os, ctypes, errno, glob\n\
            c = ctypes.CDLL(None, use_errno=True)\n\
            print('vhangup', c.vhangup(), errno.errorcode[ctypes.get_errno()])\n\
            own = [os.readlink(p) for p in glob.glob('/proc/self/fd/*') if os.path.exists(p)]\n\
            print('own', sorted(set(own)))\n\
            parent = []\n\
            try: parent = os.listdir('/proc/%d/fd' % os.getppid())\n\
            except OSError as e: parent = errno.errorcode[e.errno]\n\
            print('parent', parent)";
        let mut at = start(&run, &lab, &["/usr/bin/python3", "-c", script]);
        at.expect("vhangup -1 EPERM");
        at.expect("own ['/dev/pts/0']");
        let shown = at.ends_with(0);
        assert!(shown.contains("EACCES") || shown.contains("ENOENT"), "{}", shown.escape_debug());
    }
}

#[test]
fn a_flood_that_nobody_reads_fills_no_memory_and_ends_when_it_should() {
    let lab = Lab::new();
    let run = quiet(lab.awf()).args(["--agent-timeout", "3s"]);
    let mut at = start(&run, &lab, &["bash", "-c", "echo ready; exec yes"]);
    at.expect("ready");
    // Nobody reads from here on.
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", at.pid().as_raw_nonzero())).expect("it runs");
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).expect("the kernel says it");
        line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number")
    };
    let before = field("VmHWM");
    assert_eq!(at.wait().code(), Some(124));
    assert!(before < 200 << 10, "{before} KiB");
}

#[test]
fn a_command_that_stops_itself_for_ever_keeps_its_time_limit() {
    let lab = Lab::new();
    let run = quiet(lab.awf()).args(["--agent-timeout", "2s"]);
    let script = "while :; do kill -STOP $$; kill -TTIN $$; kill -TTOU $$; done";
    let at = start(&run, &lab, &["bash", "-c", script]);
    let (status, _) = at.end();
    assert_eq!(status.code(), Some(124));
}
