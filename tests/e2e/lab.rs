//! The lab itself: without awf-bpf everything in it is reachable, and what is reached is seen. Otherwise the
//! silence of the other tests would prove nothing.

use std::time::Duration;

use harness::{Lab, hosts, tcp};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn every_address_of_an_origin_answers_and_is_recorded() {
    let lab = Lab::new();
    for flag in ["-4", "-6"] {
        for url in ["https://allowed.test/", "http://denied.test:8080/", "https://denied.test:8443/"] {
            lab.bare().run(&["curl", "-sS", flag, url]).ok().stdout_contains("hello from ");
        }
    }
    let to: Vec<_> = lab.connections().all().iter().map(|conn| conn.to.ip()).collect();
    assert!(to.contains(&hosts::v4("allowed.test").into()) && to.contains(&hosts::v6("denied.test").into()));
    assert!(lab.requests().all().iter().any(|request| request.sni.as_deref() == Some("denied.test")));
}

#[test]
fn the_dns_server_answers_over_udp_and_tcp_and_remembers() {
    let lab = Lab::new();
    lab.bare().run(&["dig", "+short", "allowed.test", "AAAA"]).ok().stdout_is("2001:db8:2::10\n");
    lab.bare().run(&["dig", "+tcp", "+short", "alias.test", "A"]).ok().stdout_contains("203.0.113.10");
    lab.bare().run(&["dig", "nothing.test"]).ok().stdout_contains("NXDOMAIN");
    lab.bare().run(&["dig", "v6only.test", "A"]).ok().stdout_contains("NOERROR");
    let queries = lab.queries().all();
    let seen: Vec<_> = queries.iter().map(|q| (q.name.as_str(), q.kind.as_str(), q.tcp)).collect();
    assert!(seen.contains(&("allowed.test", "AAAA", false)) && seen.contains(&("alias.test", "A", true)));
}

#[test]
fn an_address_nobody_named_reaches_the_world() {
    let lab = Lab::new();
    // Refused by the world's kernel, not unreachable: the packet arrived.
    let script = "exec 3<>/dev/tcp/203.0.113.199/9";
    lab.bare().sh(script).fails().stderr_contains("Connection refused");
    lab.bare().sh("exec 3<>/dev/tcp/2001:db8:77::1/9").fails().stderr_contains("Connection refused");
}

#[test]
fn the_raw_port_speaks_first_and_echoes() {
    let lab = Lab::new();
    let script = format!(
        "exec 3<>/dev/tcp/allowed.test/{}; read -r line <&3; echo \"$line\"; echo ping >&3; head -n1 <&3",
        tcp::PORT
    );
    lab.bare().sh(&script).ok().stdout_contains(tcp::BANNER.trim_end()).stdout_contains("ping");
}

#[test]
fn large_bodies_and_http2_work() {
    let lab = Lab::new();
    let out =
        lab.bare().sh("curl -sS --http2 -w '%{http_version}' https://allowed.test/bytes/3000000 | wc -c");
    out.ok().stdout_is("3000001\n");
    let upload = lab.bare().stdin(vec![7; 2_000_000]);
    upload
        .run(&["curl", "-sS", "--data-binary", "@-", "https://allowed.test/upload"])
        .ok()
        .stdout_is("2000000\n");
}

#[test]
fn events_come_one_by_one() {
    let lab = Lab::new();
    let run = lab.bare();
    let stream = run.spawn(&["curl", "-sSN", "https://allowed.test/events"]);
    assert!(lab.requests().wait_for(SOON, |request| request.path == "/events").is_some());
    run.run(&["curl", "-sS", "https://allowed.test/events/next"]).ok().stdout_is("1\n");
    stream.wait_for_stdout("data: tick", SOON);
}

#[test]
fn a_run_that_hangs_is_killed_and_fails() {
    let lab = Lab::new();
    let run = lab.bare().limit(Duration::from_millis(300));
    let hang = std::panic::AssertUnwindSafe(|| run.run(&["sleep", "1000"]));
    assert!(std::panic::catch_unwind(hang).is_err());
}

#[test]
fn a_lab_leaves_nothing_on_disk() {
    let lab = Lab::new();
    let root = lab.dir().root().to_owned();
    assert!(root.exists());
    drop(lab);
    assert!(!root.exists());
}
