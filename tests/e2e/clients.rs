//! Real clients, as they are installed: an allowed host works with the proxy variables and without a single
//! one, over IPv4, IPv6 and where there is nothing but IPv6; another host fails at once, with its reason.

use std::{net::IpAddr, path::Path};

use harness::{Lab, Output, Run, git, hosts, origin::Received, output::FAST, packages};

/// One client: how it fetches from a host, and what it says when it got it or was refused.
struct Client {
    lab: Lab,
    fetch: fn(&Lab, host: &str) -> Vec<String>,
    /// On stdout after success.
    fetched: &'static str,
    /// One of these is in its output after a denial: it must say more than "failed".
    refused: &'static [&'static str],
    env: fn(&Lab) -> Vec<(&'static str, String)>,
}

const HELLO: &str = "hello from ";
/// The client was told by the name service (EAI_NONAME and its translations) or by the proxy.
const REFUSED: &[&str] = &["403", "Forbidden", "resolve host", "Name or service not known", "ENOTFOUND"];

impl Client {
    fn new(fetch: fn(&Lab, &str) -> Vec<String>) -> Self {
        Self { lab: Lab::new(), fetch, fetched: HELLO, refused: REFUSED, env: |_| Vec::new() }
    }

    /// The whole promise of the head of this file.
    fn check(self) {
        let baseline = self.fetches(&self.lab.bare(), "allowed.test");
        for host in ["allowed.test", "v4only.test", "v6only.test"] {
            for run in [self.lab.awf().allow(host), self.lab.awf().allow(host).no_proxy_env()] {
                self.fetches(&run, host).allowed(host);
            }
        }
        self.v6_only_was_v6_all_the_way();
        let run = self.lab.awf().allow("allowed.test");
        for run in [run.clone(), run.no_proxy_env()] {
            self.is_refused(&run, "denied.test", &baseline);
        }
        let seen = self.lab.queries().all().len();
        self.lab.assert_untouched("denied.test");
        assert!(seen > 0, "the lab's DNS server heard of the allowed names");
    }

    fn fetches(&self, run: &Run<'_>, host: &str) -> Output {
        let out = self.run(run, host);
        out.ok().stdout_contains(self.fetched);
        out
    }

    fn is_refused(&self, run: &Run<'_>, host: &str, baseline: &Output) {
        let out = self.run(run, host);
        out.fails().denied(host, "not_in_allowlist");
        let said = out.stdout() + &out.stderr();
        out.check(self.refused.iter().any(|text| said.contains(text)), || {
            format!("one of {:?}", self.refused)
        });
        out.check(out.elapsed() < baseline.elapsed() + FAST, || {
            format!("{FAST:?} over {:?}", baseline.elapsed())
        });
    }

    fn run(&self, run: &Run<'_>, host: &str) -> Output {
        let argv = (self.fetch)(&self.lab, host);
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let with =
            (self.env)(&self.lab).into_iter().fold(run.clone(), |run, (name, value)| run.env(name, value));
        with.run(&argv)
    }

    fn v6_only_was_v6_all_the_way(&self) {
        let host = "v6only.test";
        let out = self.fetches(&self.lab.awf().allow(host).no_proxy_env(), host);
        let found =
            out.records(&[("host", host.into()), ("event", "connection".into()), ("family", 6.into())]);
        out.check(!found.is_empty(), || "a connection of family 6".into());
        let address = IpAddr::from(hosts::v6(host));
        assert!(self.lab.connections().all().iter().any(|conn| conn.to.ip() == address));
    }
}

fn strings<const N: usize>(argv: [&str; N]) -> Vec<String> {
    argv.map(str::to_owned).into()
}

#[test]
fn curl() {
    Client::new(|_, host| strings(["curl", "-sS", &format!("https://{host}/")])).check();
}

#[test]
fn curl_clear_text() {
    Client::new(|_, host| strings(["curl", "-sSf", &format!("http://{host}/")])).check();
}

#[test]
fn curl_forced_to_either_family() {
    let lab = Lab::new();
    for run in [lab.awf(), lab.awf().no_proxy_env()] {
        let run = run.allow("allowed.test");
        for (flag, family) in [("-4", 4), ("-6", 6)] {
            let out = run.run(&["curl", "-sS", "--noproxy", "*", flag, "https://allowed.test/"]);
            out.ok().stdout_contains(HELLO);
            let found = out.records(&[("host", "allowed.test".into()), ("family", family.into())]);
            out.check(!found.is_empty(), || format!("a record of family {family}"));
            run.run(&["curl", "-sS", "--noproxy", "*", flag, "https://denied.test/"])
                .fails()
                .fast()
                .denied("denied.test", "not_in_allowlist");
        }
    }
    lab.assert_untouched("denied.test");
}

#[test]
fn wget() {
    Client::new(|_, host| strings(["wget", "-nv", "-O-", "--tries=1", &format!("https://{host}/")])).check();
}

/// Asks for IPv6 addresses only where there is one that is not loopback, and sends no Host with CONNECT.
#[test]
fn lftp() {
    let fetch = |_: &Lab, host: &str| {
        let script = format!("set net:max-retries 1; set net:timeout 10; cat https://{host}/");
        strings(["lftp", "-c", &script])
    };
    Client::new(fetch).check();
}

#[test]
fn git_clone() {
    let fetch = |_: &Lab, host: &str| {
        let (path, file) = (git::REPOSITORY, git::FILE);
        let script =
            format!("dir=$(mktemp -d); git clone -q https://{host}{path} \"$dir/p\"; cat \"$dir/p/{file}\"");
        strings(["bash", "-ec", &script])
    };
    Client { fetched: git::CONTENT, ..Client::new(fetch) }.check();
}

#[test]
fn python_requests() {
    let fetch = |_: &Lab, host: &str| {
        let script = format!("import requests; print(requests.get('https://{host}/').text)");
        strings(["/usr/bin/python3", "-c", &script])
    };
    Client::new(fetch).check();
}

#[test]
fn python_urllib() {
    let fetch = |_: &Lab, host: &str| {
        let script =
            format!("from urllib.request import urlopen; print(urlopen('https://{host}/').read().decode())");
        strings(["/usr/bin/python3", "-c", &script])
    };
    Client::new(fetch).check();
}

#[test]
fn pip_install() {
    let fetch = |_: &Lab, host: &str| {
        // No retries: how often a client tries again is its own affair, how fast it is told is ours.
        let pip = "/usr/bin/python3 -m pip install -q --no-cache-dir --disable-pip-version-check --retries 0";
        let script = format!(
            "dir=$(mktemp -d); {pip} --target \"$dir\" --index-url https://{host}/simple/ labwheel\n\
             PYTHONPATH=\"$dir\" /usr/bin/python3 -c 'import labwheel; print(labwheel.WORD)'"
        );
        strings(["bash", "-ec", &script])
    };
    let refused = &["403", "Forbidden", "Name or service not known", "No matching distribution"];
    Client { fetched: packages::WORD, refused, ..Client::new(fetch) }.check();
}

#[test]
fn npm_install() {
    let fetch = |lab: &Lab, host: &str| {
        let flags = "--no-audit --no-fund --no-update-notifier --fetch-retries 0 --loglevel error";
        let ca = lab.ca_file();
        let script = format!(
            "cd $(mktemp -d); npm install {flags} --cafile {} --registry https://{host}/npm/ labpkg\n\
             node -p \"require('labpkg')\"",
            ca.display()
        );
        strings(["bash", "-ec", &script])
    };
    Client { fetched: packages::WORD, ..Client::new(fetch) }.check();
}

#[test]
fn node_fetch() {
    let fetch = |_: &Lab, host: &str| {
        let script = format!("fetch('https://{host}/').then(r => r.text()).then(t => console.log(t))");
        strings(["node", "-e", &script])
    };
    Client { env: node_trust, ..Client::new(fetch) }.check();
}

#[test]
fn node_https_get() {
    let fetch = |_: &Lab, host: &str| {
        let script = format!("require('https').get('https://{host}/', r => r.pipe(process.stdout))");
        strings(["node", "-e", &script])
    };
    Client { env: node_trust, ..Client::new(fetch) }.check();
}

fn node_trust(lab: &Lab) -> Vec<(&'static str, String)> {
    vec![("NODE_EXTRA_CA_CERTS", lab.ca_file().display().to_string())]
}

/// One file for `java FILE`: no build, no proxy, no setting.
pub(crate) const JAVA: &str = r#"
import java.net.URI;
import java.net.http.*;

public class Fetch {
    public static void main(String[] args) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(args[0])).build();
        System.out.println(HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body());
    }
}
"#;

#[test]
fn java_http_client() {
    let fetch = |lab: &Lab, host: &str| {
        let source = lab.dir().work().join("Fetch.java");
        strings(["java", &source.display().to_string(), &format!("https://{host}/")])
    };
    let refused = &["UnresolvedAddressException", "ConnectException", "UnknownHost"];
    let client = Client { refused, ..Client::new(fetch) };
    client.lab.trust_in_java();
    client.lab.dir().file("Fetch.java", JAVA);
    client.check();
}

#[test]
fn openssl_s_client() {
    let fetch = |_: &Lab, host: &str| {
        let request = format!("printf 'GET / HTTP/1.0\\r\\nHost: {host}\\r\\n\\r\\n'");
        let script = format!("{request} | openssl s_client -quiet -verify_return_error -connect {host}:443");
        strings(["bash", "-o", "pipefail", "-c", &script])
    };
    let refused = &["Name or service not known", "BIO_lookup"];
    Client { refused, ..Client::new(fetch) }.check();
}

#[test]
fn dig_asks_whom_it_likes_and_is_answered_by_policy() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test");
    for extra in ["+notcp", "+tcp"] {
        for server in ["@203.0.113.99", "@2001:db8:77::1"] {
            let ask = |name: &str, kind: &str| run.run(&["dig", extra, server, name, kind]);
            ask("allowed.test", "A").ok().stdout_contains("203.0.113.10");
            ask("sub.allowed.test", "AAAA").ok().stdout_contains("2001:db8:2::11");
            // The refusal says that it is one: RFC 8914, INFO-CODE 15.
            let denied = ask("denied.test", "A");
            denied.ok().fast().stdout_contains("EDE: 15").denied("denied.test", "not_in_allowlist");
        }
    }
    lab.assert_untouched("denied.test");
    let strangers: [IpAddr; 2] =
        ["203.0.113.99", "2001:db8:77::1"].map(|addr| addr.parse().expect("an address"));
    assert!(lab.queries().all().iter().all(|query| !strangers.contains(&query.to)), "only our resolver asks");
}

#[test]
fn happy_eyeballs_reaches_ipv4_when_ipv6_is_refused_or_silent() {
    let lab = Lab::new();
    for host in ["refused6.test", "silent6.test"] {
        for run in [lab.awf().allow(host), lab.awf().allow(host).no_proxy_env()] {
            let url = format!("https://{host}/");
            run.run(&["curl", "-sS", &url]).ok().fast().stdout_contains(HELLO).allowed(host);
        }
    }
}

#[test]
fn bodies_of_ten_megabytes_pass_both_ways_unchanged() {
    let lab = Lab::new();
    let body: Vec<u8> = (0..10_000_000_u32).map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    lab.dir().file("body", &body);
    for url in ["https://allowed.test/echo", "http://allowed.test/echo"] {
        for run in [lab.awf(), lab.awf().no_proxy_env()] {
            let out = run.allow("allowed.test").run(&["curl", "-sS", "--data-binary", "@body", url]);
            out.ok().check(out.stdout_bytes() == body, || "the body that was sent".into());
        }
    }
}

#[test]
fn server_sent_events_are_not_held_back() {
    let lab = Lab::new();
    for (nth, scheme) in [(1, "https"), (2, "http")] {
        let run = lab.awf().allow("allowed.test");
        let stream = run.spawn(&["curl", "-sSN", &format!("{scheme}://allowed.test/events")]);
        let streams = |seen: &[Received]| seen.iter().filter(|request| request.path == "/events").count();
        let open = lab.requests().wait_until(FAST, |seen| (streams(seen) == nth).then_some(()));
        assert!(open.is_some(), "the stream is open");
        lab.bare().run(&["curl", "-sS", "http://allowed.test/events/next"]).ok();
        stream.wait_for_stdout("data: tick", FAST);
    }
}

#[test]
fn a_client_uses_http2_end_to_end() {
    let lab = Lab::new();
    let argv =
        ["curl", "-sS", "--http2", "-o", "/dev/null", "-w", "%{http_version}", "https://allowed.test/"];
    lab.awf().allow("allowed.test").run(&argv).ok().stdout_is("2");
}

#[test]
fn the_machines_own_resolver_is_used_when_none_is_named() {
    let lab = Lab::new();
    assert!(Path::new("/etc/resolv.conf").exists());
    let run = lab.awf().machine_dns().allow("allowed.test");
    run.run(&["curl", "-sS", "https://allowed.test/"]).ok().stdout_contains(HELLO);
}
