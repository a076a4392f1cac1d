//! Inside of what is attached: another run, which can only narrow, and other network namespaces, which reach themselves.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    time::Duration,
};

use harness::{Lab, tools};
use serde_json::Value;

use super::{Shell, assert_nothing_left, death::wait_for, lab};

fn root<'lab>(lab: &'lab Lab) -> Shell<'lab> {
    Shell::start_as(lab, &lab.bare().as_root())
}

/// `awf-bpf exec FLAGS`, as a script.
fn exec(flags: &str, script: &str) -> String {
    format!("{} exec -q {flags} -- bash -c '{script}'", tools::awf_bpf().display())
}

/// A name that only one of the two allows is reached by neither way, and who asks is told by which of them.
#[test]
fn a_run_inside_reaches_what_both_allow() {
    let lab = lab();
    let shell = root(&lab);
    let run = shell.attach(&["-d", "allowed.test,denied.test"]);
    for chroot in ["auto", "off"] {
        for family in ["-4", "-6"] {
            let inner = |names: &str, host: &str| {
                let flags = format!("--chroot {chroot} --proxy-env none -d {names}");
                shell.sh(&exec(&flags, &format!("curl {family} -sS -m 20 https://{host}/")))
            };
            let both = inner("allowed.test", "allowed.test");
            assert!(both.code == 0 && both.text.contains("hello"), "{chroot} {family}: {both:?}");
            let (outer, own) = (inner("allowed.test", "denied.test"), inner("other.test", "other.test"));
            assert!(outer.code != 0 && !outer.text.contains("hello"), "{chroot} {family}: {outer:?}");
            assert!(own.code != 0 && !own.text.contains("hello"), "{chroot} {family}: {own:?}");
        }
    }
    let clear = shell.sh(&exec("-d other.test", "curl -s http://other.test/"));
    assert!(
        clear.text.contains("\"reason\":\"resolve_failed\""),
        "the outer one has no such name: {clear:?}"
    );
    lab.assert_not_dialled("other.test");
    lab.assert_not_dialled("denied.test");
    let id = run.id.clone();
    run.detach().ok();
    assert_nothing_left(&lab, &id);
}

/// What runs inside is not set free by the end of what is around it, and has no network when that is dead.
#[test]
fn the_end_of_the_outer_run_does_not_free_the_inner_one() {
    let lab = lab();
    let shell = root(&lab);
    let run = shell.attach(&["-d", "allowed.test"]);
    let (begun, go) = (lab.dir().work().join("begun"), lab.dir().work().join("go"));
    tools::succeed(Command::new("mkfifo").args(["-m", "666"]).arg(&go));
    let script =
        format!("touch {}; read -r <{}; curl -sS -m 20 https://allowed.test/", begun.display(), go.display());
    let order = shell.order(&exec("--chroot off -d allowed.test", &script));
    wait_for(&begun);
    let refused = lab.awf().subcommand(&["detach", &run.id]);
    refused.code(1).stderr_contains("end that first");
    run.kill_daemon();
    std::fs::write(&go, "go\n").expect("let it go on");
    let said = shell.wait(&order, Duration::from_secs(60));
    assert!(said.code != 0 && !said.text.contains("hello"), "{said:?}");
    let id = run.id.clone();
    run.detach().ok();
    assert_nothing_left(&lab, &id);
}

#[test]
fn what_cannot_be_nested_says_so() {
    let lab = lab();
    let shell = root(&lab);
    let run = shell.attach(&["-d", "allowed.test"]);
    let awf = tools::awf_bpf();
    let other = Shell::start(&lab);
    let said = shell.sh(&exec("--network host -d allowed.test", "true"));
    assert!(
        said.code == 125 && said.text.contains(&run.id) && said.text.contains("--network host"),
        "{said:?}"
    );
    let said = shell.sh(&format!("{} attach --pid {} -d allowed.test", awf.display(), other.pid()));
    assert!(said.code == 125 && said.text.contains(&run.id), "{said:?}");
}

/// Sends by every call that has a destination to the address it is given; says what was refused.
const SEND: &str = r#"
import errno, socket, sys
to = (sys.argv[1], int(sys.argv[2]))
def attempt(what, f):
    try:
        f()
        print(what, "sent")
    except OSError as e:
        print(what, errno.errorcode[e.errno] if e.errno else "timeout")
def tcp():
    s = socket.socket(); s.settimeout(5); s.connect(to); s.sendall(b"x")
def sendto():
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", to)
def udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(to); s.send(b"x")
def mapped():
    s = socket.socket(socket.AF_INET6); s.settimeout(5); s.connect(("::ffff:" + to[0], to[1])); s.sendall(b"x")
for what in tcp, sendto, udp, mapped:
    attempt(what.__name__, what)
"#;

/// A server and its client by the loopback of a network.
const SELF: &str = r#"
import socket
for family, here in (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"):
    server = socket.socket(family); server.bind((here, 0)); server.listen()
    client = socket.socket(family); client.settimeout(5); client.connect(server.getsockname()[:2])
    accepted, _ = server.accept()
    accepted.settimeout(5)
    client.sendall(b"question"); question = accepted.recv(20); accepted.sendall(b"answer")
    print(question, client.recv(20))
    one = socket.socket(family, socket.SOCK_DGRAM); one.bind((here, 0)); one.settimeout(5)
    socket.socket(family, socket.SOCK_DGRAM).sendto(b"datagram", one.getsockname()[:2])
    print(one.recv(20))
"#;

const OUTSIDE: &str = "198.51.100.245";
const INSIDE: &str = "198.51.100.246";

/// A network that leads out of the machine past its host, such as a helper of rootless containers makes.
fn network(lab: &Lab, shell: &Shell<'_>) -> String {
    let pid = lab.dir().work().join("network-pid");
    let made = shell.sh(&format!(
        "unshare -n sleep 1000 >&- 2>&- & pid=$!; own=$(readlink /proc/self/ns/net)
        while [ \"$(readlink /proc/$pid/ns/net)\" = \"$own\" ]; do :; done; set -e
        ip link add nest0 type veth peer name nest1 netns $pid
        ip addr add {OUTSIDE}/30 dev nest0; ip link set nest0 up
        nsenter -t $pid -n sh -ec 'ip addr add {INSIDE}/30 dev nest1; ip link set nest1 up; ip link set lo up'
        echo $pid >{}",
        pid.display()
    ));
    assert_eq!(made.code, 0, "{made:?}");
    std::fs::read_to_string(pid).expect("it is written").trim().to_owned()
}

/// What arrived outside.
fn arrived(listener: &TcpListener, udp: &UdpSocket) -> (usize, usize) {
    let (mut connections, mut datagrams) = (0, 0);
    while listener.accept().is_ok() {
        connections += 1;
    }
    while udp.recv(&mut [0; 10]).is_ok() {
        datagrams += 1;
    }
    (connections, datagrams)
}

#[test]
fn another_network_reaches_its_own_loopback_alone() {
    let lab = lab();
    let shell = root(&lab);
    let pid = network(&lab, &shell);
    let at: SocketAddr = format!("{OUTSIDE}:0").parse().expect("an address");
    let (listener, udp) = lab.machine().within(|| {
        let listener = TcpListener::bind(at).expect("listen");
        let udp = UdpSocket::bind(listener.local_addr().expect("it is bound")).expect("bind");
        listener.set_nonblocking(true).and_then(|()| udp.set_nonblocking(true)).expect("do not wait");
        (listener, udp)
    });
    let port = listener.local_addr().expect("it is bound").port();
    let send =
        |address: &str| shell.sh(&format!("nsenter -t {pid} -n python3 -c '{SEND}' {address} {port}")).text;
    let ready = lab.dir().work().join("ready");
    let dial = || {
        let _ = std::fs::remove_file(&ready);
        let server = format!(
            "import socket; s = socket.create_server((\"{INSIDE}\", 9)); open(\"{}\", \"w\"); s.settimeout(2); s.accept()",
            ready.display()
        );
        shell.order(&format!("nsenter -t {pid} -n python3 -c '{server}'"));
        wait_for(&ready);
        let to = format!("{INSIDE}:9").parse().expect("an address");
        lab.machine().within(|| TcpStream::connect_timeout(&to, Duration::from_secs(1)))
    };
    assert_eq!(send(OUTSIDE), "tcp sent\nsendto sent\nudp sent\nmapped sent\n", "the way is open before");
    assert_eq!(arrived(&listener, &udp), (2, 2));
    dial().expect("and so is the other");

    let run = shell.attach(&["-d", "allowed.test"]);
    let unreachable = "tcp ENETUNREACH\nsendto ENETUNREACH\nudp ENETUNREACH\nmapped ENETUNREACH\n";
    assert_eq!(send(OUTSIDE), unreachable);
    assert_eq!(send("198.51.100.53"), unreachable);
    assert_eq!(arrived(&listener, &udp), (0, 0));
    assert!(matches!(
        dial().expect_err("nobody is dialled").kind(),
        ErrorKind::TimedOut | ErrorKind::WouldBlock
    ));
    let said = shell.sh(&format!("nsenter -t {pid} -n python3 -c '{SELF}'"));
    let answers = "b'question' b'answer'\nb'datagram'\n".repeat(2);
    assert_eq!(said.text, answers, "{said:?}");
    let reason = |record: &Value| record["reason"] == "other_network";
    assert!(run.out.audit().iter().any(reason), "it is on record");
    run.detach().ok();
}

/// What a user can make without privileges, and sandboxes of browsers and build systems do.
#[test]
fn a_network_of_a_user_namespace_reaches_its_own_loopback() {
    let lab = lab();
    let shell = Shell::start(&lab);
    let script = format!("unshare -Urn sh -ec 'ip link set lo up; exec python3 -' <<'END'\n{SELF}\nEND\n");
    let before = shell.sh(&script);
    assert_eq!(before.code, 0, "{before:?}");
    let run = shell.attach(&["-d", "allowed.test"]);
    assert_eq!(shell.sh(&script).text, before.text);
    run.detach().ok();
}
