//! What is made of each way to leave, without a process that lives: then what it read cannot be looked at.

use std::ffi::OsString;

use super::*;
use crate::{audit::ProcessInfo, ca::Setting};

/// Keeps what it is handed.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Record>>);

impl Recorder for Kept {
    fn next_id(&self) -> EventId {
        EventId::new("run", 1)
    }

    fn record(&self, _: EventId, record: Record) {
        self.0.lock().unwrap().push(record);
    }
}

/// A run in which nothing is amiss.
struct Run(Diagnosis<Kept>);

impl Run {
    fn new(settings: Vec<Setting>, files: bool) -> Self {
        let set = |name: &str| (OsString::from(name), OsString::from("/run/awf-bpf/tls/bundle.pem"));
        let variables = ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"].map(set).into();
        let environments = Arc::new(Environments::new(variables));
        let facts = Facts { environments, settings, files, key_pin: "PIN".into() };
        Self(Diagnosis::new(Arc::default(), Some(facts)))
    }

    /// What is recorded of the program `exe`, pid `pid`, that left `host`.
    fn left(&self, exe: &str, pid: u32, host: &str, how: &'static str, decision: Decision) -> Record {
        let record = Record {
            tls_alert: Some(how),
            ..self.of(EventKind::Connection, decision, Reason::TlsUntrusted, (exe, pid), host)
        };
        self.0.record(EventId::new("run", 2), record);
        self.0.recorder.0.lock().unwrap().pop().unwrap()
    }

    fn asked(&self, exe: &str, pid: u32, host: &str) {
        let record = self.of(EventKind::Request, Allow, Reason::Allowed, (exe, pid), host);
        self.0.record(EventId::new("run", 1), Record { proto: Some("https"), ..record });
    }

    fn of(
        &self,
        event: EventKind,
        decision: Decision,
        reason: Reason,
        (exe, pid): (&str, u32),
        host: &str,
    ) -> Record {
        let process = ProcessInfo { pid, exe: Some(exe.into()), ..ProcessInfo::default() };
        let (host, port) = (Some(host.into()), Some(443));
        Record { host, port, process: Some(process), ..Record::new(event, decision, reason) }
    }
}

use Decision::{Allow, Deny};
const CURL: &str = "/usr/bin/curl";

#[test]
fn who_leaves_in_silence_is_believed_once() {
    let run = Run::new(vec![], true);
    let left = || run.left(CURL, 0, "a.test", "closed", Allow);
    let first = left();
    assert_eq!((first.reason, first.tls_alert, first.detail), (Reason::NothingSent, Some("closed"), None));
    let again = left();
    assert_eq!((again.reason, again.allow_with), (Reason::TlsPinned, Some("--tls-exclude a.test".into())));
    assert!(again.detail.unwrap().contains("again and again"));
    run.asked(CURL, 0, "a.test");
    let advance = left();
    assert_eq!((advance.reason, advance.tls_alert), (Reason::NothingSent, None), "it asked there before");
}

#[test]
fn who_trusts_others_and_refuses_one_pins() {
    for (how, decision) in [("closed", Allow), ("bad_certificate", Deny), ("certificate_unknown", Deny)] {
        let run = Run::new(vec![], true);
        assert_ne!(run.left(CURL, 0, "b.test", how, decision).reason, Reason::TlsPinned, "nothing is known");
        run.asked(CURL, 0, "a.test");
        let pinned = run.left(CURL, 0, "b.test", how, decision);
        assert_eq!(pinned.reason, Reason::TlsPinned, "{how}");
        let detail = pinned.detail.unwrap();
        assert!(detail.contains("curl takes the run's CA for other hosts"), "{detail}");
        assert!(detail.contains("--tls-exclude b.test"), "{detail}");
    }
    let run = Run::new(vec![], true);
    run.asked(CURL, 0, "a.test");
    let unknown = run.left(CURL, 0, "b.test", "unknown_ca", Deny);
    assert_eq!(unknown.reason, Reason::TlsUntrusted, "the alert says that it is the CA");
}

/// Another script of the same interpreter trusts whom it likes.
#[test]
fn an_interpreter_is_known_by_its_process() {
    let run = Run::new(vec![], true);
    run.asked("/usr/bin/python3.11", 4_000_001, "a.test");
    let other = run.left("/usr/bin/python3.11", 4_000_002, "b.test", "bad_certificate", Deny);
    assert_eq!(other.reason, Reason::TlsUntrusted);
    let same = run.left("/usr/bin/python3.11", 4_000_001, "b.test", "bad_certificate", Deny);
    assert_eq!(same.reason, Reason::TlsPinned);
}

#[test]
fn what_beats_its_variables_is_named() {
    let path = "/home/u/.curlrc".into();
    let run = Run::new(vec![Setting { path, line: 3, name: "cacert", program: "curl" }], true);
    let detail = run.left(CURL, 0, "a.test", "unknown_ca", Deny).detail.unwrap();
    assert!(detail.starts_with("/home/u/.curlrc:3: cacert is all that curl trusts"), "{detail}");
    let detail = run.left("/usr/bin/wget", 0, "a.test", "unknown_ca", Deny).detail.unwrap();
    assert!(detail.contains("wget reads the machine's files"), "{detail}");
    let detail = run.left("/opt/agent", 0, "a.test", "unknown_ca", Deny).detail.unwrap();
    assert!(detail.contains("what agent reads is not known"), "{detail}");
    let browser = run.left("/usr/bin/chromium", 0, "a.test", "certificate_unknown", Deny);
    assert!(browser.detail.unwrap().contains("--ignore-certificate-errors-spki-list=PIN"));
}

#[test]
fn without_a_root_the_machines_files_are_not_ours() {
    let run = Run::new(vec![], false);
    let detail = run.left("/usr/bin/wget", 0, "a.test", "closed", Deny).detail.unwrap();
    assert!(detail.contains("which --chroot off leaves as they are"), "{detail}");
    let detail = run.left("/usr/bin/php8.2", 0, "a.test", "unknown_ca", Deny).detail.unwrap();
    assert!(
        detail.contains("--chroot off leaves the machine's files as they are: leave that out"),
        "{detail}"
    );
    let detail = run.left("/usr/bin/java", 0, "a.test", "certificate_unknown", Deny).detail.unwrap();
    assert!(detail.contains("-Djavax.net.ssl.trustStore=/run/awf-bpf/tls/cacerts.jks"), "{detail}");
}

/// The policy's word stays; a flag that lifts it is no flag of ours.
#[test]
fn a_refusal_stays_what_it_is() {
    let run = Run::new(vec![], true);
    let (process, host) = ((CURL, 0), "denied.test");
    let denied = run.of(EventKind::Connection, Deny, Reason::NotInAllowlist, process, host);
    run.0.record(EventId::new("run", 1), Record { tls_alert: Some("unknown_ca"), ..denied });
    let record = run.0.recorder.0.lock().unwrap().pop().unwrap();
    assert_eq!((record.reason, record.allow_with), (Reason::NotInAllowlist, None));
}

/// The command's words and numbers cost no more than they are worth.
#[test]
fn what_is_remembered_is_bounded() {
    let run = Run::new(vec![], true);
    for number in 0..2000 {
        run.asked(&format!("/bin/{number}"), 0, "a.test");
        run.asked(CURL, 0, &format!("{number}.test"));
        run.left(CURL, 0, &format!("left-{number}.test"), "closed", Allow);
    }
    let known = run.0.known.lock().unwrap();
    let text = format!("{known:?}");
    assert!(text.len() < 100_000, "{}", text.len());
}
