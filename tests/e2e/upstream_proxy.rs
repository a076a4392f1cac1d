//! A company's network: the way out is a proxy. Real clients through it, what it never hears of, and its password.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use harness::{Lab, Process, Run, forward_proxy::ForwardProxy, git, hosts, machine, tcp, tools};

const HELLO: &str = "hello from ";
const USER: &str = "corp-u9";
const PASSWORD: &str = "Vq2m-k7Xz";
/// `corp-u9:Vq2m-k7Xz`
const BASIC: &str = "Basic Y29ycC11OTpWcTJtLWs3WHo=";
const SOON: Duration = Duration::from_secs(10);

fn through<'a>(lab: &'a Lab, allow: &str) -> Run<'a> {
    lab.awf().allow(allow).args(["--upstream-proxy".to_owned(), ForwardProxy::url()])
}

/// A file only root may read.
fn auth_file(lab: &Lab) -> PathBuf {
    let path = lab.dir().root().join("auth");
    fs::write(&path, format!("{USER}:{PASSWORD}\n")).expect("write the credentials");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("close the credentials");
    path
}

/// As in many companies: nobody inside resolves names of the outside.
#[test]
fn a_machine_without_a_name_server_reaches_names_through_the_proxy() {
    let lab = Lab::new();
    let proxy = ForwardProxy::start(lab.world(), None);
    let conf = lab.dir().root().join("none.conf");
    fs::write(&conf, "options edns0\n").expect("write a resolv.conf");
    machine::cover(lab.machine(), Path::new("/etc/resolv.conf"), &conf);
    let url = ForwardProxy::url().replace("proxy.test", &hosts::v4("proxy.test").to_string());
    let run = lab.awf().machine_dns().allow("allowed.test").args(["--upstream-proxy", &url]);
    run.sh("curl -sS https://allowed.test/ && env -i /usr/bin/curl -sS http://allowed.test/").ok();
    assert_eq!(proxy.targets(), ["CONNECT allowed.test:443", "GET http://allowed.test/"]);
    assert_eq!(lab.queries().all().len(), 0);
}

/// With the proxy's variables and without: clients that speak to it, and clients that are made to.
#[test]
fn clients_reach_allowed_names_through_the_proxy_and_no_others() {
    let lab = Lab::new();
    let proxy = ForwardProxy::start(lab.world(), None);
    let fetches = [
        ("curl -sS https://allowed.test/", "CONNECT allowed.test:443"),
        ("curl -sS http://allowed.test/", "GET http://allowed.test/"),
        (
            "/usr/bin/python3 -c 'from urllib.request import urlopen as o; print(o(\"https://allowed.test/\").read().decode())'",
            "CONNECT allowed.test:443",
        ),
    ];
    for (script, asked) in fetches {
        for run in [through(&lab, "allowed.test"), through(&lab, "allowed.test").no_proxy_env()] {
            let before = proxy.targets().len();
            let out = run.sh(script);
            out.ok().stdout_contains(HELLO).allowed("allowed.test");
            out.check(proxy.targets()[before..] == [asked], || format!("{asked}: {:?}", proxy.targets()));
            let via = out.records(&[("via", "proxy.test:3128".into()), ("decision", "allow".into())]);
            out.check(!via.is_empty(), || "a record that names the proxy".into());
        }
    }
    let before = proxy.targets().len();
    for url in
        ["https://denied.test/", "http://denied.test/", "https://203.0.113.20/", "http://[2001:db8:2::20]/"]
    {
        through(&lab, "allowed.test").run(&["curl", "-sSfk", url]).fails().fast();
    }
    let out = through(&lab, "allowed.test").sh("curl -sSf -x http://proxy.test:3128 http://denied.test/");
    out.fails();
    // Every way out was the proxy's, and the origins met nobody else.
    assert_eq!(proxy.targets().len(), before, "{:?}", proxy.targets());
    let machine = [hosts::MACHINE_V4.into(), hosts::MACHINE_V6.into()];
    let direct = lab.connections().all().into_iter().filter(|conn| machine.contains(&conn.from.ip())).count();
    assert_eq!(direct, 0);
    lab.assert_not_dialled("denied.test");
}

/// As Node does; the proxy opens no tunnel to port 80.
#[test]
fn clear_http_inside_a_connect_is_asked_for_in_absolute_form() {
    let lab = Lab::new();
    let proxy = ForwardProxy::start(lab.world(), None);
    let script = "curl -sS --proxytunnel http://allowed.test/ http://allowed.test/headers";
    let out = through(&lab, "allowed.test").sh(script);
    out.ok().stdout_contains(HELLO).allowed("allowed.test");
    assert_eq!(proxy.targets(), ["GET http://allowed.test/", "GET http://allowed.test/headers"]);
}

#[test]
fn git_clones_through_the_proxy() {
    let lab = Lab::new();
    let proxy = ForwardProxy::start(lab.world(), None);
    let script = format!(
        "dir=$(mktemp -d); git clone -q https://git.test{} \"$dir/p\"; cat \"$dir/p/{}\"",
        git::REPOSITORY,
        git::FILE
    );
    for run in [through(&lab, "git.test"), through(&lab, "git.test").no_proxy_env()] {
        run.sh(&script).ok().stdout_contains(git::CONTENT);
    }
    assert!(proxy.targets().iter().all(|target| target == "CONNECT git.test:443"), "{:?}", proxy.targets());
}

#[test]
fn a_raw_protocol_goes_through_a_tunnel_and_the_server_speaks_first() {
    let lab = Lab::new();
    let proxy = ForwardProxy::start(lab.world(), None);
    let port = tcp::PORT;
    let script = format!(
        "exec 3<>/dev/tcp/allowed.test/{port}; read -r line <&3; echo \"$line\"; echo ping >&3; head -n1 <&3"
    );
    let out = through(&lab, &format!("tcp://allowed.test:{port}")).sh(&script);
    out.ok().stdout_contains(tcp::BANNER.trim_end()).stdout_contains("ping");
    assert_eq!(proxy.targets(), [format!("CONNECT allowed.test:{port}")]);
}

/// `inner.test` resolves at the proxy only, and the clients here take no notice of proxy variables.
#[test]
fn a_name_that_only_the_proxy_resolves_is_reached_without_variables() {
    let lab = Lab::new();
    let proxy = ForwardProxy::start(lab.world(), None);
    let port = tcp::PORT;
    let rules = format!("inner.test,tcp://inner.test:{port},allowed.test");
    let script = format!(
        "curl -sS -4 https://inner.test/; curl -sS -6 https://inner.test/; curl -sS http://inner.test/
         exec 3<>/dev/tcp/inner.test/{port}; head -n1 <&3"
    );
    for run in [through(&lab, &rules).no_proxy_env(), through(&lab, &rules).no_proxy_env().host_network()] {
        let before = proxy.targets().len();
        let out = run.sh(&script);
        out.ok().stdout_contains(tcp::BANNER.trim_end()).allowed("inner.test");
        assert_eq!(out.stdout().matches("hello from inner.test").count(), 3, "{out}");
        let (tls, raw) = ("CONNECT inner.test:443".to_owned(), format!("CONNECT inner.test:{port}"));
        assert_eq!(proxy.targets()[before..], [tls.clone(), tls, "GET http://inner.test/".into(), raw]);
    }
    // An address stands for its name only: the same one, dialled as another name, is that other name or nothing.
    let out = through(&lab, &rules).no_proxy_env().sh("a=$(dig +short inner.test A); echo \"$a\"
         curl -sS --resolve allowed.test:443:$a https://allowed.test/
         ! curl -sS --resolve denied.test:443:$a https://denied.test/
         ! curl -sSk https://$a/
         ! dig denied.test | grep -q NOERROR");
    out.ok().stdout_contains("198.18.0.1").stdout_contains("hello from allowed.test");
    out.denied("denied.test", "not_in_allowlist");
    // Without the proxy it does not exist.
    lab.awf().allow("inner.test").no_proxy_env().run(&["curl", "-sS", "https://inner.test/"]).fails().fast();
    let asked = lab.queries().all();
    let leaked = asked.iter().filter(|query| query.name == "allowed.test").count();
    assert_eq!(leaked, 0, "names that the proxy resolves are not asked for here: {asked:#?}");
}

#[test]
fn the_callers_variables_name_it_and_what_they_exempt_is_dialled() {
    let lab = Lab::new();
    let proxy = ForwardProxy::start(lab.world(), None);
    let run = lab.awf().allow("allowed.test,other.test").outer_env("https_proxy", ForwardProxy::url());
    let run = run.outer_env("no_proxy", "other.test");
    let out =
        run.sh("curl -sS https://allowed.test/; curl -sS https://other.test/; curl -sS http://allowed.test/");
    out.ok().stderr_contains("upstream proxy for TLS and the rest: http://proxy.test:3128, from https_proxy");
    assert_eq!(out.stdout().matches(HELLO).count(), 3, "{out}");
    assert_eq!(proxy.targets(), ["CONNECT allowed.test:443"]);
    let out = run.args(["--upstream-proxy", "none"]).run(&["curl", "-sS", "https://allowed.test/"]);
    out.ok().stdout_contains(HELLO);
    assert_eq!(proxy.targets().len(), 1);
}

/// Everywhere CMD could look: its environment, everybody's command lines and environments, the record, the messages.
#[test]
fn credentials_reach_the_proxy_and_nobody_else() {
    let lab = Lab::new();
    let proxy = ForwardProxy::start(lab.world(), Some(BASIC));
    let path = auth_file(&lab);
    let with_file =
        through(&lab, "allowed.test").args(["--upstream-proxy-auth-file".into(), path.into_os_string()]);
    let url = format!("http://{USER}:{PASSWORD}@proxy.test:3128");
    let with_url =
        lab.awf().allow("allowed.test").outer_env("https_proxy", &url).outer_env("http_proxy", &url);
    let look = "curl -sS https://allowed.test/; curl -sS http://allowed.test/headers; env; \
                cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' || true";
    for run in [with_file, with_url.args(["--env-all"])] {
        let out = run.clone().args(["--log-level", "debug"]).sh(look);
        out.ok().stdout_contains(HELLO);
        let audit = fs::read_to_string(run.audit_dir().join("audit.jsonl")).expect("read the record");
        let dry = run.clone().args(["--dry-run"]).run(&["true"]);
        dry.ok().stdout_contains("http://proxy.test:3128 (with credentials)");
        for shown in [out.stdout(), out.stderr(), audit, dry.stdout(), dry.stderr()] {
            for secret in [USER, PASSWORD, &BASIC["Basic ".len()..]] {
                let found: Vec<_> = shown.lines().filter(|line| line.contains(secret)).collect();
                assert!(found.is_empty(), "{secret} in {found:#?}");
            }
        }
    }
    let asked = proxy.asked().all();
    assert_eq!(asked.len(), 4, "{asked:#?}");
    assert!(asked.iter().all(|asked| asked.headers["proxy-authorization"] == BASIC), "{asked:#?}");
    let origins = lab.requests().all();
    assert!(
        origins.len() >= 4 && origins.iter().all(|request| request.sni.is_some() || request.method == "GET")
    );
    let typed = lab.awf().allow("allowed.test").args(["--upstream-proxy", &url]).run(&["true"]);
    typed.code(125).stderr_contains("--upstream-proxy-auth-file").stderr_lacks(PASSWORD);
}

#[test]
fn a_proxy_that_wants_credentials_or_is_down_is_a_502_that_says_so() {
    let lab = Lab::new();
    let proxy = ForwardProxy::start(lab.world(), Some(BASIC));
    for url in ["https://allowed.test/", "http://allowed.test/"] {
        let out = through(&lab, "allowed.test").run(&["curl", "-sSv", "--proxy-user", "own:own", url]);
        let said = out.stdout() + &out.stderr();
        out.fast().check(said.contains("502"), || "a 502".into());
        out.check(!said.contains("realm"), || "no challenge of the proxy".into());
        let found = out.records(&[("reason", "upstream_proxy_refused".into())]);
        out.check(!found.is_empty(), || "its reason in the record".into());
    }
    let own = "b3duOm93bg==";
    let asked = proxy.asked().all();
    assert!(
        !asked.is_empty() && !format!("{asked:?}").contains(own),
        "the command's own go nowhere: {asked:?}"
    );
    drop(proxy);
    let out = through(&lab, "allowed.test").run(&["curl", "-sSf", "http://allowed.test/"]);
    out.fails().fast().stderr_contains("502");
    out.check(!out.records(&[("reason", "upstream_proxy_failed".into())]).is_empty(), || "its reason".into());
}

/// The proxy is a target like any other: being our way out opens nothing to the command.
#[test]
fn the_command_cannot_use_the_proxy_by_itself() {
    let lab = Lab::new();
    let proxy = ForwardProxy::start(lab.world(), None);
    let addr = hosts::v4("proxy.test");
    let run = through(&lab, "allowed.test,proxy.test");
    for script in [
        format!("curl -sSf --noproxy '*' http://{addr}:3128/"),
        format!("curl -sSf -x http://{addr}:3128 --noproxy '' http://denied.test/"),
        "curl -sSf -x http://proxy.test:3128 http://denied.test/".into(),
        format!(
            "exec 3<>/dev/tcp/{addr}/3128; echo 'GET http://denied.test/ HTTP/1.0' >&3; echo >&3; grep -q hello <&3"
        ),
    ] {
        run.sh(&script).fails().fast();
    }
    assert_eq!(proxy.targets(), [""; 0]);
    lab.assert_not_dialled("denied.test");
}

/// A real one, on the machine's own loopback, where agents that authenticate to the real proxy listen.
#[test]
fn tinyproxy_on_the_machines_loopback() {
    let lab = Lab::new();
    let config = lab.dir().root().join("tinyproxy.conf");
    let log = lab.dir().root().join("tinyproxy.log");
    fs::write(&log, "").expect("make tinyproxy's log");
    let text = format!(
        "User root\nGroup root\nPort 3128\nListen 127.0.0.1\nTimeout 60\nLogFile \"{}\"\nLogLevel Connect\n\
         MaxClients 20\nAllow 127.0.0.1\nBasicAuth {USER} {PASSWORD}\nConnectPort 443\n",
        log.display()
    );
    fs::write(&config, text).expect("write tinyproxy's configuration");
    let mut command = Command::new(tools::require("tinyproxy"));
    command.args(["-d", "-c"]).arg(&config);
    let tinyproxy = lab.machine().within(|| Process::spawn(&mut command, Vec::new()));
    wait_for_port(&lab, "127.0.0.1:3128");
    let auth = ["--upstream-proxy-auth-file".into(), auth_file(&lab).into_os_string()];
    let run = lab.awf().allow("allowed.test").args(["--upstream-proxy", "127.0.0.1:3128"]).args(auth);
    for run in [run.clone(), run.no_proxy_env()] {
        let out =
            run.sh("curl -sS https://allowed.test/; curl -sS http://allowed.test/ http://sub.allowed.test/");
        out.ok();
        assert_eq!(out.stdout().matches(HELLO).count(), 3, "{out}");
        let found = out.records(&[("via", "127.0.0.1:3128".into())]);
        out.check(found.len() >= 3, || "records that name the proxy".into());
    }
    drop(tinyproxy);
    let log = fs::read_to_string(&log).expect("read tinyproxy's log");
    assert!(
        log.contains("CONNECT allowed.test:443") && log.contains("GET http://sub.allowed.test/"),
        "{log}"
    );
}

/// Until somebody listens there; a test that waits in vain fails where it connects.
fn wait_for_port(lab: &Lab, address: &str) {
    let end = std::time::Instant::now() + SOON;
    lab.machine().within(|| {
        while std::net::TcpStream::connect(address).is_err() && std::time::Instant::now() < end {
            std::thread::yield_now();
        }
    });
}
