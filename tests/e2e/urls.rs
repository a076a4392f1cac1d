//! URL rules, with real clients, in clear text and inside TLS that ends in the proxy.

use harness::{Lab, Output, Run, git};

/// Fetches each URL as it is written; `200 URL`, or what there was instead.
const FETCH: &str =
    "for url; do echo \"$(curl -sS -m 20 --path-as-is -o /dev/null -w '%{http_code}' \"$url\") $url\"; done";

fn fetch(run: &Run<'_>, urls: &[&str]) -> Output {
    run.run(&[&["bash", "-c", FETCH, "bash"], urls].concat())
}

/// `--allow-urls` alone, and beside a rule for the whole host.
fn runs<'a>(lab: &'a Lab, urls: &str) -> Vec<Run<'a>> {
    let base = || lab.awf().args(["--tls", "on", "--allow-urls", urls]);
    vec![base(), base().no_proxy_env(), base().allow("allowed.test,*.allowed.test")]
}

/// The paths that the origins were asked for.
fn asked(lab: &Lab) -> Vec<String> {
    lab.requests().all().iter().map(|request| request.path.clone()).collect()
}

#[test]
fn curl_asks_for_allowed_urls_and_for_no_others() {
    let lab = Lab::new();
    let rules = "https://allowed.test/bytes/**,http://allowed.test/bytes/*";
    for run in runs(&lab, rules) {
        let out = fetch(
            &run,
            &[
                "https://allowed.test/bytes/10",
                "http://allowed.test/bytes/10",
                "https://sub.allowed.test/bytes/10",
                "https://allowed.test/status/200",
                "http://allowed.test/",
                "https://denied.test/bytes/10",
            ],
        );
        out.ok().stdout_contains("200 https://allowed.test/bytes/10\n200 http://allowed.test/bytes/10\n");
        out.stdout_contains("200 https://sub.allowed.test/bytes/10\n");
        out.stdout_contains("403 https://allowed.test/status/200\n403 http://allowed.test/\n");
        out.reason("url_not_allowed").denied("denied.test", "not_in_allowlist");
        out.stderr_contains("https://allowed.test/status/200");
    }
    assert!(asked(&lab).iter().all(|uri| uri.ends_with("/bytes/10")), "{:?}", asked(&lab));
    lab.assert_not_dialled("denied.test");
}

/// The attack: paths that lead out of the allowed ones in the eyes of this or that server.
#[test]
fn traversals_do_not_get_out() {
    let lab = Lab::new();
    for scheme in ["http", "https"] {
        let urls: Vec<_> = [
            "/bytes/../status/200",
            "/bytes/%2e%2e/status/200",
            "/bytes/..%2fstatus/200",
            "/bytes/..%5cstatus/200",
            "/bytes/%252e%252e/status/200",
            "/bytes/..;/status/200",
            "/bytes/..%c0%afstatus/200",
            "//status/200",
            "/bytes%2f../status/200",
            "/bytes/%00/../../status/200",
            "/%62ytes/../status/200",
        ]
        .map(|path| format!("{scheme}://allowed.test{path}"))
        .into();
        let run =
            lab.awf().args(["--tls", "on", "--allow-urls", &format!("{scheme}://allowed.test/bytes/**")]);
        let out = fetch(&run, &urls.iter().map(String::as_str).collect::<Vec<_>>());
        out.ok().check(!out.stdout().contains("200 http"), || "no traversal passes".to_owned());
        let normal = format!("{scheme}://allowed.test/x/..//%62ytes/./10");
        fetch(&run, &[&normal]).ok().stdout_is(&format!("200 {normal}\n"));
    }
    assert!(asked(&lab).iter().all(|uri| uri.ends_with("/bytes/10")), "{:?}", asked(&lab));
}

/// The attack: what follows an allowed request on its connection, in HTTP/1.1 and HTTP/2, and other methods.
#[test]
fn later_requests_and_other_methods_are_judged_too() {
    let lab = Lab::new();
    let run = lab.awf().args(["--tls", "on", "--allow-urls", "GET:https://allowed.test/bytes/*"]);
    for version in ["--http1.1", "--http2"] {
        let script = format!(
            "curl -sS {version} -o /dev/null -w '%{{http_code}} %{{num_connects}}\\n' https://allowed.test/bytes/10 \
             --next -sS {version} -o /dev/null -w '%{{http_code}} %{{num_connects}}\\n' https://allowed.test/status/200 \
             --next -sS {version} -o /dev/null -w '%{{http_code}} %{{num_connects}}\\n' -d x https://allowed.test/bytes/10 \
             --next -sS {version} -o /dev/null -w '%{{http_code}}\\n' -H 'X-HTTP-Method-Override: PUT' https://allowed.test/bytes/10"
        );
        let out = run.sh(&script);
        out.ok().stdout_contains("200 1\n403 0\n403 0\n403\n");
    }
    let seen: Vec<_> =
        lab.requests().all().iter().map(|r| (r.method.clone(), r.path.ends_with("/bytes/10"))).collect();
    assert_eq!(seen, [("GET".to_owned(), true), ("GET".to_owned(), true)]);
}

/// Hosts that are excluded from interception are not, as far as URL rules are about them; others are.
#[test]
fn an_exclusion_does_not_lift_the_filter() {
    let lab = Lab::new();
    let flags = ["--tls", "on", "--tls-exclude", "test", "--allow-urls", "https://allowed.test/bytes/**"];
    let out = fetch(
        &lab.awf().args(flags).allow("other.test"),
        &[
            "https://allowed.test/status/200",
            "https://allowed.test/bytes/10",
            "https://other.test/status/200",
        ],
    );
    out.ok().stdout_contains("403 https://allowed.test/status/200\n200 https://allowed.test/bytes/10\n");
    out.stderr_contains("in spite of --tls-exclude");
}

#[test]
fn without_interception_it_is_an_error_and_nothing_is_run() {
    let lab = Lab::new();
    let out = lab.awf().args(["--allow-urls", "https://allowed.test/a"]).run(&["echo", "ran"]);
    out.code(125).stdout_is("").stderr_contains("needs --tls on");
}

/// npm asks for scoped packages with an escaped slash (this server has none of them), git with a query.
#[test]
fn npm_and_git_get_along_with_path_rules() {
    let lab = Lab::new();
    let run = lab.awf().args(["--tls", "on", "--allow-urls", "https://allowed.test/git/**"]);
    let script = format!("dir=$(mktemp -d); git clone -q https://allowed.test{} $dir/p", git::REPOSITORY);
    run.sh(&script).ok();
    let out = run.sh("git ls-remote https://allowed.test/simple/repo.git");
    out.fails().reason("url_not_allowed");
    let npm = lab.awf().args(["--tls", "on", "--allow-urls", "https://allowed.test/npm/**"]);
    npm.sh("npm view --registry https://allowed.test/npm/ @lab/scoped version")
        .fails()
        .stderr_contains("E404");
    let uris = asked(&lab);
    assert!(uris.iter().any(|uri| uri.contains("/npm/@lab%2Fscoped")), "{uris:?}");
    assert!(!uris.iter().any(|uri| uri.contains("/simple/")), "{uris:?}");
}
