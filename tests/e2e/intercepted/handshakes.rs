//! Handshakes as clients and servers differ in them: versions, what is offered inside, resumption, no name, and what
//! cannot come to anything.

use harness::{Lab, Run};

use super::{HELLO, on, seen_inside};

const HOST: &str = "allowed.test";

/// `GET /`, by hand.
const GET: &str = "get() { printf 'GET / HTTP/1.0\\r\\nHost: allowed.test\\r\\n\\r\\n' |
openssl s_client -quiet -verify_return_error -verify_hostname allowed.test -connect allowed.test:443 \"$@\"; }
set -o pipefail\n";

fn get(run: &Run<'_>, flags: &str) -> harness::Output {
    run.sh(&format!("{GET}get {flags}"))
}

#[test]
fn single_versions_of_tls_are_spoken_on_both_sides() {
    let lab = Lab::new();
    for host in ["tls12.test", "tls13.test"] {
        for (flags, version) in [(&["--tls-max", "1.2"], "TLSv1.2"), (&["--tls-max", "1.3"], "TLSv1.3")] {
            for http in ["--http1.1", "--http2"] {
                let url = format!("https://{host}/");
                let out = on(&lab, host).run(&[&["curl", "-sSv", http], &flags[..], &[&url]].concat());
                out.ok().stdout_contains(HELLO).stderr_contains(&format!("SSL connection using {version}"));
                seen_inside(&out, host);
            }
        }
    }
}

/// A client that has no SNI, no ALPN, or that of HTTP/1 or HTTP/2 alone.
#[test]
fn what_is_offered_is_what_is_spoken() {
    let lab = Lab::new();
    let run = || on(&lab, HOST).no_proxy_env();
    for flags in ["-tls1_2", "-tls1_3", "-alpn http/1.1", "-alpn http/1.0,http/1.1"] {
        let out = get(&run(), flags);
        out.ok().stdout_contains(HELLO);
        seen_inside(&out, HOST);
    }
    let out = run().run(&["nghttp", "https://allowed.test/"]);
    out.ok().stdout_contains(HELLO);
    seen_inside(&out, HOST);
    // Nothing is translated: what the server does not speak it is not asked in.
    for (host, flags, answer) in [
        ("http1.test", "", "HTTP/1.1 200"),
        ("http1.test", "--no-alpn", "HTTP/1.1 200"),
        ("http2.test", "", "HTTP/2 200"),
        ("http2.test", "--http1.1", "HTTP/1.1 502"),
    ] {
        let out = on(&lab, host).no_proxy_env().sh(&format!("curl -sS -i {flags} https://{host}/"));
        out.ok().stdout_contains(answer);
        if answer.ends_with("502") {
            out.stdout_contains("NoApplicationProtocol").stdout_contains("connect_failed");
        }
    }
}

#[test]
fn another_protocol_is_passed_on_only_where_it_may_be_spoken() {
    let lab = Lab::new();
    let out = get(&on(&lab, HOST).no_proxy_env(), "-alpn foo");
    out.fails().fast().reason("protocol_not_allowed").stderr_contains("no application protocol");
    out.stderr_contains("--allow-domains tcp://allowed.test:443");
    let out = get(&on(&lab, "tcp://allowed.test:443").no_proxy_env(), "-alpn foo");
    out.ok().stdout_contains(HELLO);
    seen_inside(&out, HOST);
}

/// A TLS session is taken up again, and what it carries is judged like any other.
#[test]
fn sessions_are_resumed_and_requests_inside_are_judged() {
    let lab = Lab::new();
    for version in ["-tls1_2", "-tls1_3"] {
        // Not -quiet: it says what the handshake was.
        let script = GET.replace("-quiet", "-ign_eof") + "get $1 -sess_out s; get $1 -sess_in s";
        let out = on(&lab, HOST).no_proxy_env().run(&["bash", "-ec", &script, "sh", version]);
        let said = out.ok().stdout();
        let handshakes: Vec<_> = ["New, TLS", "Reused, TLS"].map(|how| said.matches(how).count()).into();
        out.check(handshakes == [1, 1], || "a handshake, and one that took it up again".into());
        let requests = out.records(&[("event", "request".into()), ("host", HOST.into())]);
        out.check(requests.len() == 2 && said.matches(HELLO).count() == 2, || "two requests".into());
    }
    // Not under another name.
    let script = format!(
        "{GET}get -tls1_2 -sess_out s >/dev/null
printf 'GET / HTTP/1.0\\r\\nHost: denied.test\\r\\n\\r\\n' |
openssl s_client -quiet -tls1_2 -sess_in s -servername denied.test -connect allowed.test:443"
    );
    let out = on(&lab, HOST).no_proxy_env().sh(&script);
    out.stdout_contains("403").reason("not_in_allowlist");
    lab.assert_not_dialled("denied.test");
}

/// Who has no name in its ClientHello is judged by the address it dialled.
#[test]
fn without_a_name_the_address_counts() {
    let lab = Lab::new();
    let nameless = |run: &Run<'_>| {
        run.sh(&format!(
            "{GET}printf 'GET / HTTP/1.0\\r\\n\\r\\n' | openssl s_client -quiet -noservername -connect 203.0.113.10:443"
        ))
    };
    let out = nameless(&on(&lab, HOST).no_proxy_env());
    out.stdout_contains("403").stdout_contains("no_name").reason("no_name");
    lab.assert_not_dialled(HOST);
    nameless(&on(&lab, "203.0.113.10:443").no_proxy_env()).ok().stdout_contains("hello from");
}

/// It cannot work, and is over at once, with a record.
#[test]
fn clients_that_know_nothing_of_what_we_speak_are_refused() {
    let lab = Lab::new();
    for flags in ["-sigalgs RSA-PSS+SHA256:RSA+SHA256", "-tls1_1 -cipher ALL:@SECLEVEL=0", "-groups P-521"] {
        let out = get(&on(&lab, HOST).no_proxy_env(), flags);
        out.fails().fast().stderr_contains("handshake failure");
        let records = out.records(&[
            ("host", HOST.into()),
            ("event", "connection".into()),
            ("decision", "deny".into()),
        ]);
        out.check(records.len() == 1, || "a record".into());
    }
}
