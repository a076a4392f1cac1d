//! The audit record as a reader finds it in the file.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::{Value, json};

use super::*;
use crate::policy::Reason;

/// A directory of its own, removed at the end of the test.
pub(in crate::audit) struct TempDir(PathBuf);

impl TempDir {
    pub(in crate::audit) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("awf-audit-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(in crate::audit) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The smallest denial.
pub(in crate::audit) fn denial(host: &str) -> Record {
    Record {
        host: Some(host.to_owned()),
        port: Some(443),
        ..Record::new(EventKind::Connection, Decision::Deny, Reason::NotInAllowlist)
    }
}

fn full() -> Record {
    Record {
        event: EventKind::Request,
        decision: Decision::WouldDeny,
        reason: Reason::PortNotAllowed,
        rule: Some("x.test:22".into()),
        allow_with: Some("--allow-domains x.test".into()),
        ip: Some("2001:db8::1".parse().unwrap()),
        family: Some(6),
        proto: Some("http"),
        method: Some("GET".into()),
        url: Some("http://u:p@x.test/?token=t".into()),
        status: Some(403),
        bytes_up: Some(1),
        bytes_down: Some(2),
        ms: Some(3),
        requests: Some(4),
        process: Some(ProcessInfo {
            pid: 7,
            ppid: Some(6),
            uid: Some(1000),
            comm: "curl".into(),
            exe: Some("/usr/bin/curl".into()),
            argv: Some(vec!["curl".into(), "--token".into(), "s3cret".into()]),
            ancestors: vec!["/bin/bash".into()],
            step: Some("__run".into()),
        }),
        ..denial("x.test")
    }
}

fn lines(sink: &JsonSink) -> Vec<Value> {
    let text = fs::read_to_string(sink.path()).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_field_has_the_name_of_the_format_and_unknown_ones_are_absent() {
    let dir = TempDir::new();
    let sink = JsonSink::create(&dir.path().join("a/b"), "r1", None).unwrap();
    for record in [full(), denial("x.test")] {
        sink.record(sink.next_id(), record);
    }
    let mut lines = lines(&sink);
    for line in &mut lines {
        let at = line.as_object_mut().unwrap().remove("timestamp").unwrap();
        let shape: String =
            at.as_str().unwrap().chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
        assert_eq!(shape, "9999-99-99T99:99:99.999Z");
    }
    assert_eq!(
        lines[0],
        json!({
            "_schema": "audit/v1", "event": "request", "id": "r1-1", "run": "r1", "decision": "would-deny",
            "reason": "port_not_allowed", "rule": "x.test:22", "host": "x.test", "port": 443,
            "ip": "2001:db8::1", "family": 6, "proto": "http", "method": "GET",
            "url": "http://***@x.test/?token=***", "status": 403, "bytes_up": 1, "bytes_down": 2, "ms": 3, "requests": 4,
            "pid": 7, "ppid": 6, "comm": "curl", "exe": "/usr/bin/curl", "argv": ["curl", "--token", "***"],
            "ancestors": ["/bin/bash"], "uid": 1000, "step": "__run",
        })
    );
    assert_eq!(
        lines[1],
        json!({
            "_schema": "audit/v1", "event": "connection", "id": "r1-2", "run": "r1", "decision": "deny",
            "reason": "not_in_allowlist", "host": "x.test", "port": 443,
        })
    );
}

#[test]
fn a_record_is_one_bounded_line_whatever_is_in_it() {
    let dir = TempDir::new();
    let sink = JsonSink::create(dir.path(), "r", None).unwrap();
    let hostile = "\n\r\0\u{1b}\"\\\u{2028}é".repeat(2000);
    let mut record = full();
    record.host = Some(hostile.clone());
    record.method = Some(hostile.clone());
    record.url = Some(hostile.clone());
    record.rule = Some(hostile.clone());
    record.process = Some(ProcessInfo {
        comm: hostile.clone(),
        exe: Some(hostile.clone()),
        argv: Some(vec![hostile.clone(); 50]),
        ancestors: vec![hostile; 50],
        ..ProcessInfo::default()
    });
    sink.record(sink.next_id(), record);
    let text = fs::read(sink.path()).unwrap();
    assert_eq!(text.iter().filter(|b| **b < 0x20).count(), 1, "only the line feed at the end is a control");
    assert!(text.len() < 128 << 10, "{}", text.len());
    let line = &lines(&sink)[0];
    assert!(line["url"].as_str().unwrap().ends_with("...[cut]"));
    assert_eq!(line["argv"][1], "...[49 more]");
    assert_eq!(line["ancestors"].as_array().unwrap().len(), bound::ANCESTORS);
}

#[test]
fn records_of_many_threads_are_whole_lines_with_their_own_ids() {
    const EACH: usize = 200;
    let dir = TempDir::new();
    // Two runs into one file, as two `exec --audit-dir D` at once are.
    let sinks = [JsonSink::create(dir.path(), "r1", None), JsonSink::create(dir.path(), "r2", None)];
    let sinks = sinks.map(Result::unwrap);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let sink = &sinks[thread % 2];
            scope.spawn(move || {
                for n in 0..EACH {
                    sink.record(sink.next_id(), denial(&format!("h{n}.test")));
                }
            });
        }
    });
    let lines = lines(&sinks[0]);
    let ids: std::collections::HashSet<_> = lines.iter().map(|line| line["id"].to_string()).collect();
    assert_eq!((lines.len(), ids.len()), (8 * EACH, 8 * EACH));
    assert_eq!(sinks[0].summary().denied, 4 * EACH as u64);
    assert!(sinks[0].is_keeping());
    sinks[0].finish().unwrap();
}

#[test]
fn a_file_taken_away_during_the_run_is_reported() {
    let dir = TempDir::new();
    let sink = JsonSink::create(dir.path(), "r", None).unwrap();
    sink.record(sink.next_id(), denial("x.test"));
    fs::rename(sink.path(), dir.path().join("elsewhere")).unwrap();
    fs::write(sink.path(), "forged\n").unwrap();
    assert!(matches!(sink.finish(), Err(AuditError::Replaced(_))));
}
