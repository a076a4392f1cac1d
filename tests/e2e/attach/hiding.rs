//! What does not want to be found when it is attached: a process that looks ended, a connection that nobody has open.

use super::{Shell, death::wait_for, lab, try_attach};

/// Its first thread ends; another one waits, and dials.
const HEADLESS: &str = "
import ctypes, os, socket, threading, time
def wait():
    while not os.path.exists('/proc/self/stat') or open('/proc/%d/stat' % os.getpid()).read().split(') ')[1][0] != 'Z': time.sleep(0.01)
    open('ready', 'w').close()
    while not os.path.exists('go'): time.sleep(0.01)
    try: socket.create_connection(('203.0.113.10', 80), 5); print('OUT')
    except OSError as e: print('no', e)
    print(flush=True); os._exit(0)
threading.Thread(target=wait).start()
ctypes.CDLL(None).syscall(60, 0)
";

/// Sends a connection to itself, and has it open no more.
const UNDER_WAY: &str = "
import array, os, socket, time
conn = socket.create_connection(('203.0.113.10', 80), 5)
one, two = socket.socketpair()
socket.send_fds(one, [b'x'], [conn.fileno()])
conn.close()
open('ready', 'w').close()
while not os.path.exists('go'): time.sleep(0.01)
_, fds, _, _ = socket.recv_fds(two, 1, 1)
conn = socket.socket(fileno=fds[0]); conn.settimeout(5)
try: conn.send(b'GET / HTTP/1.0\\r\\n\\r\\n'); print('OUT', conn.recv(10))
except OSError as e: print('no', e)
";

#[track_caller]
fn refused(script: &str, named: &str) {
    let lab = lab();
    let shell = Shell::start(&lab);
    lab.dir().file("hide.py", script);
    let order = shell.order("/usr/bin/python3 hide.py");
    let work = lab.dir().work();
    wait_for(&work.join("ready"));
    let out = try_attach(&lab, &["--pid", &shell.pid().to_string(), "-d", "allowed.test"]);
    out.fails().stderr_contains(named);
    lab.dir().file("go", "");
    // It shows that it would have got out.
    let said = shell.wait(&order, super::SOON);
    assert!(said.text.contains("OUT"), "{said:?}");
    assert!(super::runs(&lab).is_empty());
}

#[test]
fn a_process_without_its_first_thread_is_not_left_out() {
    refused(HEADLESS, "first thread has ended");
}

#[test]
fn a_connection_in_an_unread_message_does_not_go_on() {
    refused(UNDER_WAY, "descriptors in unread messages");
}
