//! Servers that cannot prove who they are are never spoken to: the client reads why in a 502. And whom the caller
//! trusts besides the machine's roots is believed.

use harness::{Lab, Output, Run};

use super::{HELLO, on};

const VERSIONS: [&str; 2] = ["--http1.1", "--http2"];
/// Head and body of the answer on stdout.
fn fetch(run: &Run<'_>, version: &str, host: &str) -> Output {
    run.run(&["curl", "-sS", "-i", version, &format!("https://{host}/")])
}

/// The 502, its reason, and words of its message, which the record has, too.
#[track_caller]
fn refused(out: &Output, host: &str, reason: &str, words: &str) {
    out.ok().stdout_contains(" 502").stdout_contains(words);
    let head = out.stdout().to_lowercase();
    out.check(head.contains(&format!("x-awf-reason: {reason}")), || format!("X-Awf-Reason: {reason}"));
    out.stdout_contains(&format!("\"reason\":\"{reason}\"")).stdout_contains("\"error\":");
    let record = [
        ("host", host.into()),
        ("reason", reason.into()),
        ("status", 502.into()),
        // The policy has nothing against it.
        ("decision", "allow".into()),
        ("rule", host.into()),
    ];
    out.check(!out.records(&record).is_empty(), || format!("a record of the 502: {reason}"));
}

#[test]
fn bad_certificates_are_a_502_that_says_what_is_bad() {
    let lab = Lab::new();
    let cases = [
        ("expired.test", "has expired"),
        ("early.test", "is not valid yet"),
        ("selfsigned.test", "is signed by nobody whom this host trusts"),
        ("misnamed.test", "is for another name"),
        ("stranger.test", "is signed by nobody whom this host trusts"),
        ("authority.test", "is not accepted"),
        ("forclients.test", "is not accepted"),
    ];
    for (host, words) in cases {
        for version in VERSIONS {
            for proxy_env in ["auto", "none"] {
                let run = on(&lab, host).args(["--proxy-env", proxy_env]);
                refused(&fetch(&run, version, host), host, "upstream_certificate", words);
            }
        }
        let got: Vec<_> =
            lab.requests().all().into_iter().filter(|r| r.sni.as_deref() == Some(host)).collect();
        assert!(got.is_empty(), "{host} got a request: {got:#?}");
    }
    // Without interception the client sees for itself (OpenSSL does not mind a server that says it is a CA).
    for (host, _) in cases.into_iter().filter(|(host, _)| *host != "authority.test") {
        lab.awf().allow(host).run(&["curl", "-sS", &format!("https://{host}/")]).code(60);
    }
}

/// It is the machine's trust that vouches for an origin, not ours for it.
#[test]
fn without_the_machines_ca_no_origin_is_believed() {
    let lab = Lab::new();
    std::fs::write(lab.ca_file(), lab.pki().peculiar().stranger_pem()).expect("replace the bundle");
    for run in [on(&lab, "allowed.test"), on(&lab, "allowed.test").no_proxy_env().machine_files()] {
        let words = "is signed by nobody whom this host trusts";
        refused(&fetch(&run, "--http2", "allowed.test"), "allowed.test", "upstream_certificate", words);
    }
    on(&lab, "stranger.test").run(&["curl", "-sS", "https://stranger.test/"]).ok().stdout_contains(HELLO);
}

#[test]
fn what_the_caller_trusts_is_believed() {
    let lab = Lab::new();
    let stranger = lab.dir().file("stranger.pem", lab.pki().peculiar().stranger_pem());
    let own = lab.dir().file("own.pem", lab.pki().peculiar().self_signed_pem());
    for variable in ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"] {
        for (host, file) in [("stranger.test", &stranger), ("selfsigned.test", &own)] {
            let fetch = |run: Run<'_>| run.run(&["curl", "-sS", &format!("https://{host}/")]);
            fetch(on(&lab, host).outer_env(variable, file)).ok().stdout_contains(HELLO);
            fetch(on(&lab, host).env(variable, file)).ok().stdout_contains(HELLO);
        }
    }
    // It is added: the machine's roots are believed all the same.
    let run = on(&lab, "allowed.test").outer_env("SSL_CERT_FILE", &stranger);
    run.run(&["curl", "-sS", "https://allowed.test/"]).ok().stdout_contains(HELLO);
}

/// A file that the command may write to says nothing in its own run.
#[test]
fn the_command_adds_nobody_to_whom_servers_are_vouched_for_by() {
    let lab = Lab::new();
    lab.dir().file("stranger.pem", lab.pki().peculiar().stranger_pem());
    let script = "export SSL_CERT_FILE=$PWD/stranger.pem NODE_EXTRA_CA_CERTS=$PWD/stranger.pem
env -u SSL_CERT_FILE curl -sS -i https://stranger.test/";
    let out = on(&lab, "stranger.test").sh(script);
    refused(&out, "stranger.test", "upstream_certificate", "is signed by nobody");
}

#[test]
fn a_server_that_wants_a_certificate_of_the_client_is_said_to() {
    let lab = Lab::new();
    for host in ["mutual.test", "mutual12.test"] {
        for version in VERSIONS {
            let out = fetch(&on(&lab, host), version, host);
            refused(&out, host, "client_certificate", &format!("--tls-exclude {host}"));
        }
    }
    // One that says so itself is let speak; what can be done is said, once.
    for version in VERSIONS {
        let url = "https://asks.test/";
        let out = on(&lab, "asks.test").run(&["curl", "-sS", "-i", version, url, url]);
        out.ok().stdout_contains(" 403");
        let said = out.stderr().matches("--tls-exclude asks.test").count();
        out.check(said == 1, || "one line that names --tls-exclude asks.test".into());
    }
    // What it says works.
    lab.dir().file("client.pem", lab.pki().peculiar().client_pem());
    for host in ["mutual.test", "mutual12.test", "asks.test"] {
        let fetch = |run: Run<'_>| {
            run.run(&["curl", "-sS", "-i", "--cert", "client.pem", &format!("https://{host}/")])
        };
        fetch(on(&lab, host).args(["--tls-exclude", host])).ok().stdout_contains(HELLO);
        let out = fetch(on(&lab, host));
        out.ok().check(!out.stdout().contains(HELLO), || "nothing but why".into());
    }
}
