//! What is looked into and what is not: `--tls deny-only`, `--tls-exclude`. What is not is the server's own, byte for
//! byte, as its certificate shows.

use harness::{Lab, Output, Run, git};

use super::{HELLO, on, seen_inside};

/// Prints the fingerprint of the certificate that `$HOST` shows, whoever signed it.
const FINGERPRINT: &str = "openssl s_client -connect $HOST:443 -servername $HOST </dev/null 2>/dev/null |
openssl x509 -noout -fingerprint -sha256";

fn fingerprint(run: &Run<'_>, host: &str) -> String {
    run.clone().env("HOST", host).sh(FINGERPRINT).ok().stdout()
}

/// Through a CONNECT, which openssl asks for by itself only if it is told to.
fn through_connect(run: &Run<'_>, host: &str) -> String {
    let script = FINGERPRINT.replace("s_client", "s_client -proxy ${https_proxy#http://}");
    run.clone().env("HOST", host).sh(&script).ok().stdout()
}

#[test]
fn deny_only_leaves_what_is_allowed_as_it_is() {
    let lab = Lab::new();
    let host = "allowed.test";
    let theirs = fingerprint(&lab.bare(), host);
    let run = || lab.awf().allow(host).args(["--tls", "deny-only"]);
    assert_eq!(fingerprint(&run(), host), theirs);
    assert_eq!(through_connect(&run(), host), theirs);
    assert_eq!(fingerprint(&run().machine_files(), host), theirs);
    let out = run().run(&["curl", "-sS", "https://allowed.test/"]);
    out.ok().stdout_contains(HELLO);
    out.check(out.records(&[("event", "request".into())]).is_empty(), || "nobody looked inside".into());
    // The same question tells the two apart where there is something to tell.
    assert_ne!(fingerprint(&on(&lab, host), host), theirs);
    assert_ne!(through_connect(&on(&lab, host), host), theirs);
}

#[track_caller]
fn reads_why(out: &Output, host: &str) {
    out.fast().denied(host, "not_in_allowlist");
    let said = out.stdout() + &out.stderr();
    for part in [
        "\"error\":\"blocked_by_policy\"",
        "\"reason\":\"not_in_allowlist\"",
        "\"allow_with\":\"--allow-domains",
    ] {
        out.check(said.contains(part), || format!("{part} in what the client was told"));
    }
    out.check(said.contains(&format!("\"host\":\"{host}\"")), || format!("the host {host}"));
}

const NODE: &str =
    "require('https').get(process.argv[1], r => { console.log(r.statusCode); r.pipe(process.stdout) })";
const FETCH: &str = "fetch(process.argv[1]).then(async r => console.log(r.status, await r.text()))";
const PYTHON: &str = "import sys, urllib.request, urllib.error
try: urllib.request.urlopen(sys.argv[1])
except urllib.error.HTTPError as e: print(e.code, e.read().decode())";

#[test]
fn a_refused_host_is_a_403_to_read() {
    let lab = Lab::new();
    let (host, url) = ("denied.test", "https://denied.test/a?b");
    let clients: [&[&str]; 5] = [
        &["curl", "-sS", "-i", "--http1.1"],
        &["curl", "-sS", "-i", "--http2"],
        &["/usr/bin/python3", "-c", PYTHON],
        &["node", "-e", NODE],
        &["node", "-e", FETCH],
    ];
    for mode in ["deny-only", "on"] {
        let run = || lab.awf().allow("allowed.test").args(["--tls", mode]);
        for client in clients {
            // By a CONNECT, for those that read the variables.
            if client[0] != "node" {
                let out = run().run(&[client, &[url]].concat());
                out.ok().stdout_contains("403");
                reads_why(&out, host);
            }
            let out = run().no_proxy_env().run(&[client, &[url]].concat());
            out.ok().stdout_contains("403");
            reads_why(&out, host);
        }
        let out = run().run(&["curl", "-sS", "-i", "--noproxy", "*", "--connect-to", "::203.0.113.20:", url]);
        out.ok().stdout_contains("403");
        reads_why(&out, host);
        let out = run().sh(&format!("git clone -q https://{host}{} p", git::REPOSITORY));
        out.fails().fast().stderr_contains("403").denied(host, "not_in_allowlist");
    }
    lab.assert_not_dialled(host);
    let asked = lab.queries().all().into_iter().filter(|query| query.name.contains(host)).collect::<Vec<_>>();
    assert!(asked.is_empty(), "{asked:?}");
    // Without interception it is an alert.
    let out = lab.awf().allow("allowed.test").run(&[
        "curl",
        "-sS",
        "-i",
        "--noproxy",
        "*",
        "--connect-to",
        "::203.0.113.20:",
        url,
    ]);
    out.fails().denied(host, "not_in_allowlist");
}

#[test]
fn a_refused_address_is_a_403_to_read() {
    let lab = Lab::new();
    for url in ["https://203.0.113.20/", "https://[2001:db8:2::20]/"] {
        for mode in ["deny-only", "on"] {
            // By no variable, and by a CONNECT: the latter has said whom it wants.
            let clients = [
                (["node", "-e", FETCH, url], "no_name"),
                (["curl", "-sS", "-i", url], "address_not_allowed"),
            ];
            for (argv, reason) in clients {
                let out = lab.awf().allow("allowed.test").args(["--tls", mode]).run(&argv);
                out.ok().fast().stdout_contains("403").stdout_contains(&format!("\"reason\":\"{reason}\""));
                out.stdout_contains("\"allow_with\":\"--allow-ip ").reason(reason);
            }
        }
    }
    lab.assert_not_dialled("denied.test");
}

#[test]
fn what_is_excluded_is_passed_through_and_the_rest_is_not() {
    let lab = Lab::new();
    let spared = ["allowed.test", "sub.allowed.test", "other.test"];
    let theirs = spared.map(|host| fingerprint(&lab.bare(), host));
    let all = "allowed.test,other.test,v4only.test,203.0.113.42:443";
    let run =
        || on(&lab, all).args(["--tls-exclude", "allowed.test", "--tls-exclude", "other.test,203.0.113.42"]);
    for (host, theirs) in spared.into_iter().zip(theirs) {
        assert_eq!(fingerprint(&run(), host), theirs);
        assert_eq!(through_connect(&run(), host), theirs);
        let out = run().run(&["curl", "-sS", &format!("https://{host}/")]);
        out.ok().stdout_contains(HELLO).allowed(host);
        out.check(out.records(&[("event", "request".into())]).is_empty(), || "nobody looked inside".into());
    }
    let out = run().run(&["curl", "-sS", "https://v4only.test/"]);
    out.ok().stdout_contains(HELLO);
    seen_inside(&out, "v4only.test");
    let out = run().run(&["curl", "-sS", "https://203.0.113.42/"]);
    out.ok().stdout_contains(HELLO);
    out.check(out.records(&[("event", "request".into())]).is_empty(), || "nobody looked inside".into());
    // What is excluded is not allowed by that: a refused one still says why.
    let run = on(&lab, "allowed.test").args(["--tls-exclude", "denied.test"]);
    reads_why(&run.run(&["curl", "-sS", "https://denied.test/"]), "denied.test");
}
