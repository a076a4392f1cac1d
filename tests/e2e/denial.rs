//! What a denial looks like to the one denied: at once, and unmistakably policy.

use harness::{Lab, Output, hosts};
use serde_json::Value;

/// The fields of a denial's body, and no others.
const FIELDS: [&str; 7] = ["allow_with", "error", "event", "host", "message", "port", "reason"];

/// Splits `curl -si` into its head, lower case, and its body.
fn split(out: &Output) -> (String, Value) {
    let text = out.ok().stdout();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head and body in\n{out}"));
    let body = serde_json::from_str(body).unwrap_or_else(|e| panic!("the body is not JSON: {e}\n{out}"));
    (head.to_lowercase(), body)
}

#[track_caller]
fn check_denial(out: &Output, head: &str, body: &Value, host: &str, port: u16, reason: &str) {
    out.check(head.starts_with("http/1.1 403"), || "status 403".into());
    for line in [
        "content-type: application/json",
        "x-awf-decision: deny",
        &format!("x-awf-reason: {reason}"),
        "cache-control: no-store",
    ] {
        out.check(head.contains(line), || format!("the header {line:?}"));
    }
    let mut fields: Vec<_> =
        body.as_object().expect("the body is an object").keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, FIELDS);
    assert_eq!(body["error"], "blocked_by_policy");
    assert_eq!((&body["host"], &body["port"]), (&Value::from(host), &Value::from(port)));
    assert_eq!(body["reason"], reason);
    assert!(body["message"].as_str().is_some_and(|message| message.contains(host)), "{body}");
    let on_record = out.records(&[("id", body["event"].clone()), ("reason", reason.into())]);
    out.check(on_record.len() == 1, || format!("the event {} on record", body["event"]));
}

#[test]
fn transparent_http_is_answered_with_403_and_a_body_of_these_fields() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test").no_proxy_env();
    for address in ["203.0.113.20", "[2001:db8:2::20]"] {
        let resolve = format!("denied.test:80:{address}");
        let out = run.run(&["curl", "-si", "--resolve", &resolve, "http://denied.test/path"]);
        let (head, body) = split(out.fast());
        check_denial(&out, &head, &body, "denied.test", 80, "not_in_allowlist");
        assert!(body["allow_with"].as_str().is_some_and(|flag| flag.contains("--allow-domains denied.test")));
    }
    lab.assert_not_dialled("denied.test");
}

#[test]
fn an_explicit_request_is_answered_the_same() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test").block("sub.allowed.test");
    let out = run.run(&["curl", "-si", "http://denied.test/"]);
    let (head, body) = split(out.fast());
    check_denial(&out, &head, &body, "denied.test", 80, "not_in_allowlist");
    let out = run.run(&["curl", "-si", "http://sub.allowed.test/"]);
    let (head, body) = split(&out);
    check_denial(&out, &head, &body, "sub.allowed.test", 80, "blocked");
    let out = run.run(&["curl", "-si", "http://allowed.test:8080/"]);
    let (head, body) = split(&out);
    check_denial(&out, &head, &body, "allowed.test", 8080, "port_not_allowed");
    lab.assert_untouched("denied.test");
}

#[test]
fn connect_to_a_denied_name_is_answered_the_same() {
    let lab = Lab::new();
    let script = "import os, socket, sys, urllib.parse\n\
        proxy = urllib.parse.urlsplit(os.environ['https_proxy'])\n\
        s = socket.create_connection((proxy.hostname, proxy.port))\n\
        s.sendall(b'CONNECT denied.test:443 HTTP/1.1\\r\\nHost: denied.test:443\\r\\n\\r\\n')\n\
        f = s.makefile('rb')\n\
        head = b''\n\
        while not head.endswith(b'\\r\\n\\r\\n'): head += f.readline()\n\
        length = [l for l in head.lower().split(b'\\r\\n') if l.startswith(b'content-length:')][0]\n\
        sys.stdout.buffer.write(head + f.read(int(length.split(b':')[1])))";
    let out = lab.awf().allow("allowed.test").run(&["/usr/bin/python3", "-c", script]);
    let (head, body) = split(out.fast());
    check_denial(&out, &head, &body, "denied.test", 443, "not_in_allowlist");
    lab.assert_untouched("denied.test");
}

#[test]
fn head_gets_the_headers_and_no_body() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test");
    // A body would be read as the second response: curl would report the excess.
    let out = run.run(&["curl", "-sS", "-I", "http://denied.test/", "http://denied.test/again"]);
    out.ok().fast().check(out.stdout().matches("HTTP/1.1 403").count() == 2, || "two heads".into());
    out.check(!out.stdout().contains("blocked_by_policy"), || "no body".into());
}

#[test]
fn a_tls_client_reads_the_alert_access_denied() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test").no_proxy_env();
    for address in ["203.0.113.20:443", "[2001:db8:2::20]:443"] {
        let argv = ["openssl", "s_client", "-connect", address, "-servername", "denied.test"];
        let out = run.run(&argv);
        out.fails().fast().stderr_contains("alert access denied").denied("denied.test", "not_in_allowlist");
    }
    let script = "import socket, ssl\n\
        raw = socket.create_connection(('203.0.113.20', 443))\n\
        try: ssl.create_default_context().wrap_socket(raw, server_hostname='denied.test')\n\
        except ssl.SSLError as e: print(e.reason)";
    let out = run.run(&["/usr/bin/python3", "-c", script]);
    out.ok().fast().check(out.stdout().contains("ACCESS_DENIED"), || "the alert's name".into());
    lab.assert_not_dialled("denied.test");
}

#[test]
fn tls_without_a_name_is_refused_at_once() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test").no_proxy_env();
    let out = run.run(&["openssl", "s_client", "-connect", "203.0.113.10:443", "-noservername"]);
    out.fails().fast().check(!out.records(&[("decision", "deny".into())]).is_empty(), || "a denial".into());
    lab.assert_not_dialled("allowed.test");
}

#[test]
fn getaddrinfo_fails_at_once() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test");
    let script = "import socket, time\n\
        start = time.monotonic()\n\
        try: socket.getaddrinfo('denied.test', 443)\n\
        except socket.gaierror as e: print(e.errno == socket.EAI_NONAME, time.monotonic() - start < 1)";
    run.run(&["/usr/bin/python3", "-c", script])
        .ok()
        .stdout_is("True True\n")
        .denied("denied.test", "not_in_allowlist");
    lab.assert_untouched("denied.test");
}

#[test]
fn other_record_types_are_refused_and_nothing_leaves() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test");
    for kind in ["TXT", "MX", "ANY", "PTR"] {
        run.run(&["dig", "allowed.test", kind]).ok().fast().stdout_contains("EDE").reason("dns_type_refused");
        run.run(&["dig", "secret.denied.test", kind]).ok().fast().stdout_contains("EDE");
    }
    let asked = lab.queries().all();
    let odd = asked.iter().find(|query| !["A", "AAAA"].contains(&query.kind.as_str()));
    assert!(odd.is_none() && asked.iter().all(|query| !query.name.ends_with("denied.test")), "{asked:#?}");
}

/// Sends by UDP, connected and not, and prints the name of the error.
const UDP: &str = "import errno, socket, sys, time\n\
    address, port = sys.argv[1], int(sys.argv[2])\n\
    family = socket.AF_INET6 if ':' in address else socket.AF_INET\n\
    def connected(s): s.connect((address, port)); s.send(b'marker'); s.settimeout(20); s.recv(1)\n\
    def unconnected(s): s.sendto(b'marker', (address, port)); s.settimeout(20); s.recv(1)\n\
    for attempt in (connected, unconnected):\n\
    \x20   try: attempt(socket.socket(family, socket.SOCK_DGRAM)); print('sent')\n\
    \x20   except OSError as e: print(errno.errorcode.get(e.errno, e))";

#[test]
fn udp_and_quic_fail_at_once() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test");
    for address in [hosts::v4("allowed.test").to_string(), hosts::v6("allowed.test").to_string()] {
        for port in ["443", "9"] {
            let out = run.run(&["/usr/bin/python3", "-c", UDP, &address, port]);
            let refusals = ["EPERM", "ECONNREFUSED", "ENETUNREACH"];
            let refused = out.stdout().lines().filter(|line| refusals.contains(line)).count();
            out.ok().fast().reason("udp_refused").check(refused == 2, || "two refusals".into());
        }
    }
}

#[test]
fn other_sockets_fail_at_once() {
    let lab = Lab::new();
    let script = "import socket\n\
        for family in (socket.AF_INET, socket.AF_INET6):\n\
        \x20   icmp = socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6\n\
        \x20   for kind, proto in ((socket.SOCK_DGRAM, icmp), (socket.SOCK_RAW, icmp), (socket.SOCK_STREAM, 132)):\n\
        \x20       try: socket.socket(family, kind, proto); print('made')\n\
        \x20       except OSError: print('refused')";
    let argv = ["/usr/bin/python3", "-c", script];
    lab.awf().allow("allowed.test").run(&argv).ok().fast().stdout_is(&"refused\n".repeat(6));
}

#[test]
fn an_unknown_protocol_does_not_hang() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test").no_proxy_env();
    for address in ["203.0.113.20", "2001:db8:2::20"] {
        // The client speaks first.
        let script =
            format!("exec 3<>/dev/tcp/{address}/5432; echo marker >&3; ! timeout 20 grep -q lab <&3");
        let out = run.sh(&script);
        out.fast().check(!out.records(&[("decision", "deny".into())]).is_empty(), || "a denial".into());
    }
    lab.assert_not_dialled("denied.test");
}

#[test]
fn an_allowed_name_that_does_not_exist_or_does_not_answer_is_said_to_be_so() {
    let lab = Lab::new();
    let run = lab.awf().allow("nothing.test,silent.test");
    let out = run.run(&["curl", "-si", "http://nothing.test/"]);
    let (head, body) = split(out.fast());
    assert!(head.starts_with("http/1.1 502"), "{head}");
    assert_eq!(body["reason"], "resolve_failed");
    let out = run.run(&["curl", "-si", "http://silent.test/"]);
    let (head, _) = split(&out);
    assert!(head.starts_with("http/1.1 502") || head.starts_with("http/1.1 504"), "{head}");
}
