//! What is near: services of the machine's loopback under every name of it, the proxy's own port, and networks that a
//! process makes itself.

use super::{
    Shell,
    death::{listening, wait_for},
    lab,
};

/// A forward proxy of somebody else's, on every address.
const OTHERS: &str = "
import os, socket, threading
def serve(s):
    while True: c = s.accept()[0]; c.send(b'OUT'); c.close()
ports = []
for family, at in ((socket.AF_INET, '0.0.0.0'), (socket.AF_INET6, '::')):
    s = socket.socket(family); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6: s.setsockopt(41, 26, 1)
    s.bind((at, 3128)); s.listen(); threading.Thread(target=serve, args=(s,), daemon=True).start()
open('serves', 'w').close()
threading.Event().wait(20)
";

const ATTACKER: &str = "
import ctypes, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def t(what, f):
    try: print(what, f())
    except OSError as e: print('no', what, e)
def dial(family, to, before=lambda s: None, port=3128):
    s = socket.socket(family); s.settimeout(2); before(s); s.connect((to, port, *([0, 1] if to.startswith('fe80') else []))); s.send(b'CONNECT 203.0.113.10:443 HTTP/1.1\\r\\n\\r\\n'); return s.recv(20)
V4 = ['127.0.0.1', '127.0.0.2', '0.0.0.0', '127.255.255.254', '0.0.0.1', '203.0.113.1'] + sys.argv[2].split(',')
V6 = ['::1', '::', '::ffff:127.0.0.1', '::ffff:0.0.0.0', '::127.0.0.1', '::ffff:127.0.0.2', 'fe80::1', '64:ff9b::7f00:1']
for to in V4:
    t(to, lambda: dial(socket.AF_INET, to))
    t(to + ' from another', lambda: dial(socket.AF_INET, to, lambda s: s.bind(('127.0.0.9', 0))))
for to in V6: t(to, lambda: dial(socket.AF_INET6, to))
for port in map(int, sys.argv[1].split(',')):
    def steal(family, at, kind):
        s = socket.socket(family, kind); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((at, port)); return ('STOLEN' if kind == socket.SOCK_STREAM else 'free for UDP') + ' %s %d' % (at, port)
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        for family, at in ((socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')): print(t('steal', lambda: steal(family, at, kind)))
    for to in ('127.0.0.2', '0.0.0.0'):
        t('%s:%d of a loopback address' % (to, port), lambda: dial(socket.AF_INET, to, lambda s: s.bind(('127.0.0.9', 0)), port))
# A network of its own: made inside, and used for a socket that comes back.
if os.fork() == 0:
    if libc.unshare(0x10000000 | 0x40000000) == 0:
        t('in a network of its own', lambda: dial(socket.AF_INET, '203.0.113.10', port=80))
        def packet():
            s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); s.bind(('lo', 0)); s.send(b'x' * 60); return 'of its own lo'
        t('packet', packet)
        t('raw', lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 253) and 'RAW')
    else: print('no namespaces of its own')
    os._exit(0)
os.wait()
# Flow labels, routing headers, scopes; the other order of calls.
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
t('ipv6 routing header', lambda: s.sendmsg([b'OUT'], [(41, 57, struct.pack('BBBB4x16s', 0, 2, 0, 1, socket.inet_pton(10, '2001:db8:2::66')))], 0, ('::1', 4444)))
t('broadcast', lambda: (lambda s: (s.setsockopt(1, 6, 1), s.sendto(b'OUT', ('255.255.255.255', 4444)))[1])(socket.socket(2, 2)))
t('multicast', lambda: socket.socket(2, 2).sendto(b'OUT', ('224.0.0.251', 5353)))
for family, number in ((17, 3), (16, 16), (40, 0), (38, 0), (44, 0), (30, 0), (43, 6)):
    t('family %d' % family, lambda: socket.socket(family, socket.SOCK_RAW if family == 17 else socket.SOCK_STREAM, number) and 'MADE')
t('mptcp', lambda: socket.socket(2, 1, 262) and 'MADE')
t('sctp', lambda: socket.socket(2, 1, 132) and 'MADE')
print('tried')
";

#[test]
fn services_of_the_machine_and_ports_of_the_proxy_are_out_of_reach() {
    let lab = lab();
    let (shell, outside) = (Shell::start(&lab), Shell::start(&lab));
    lab.dir().file("others.py", OTHERS);
    lab.dir().file("attacker.py", ATTACKER);
    outside.order("/usr/bin/python3 others.py");
    wait_for(&lab.dir().work().join("serves"));
    let addresses = "$(/usr/bin/python3 -c \"import subprocess, re; print(','.join(re.findall(r'inet ([0-9.]+)', subprocess.run(['ip', '-4', 'addr'], capture_output=True, text=True).stdout)) or '127.0.0.1')\")";
    // Without the firewall it is heard.
    let free = shell.sh(&format!("/usr/bin/python3 attacker.py 9 {addresses}"));
    assert!(free.text.contains("127.0.0.1 b'OUT'") && free.text.contains("::1 b'OUT'"), "{free:?}");
    let run = shell.attach(&["-d", "allowed.test"]);
    let ports =
        listening(&lab).iter().filter(|port| **port != 3128).map(ToString::to_string).collect::<Vec<_>>();
    let said = shell.sh(&format!("/usr/bin/python3 attacker.py {} {addresses}", ports.join(",")));
    for word in [
        "b'OUT'",
        "STOLEN",
        "RAW",
        "mptcp MADE",
        "sctp MADE",
        "family 17 MADE",
        "broadcast 3",
        "multicast 3",
        "header 3",
    ] {
        assert!(!said.text.contains(word), "{word}: {}", said.text);
    }
    assert!(said.text.contains("tried"), "{said:?}");
    run.detach().ok();
    drop(outside);
}
