//! The rules of an attached run, changed while it goes on.

use serde_json::Value;

use super::{Shell, lab};

/// `awf-bpf policy WORDS`.
fn policy(lab: &harness::Lab, words: &[&str]) -> harness::Output {
    lab.awf().subcommand(&[&["policy"], words].concat())
}

#[test]
fn the_rules_of_a_run_change_while_it_goes_on() {
    let lab = lab();
    let shell = Shell::start(&lab);
    let run = shell.attach(&["-d", "allowed.test"]);
    assert_ne!(shell.curl("", "other.test").code, 0);
    policy(&lab, &["allow", "other.test"]).ok();
    assert_eq!(shell.curl("", "other.test").code, 0, "in force when the command has ended");
    assert_eq!(shell.curl("", "allowed.test").code, 0);
    policy(&lab, &["deny", "--run", &run.id, "allowed.test"]).ok();
    assert_ne!(shell.curl("", "allowed.test").code, 0);

    // All or nothing, and the whole truth.
    let refused = policy(&lab, &["allow", "good.test", "*", "https://allowed.test/a/**"]);
    refused.code(1).stderr_contains("would match everything").stderr_contains("--tls on");
    policy(&lab, &["allow", "--remove", "other.test"]).ok();
    policy(&lab, &["deny", "--remove", "allowed.test"]).ok();
    policy(&lab, &["deny", "--remove", "allowed.test"]).code(1).stderr_contains("is no rule of this run");
    assert_ne!(shell.curl("", "other.test").code, 0);
    assert_eq!(shell.curl("", "allowed.test").code, 0);

    let shown = policy(&lab, &["show", "--json"]);
    let shown: Value = serde_json::from_str(&shown.ok().stdout()).expect("JSON");
    assert_eq!(shown["run"], run.id.as_str());
    let rules: Vec<_> = shown["rules"].as_array().expect("a list").iter().map(|row| &row["rule"]).collect();
    assert_eq!(rules, ["allowed.test"], "{shown}");
    assert!(shown["changed"].as_u64() > Some(1_500_000_000), "{shown}");
    let changes: Vec<_> = run.out.audit().into_iter().filter(|record| record["event"] == "policy").collect();
    let said = |n: usize| (changes[n]["rule"].as_str().unwrap(), changes[n]["detail"].as_str().unwrap());
    assert_eq!(changes.len(), 4, "{changes:#?}");
    assert_eq!(said(1), ("allowed.test", "added to the block list"));
    assert!(changes.iter().all(|change| change["uid"] == 0), "{changes:#?}");
}

/// Clear text is judged by its URLs without a look into TLS.
#[test]
fn urls_of_clear_text_are_opened_while_a_run_goes_on() {
    let lab = lab();
    let shell = Shell::start(&lab);
    let run = shell.attach(&["-d", "other.test"]);
    let status = |url: &str| shell.sh(&format!("curl -s -o /dev/null -w '<%{{http_code}}>' {url}")).text;
    assert!(!status("http://allowed.test/bytes/10").contains("<200>"));
    policy(&lab, &["allow", "GET:http://allowed.test/bytes/10"]).ok();
    assert!(status("http://allowed.test/bytes/10").contains("<200>"));
    assert!(status("http://allowed.test/bytes/11").contains("<403>"));
    assert!(status("-X POST http://allowed.test/bytes/10").contains("<403>"));
    let records = run.out.audit();
    let refused =
        records.iter().filter(|record| record["reason"] == "url_not_allowed" && record["event"] == "request");
    assert_eq!(refused.count(), 2, "{records:#?}");
    policy(&lab, &["allow", "--remove", "GET:http://allowed.test/bytes/10"]).ok();
    assert!(!status("http://allowed.test/bytes/10").contains("<200>"));
}

/// Only root asks, of the run that it means.
#[test]
fn who_may_not_is_not_listened_to() {
    let lab = lab();
    let shell = Shell::start(&lab);
    policy(&lab, &["show"]).code(1).stderr_contains("no run goes on").stderr_contains("awf-bpf attach");
    let run = shell.attach(&["-d", "allowed.test"]);
    // Not what is attached itself, be it whom it may: the socket is root's alone.
    let said = shell.sh(&format!(
        "id -u; /usr/bin/python3 -c \"import socket\n\
         socket.socket(socket.AF_UNIX).connect('/run/awf-bpf/{}/control')\"",
        run.id
    ));
    assert!(said.code != 0 && said.text.contains("PermissionError"), "{said:?}");
    assert!(!said.text.starts_with("0\n"), "root may: {said:?}");
    let second = Shell::start(&lab);
    let other = second.attach(&["-d", "other.test"]);
    policy(&lab, &["allow", "x.test"]).code(1).stderr_contains("several runs go on");
    policy(&lab, &["allow", "--run", &run.id, "other.test"]).ok();
    assert_eq!(shell.curl("", "other.test").code, 0);
    assert_ne!(second.curl("", "allowed.test").code, 0, "another run's rules");
    policy(&lab, &["allow", "--run", "0123456789ab", "x.test"])
        .code(1)
        .stderr_contains("there is no such run");
    drop(other);
}
