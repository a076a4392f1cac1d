//! Upstream proxies: flags before variables, all mistakes at once, and no password anywhere.

use super::*;
use crate::{
    policy::Host,
    upstream_proxy::{UpstreamProxy, Use},
};

const URL: &str = "http://us3r:hunter2@secret.test:8080";

impl Case {
    /// The proxies for clear text and for tunnels.
    fn upstream(&self) -> [Option<String>; 2] {
        let proxies = self.resolved().plan.upstream_proxies;
        [proxies.http, proxies.tunnel].map(|proxy| proxy.as_deref().map(UpstreamProxy::place))
    }

    fn direct(&self, host: &str, port: u16) -> bool {
        let proxies = self.resolved().plan.upstream_proxies;
        proxies.of(Use::Tunnel, &Host::parse(host).unwrap(), port).is_none()
    }
}

fn places(http: &str, tunnel: &str) -> [Option<String>; 2] {
    [http, tunnel].map(|text| (!text.is_empty()).then(|| text.to_owned()))
}

#[test]
fn variables_name_the_proxies_and_the_flag_beats_them() {
    let all = |names: &[(&str, &str)]| {
        names.iter().fold(Case::new(&[]), |case, (name, value)| case.var(name, value)).upstream()
    };
    assert_eq!(all(&[]), places("", ""));
    assert_eq!(all(&[("http_proxy", "http://a.test:1")]), places("a.test:1", ""));
    assert_eq!(all(&[("HTTPS_PROXY", "b.test:2")]), places("", "b.test:2"));
    assert_eq!(all(&[("HTTP_PROXY", "a.test:1"), ("http_proxy", "low.test:1")]), places("low.test:1", ""));
    assert_eq!(all(&[("https_proxy", " "), ("HTTPS_PROXY", "b.test:2")]), places("", "b.test:2"));
    assert_eq!(
        all(&[("ALL_PROXY", "c.test"), ("https_proxy", "b.test:2")]),
        places("c.test:3128", "b.test:2")
    );
    assert_eq!(all(&[("HTTP_PROXY", "a.test:1"), ("REQUEST_METHOD", "GET")]), places("", ""));
    assert_eq!(all(&[("http_proxy", "a.test:1"), ("REQUEST_METHOD", "GET")]), places("a.test:1", ""));
    let flag =
        |value: &str| Case::new(&["--upstream-proxy", value]).var("https_proxy", "b.test:2").upstream();
    assert_eq!(flag("http://flag.test:3"), places("flag.test:3", "flag.test:3"));
    assert_eq!(flag("none"), places("", ""));
}

#[test]
fn what_needs_no_proxy() {
    let case = Case::new(&["--upstream-proxy", "p.test"]).var("NO_PROXY", "a.test 10.0.0.0/8,in*.test");
    assert!(case.direct("x.a.test", 443) && case.direct("10.1.1.1", 443) && !case.direct("b.test", 443));
    let notices = case.notices();
    assert!(notices.iter().any(|n| n.starts_with("WARN: NO_PROXY: left out: \"in*.test\"")), "{notices:?}");
    let flags =
        ["--upstream-proxy", "p.test", "--upstream-no-proxy", "b.test", "--upstream-no-proxy", "c.test:80"];
    let case = Case::new(&flags).var("no_proxy", "a.test");
    assert!(!case.direct("a.test", 443) && case.direct("b.test", 443) && case.direct("c.test", 80));
    assert!(Case::new(&[]).var("no_proxy", "in*.test").notices().iter().all(|n| !n.contains("no_proxy")));
}

#[test]
fn which_one_is_used_is_said() {
    let notices = Case::new(&[]).var("https_proxy", URL).var("http_proxy", "a.test:1").notices();
    let said = |text: &str| notices.iter().any(|notice| notice == text);
    assert!(
        said("INFO: upstream proxy for clear-text HTTP: http://a.test:1, from http_proxy"),
        "{notices:?}"
    );
    assert!(
        said(
            "INFO: upstream proxy for TLS and the rest: http://secret.test:8080 (with credentials), from https_proxy"
        ),
        "{notices:?}"
    );
    let flags = ["--upstream-proxy", "p.test:1", "--upstream-no-proxy", "a.test:80,10.0.0.0/8"];
    let plan = Case::new(&flags).resolved().plan.to_string();
    assert!(plan.contains("upstream   http://p.test:1\nupstream   not for a.test:80 10.0.0.0/8\n"), "{plan}");
}

#[test]
fn mistakes_are_reported_together() {
    let case = Case::new(&["--upstream-no-proxy", "a..test", "--agent-timeout", "0"]);
    let texts = case.var("http_proxy", "socks5://p.test").var("https_proxy", "https://p.test").texts();
    let all = texts.join("\n");
    for says in [
        "http_proxy: socks5:// proxies are not supported; only http:// is",
        "https_proxy: TLS to the proxy (https://) is not supported",
        "--upstream-proxy none goes without a proxy",
        "--upstream-no-proxy: \"a..test\" is not a host",
        "--agent-timeout: \"0\"",
    ] {
        assert!(all.contains(says), "{says}: {all}");
    }
    let texts = Case::new(&[]).var("all_proxy", "socks4://p.test").texts();
    assert_eq!(texts.len(), 1, "{texts:?}");
}

#[test]
fn credentials_come_from_a_file_or_a_variable_and_not_from_the_command_line() {
    let file = ["--upstream-proxy", "p.test", "--upstream-proxy-auth-file", "/auth"];
    let plan = Case::new(&file).file("/auth", "Aladdin:open sesame\n").resolved().plan;
    for proxy in [plan.upstream_proxies.http, plan.upstream_proxies.tunnel] {
        let credentials = proxy.unwrap().credentials.clone().unwrap();
        assert_eq!(credentials.header(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }
    for (case, says) in [
        (Case::new(&["--upstream-proxy", URL]), "put them into a file for --upstream-proxy-auth-file"),
        (
            Case::new(&file).file("/auth", "hunter2"),
            "--upstream-proxy-auth-file /auth: the credentials are not",
        ),
        (Case::new(&file), "--upstream-proxy-auth-file /auth: was not read"),
        (Case::new(&file[2..]).file("/auth", "us3r:hunter2"), "there is no upstream proxy to use it for"),
        (
            Case::new(&file[2..]).file("/auth", "us3r:hunter2").var("https_proxy", URL),
            "the proxy's URL has credentials already",
        ),
    ] {
        let texts = case.texts();
        assert!(texts.len() == 1 && texts[0].contains(says), "{says}: {texts:?}");
        assert!(!texts[0].contains("hunter2") && !texts[0].contains("us3r"), "{texts:?}");
    }
}

#[test]
fn credentials_are_in_nothing_that_is_shown() {
    let typed = Case::new(&["--upstream-proxy", URL]);
    let found = Case::new(&["--env-all"]).var("https_proxy", URL).var("ALL_PROXY", URL);
    let Resolved { plan, notices } = found.resolved();
    let env: String =
        ["https_proxy", "HTTPS_PROXY", "ALL_PROXY"].iter().filter_map(|n| found.env(n)).collect();
    for shown in [
        format!("{:?} {:?} {:?}", typed.args(), typed.errors(), typed.texts()),
        format!("{plan} {plan:?} {:?}", plan.upstream_proxies),
        format!("{notices:?}"),
        format!("{:?} {:?}", found.args(), found.inputs),
        env,
    ] {
        for secret in ["us3r", "hunter2", "dXMzcjpodW50ZXIy"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn words_of_other_programs_are_no_proxies() {
    for word in ["direct", "off", "proxy-1"] {
        let texts = Case::new(&["--upstream-proxy", word]).texts();
        assert_eq!(texts.len(), 1, "{texts:?}");
        assert!(texts[0].contains(&format!("write http://{word}:3128 if")), "{texts:?}");
    }
    let texts = Case::new(&["--upstream-proxy-auth-file", "/auth"]).file("/auth", "a:b\n").texts();
    assert!(texts[0].ends_with("leave it out, or name one with --upstream-proxy"), "{texts:?}");
}
