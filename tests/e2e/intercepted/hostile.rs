//! Interception as somebody meets it who wants out of it, or wants awf-bpf to say or do something else.

use harness::{Lab, hosts};

use super::on;

/// Asks at the addresses of `allowed.test` and `denied.test`, under every pair of names, with the session ticket of
/// `allowed.test`; prints each status.
pub(super) const ASK: &str = "import itertools, socket, ssl, sys
ctx = ssl.create_default_context()
def ask(at, sni, host, session=None):
    s = ctx.wrap_socket(socket.create_connection((at, 443), 20), server_hostname=sni, session=session)
    s.sendall(f'GET / HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n'.encode())
    said = b''
    while chunk := s.recv(65536): said += chunk
    return said.split()[1].decode(), s.session
status, session = ask(sys.argv[1], 'allowed.test', 'allowed.test')
print(status)
names = 'allowed.test', 'denied.test'
for at, sni, host in itertools.product(sys.argv[1:], names, names):
    print(at, sni, host, ask(at, sni, host, session)[0])";

#[test]
fn no_pair_of_names_and_no_ticket_leads_elsewhere() {
    let lab = Lab::new();
    let at = ["allowed.test", "denied.test"].map(|name| hosts::v4(name).to_string());
    let out = on(&lab, "allowed.test").no_proxy_env().run(&["/usr/bin/python3", "-c", ASK, &at[0], &at[1]]);
    out.ok().stdout_is(&answers(&at));
    lab.assert_untouched("denied.test");
}

/// What [`ASK`] is to print.
pub(super) fn answers(at: &[String]) -> String {
    let mut want = "200\n".to_owned();
    for at in at {
        for (sni, host, status) in [
            ("allowed.test", "allowed.test", 200),
            ("allowed.test", "denied.test", 403),
            ("denied.test", "allowed.test", 403),
            ("denied.test", "denied.test", 403),
        ] {
            want += &format!("{at} {sni} {host} {status}\n");
        }
    }
    want
}

/// The attack: a directory that an earlier command made, whose name is a line of its own.
#[test]
fn no_name_of_a_file_forges_a_line_of_ours() {
    let lab = Lab::new();
    let store = lab.dir().home().join(".jdks/x\nawf-bpf: error: forged\n/lib/security/cacerts");
    std::fs::create_dir_all(store.parent().expect("it has one")).expect("make a directory");
    std::fs::write(&store, "no key store").expect("write a file");
    let out = on(&lab, "allowed.test").run(&["true"]);
    out.ok().stderr_contains("forged").stderr_lacks("\nawf-bpf: error: forged");
}

/// The attack: files in the directory that doctor is called in, which clients would run.
#[test]
fn doctor_runs_nothing_of_where_it_is_called() {
    let lab = Lab::new();
    let ran = lab.dir().work().join("ran");
    lab.dir().file("ssl.py", "open('ran', 'w')\nraise SystemExit");
    let fetch = "import urllib.request";
    lab.awf().run(&["/usr/bin/python3", "-c", fetch]);
    assert!(ran.exists(), "Python reads it there");
    std::fs::remove_file(&ran).expect("remove a file");
    lab.awf().subcommand(&["doctor", "--tls", "python ssl"]).ok().stdout_contains("python ssl");
    assert!(!ran.exists());
}
