//! The paths by which programs are told of the CA: each opens inside, as the command's user. And only then, where
//! something is intercepted.

use std::{collections::BTreeSet, path::Path};

use harness::{Lab, Output};

use super::on;

/// The variables of docs/trust.md that are set whatever the caller has.
fn documented() -> BTreeSet<String> {
    let doc = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/trust.md");
    let doc = std::fs::read_to_string(doc).expect("read docs/trust.md");
    let rows = doc.lines().filter(|line| line.starts_with("| `") && line.matches('|').count() == 5);
    rows.filter(|row| !row.contains("only where the caller set it"))
        .filter_map(|row| row.split('`').nth(1).map(str::to_owned))
        .collect()
}

/// `NAME CERTIFICATES` for each variable whose paths all open, as the command's user.
const OPEN: &str = r#"
import os, ssl, subprocess, sys
assert os.getuid() != 0
def count(path):
    return open(path).read().count("-----BEGIN CERTIFICATE-----")
for name in sys.argv[1:]:
    for at, path in enumerate(os.environ[name].split(":")):
        if os.path.isdir(path):
            names = [n for n in os.listdir(path) if n.endswith(".0")]
            assert names, path
            print(name if at == 0 else "also", sum(count(os.path.join(path, n)) for n in names))
        else:
            print(name, count(path))
            if name not in ("NODE_EXTRA_CA_CERTS", "DENO_CERT"):
                ssl.create_default_context(cafile=path)
"#;

#[test]
fn every_variable_names_a_path_that_opens_inside() {
    let wanted = documented();
    assert!(wanted.len() > 15 && wanted.contains("NODE_EXTRA_CA_CERTS"), "{wanted:?}");
    let lab = Lab::new();
    let names: Vec<&str> = wanted.iter().map(String::as_str).collect();
    for run in [on(&lab, "allowed.test"), on(&lab, "allowed.test").machine_files()] {
        let out = run.run(&[&["/usr/bin/python3", "-c", OPEN], &*names].concat());
        let said = out.ok().stdout();
        for name in &wanted {
            let line = said.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
            let held: usize = line.and_then(|line| line.parse().ok()).unwrap_or_default();
            // Ours, and of what replaces a program's own the lab's, too.
            let least =
                if ["NODE_EXTRA_CA_CERTS", "DENO_CERT", "SSL_CERT_DIR"].contains(&&**name) { 1 } else { 2 };
            out.check(held >= least, || format!("{name} with {least} certificates"));
        }
    }
}

/// Elsewhere (the failure this was founded on): the variable named a path of the machine that was not there inside.
#[test]
fn what_node_is_told_of_is_there_and_is_the_ca_that_answers() {
    let lab = Lab::new();
    let script = "env -i openssl verify -CAfile $NODE_EXTRA_CA_CERTS <(openssl s_client -connect allowed.test:443 \
                  -servername allowed.test </dev/null 2>/dev/null | openssl x509)";
    for run in [on(&lab, "allowed.test"), on(&lab, "allowed.test").machine_files()] {
        run.sh(script).ok().stdout_contains("OK");
    }
    // Of the machine's own bundle alone that is not true.
    let other = script.replace("$NODE_EXTRA_CA_CERTS", &lab.ca_file().display().to_string());
    on(&lab, "allowed.test").machine_files().sh(&other).fails();
}

/// What a run that intercepts changes for the command: variables, and files at these paths.
fn traces(out: &Output) -> BTreeSet<String> {
    out.ok().stdout().lines().map(str::to_owned).collect()
}

#[test]
fn without_interception_there_is_nothing_of_it() {
    let names: Vec<String> = documented().into_iter().collect();
    let script = format!(
        "for name in {}; do [ -z \"${{!name+set}}\" ] || echo $name; done
[ ! -e /run/awf-bpf/tls ] || find /run/awf-bpf/tls
cmp -s /etc/ssl/certs/ca-certificates.crt $BUNDLE || echo the bundle is another one
ls /etc/ssl/certs | wc -l",
        names.join(" ")
    );
    let lab = Lab::new();
    lab.trust_in_java();
    let runs = [lab.awf(), lab.awf().machine_files()];
    for run in runs {
        let run = run.allow("allowed.test").env("BUNDLE", lab.ca_file().into_os_string());
        let outside = traces(&lab.bare().env("BUNDLE", lab.ca_file().into_os_string()).sh(&script));
        for off in [run.clone(), run.clone().args(["--tls", "off"])] {
            let out = off.sh(&script);
            assert_eq!(traces(&out), outside, "{out}");
            out.stderr_lacks("CA").stderr_lacks("TLS");
        }
        // The same question sees them where they are.
        let out = run.args(["--tls", "deny-only"]).sh(&script);
        assert!(traces(&out).is_superset(&names.iter().cloned().collect()), "{out}");
        out.stderr_contains("SHA-256 fingerprint");
    }
}
