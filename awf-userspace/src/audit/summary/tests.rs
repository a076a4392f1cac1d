//! The text users see, and the bounds on what a hostile command can put into it.

use super::{
    targets::{KEPT_MAX, LOOKERS_MAX, SHOWN_MAX},
    *,
};
use crate::audit::{ProcessInfo, tests::denial};

fn add(summary: &mut Summary, host: &str, exe: Option<&str>, allow_with: &str) {
    let mut record = denial(host);
    record.allow_with = Some(allow_with.to_owned());
    record.process = exe.map(|exe| ProcessInfo {
        comm: "kernel-name".into(),
        exe: Some(exe.into()),
        ..ProcessInfo::default()
    });
    summary.add(&record);
}

#[test]
fn names_what_how_often_by_whom_and_the_flag_to_paste() {
    let mut summary = Summary { kernel_drops: 2, ..Summary::default() };
    let mut allowed = denial("ok.test");
    allowed.decision = Decision::Allow;
    summary.add(&allowed);
    add(&mut summary, "b.test", Some("/usr/bin/curl"), "--allow-domains b.test");
    add(&mut summary, "a.test", Some("/usr/bin/curl"), "--allow-domains a.test");
    add(&mut summary, "a.test", Some("/usr/bin/node"), "--allow-domains a.test");
    add(&mut summary, "2001:db8::1", None, "--allow-ip [2001:db8::1]:443");
    assert_eq!(
        summary.text(),
        "awf-bpf: 1 allowed, 4 blocked:\n\
         \x20 - Blocked: a.test:443 (not in allowlist), 2 times by curl, node\n\
         \x20 - Blocked: [2001:db8::1]:443 (not in allowlist), once\n\
         \x20 - Blocked: b.test:443 (not in allowlist), once by curl\n\
         \x20 - 2 packets were dropped by the kernel programs\n\
         To allow them: --allow-domains a.test,b.test --allow-ip '[2001:db8::1]:443'\n"
    );
}

#[test]
fn quiet_when_nothing_was_blocked() {
    let mut summary = Summary::default();
    let mut allowed = denial("ok.test");
    allowed.decision = Decision::Allow;
    summary.add(&allowed);
    allowed.event = EventKind::Dns;
    summary.add(&allowed);
    assert!(!summary.has_findings());
    assert_eq!(summary.text(), "awf-bpf: 1 allowed, 0 blocked.\n");
    summary.lost_records = 1;
    assert!(summary.has_findings());
}

/// Else the firewall is blamed for it.
#[test]
fn what_is_allowed_and_fails_is_told_and_blocks_nothing() {
    let mut summary = Summary::default();
    let mut failed = |host: &str, event, reason| {
        let mut record = denial(host);
        (record.event, record.decision, record.reason) = (event, Decision::Allow, reason);
        summary.add(&record);
    };
    for _ in 0..2 {
        failed("silent.test", EventKind::Connection, Reason::ConnectTimeout);
    }
    failed("expired.test", EventKind::Request, Reason::UpstreamCertificate);
    failed("lost.test", EventKind::Dns, Reason::ResolveFailed);
    failed("idle.test", EventKind::Connection, Reason::IdleTimeout);
    assert!(summary.has_findings() && !summary.may_have_blocked());
    assert_eq!(
        summary.text(),
        "awf-bpf: 4 allowed, 0 blocked:\n\
         \x20 - Allowed, but not reached: silent.test:443 (connect timeout), 2 times\n\
         \x20 - Allowed, but not reached: expired.test:443 (upstream certificate), once\n\
         \x20 - Allowed, but not reached: lost.test:443 (resolve failed), once\n"
    );
    for number in 0..KEPT_MAX + 500 {
        summary.add(&Record {
            decision: Decision::Allow,
            reason: Reason::ConnectFailed,
            ..denial(&number.to_string())
        });
    }
    assert_eq!(summary.unreached.rows.len(), KEPT_MAX);
}

/// Whoever loses the evidence has not proved that nothing was blocked.
#[test]
fn lost_evidence_may_have_been_a_refusal() {
    assert!(!Summary::default().may_have_blocked());
    assert!(Summary { lost_events: 1, ..Summary::default() }.may_have_blocked());
    assert!(Summary { lost_records: 1, ..Summary::default() }.may_have_blocked());
}

#[test]
fn the_queries_of_one_look_up_are_counted_once() {
    let mut summary = Summary::default();
    let mut look = |pid: Option<u32>, kind: &str| {
        let mut record = denial("a.test");
        (record.event, record.port, record.method) = (EventKind::Dns, None, Some(kind.to_owned()));
        record.process = pid.map(|pid| ProcessInfo { pid, comm: "curl".into(), ..ProcessInfo::default() });
        summary.add(&record);
        summary.denied
    };
    assert_eq!((look(Some(1), "A"), look(Some(1), "AAAA")), (1, 1), "glibc");
    assert_eq!((look(Some(2), "AAAA"), look(Some(2), "A"), look(Some(2), "HTTPS")), (2, 2, 2), "a browser");
    assert_eq!((look(Some(1), "AAAA"), look(Some(1), "A")), (3, 3), "again");
    assert_eq!((look(None, "A"), look(None, "AAAA")), (4, 4), "not known who");
    for pid in 0..1000 {
        look(Some(pid), "TXT");
    }
    assert!(summary.blocked.rows.values().all(|row| row.lookups.len() <= LOOKERS_MAX));
    assert!(summary.text().contains("a.test (not in allowlist), "), "{}", summary.text());
    // A connection is one attempt, whoever else made one.
    add(&mut summary, "b.test", Some("/usr/bin/curl"), "--allow-domains b.test");
    add(&mut summary, "b.test", Some("/usr/bin/curl"), "--allow-domains b.test");
    assert!(summary.text().contains("b.test:443 (not in allowlist), 2 times by curl"), "{}", summary.text());
}

/// One refused request is one refusal, whatever else is on record about its connection.
#[test]
fn requests_and_their_connection_are_not_counted_twice() {
    let mut summary = Summary::default();
    let mut record = denial("a.test");
    record.event = EventKind::Request;
    summary.add(&record);
    record.decision = Decision::Allow;
    summary.add(&record);
    record = denial("a.test");
    record.requests = Some(2);
    summary.add(&record);
    assert_eq!((summary.allowed, summary.denied), (1, 1));
    record.requests = None;
    summary.add(&record);
    assert_eq!((summary.allowed, summary.denied), (1, 2), "a refused connection without requests counts");
}

#[test]
fn memory_and_text_are_bounded_and_the_rest_is_counted() {
    let mut summary = Summary::default();
    for n in 0..KEPT_MAX + 500 {
        add(&mut summary, &format!("h{n}.test"), Some("/bin/x"), &format!("--allow-domains h{n}.test"));
    }
    for n in 0..100 {
        add(&mut summary, "h0.test", Some(&format!("/bin/p{n}")), "--allow-domains h0.test");
    }
    let blocked = &summary.blocked;
    assert_eq!((summary.denied, blocked.beyond, blocked.rows.len()), (1600, 500, KEPT_MAX));
    let text = summary.text();
    assert!(text.lines().count() < SHOWN_MAX + 6, "{text}");
    assert!(text.contains("h0.test:443 (not in allowlist), 101 times by p0, p1,"), "{text}");
    assert!(text.contains("- and 980 more targets"), "{text}");
    assert!(text.contains("- and 500 times of targets that are not listed"), "{text}");
}

/// A host or program name must not write to the terminal, nor slip words into the line to paste.
#[test]
fn hostile_names_stay_text() {
    let mut summary = Summary::default();
    add(&mut summary, "\u{1b}[2Jé\n.test", Some("/bin/\u{7}x"), "--allow-domains x;rm -rf $HOME");
    add(&mut summary, "w.test", None, "--allow-domains *.w.test");
    let text = summary.text();
    assert!(text.contains("?[2J??.test:443") && text.contains("by ?x"), "{text}");
    assert!(text.ends_with("To allow them: --allow-domains '*.w.test'\n"), "{text}");
    assert!(text.chars().all(|c| c == '\n' || c == ' ' || c.is_ascii_graphic()));
}

#[test]
fn who_does_not_trust_the_ca_is_one_line_with_its_remedy() {
    let left = |host: &str, decision, reason, detail: &str| Record {
        host: Some(host.into()),
        port: Some(443),
        tls_alert: Some("unknown_ca"),
        detail: Some(detail.into()),
        allow_with: Some(format!("--tls-exclude {host}")),
        process: Some(ProcessInfo { exe: Some("/usr/bin/curl".into()), ..ProcessInfo::default() }),
        ..Record::new(EventKind::Connection, decision, reason)
    };
    let mut summary = Summary::default();
    for host in ["a.test", "b.test", "a.test"] {
        summary.add(&left(host, Decision::Deny, Reason::TlsUntrusted, "curl reads X: do \u{1b}Y"));
    }
    assert_eq!(
        summary.text(),
        "awf-bpf: 0 allowed, 3 blocked:\n  \
         - curl does not trust the CA of this run (unknown_ca), 3 times at a.test:443, b.test:443: curl reads X: do ?Y\n\
         To allow them: --tls-exclude a.test,b.test\n"
    );
    // Nothing was refused, and there is something to read.
    let mut summary = Summary::default();
    summary.add(&left("a.test", Decision::Allow, Reason::TlsPinned, "it pins"));
    assert!(summary.has_findings() && !summary.may_have_blocked());
    assert!(summary.text().contains("1 allowed, 0 blocked:\n  - curl does not take this CA's certificate"));
    for number in 0..10_000 {
        summary.add(&left(
            &format!("{number}.test"),
            Decision::Deny,
            Reason::TlsUntrusted,
            &number.to_string(),
        ));
    }
    assert!(format!("{summary:?}").len() < 60_000 && summary.denied == 10_000);
}
