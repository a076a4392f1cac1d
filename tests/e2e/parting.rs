//! Clients of other protocols show their users why they were refused, each in its own words.

use harness::{Lab, Output};

/// What `argv` says to a host that is allowed on the web's ports only.
fn refused(argv: &[&str]) -> (Output, String) {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test");
    let out = run.run(argv);
    out.fails().fast();
    let fields = [("event", "connection"), ("decision", "deny"), ("reason", "port_not_allowed")];
    let found = out.records(&fields.map(|(name, value)| (name, value.into())));
    out.check(!found.is_empty(), || "the connection on record, refused".into());
    lab.assert_not_dialled("allowed.test");
    let said = out.stdout() + &out.stderr();
    (out, said)
}

#[track_caller]
fn says_why(out: &Output, port: u16) {
    for text in ["blocked by awf-bpf", "port_not_allowed", &format!("--allow-domains allowed.test:{port}")] {
        out.stderr_contains(text);
    }
}

#[test]
fn ssh_is_disconnected_with_the_reason() {
    let options = ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-F", "none"];
    for port in ["22", "2222"] {
        let (out, _) = refused(&[&["ssh"], &options[..], &["-p", port, "git@allowed.test", "true"]].concat());
        says_why(&out, port.parse().unwrap());
        out.stderr_contains("disconnect");
    }
}

#[test]
fn psql_gets_an_error_of_its_server() {
    let (out, _) = refused(&["psql", "postgresql://me@allowed.test:5432/db", "-c", "select 1"]);
    says_why(&out, 5432);
    out.stderr_contains("FATAL:");
}

#[test]
fn redis_cli_gets_an_error() {
    let (_, said) = refused(&["redis-cli", "-e", "-h", "allowed.test", "ping"]);
    assert!(said.contains("ERR blocked by awf-bpf") && said.contains("port_not_allowed"), "{said}");
}

#[test]
fn mysql_gets_an_error_before_the_handshake() {
    let (out, _) = refused(&["mysql", "-h", "allowed.test", "-u", "me", "-e", "select 1"]);
    says_why(&out, 3306);
    out.stderr_contains("1130");
}

#[test]
fn smtp_is_greeted_with_554() {
    for port in ["25", "587", "2525"] {
        let script = format!("import smtplib; smtplib.SMTP('allowed.test', {port}, timeout=30)");
        let (out, _) = refused(&["python3", "-c", &script]);
        says_why(&out, port.parse().unwrap());
        out.stderr_contains("SMTPConnectError: (554,");
    }
}
