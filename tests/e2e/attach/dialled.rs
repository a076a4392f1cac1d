//! Being dialled instead of dialling: somebody of the same machine takes another loopback address for the proxy's.

use std::time::Duration;

use super::{
    SOON, Shell,
    death::{listening, wait_for},
    lab,
};

/// Behind the firewall: is dialled, and answers.
const INSIDE: &str = "
import socket, select, time, os
tcp, udp, six = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET6)
tcp.bind(('127.0.0.1', 0)); tcp.listen(); udp.bind(('127.0.0.1', 0)); six.bind(('::1', 0)); six.listen()
open('ports.new', 'w').write(' '.join(str(s.getsockname()[1]) for s in (tcp, udp, six))); os.rename('ports.new', 'ports')
end = time.monotonic() + 20
while time.monotonic() < end and not os.path.exists('over'):
    for ready in select.select([tcp, udp, six], [], [], 0.05)[0]:
        if ready is udp:
            data, peer = udp.recvfrom(100); print('HEARD', data, flush=True)
            try: udp.sendto(b'secret', peer)
            except OSError as e: print('no answer', e)
        else: ready.accept()[0].send(b'secret'); print('DIALLED', flush=True)
";

/// Outside: binds what the proxy and the stub have, at an address that they do not have.
const OUTSIDE: &str = "
import socket, sys
tcp, udp, six = map(int, open('ports').read().split())
def t(what, f):
    try: print(what, f())
    except OSError as e: print('no', what, e)
for port in map(int, sys.argv[1:]):
    def dial():
        s = socket.socket(); s.settimeout(1); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('127.0.0.2', port)); s.connect(('127.0.0.1', tcp)); return 'GOT %r' % s.recv(100)
    def send():
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.5); s.bind(('127.0.0.2', port)); s.sendto(b'order', ('127.0.0.1', udp)); return 'GOT %r' % s.recv(100)
    t('tcp', dial); t('udp', send)
open('over', 'w').close()
";

#[test]
fn nobody_dials_what_is_attached_from_the_proxys_port() {
    let lab = lab();
    let (shell, outside) = (Shell::start(&lab), Shell::start(&lab));
    let run = shell.attach(&["-d", "allowed.test"]);
    let ports = listening(&lab).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    lab.dir().file("inside.py", INSIDE);
    lab.dir().file("outside.py", OUTSIDE);
    let work = lab.dir().work();
    let inside = shell.order("/usr/bin/python3 inside.py");
    wait_for(&work.join("ports"));
    let said = outside.sh(&format!("/usr/bin/python3 outside.py {ports}"));
    let heard = shell.wait(&inside, SOON);
    assert!(!said.text.contains("GOT") && said.text.contains("no tcp"), "{said:?}");
    assert!(!heard.text.contains("HEARD") && !heard.text.contains("DIALLED"), "{heard:?}");
    // It is not deaf: who is behind the firewall no more hears it.
    run.detach().ok();
    drop(std::fs::remove_file(work.join("over")));
    drop(std::fs::remove_file(work.join("ports")));
    let inside = shell.order("/usr/bin/python3 inside.py");
    wait_for(&work.join("ports"));
    let said = outside.sh(&format!("/usr/bin/python3 outside.py {ports}"));
    assert!(said.text.contains("tcp GOT b'secret'") && said.text.contains("udp GOT b'secret'"), "{said:?}");
    assert!(shell.wait(&inside, Duration::from_secs(20)).text.contains("DIALLED"));
}
