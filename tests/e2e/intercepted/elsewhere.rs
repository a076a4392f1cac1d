//! Interception where the way out is another one: the host's own network, or an upstream proxy.

use harness::{Lab, Run, forward_proxy::ForwardProxy, hosts};

use super::{
    HELLO,
    hostile::{ASK, answers},
    on, seen_inside,
};

fn allowed_is_seen_and_refused_is_told(run: &Run<'_>) {
    let out = run.run(&["curl", "-sS", "https://allowed.test/"]);
    out.ok().stdout_contains(HELLO);
    seen_inside(&out, "allowed.test");
    let out = run.run(&["curl", "-sS", "https://denied.test/"]);
    out.ok()
        .fast()
        .stdout_contains("\"reason\":\"not_in_allowlist\"")
        .denied("denied.test", "not_in_allowlist");
}

#[test]
fn in_the_hosts_network_it_is_the_same() {
    let lab = Lab::new();
    let run = || on(&lab, "allowed.test").host_network();
    [run(), run().no_proxy_env()].iter().for_each(allowed_is_seen_and_refused_is_told);
    let at = ["allowed.test", "denied.test"].map(|name| hosts::v4(name).to_string());
    let out = run().no_proxy_env().run(&["/usr/bin/python3", "-c", ASK, &at[0], &at[1]]);
    out.ok().stdout_is(&answers(&at));
    lab.assert_untouched("denied.test");
}

/// It hears names, and nothing of what is asked for there.
#[test]
fn behind_an_upstream_proxy_it_is_the_same() {
    let lab = Lab::new();
    let proxy = ForwardProxy::start(lab.world(), None);
    let run = |hosts: &str| on(&lab, hosts).args(["--upstream-proxy".to_owned(), ForwardProxy::url()]);
    [run("allowed.test"), run("allowed.test").no_proxy_env()]
        .iter()
        .for_each(allowed_is_seen_and_refused_is_told);
    let at = ["allowed.test", "denied.test"].map(|name| hosts::v4(name).to_string());
    let out = run("allowed.test").no_proxy_env().run(&["/usr/bin/python3", "-c", ASK, &at[0], &at[1]]);
    out.ok().stdout_is(&answers(&at));
    let script = "for path in bytes/10 status/200; do curl -sS -o /dev/null -w '%{http_code} ' https://allowed.test/$path; done";
    let urls = lab.awf().args(["--tls", "on", "--allow-urls", "https://allowed.test/bytes/*"]);
    let out = urls.args(["--upstream-proxy".to_owned(), ForwardProxy::url()]).sh(script);
    out.ok().stdout_is("200 403 ").reason("url_not_allowed");
    assert!(proxy.targets().iter().all(|asked| asked == "CONNECT allowed.test:443"), "{:?}", proxy.targets());
    lab.assert_untouched("denied.test");
    // Names that it alone resolves, too.
    let (name, _) = hosts::BEHIND_PROXY[0];
    let out = run(name).run(&["curl", "-sS", &format!("https://{name}/")]);
    out.ok().stdout_contains(HELLO);
    seen_inside(&out, name);
}
