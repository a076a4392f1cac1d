//! The audit record: one for each connection, with the process that made it, and no secret in it.

use std::{collections::HashSet, net::IpAddr, os::unix::fs::PermissionsExt};

use harness::{Lab, Output, hosts, workdir::UID};
use serde_json::Value;

fn connections(out: &Output, host: &str) -> Vec<Value> {
    out.records(&[("event", "connection".into()), ("host", host.into())])
}

fn text<'a>(record: &'a Value, field: &str) -> &'a str {
    record[field].as_str().unwrap_or_else(|| panic!("no text {field:?} in {record:#}"))
}

#[test]
fn every_connection_has_exactly_one_record() {
    let lab = Lab::new();
    let script = "for i in 1 2 3 4 5; do curl -sS -o /dev/null \"$1\"; done";
    for url in ["https://allowed.test/", "http://allowed.test/"] {
        for run in [lab.awf(), lab.awf().no_proxy_env()] {
            let out = run.allow("allowed.test").run(&["bash", "-c", script, "bash", url]);
            let found = connections(out.ok(), "allowed.test").len();
            out.check(found == 5, || format!("5 connection records, not {found}"));
        }
    }
}

#[test]
fn requests_on_one_kept_alive_connection_are_one_connection() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test").no_proxy_env();
    let out = run.run(&["curl", "-sS", "http://allowed.test/status/200", "http://allowed.test/status/404"]);
    out.ok().check(connections(&out, "allowed.test").len() == 1, || "one connection".into());
    let requests = out.records(&[("event", "request".into())]);
    let statuses: Vec<_> = requests.iter().map(|request| request["status"].as_u64()).collect();
    out.check(statuses == [Some(200), Some(404)], || format!("two requests, not {statuses:?}"));
    assert!(text(&requests[0], "url").ends_with("/status/200") && text(&requests[0], "method") == "GET");
}

#[test]
fn a_record_says_who_what_where_and_how_much() {
    let lab = Lab::new();
    // Inside a root of its own processes have other numbers than the record, which has the machine's.
    let run = lab.awf().machine_files().allow("allowed.test").no_proxy_env();
    let script = "echo $$; curl -sS -6 -o /dev/null https://allowed.test/bytes/100000; true";
    let out = run.run(&["bash", "-c", script]);
    let records = connections(out.ok(), "allowed.test");
    let [record] = records.as_slice() else { panic!("one connection\n{out}") };
    let shell: u64 = out.stdout().trim().parse().expect("the shell's pid");
    assert_eq!(text(record, "_schema"), "audit/v1");
    assert_eq!((text(record, "decision"), text(record, "reason")), ("allow", "allowed"));
    assert_eq!((text(record, "rule"), text(record, "proto")), ("allowed.test", "tls"));
    assert_eq!((record["port"].as_u64(), record["family"].as_u64()), (Some(443), Some(6)));
    let ip: IpAddr = text(record, "ip").parse().expect("the address that was dialled");
    assert!(hosts::host("allowed.test").addrs().any(|addr| addr == ip), "{record:#}");
    assert!(
        record["bytes_down"].as_u64() > Some(100_000) && record["bytes_up"].as_u64() > Some(100),
        "{record:#}"
    );
    assert!(record["ms"].is_u64(), "{record:#}");
    assert_eq!(record["ppid"].as_u64(), Some(shell));
    assert_ne!(record["pid"].as_u64(), Some(shell));
    assert_eq!(record["uid"].as_u64(), Some(u64::from(UID)));
    assert!(text(record, "exe").ends_with("/curl"));
    assert_eq!(record["argv"][0], "curl");
    assert_eq!(record["argv"][5], "https://allowed.test/bytes/100000");
    assert!(record["ancestors"][0].as_str().is_some_and(|exe| exe.ends_with("/bash")), "{record:#}");
}

#[test]
fn a_process_that_lived_a_millisecond_is_named() {
    let lab = Lab::new();
    let load = lab.dir().install(env!("CARGO_BIN_EXE_load").as_ref());
    let load = load.to_str().expect("the lab's paths are UTF-8");
    let script = "for i in $(seq 40); do \"$1\" dial 203.0.113.20:443 $i; done";
    let run = lab.awf().allow("allowed.test").no_proxy_env();
    let out = run.run(&["bash", "-c", script, "bash", load]);
    let records = out.ok().records(&[("event", "connection".into())]);
    let named: HashSet<_> = records
        .iter()
        .filter(|record| record["exe"] == load)
        .filter_map(|record| record["argv"][3].as_str().map(str::to_owned))
        .collect();
    out.check(named.len() == 40, || {
        format!("40 named processes, not {} in {} records", named.len(), records.len())
    });
}

#[test]
fn a_query_is_named_over_udp_and_tcp() {
    let lab = Lab::new();
    let run = || lab.awf().allow("allowed.test");
    for (server, host_network) in
        [("@203.0.113.53", false), ("@2001:db8:2::53", false), ("@127.0.0.1", false), ("@203.0.113.53", true)]
    {
        for transport in ["+notcp", "+tcp"] {
            let run = if host_network { run().host_network() } else { run() };
            let out = run.run(&["dig", transport, server, "denied.test"]);
            let records = out.ok().records(&[("event", "dns".into()), ("host", "denied.test".into())]);
            let [record] = records.as_slice() else { panic!("one record\n{out}") };
            assert!(text(record, "exe").ends_with("/dig"), "{record:#}");
            assert_eq!((&record["argv"][1], record["uid"].as_u64()), (&transport.into(), Some(UID.into())));
            out.stderr_contains("Blocked: denied.test (not in allowlist), once by dig");
        }
    }
    let out = run().run(&["dig", "+short", "+tcp", "allowed.test"]);
    let records = out.ok().records(&[("event", "dns".into()), ("host", "allowed.test".into())]);
    assert!(records.len() == 1 && text(&records[0], "exe").ends_with("/dig"), "{out}");
    lab.assert_untouched("denied.test");
}

#[test]
fn a_look_up_of_both_families_is_blocked_once_and_recorded_twice() {
    let lab = Lab::new();
    let out = lab.awf().allow("allowed.test").no_proxy_env().run(&["curl", "-sS", "https://denied.test/"]);
    out.fails()
        .stderr_contains("0 allowed, 1 blocked")
        .stderr_contains("Blocked: denied.test (not in allowlist), once by curl");
    let kinds: HashSet<_> = out
        .records(&[("event", "dns".into()), ("comm", "curl".into()), ("host", "denied.test".into())])
        .iter()
        .map(|record| text(record, "method").to_owned())
        .collect();
    assert_eq!(kinds, HashSet::from(["A".to_owned(), "AAAA".to_owned()]), "{out}");
}

#[test]
fn identifiers_are_unique_and_the_run_is_one() {
    let lab = Lab::new();
    let out =
        lab.awf().allow("allowed.test").sh("for i in 1 2 3; do curl -s https://denied.test/ || true; done");
    let records = out.ok().audit();
    let ids: HashSet<_> = records.iter().map(|record| text(record, "id").to_owned()).collect();
    let runs: HashSet<_> = records.iter().map(|record| text(record, "run").to_owned()).collect();
    assert!(ids.len() == records.len() && records.len() >= 3 && runs.len() == 1, "{out}");
    for record in &records {
        let time = text(record, "timestamp");
        assert!(time.len() == "2026-01-01T00:00:00.000Z".len() && time.ends_with('Z'), "{time}");
    }
}

#[test]
fn the_command_can_neither_read_nor_write_its_record() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test");
    let dir = run.audit_dir().display().to_string();
    let script = format!(
        "curl -s https://denied.test/; cat {dir}/audit.jsonl; echo forged >> {dir}/audit.jsonl; rm -rf {dir}; ls {dir}"
    );
    let out = run.run(&["bash", "-c", &script]);
    out.stdout_is("").denied("denied.test", "not_in_allowlist");
    let file = std::fs::metadata(run.audit_dir().join("audit.jsonl")).expect("the record is still there");
    assert_eq!(file.permissions().mode() & 0o777, 0o640);
}

#[test]
fn secrets_in_urls_and_arguments_are_masked() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test").no_proxy_env();
    let url = "http://user:hunter2@allowed.test/?page=7&access_token=hunter2";
    let out =
        run.run(&["curl", "-sS", "-H", "Authorization: Bearer hunter2", "--oauth2-bearer", "hunter2", url]);
    out.ok();
    let file = std::fs::read_to_string(run.audit_dir().join("audit.jsonl")).expect("read the record");
    assert!(!file.contains("hunter2"), "{file}");
    assert!(file.contains("page=7"), "{file}");
}

#[test]
fn bytes_that_would_forge_a_line_do_not() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test").no_proxy_env();
    let argument = "x\n{\"_schema\":\"audit/v1\",\"decision\":\"allow\",\"host\":\"forged.test\"}\n";
    let script = "exec -a \"$1\" curl -sS -A \"$1\" -o /dev/null https://denied.test/";
    let out = run.run(&["bash", "-c", script, "bash", argument]);
    assert!(out.records(&[("host", "forged.test".into())]).is_empty(), "{out}");
    out.fails().denied("denied.test", "not_in_allowlist");
}

/// In a directory of the caller's, who is the command's user, as with `sudo awf-bpf exec --audit-dir logs`.
#[test]
fn a_record_in_the_workspace_is_the_callers_and_not_the_commands() {
    let lab = Lab::new();
    let logs = lab.dir().work().join("some/logs");
    std::fs::create_dir_all(&logs).expect("make it");
    lab.bare().as_root().sh(&format!("chown -R {UID}:{UID} some")).ok();
    let script = "curl -s https://denied.test/ || true; cat some/logs/audit.jsonl; ls some/logs; \
        mv some/logs/audit.jsonl away; echo forged > some/logs/audit.jsonl; \
        mv some/logs away; mv some else && mkdir -p some/logs && echo forged > some/logs/audit.jsonl";
    let uid = UID.to_string();
    let sudo = lab.awf().allow("allowed.test").outer_env("SUDO_UID", &uid).outer_env("SUDO_GID", &uid);
    for (dir, run) in [("some/logs", &sudo), ("new/logs", &sudo), ("some/logs", &sudo.clone().host_network())]
    {
        let out = run.clone().audit_in(dir).run(&["bash", "-c", &script.replace("some/logs", dir)]);
        out.stdout_is("").stderr_lacks("records are gone");
        let text =
            std::fs::read_to_string(lab.dir().work().join(dir).join("audit.jsonl")).expect("it is there");
        out.check(text.contains("denied.test") && !text.contains("forged"), || {
            format!("the record, not {text}")
        });
    }
    // Without a root of its own the name above it may still be changed, which is found out.
    let out = sudo.machine_files().audit_in("some/logs").run(&[
        "bash",
        "-c",
        &script.replace("mv some else", "false"),
    ]);
    out.stdout_is("").stderr_lacks("records are gone");
}
