//! Connections that are older than the firewall: cut, and reported; or kept where that is said.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, TcpListener, UdpSocket},
    thread,
};

use harness::{Lab, hosts};

use super::{SOON, Shell, death::wait_for, lab};

const PORT: u16 = 9000;
const WORLD: [IpAddr; 2] = [IpAddr::V4(hosts::CANARY_V4), IpAddr::V6(hosts::CANARY_V6)];

/// Four sockets that are used before, and again when `go` is there.
const CLIENT: &str = "\
import socket, time, os
pairs = [(socket.AF_INET, '203.0.113.66'), (socket.AF_INET6, '2001:db8:2::66')]
socks = []
for family, at in pairs:
    for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
        s = socket.socket(family, kind); s.settimeout(5); s.connect((at, 9000)); s.send(b'1'); assert s.recv(9) == b'1'
        socks.append(s)
open('used', 'w').close()
while not os.path.exists('go'): time.sleep(0.01)
for s in socks:
    try:
        s.send(b'2'); print('ALIVE' if s.recv(9) == b'2' else 'ENDED')
    except OSError as e:
        print('DEAD', e)
";

/// A client that has spoken to the world once; its order.
fn start(lab: &Lab, shell: &Shell<'_>) -> String {
    echo(lab);
    lab.dir().file("client.py", CLIENT);
    let work = lab.dir().work();
    let order = shell.order(&format!("cd {} && /usr/bin/python3 client.py", work.display()));
    wait_for(&work.join("used"));
    order
}

fn go(lab: &Lab, shell: &Shell<'_>, order: &str) -> String {
    lab.dir().file("go", "");
    shell.process.wait_for_stdout(&format!("done {order}."), SOON);
    std::fs::read_to_string(shell.dir.join(format!("{order}.out"))).expect("it has ended")
}

/// Servers in the world that say back what they hear; they end with the test.
fn echo(lab: &Lab) {
    for ip in WORLD {
        let (tcp, udp) = lab.world().within(|| {
            (TcpListener::bind((ip, PORT)).expect("listen"), UdpSocket::bind((ip, PORT)).expect("bind"))
        });
        thread::spawn(move || {
            for stream in tcp.incoming() {
                let mut stream = stream.expect("accept");
                thread::spawn(move || {
                    let mut buf = [0; 64];
                    while let Ok(len @ 1..) = stream.read(&mut buf) {
                        let _ = stream.write_all(&buf[..len]);
                    }
                });
            }
        });
        thread::spawn(move || {
            let mut buf = [0; 64];
            while let Ok((len, from)) = udp.recv_from(&mut buf) {
                let _ = udp.send_to(&buf[..len], from);
            }
        });
    }
}

#[test]
fn old_connections_are_cut_and_reported() {
    let lab = lab();
    let shell = Shell::start(&lab);
    let order = start(&lab, &shell);
    let run = shell.attach(&["-d", "allowed.test"]);
    for address in [
        "tcp 203.0.113.66:9000",
        "udp 203.0.113.66:9000",
        "tcp [2001:db8:2::66]:9000",
        "udp [2001:db8:2::66]:9000",
    ] {
        run.out.stderr_contains(&format!("{address} of "));
    }
    run.out.stderr_contains("was cut").stderr_lacks("goes on");
    let said = go(&lab, &shell, &order);
    assert_eq!(said.matches("DEAD").count(), 4, "{said}");
    // They hear of it at once, and do not wait for an answer that cannot come.
    assert!(!said.contains("timed out"), "{said}");
    run.detach().ok();
}

#[test]
fn old_connections_go_on_where_that_is_said() {
    let lab = lab();
    let shell = Shell::start(&lab);
    let order = start(&lab, &shell);
    let run = shell.attach(&["-d", "allowed.test", "--keep-sockets"]);
    run.out.stderr_contains("goes on past the firewall").stderr_lacks("was cut");
    let said = go(&lab, &shell, &order);
    assert_eq!(said.matches("ALIVE").count(), 4, "{said}");
    assert_ne!(shell.curl("", "denied.test").code, 0, "new ones do not");
    run.detach().ok();
}

/// Whoever is not attached keeps what it has.
#[test]
fn connections_of_others_are_left_alone() {
    let lab = lab();
    let (shell, other) = (Shell::start(&lab), Shell::start(&lab));
    let order = start(&lab, &other);
    let run = shell.attach(&["-d", "allowed.test"]);
    let said = go(&lab, &other, &order);
    assert_eq!(said.matches("ALIVE").count(), 4, "{said}");
    assert_eq!(other.curl("", "denied.test").code, 0);
    run.detach().ok();
}
