//! What of the machine would carry bytes out for the command is not there for it.

use std::{
    fs::Permissions,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram, net::UnixListener},
    path::Path,
};

use harness::Lab;

/// Connects to `$1` and sends to `$2`; says which of them took it.
const TALK: &str = "\
import socket, sys
for kind, path in ((socket.SOCK_STREAM, sys.argv[1]), (socket.SOCK_DGRAM, sys.argv[2])):
    try: socket.socket(socket.AF_UNIX, kind).connect(path); print('reached')
    except OSError as e: print(type(e).__name__)
";

/// An ssh master in the home, a syslog, a database: whoever listens outside is outside the firewall.
#[test]
fn unix_sockets_of_others_refuse_the_command_wherever_they_are() {
    let lab = Lab::new();
    let (stream, datagram) = (lab.dir().work().join("a master"), lab.dir().work().join("log"));
    let (_master, _log) = lab.machine().within(|| {
        (UnixListener::bind(&stream).expect("listen"), UnixDatagram::bind(&datagram).expect("bind"))
    });
    let open = |path: &Path| {
        std::fs::set_permissions(path, Permissions::from_mode(0o777)).expect("let everyone connect");
        path.to_str().expect("UTF-8").to_owned()
    };
    let (stream, datagram) = (open(&stream), open(&datagram));
    let words = ["python3", "-c", TALK, &stream, &datagram];
    lab.bare().run(&words).ok().stdout_is("reached\nreached\n");
    for run in [lab.awf(), lab.awf().machine_files(), lab.awf().host_network()] {
        run.run(&words).ok().stdout_is("ConnectionRefusedError\nConnectionRefusedError\n");
    }
}

/// The command's own sockets are its own affair.
#[test]
fn unix_sockets_of_its_own_work() {
    let lab = Lab::new();
    let script = "import socket; s = socket.socket(socket.AF_UNIX); s.bind('own'); s.listen(); \
        socket.socket(socket.AF_UNIX).connect('own'); print('reached')";
    lab.awf().run(&["python3", "-c", script]).ok().stdout_is("reached\n");
}

/// A tap that belongs to the user takes whole frames.
#[test]
fn network_devices_are_not_there() {
    if !Path::new("/dev/net/tun").exists() {
        return eprintln!("NOT SHOWN: this machine has no /dev/net/tun");
    }
    let lab = Lab::new();
    lab.bare().run(&["test", "-e", "/dev/net/tun"]).ok();
    for run in [lab.awf(), lab.awf().machine_files(), lab.awf().host_network()] {
        run.run(&["test", "-e", "/dev/net/tun"]).fails();
    }
}
