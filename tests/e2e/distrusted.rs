//! Clients that do not take the run's CA, and `awf-bpf doctor --tls`: each is recorded with how it left, and told what it
//! reads and what to do.

use std::path::Path;

use harness::{Lab, Output, Run};
use serde_json::Value;

fn intercepted(lab: &Lab) -> Run<'_> {
    let own = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -out own.pem -subj /CN=own";
    lab.bare().sh(own).ok();
    lab.awf().allow("allowed.test,other.test").no_proxy_env().args(["--tls", "on"])
}

/// The last record of whom the certificate did not please.
fn left(out: &Output) -> Value {
    let found = out.audit().into_iter().rfind(|record| record["tls_alert"].is_string());
    found.unwrap_or_else(|| panic!("no record of a client that left\n{out}"))
}

/// Each client in its own words, with one thing wrong: how it left, and what it is told.
#[test]
fn who_does_not_trust_it_is_told_what_it_reads_and_what_to_do() {
    let lab = Lab::new();
    let run = intercepted(&lab);
    let cases = [
        ("curl -sS --capath /none --cacert own.pem URL", "unknown_ca", "--cacert tells curl whom to trust"),
        (
            "openssl s_client -CAfile own.pem -verify_return_error -connect allowed.test:443 < /dev/null",
            "unknown_ca",
            "-CAfile tells openssl",
        ),
        (
            "SSL_CERT_FILE=own.pem SSL_CERT_DIR=/none /usr/bin/python3 -c 'import urllib.request as u; u.urlopen(\"URL\")'",
            "unknown_ca",
            "SSL_CERT_FILE, SSL_CERT_DIR are not what awf-bpf set",
        ),
        (
            "REQUESTS_CA_BUNDLE=own.pem /usr/bin/python3 -c 'import requests; requests.get(\"URL\")'",
            "unknown_ca",
            "python reads SSL_CERT_FILE",
        ),
        (
            "env -u NODE_EXTRA_CA_CERTS node -e 'fetch(\"URL\")'",
            "closed",
            "node reads NODE_EXTRA_CA_CERTS; its environment has none of that",
        ),
        (
            "env -u NODE_EXTRA_CA_CERTS node -e 'require(\"https\").get(\"URL\")'",
            "closed",
            "node reads NODE_EXTRA_CA_CERTS; its environment has none of that",
        ),
        (
            "npm_config_cafile=own.pem npm ping --registry URL --fetch-retries 0",
            "closed",
            "npm_config_cafile is not what awf-bpf set",
        ),
        (
            "SSL_CERT_FILE=own.pem SSL_CERT_DIR=/none GOPROXY=URL GOSUMDB=off go list -m -versions example.test/x",
            "bad_certificate",
            "go reads SSL_CERT_FILE",
        ),
        (
            "php -r 'file_get_contents(\"URL\", false, stream_context_create([\"ssl\" => [\"cafile\" => \"own.pem\"]]));'",
            "unknown_ca",
            "of which nothing was found amiss: code that names others? --tls-exclude allowed.test",
        ),
    ];
    for (script, alert, detail) in cases {
        let out = run.sh(&format!("{} > /dev/null || true", script.replace("URL", "https://allowed.test/")));
        let record = left(&out);
        out.check(record["reason"] == "tls_untrusted" && record["tls_alert"] == alert, || {
            format!("{script}: {alert}, but {record}")
        });
        let said = record["detail"].as_str().unwrap_or_default();
        out.check(said.contains(detail), || format!("{script}: {detail:?} in {said:?}"));
        let exe = record["exe"].as_str().unwrap_or_default();
        out.check(exe.starts_with("/usr/"), || format!("the executable, not {exe:?}"));
        out.stderr_contains("does not trust the CA of this run").stderr_contains(detail);
        out.check(!out.stderr().contains("own.pem: ") && !said.contains("own.pem"), || "no value".into());
    }
}

/// With a store of another's: Java's alert, and the option that is to blame.
#[test]
fn java_with_another_store_is_told_so() {
    let lab = Lab::new();
    lab.trust_in_java();
    let java = "public class Fetch { public static void main(String[] a) throws Exception { \
        new java.net.URL(a[0]).openStream().readAllBytes(); } }";
    lab.dir().file("Fetch.java", java);
    let run = intercepted(&lab);
    let script = "keytool -importcert -noprompt -alias x -storepass changeit -storetype JKS -keystore own.jks -file own.pem\n\
        java -Djavax.net.ssl.trustStore=own.jks Fetch.java https://allowed.test/ || true";
    let out = run.sh(script);
    let record = left(&out);
    out.check(record["tls_alert"] == "certificate_unknown", || format!("Java's alert: {record}"));
    let said = record["detail"].as_str().unwrap_or_default();
    out.check(said.starts_with("-Djavax.net.ssl.trustStore tells java"), || said.to_owned());
}

/// The machine's files alone, and those are the machine's: GnuTLS looks when the handshake is over.
#[test]
fn without_a_root_wget_is_told_why() {
    let lab = Lab::new();
    let out = intercepted(&lab).machine_files().sh("wget -nv -O- --tries=1 https://allowed.test/ || true");
    let record = left(&out);
    let said = record["detail"].as_str().unwrap_or_default();
    out.check(record["reason"] == "tls_untrusted", || format!("{record}"));
    out.check(said.contains("wget reads the machine's files, which --chroot off leaves"), || said.to_owned());
}

#[test]
fn who_pins_is_told_apart() {
    let lab = Lab::new();
    let run = intercepted(&lab);
    let pin = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for http in ["--http1.1", "--http2"] {
        let out = run.sh(&format!("curl {http} -sS --pinnedpubkey {pin} https://allowed.test/ || true"));
        let record = left(&out);
        out.check(record["reason"] == "tls_pinned" && record["decision"] == "allow", || format!("{record}"));
        out.stderr_contains("--pinnedpubkey makes curl refuse every other key");
    }
    // A program that looks by itself, and says nothing: it takes the CA elsewhere.
    let script = "import socket, ssl, urllib.request as u\n\
        u.urlopen('https://other.test/').read()\n\
        c = ssl.create_default_context()\n\
        s = c.wrap_socket(socket.create_connection(('allowed.test', 443)), server_hostname='allowed.test')\n\
        assert s.getpeercert(True) != b'pinned'\n\
        s.close()";
    let out = run.args(["--fail-on-block"]).run(&["/usr/bin/python3", "-c", script]);
    let record = left(&out);
    out.ok().check(record["reason"] == "tls_pinned", || format!("{record}"));
    out.stderr_contains(
        "python takes the run's CA for other hosts: it probably pins this host's own certificate",
    );
    out.stderr_contains("To allow them: --tls-exclude allowed.test");
}

/// Whether the server is there is all that it wants to know.
#[test]
fn a_look_is_no_distrust() {
    let lab = Lab::new();
    let out = intercepted(&lab).sh("openssl s_client -connect allowed.test:443 < /dev/null");
    let record = left(&out);
    out.ok().check(record["reason"] == "nothing_sent" && record["detail"].is_null(), || format!("{record}"));
    out.stderr_lacks("does not trust");
}

/// The policy's word is the better one.
#[test]
fn what_is_refused_keeps_its_reason() {
    let lab = Lab::new();
    for mode in ["on", "deny-only"] {
        let run = lab.awf().allow("allowed.test").no_proxy_env().args(["--tls", mode]);
        let v4 = harness::hosts::v4("denied.test");
        let out = run.sh(&format!(
            "curl -sS --resolve denied.test:443:{v4} --cacert /etc/hostname https://denied.test/"
        ));
        out.fails().denied("denied.test", "not_in_allowlist");
        out.stderr_contains("To allow them: --allow-domains denied.test");
    }
}

fn doctor(lab: &Lab, args: &[&str]) -> (Output, Value) {
    let out = lab.awf().subcommand(&[&["doctor", "--tls", "--json"], args].concat());
    let report = serde_json::from_str(&out.stdout()).unwrap_or_else(|e| panic!("{e}\n{out}"));
    (out, report)
}

fn row<'a>(report: &'a Value, client: &str) -> &'a Value {
    let rows = report["clients"].as_array().expect("rows");
    rows.iter().find(|row| row["client"] == client).unwrap_or_else(|| panic!("no {client} in {report}"))
}

/// The whole matrix.
#[test]
fn doctor_finds_every_client_of_this_machine_in_order() {
    let lab = Lab::new();
    lab.trust_in_java();
    let (out, report) = doctor(&lab, &[]);
    for row in report["clients"].as_array().expect("rows") {
        for family in ["ipv4", "ipv6"] {
            out.check(row[family]["ok"] == true, || format!("{family} ok: {row}"));
        }
    }
    for client in [
        "curl",
        "wget",
        "git",
        "openssl",
        "python ssl",
        "requests",
        "pip",
        "node https",
        "node fetch",
        "npm",
        "java",
        "go",
        "chromium",
    ] {
        let version = row(&report, client)["version"].as_str().unwrap_or_default();
        out.check(version.contains('.'), || format!("a version of {client}: {report}"));
    }
    let left = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("doctor-");
    let state = Path::new("/run/awf-bpf").read_dir().into_iter().flatten().flatten();
    assert!(!state.filter_map(|entry| left(entry).then_some(())).any(|()| true), "nothing is left");
}

/// What the user's own settings spoil is found where it is.
#[test]
fn doctor_names_what_is_wrong_and_what_to_do() {
    let lab = Lab::new();
    let run = intercepted(&lab);
    let (pem, curlrc) = (lab.dir().work().join("own.pem"), lab.dir().home().join(".curlrc"));
    std::fs::write(&curlrc, format!("capath = /none\ncacert = \"{}\"\n", pem.display()))
        .expect("write .curlrc");
    let named = format!("{}:2: cacert is all that curl trusts", curlrc.display());
    let (out, report) = doctor(&lab, &["curl", "git"]);
    out.code(1)
        .check(report["ok"] == false && row(&report, "git")["ipv6"]["ok"] == true, || "git is well".into());
    for family in ["ipv4", "ipv6"] {
        let found = &row(&report, "curl")[family];
        out.check(found["result"] == "tls_untrusted" && found["tls_alert"] == "unknown_ca", || {
            format!("{found}")
        });
        out.check(found["detail"].as_str().unwrap_or_default().contains(&named), || {
            format!("{named} in {found}")
        });
    }
    let shown = lab.awf().subcommand(&["doctor", "--tls", "curl"]);
    shown
        .code(1)
        .stdout_contains("tls_untrusted  tls_untrusted")
        .stdout_contains(&format!("(unknown_ca) {named}"));
    // A run says it at its start.
    run.run(&["true"]).ok().stderr_contains(&format!("warning: {named}"));
    lab.awf().run(&["true"]).ok().stderr_lacks("cacert");
    let (out, report) = doctor(&lab, &["wget", "--chroot", "off"]);
    let said = row(&report, "wget")["ipv4"]["detail"].as_str().unwrap_or_default().to_owned();
    out.code(1).check(said.contains("--chroot off leaves"), || said.clone());
}

#[test]
fn doctor_refuses_what_it_does_not_know() {
    let lab = Lab::new();
    lab.awf().subcommand(&["doctor", "curl"]).code(2).stderr_contains("awf-bpf doctor --tls");
    lab.awf().subcommand(&["doctor", "--tls", "--hook"]).code(2).stderr_contains("--hook");
    lab.awf().subcommand(&["doctor", "--tls", "crul"]).code(2).stderr_contains("those are curl, wget, git");
    lab.awf()
        .subcommand(&["doctor", "--tls", "--user", "no-such-user", "curl"])
        .code(2)
        .stderr_contains("no-such-user");
}
