//! Defects that running gh-aw-firewall shows, by the numbers under which they were reported: each of these requests
//! gets through there, or should and does not.

use harness::{Lab, Output, output::FAST};

/// `http_code` and the body of what the command got.
const SHOW: [&str; 5] = ["curl", "-sS", "-w", "\n%{http_code} %{http_connect}\n", "--max-time"];

fn curl(lab: &Lab, allow: &str, args: &[&str]) -> Output {
    lab.awf().allow(allow).run(&[&SHOW[..], &["20"], args].concat())
}

#[track_caller]
fn refused(out: &Output, reason: &str) {
    let fields = [("event", "connection"), ("decision", "deny"), ("reason", reason)];
    let found = out.records(&fields.map(|(name, value)| (name, value.into())));
    out.check(found.len() == 1, || format!("one connection on record, refused: {reason}"));
    out.check(out.elapsed() < FAST, || format!("an end within {FAST:?}"));
}

/// CONNECT to an allowed name, TLS and Host of another.
#[test]
fn d1_domain_fronting_through_a_connect() {
    let lab = Lab::new();
    let to = ["-p", "--connect-to", "denied.test:443:allowed.test:443", "https://denied.test/"];
    let out = curl(&lab, "allowed.test", &to);
    out.fails().stdout_contains(" 200");
    refused(&out, "name_mismatch");
    lab.assert_untouched("denied.test");
    assert!(lab.requests().all().is_empty(), "{:?}", lab.requests().all());
}

/// `CONNECT allowed:80`, as Node's fetch sends it: parsed, and what is inside is judged.
#[test]
fn d2_a_connect_to_port_80_is_no_blank_cheque() {
    let lab = Lab::new();
    let out = curl(&lab, "allowed.test", &["-p", "http://allowed.test/"]);
    out.ok().stdout_contains("hello from allowed.test").stdout_contains("200 200");
    let to = ["-p", "--connect-to", "denied.test:80:allowed.test:80", "http://denied.test/"];
    let out = curl(&lab, "allowed.test", &to);
    out.ok().stdout_contains("name_mismatch").stdout_contains("403 200");
    refused(&out, "name_mismatch");
    let raw = "import os, socket, urllib.parse\n\
        proxy = urllib.parse.urlsplit(os.environ['http_proxy'])\n\
        s = socket.create_connection((proxy.hostname, proxy.port))\n\
        s.sendall(b'CONNECT allowed.test:80 HTTP/1.1\\r\\nHost: allowed.test:80\\r\\n\\r\\n')\n\
        print(s.recv(4096))\n\
        s.sendall(b'\\x00\\x01any protocol')\n\
        print(s.recv(4096))\n";
    let out = lab.awf().allow("allowed.test").run(&["python3", "-c", raw]);
    out.fails().stdout_contains("200 OK").stderr_contains("ConnectionResetError");
    refused(&out, "protocol_not_allowed");
    lab.assert_not_dialled("denied.test");
    assert_eq!(lab.requests().all().len(), 1);
}

/// `https://` means TLS on 443 and nothing else; `http://` means clear text on 80, also through CONNECT.
#[test]
fn d3_the_scheme_of_a_rule_holds_inside_a_connect() {
    let lab = Lab::new();
    let out = curl(&lab, "https://allowed.test", &["-p", "http://allowed.test/"]);
    out.fails();
    refused(&out, "protocol_not_allowed");
    let out = curl(&lab, "https://allowed.test:80", &["-p", "http://allowed.test/"]);
    out.ok().stdout_contains("403 200");
    refused(&out, "protocol_not_allowed");
    assert!(lab.requests().all().is_empty(), "{:?}", lab.requests().all());
    let out = curl(&lab, "http://allowed.test", &["-p", "http://allowed.test/"]);
    out.ok().stdout_contains("200 200");
    let out = curl(&lab, "http://allowed.test", &["-p", "https://allowed.test/"]);
    out.fails();
    refused(&out, "protocol_not_allowed");
}

/// Interception cuts off what a rule with a scheme allows.
#[test]
fn d4_a_rule_with_a_scheme_works_where_tls_is_intercepted() {
    let lab = Lab::new();
    let run = lab.awf().allow("https://allowed.test").args(["--tls", "on"]);
    run.run(&["curl", "-sSf", "https://allowed.test/"]).ok().stdout_contains("hello from allowed.test");
}

/// `--allow-urls` for a plain host, and for one that a wildcard allows.
#[test]
fn d5_hosts_of_wildcards_are_filtered_by_path() {
    let lab = Lab::new();
    let urls = "https://other.test/bytes/*,https://*.allowed.test/bytes/*";
    let run = lab.awf().allow("other.test,*.allowed.test").args(["--tls", "on", "--allow-urls", urls]);
    for host in ["other.test", "sub.allowed.test"] {
        run.run(&["curl", "-sSf", &format!("https://{host}/bytes/9")]).ok();
        run.run(&["curl", "-sSf", &format!("https://{host}/status/200")]).fails().reason("url_not_allowed");
    }
}

#[test]
fn d6_dot_segments_do_not_leave_the_allowed_path() {
    let lab = Lab::new();
    let run = lab.awf().args(["--tls", "on", "--allow-urls", "https://allowed.test/bytes/*"]);
    for path in ["/bytes/../status/200", "/bytes/%2e%2e/status/200"] {
        let url = format!("https://allowed.test{path}");
        let out = run.run(&["curl", "-sSf", "--path-as-is", &url]);
        out.fails().reason("url_not_allowed");
    }
    assert!(lab.requests().all().is_empty(), "{:?}", lab.requests().all());
}

/// Addresses are not looked up backwards, and none of them brings the proxy down.
#[test]
fn d9_a_bare_address_asks_no_resolver_and_harms_nobody() {
    let lab = Lab::new();
    let script = "for url in http://203.0.113.20/ 'http://[::1]/' 'http://[2001:db8:2::20]/' https://203.0.113.20/; do \
                  curl -gsS --noproxy '' $url || :; done; curl -sS http://allowed.test/";
    let out = lab.awf().allow("allowed.test").sh(script);
    out.ok().stdout_contains("hello from allowed.test");
    let refusals = out.records(&[("event", "connection".into()), ("reason", "address_not_allowed".into())]);
    out.check(refusals.len() == 3, || "three refusals on record".into());
    let own = out.records(&[("event", "connection".into()), ("reason", "host_port_refused".into())]);
    out.check(own.len() == 1, || "the loopback's refusal on record".into());
    let backwards: Vec<_> = lab.queries().all().into_iter().filter(|q| q.name.ends_with(".arpa")).collect();
    assert!(backwards.is_empty(), "{backwards:?}");
    assert!(!lab.queries().all().is_empty(), "the allowed name was asked for");
    lab.assert_not_dialled("denied.test");
}

/// What a client of https can read of its refusal: JSON, and a header for programs.
#[test]
fn d10_a_refused_connect_says_why_to_programs() {
    let lab = Lab::new();
    let out = lab.awf().allow("allowed.test").run(&["curl", "-sSv", "https://denied.test/"]);
    out.fails().stderr_contains("x-awf-reason: not_in_allowlist").stderr_contains("application/json");
    refused(&out, "not_in_allowlist");
    lab.assert_untouched("denied.test");
}
