//! A server that asks for another ClientHello (HelloRetryRequest, RFC 8446 section 4.1.4): real clients get on with it, and
//! nobody comes in under one name and goes on under another.

use std::{process::Command, time::Duration};

use harness::{Lab, Process, Run, tools};

const PORT: u16 = 4433;
const SOON: Duration = Duration::from_secs(10);

/// Offers X25519 as `allowed.test` to a server that has P-384 only, and goes on under the name of `$3`.
const ATTACK: &str = r"
import socket, struct, sys
def v8(b): return struct.pack('>B', len(b)) + b
def v16(b): return struct.pack('>H', len(b)) + b
def ext(kind, data): return struct.pack('>H', kind) + v16(data)
def record(kind, data): return struct.pack('>BH', kind, 0x0301) + v16(data)
# The base points of the curves are public keys like any other (RFC 7748 section 4.1, FIPS 186-5).
X25519 = struct.pack('>H', 29) + v16(bytes([9]) + bytes(31))
P384 = struct.pack('>H', 24) + v16(bytes.fromhex('04'
  'aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7'
  '3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f'))
def hello(name, share):
    extensions = (ext(0, v16(b'\0' + v16(name))) + ext(10, v16(b'\0\x1d\0\x18')) + ext(13, v16(b'\4\3\x08\4\4\1'))
        + ext(43, v8(b'\3\4')) + ext(51, v16(share)))
    body = b'\3\3' + bytes(32) + v8(b'') + v16(b'\x13\1') + v8(b'\0') + v16(extensions)
    return record(22, b'\1\0' + v16(body))
def answer():
    kind, _, length = struct.unpack('>BHH', stream.recv(5, socket.MSG_WAITALL))
    return kind, stream.recv(length, socket.MSG_WAITALL)
stream = socket.create_connection((sys.argv[1], int(sys.argv[2])))
stream.sendall(hello(b'allowed.test', X25519))
print('retry', answer()[1][6:10] == bytes.fromhex('cf21ad74'), flush=True)
stream.sendall(record(20, b'\1') + hello(sys.argv[3].encode(), P384))
kind, message = answer()
while kind == 20: kind, message = answer()
print('served', (kind, message[0]) == (22, 2), flush=True)
";

/// OpenSSL, which takes the second hello for what it says.
fn server(lab: &Lab) -> Process {
    let (cert, key) = (lab.dir().root().join("cert.pem"), lab.dir().root().join("key.pem"));
    let mut request = Command::new(tools::require("openssl"));
    request.args(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=allowed.test".split(' '),
    );
    tools::succeed(request.arg("-out").arg(&cert).arg("-keyout").arg(&key));
    let mut command = Command::new(tools::require("openssl"));
    command.args("s_server -www -groups P-384 -accept".split(' ')).arg(PORT.to_string());
    command.arg("-cert").arg(cert).arg("-key").arg(key);
    let server = lab.world().within(|| Process::spawn(&mut command, Vec::new()));
    server.wait_for_stdout("ACCEPT", SOON);
    server
}

fn ways(lab: &Lab) -> [Run<'_>; 2] {
    let run = lab.awf().allow(&format!("https://allowed.test:{PORT}")).no_proxy_env();
    [run.clone(), run.host_network()]
}

#[test]
fn a_client_that_is_asked_for_another_hello_gets_through() {
    let lab = Lab::new();
    let _server = server(&lab);
    let script = format!(
        "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | openssl s_client -ign_eof -groups X25519:P-384 -msg \
         -servername allowed.test -connect allowed.test:{PORT}"
    );
    for run in ways(&lab) {
        let out = run.sh(&script);
        out.ok().stdout_contains("HTTP/1.0 200 ok").allowed("allowed.test");
        assert_eq!(out.stdout().matches(", ClientHello").count(), 2, "{out}");
    }
}

#[test]
fn nobody_comes_in_under_one_name_and_goes_on_under_another() {
    let lab = Lab::new();
    let _server = server(&lab);
    let script = lab.dir().file("attack.py", ATTACK);
    let port = PORT.to_string();
    let words = |name| ["python3", script.to_str().expect("UTF-8"), "allowed.test", &port, name];
    lab.bare().run(&words("denied.test")).ok().stdout_is("retry True\nserved True\n");
    for run in ways(&lab) {
        run.run(&words("allowed.test")).ok().stdout_is("retry True\nserved True\n");
        let out = run.run(&words("denied.test"));
        out.fails().stdout_is("retry True\n").stderr_contains("ConnectionResetError");
        let refused = [("event", "connection".into()), ("reason", "name_mismatch".into())];
        out.check(!out.records(&refused).is_empty(), || "a record of the refusal".into());
    }
}
