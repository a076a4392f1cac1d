//! The domain grammar as the command line takes it, and what each rule lets through.

use harness::{Lab, Output, Run, hosts};

/// Fetches every URL within one run, without the proxy variables, and says `ok URL` or `no URL` of each.
fn verdicts(run: &Run<'_>, urls: &[&str]) -> Output {
    let script =
        "for url; do curl -sSf -m 10 -o /dev/null \"$url\" && echo \"ok $url\" || echo \"no $url\"; done";
    run.clone().no_proxy_env().run(&[&["bash", "-c", script, "bash"], urls].concat())
}

#[track_caller]
fn check(rules: &str, ok: &[&str], no: &[&str]) {
    let lab = Lab::new();
    let out = verdicts(&lab.awf().allow(rules), &[ok, no].concat());
    let expected: Vec<_> = ok
        .iter()
        .map(|url| format!("ok {url}\n"))
        .chain(no.iter().map(|url| format!("no {url}\n")))
        .collect();
    out.ok().stdout_is(&expected.concat());
}

const ALLOWED: &str = "https://allowed.test/";
const SUB: &str = "https://sub.allowed.test/";
const DENIED: &str = "https://denied.test/";

#[test]
fn a_name_is_itself_and_every_subdomain() {
    check("allowed.test", &[ALLOWED, SUB, "http://allowed.test/"], &[DENIED, "http://other.test/"]);
}

#[test]
fn an_equals_sign_means_this_name_only() {
    check("=allowed.test", &[ALLOWED], &[SUB, DENIED]);
}

#[test]
fn a_leading_star_means_subdomains_only() {
    check("*.allowed.test", &[SUB], &[ALLOWED, DENIED]);
}

#[test]
fn a_star_within_a_label_stays_within_it() {
    check("s*.allowed.test", &[SUB], &[ALLOWED, DENIED]);
}

#[test]
fn a_scheme_is_enforced_on_what_is_spoken() {
    check("https://allowed.test", &[ALLOWED], &["http://allowed.test/"]);
    check("http://allowed.test", &["http://allowed.test/"], &[ALLOWED]);
}

#[test]
fn a_port_is_that_port_only() {
    check("allowed.test:8443", &["https://allowed.test:8443/"], &[ALLOWED, "http://allowed.test:8080/"]);
}

#[test]
fn without_a_port_only_80_and_443() {
    check("allowed.test", &[ALLOWED], &["https://allowed.test:8443/", "http://allowed.test:8080/"]);
}

#[test]
fn case_blanks_and_the_final_dot_do_not_matter() {
    check(" ALLOWED.Test. , =Other.TEST", &[ALLOWED, "https://other.test/"], &[DENIED]);
}

#[test]
fn an_alias_is_judged_by_its_own_name() {
    check("alias.test", &["https://alias.test/"], &[ALLOWED]);
    check("allowed.test", &[ALLOWED], &["https://alias.test/"]);
}

#[test]
fn address_rules_cover_both_families() {
    let (v4, v6) = (hosts::v4("allowed.test"), hosts::v6("allowed.test"));
    let urls = [format!("http://{v4}/"), format!("http://[{v6}]/")];
    check(&format!("{v4}/32:80,[{v6}]:80"), &[&urls[0], &urls[1]], &["http://203.0.113.20/", ALLOWED]);
}

#[test]
fn an_address_without_a_rule_is_refused_even_if_it_is_an_allowed_names() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test").no_proxy_env();
    run.run(&["curl", "-sSf", "http://203.0.113.10/"]).fails().fast().reason("address_not_allowed");
    run.run(&["curl", "-sSf", "http://[2001:db8:2::10]/"]).fails().fast().reason("address_not_allowed");
    lab.assert_not_dialled("allowed.test");
}

#[test]
fn block_beats_allow() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test,other.test").block("sub.allowed.test,https://other.test");
    // A block rule is about every protocol, as in awf.
    let out = verdicts(&run, &[ALLOWED, SUB, "http://other.test/", "https://other.test/"]);
    out.ok().stdout_is(
        "ok https://allowed.test/\nno https://sub.allowed.test/\nno http://other.test/\nno https://other.test/\n",
    );
    out.denied("sub.allowed.test", "blocked");
    lab.assert_not_dialled("sub.allowed.test");
}

#[test]
fn lists_come_from_files_too() {
    let lab = Lab::new();
    let allow = lab.dir().file("allow", "# ours\nallowed.test, other.test  # two\n\nv6only.test\n");
    let block = lab.dir().file("block", "=other.test\n");
    let rules = "version: 1\nrules:\n  - domain: v4only.test\n  - domain: dual.test\n    subdomains: false\n";
    let ruleset = lab.dir().file("rules.yml", rules);
    let run = lab.awf().args(["--allow-domains-file".into(), allow.into_os_string()]);
    let run = run.args(["--block-domains-file".into(), block.into_os_string()]);
    let run = run.args(["--ruleset-file".into(), ruleset.into_os_string()]);
    let urls = [
        ALLOWED,
        "https://v6only.test/",
        "https://v4only.test/",
        "https://dual.test/",
        "https://other.test/",
    ];
    let out = verdicts(&run, &urls);
    out.ok().check(out.stdout().matches("ok ").count() == 4, || "four of five".into());
    out.denied("other.test", "blocked");
}

#[test]
fn a_rule_that_can_never_be_right_is_refused_and_nothing_runs() {
    let lab = Lab::new();
    let refused = [
        "*",
        "*.*",
        "com",
        "*.com",
        "co.uk",
        "a..example.com",
        ".",
        "exa\"mple.com",
        "user:secret@example.com",
        "example.com/path",
        "example.com:0",
        "example.com:65536",
        "ftp://example.com",
        "exa mple.com",
        "-",
    ];
    for rule in refused {
        let out = lab.awf().args([format!("--allow-domains={rule}")]).run(&["echo", "it ran"]);
        out.code(125).stdout_is("").stderr_contains("error");
        if rule.len() > 1 && !rule.contains(['"', '@']) {
            out.stderr_contains(rule);
        }
    }
}

#[test]
fn every_mistake_is_reported_at_once() {
    let lab = Lab::new();
    let run = lab
        .awf()
        .allow("*,allowed.test,a..b.test")
        .block("block..me.test")
        .args(["--agent-timeout", "never"]);
    let out = run.run(&["echo", "it ran"]);
    out.code(125)
        .stdout_is("")
        .stderr_contains("a..b.test")
        .stderr_contains("block..me.test")
        .stderr_contains("never");
}

#[test]
fn an_empty_list_means_no_network_and_the_command_still_runs() {
    let lab = Lab::new();
    let out = verdicts(&lab.awf(), &[ALLOWED, "http://203.0.113.20/"]);
    out.ok().fast().stdout_is("no https://allowed.test/\nno http://203.0.113.20/\n");
    assert!(lab.queries().all().is_empty() && lab.connections().all().is_empty());
}

#[test]
fn a_public_name_for_a_private_address_is_not_dialled() {
    let lab = Lab::new();
    for host in ["private.test", "metadata.test", "loopback.test", "machine.test"] {
        for run in [lab.awf(), lab.awf().no_proxy_env()] {
            let out = run.allow(host).run(&["curl", "-sSf", &format!("http://{host}/")]);
            out.fails().fast();
            out.check(!out.records(&[("reason", "forbidden_address".into())]).is_empty(), || {
                "forbidden_address".into()
            });
        }
    }
    assert!(lab.connections().all().is_empty());
}

#[test]
fn a_forged_name_reaches_the_names_own_server_and_nothing_else() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test").no_proxy_env();
    for (port, url) in [(443, "https://allowed.test/"), (80, "http://allowed.test/")] {
        for address in ["203.0.113.20", "[2001:db8:2::20]"] {
            let forged = format!("allowed.test:{port}:{address}");
            run.run(&["curl", "-sS", "--resolve", &forged, url]).ok().stdout_is("hello from allowed.test\n");
        }
    }
    lab.assert_not_dialled("denied.test");
}

#[test]
fn a_raw_protocol_passes_on_a_tcp_rule_only() {
    let lab = Lab::new();
    let talk =
        "exec 3<>/dev/tcp/203.0.113.10/5432; read -r line <&3; echo \"$line\"; echo ping >&3; head -n1 <&3";
    let run = lab.awf().args(["--allow-ip", "203.0.113.10:5432"]);
    run.sh(talk).ok().stdout_is("220 lab ready\r\nping\n");
    let out = lab.awf().allow("allowed.test").sh(&format!("timeout 20 bash -ec '{talk}'"));
    out.fails()
        .check(!out.records(&[("decision", "deny".into())]).is_empty(), || "a denial on record".into());
}

/// `psql`, without one setting: the address dialled is one that the name was answered with.
#[test]
fn a_raw_protocol_passes_by_name_without_proxy_variables() {
    let lab = Lab::new();
    let talk = |host: &str| {
        format!("exec 3<>/dev/tcp/{host}/5432; read -r line <&3; echo \"$line\"; echo ping >&3; head -n1 <&3")
    };
    let run = lab.awf().allow("tcp://allowed.test:5432,tcp://v6only.test:5432").no_proxy_env();
    for host in ["allowed.test", "v6only.test"] {
        let out = run.sh(&talk(host));
        out.ok().stdout_is("220 lab ready\r\nping\n");
        let record = [("event", "connection".into()), ("host", host.into()), ("decision", "allow".into())];
        out.check(out.records(&record).len() == 1, || format!("a connection to {host} by name"));
    }
    // The name opens its own addresses only, and only once it has been asked for.
    let refused =
        |address: &str| format!("exec 3<>/dev/tcp/{address}/5432; echo ping >&3; ! grep -q lab <&3");
    let script = format!("getent hosts allowed.test; {}", refused("203.0.113.20"));
    run.sh(&script).ok().fast().denied("203.0.113.20", "no_name");
    run.sh(&refused("203.0.113.10")).ok().fast().denied("203.0.113.10", "no_name");
    lab.assert_not_dialled("denied.test");
}

#[test]
fn connect_tunnels_a_raw_protocol_to_a_tcp_rules_name() {
    let lab = Lab::new();
    let script = "import os, socket, urllib.parse\n\
        proxy = urllib.parse.urlsplit(os.environ['HTTPS_PROXY'])\n\
        s = socket.create_connection((proxy.hostname, proxy.port))\n\
        s.sendall(b'CONNECT allowed.test:5432 HTTP/1.1\\r\\nHost: allowed.test:5432\\r\\n\\r\\n')\n\
        f = s.makefile('rb')\n\
        print(f.readline().split()[1].decode())\n\
        while f.readline().strip(): pass\n\
        print(f.readline().decode().strip())";
    let argv = ["/usr/bin/python3", "-c", script];
    lab.awf().allow("tcp://allowed.test:5432").run(&argv).ok().stdout_is("200\n220 lab ready\n");
    lab.awf()
        .allow("allowed.test")
        .run(&argv)
        .stdout_contains("403")
        .denied("allowed.test", "port_not_allowed");
}
