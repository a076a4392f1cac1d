//! One client in one run of `awf-bpf exec`, as a user would start it; and what the run's record says of it.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    io::{self, Read},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};
use serde_json::Value;

use super::{
    DoctorError, Trial,
    clients::{self, Client},
    origin::Origin,
};
use crate::ca::Bundle;

/// How long a client may take.
const TIME: Duration = Duration::from_secs(30);
/// And awf-bpf itself, to end it: twice what it gives a command after SIGTERM.
const MARGIN: Duration = Duration::from_secs(20);
/// How long the versions of all may take.
const LOOK_TIME: Duration = Duration::from_secs(120);
/// Bytes kept of what a run said.
const SAID: usize = 8 << 10;
/// awf-bpf's own failure.
const SETUP: i32 = 125;

/// Runs clients.
pub(super) struct Doctor<'a> {
    place: &'a Path,
    port: u16,
    exe: PathBuf,
    flags: &'a [String],
    /// Who vouches for the origin.
    root: PathBuf,
}

/// What a run left behind.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl<'a> Doctor<'a> {
    pub(super) fn new(place: &'a Path, origin: &Origin, flags: &'a [String]) -> Result<Self, DoctorError> {
        let root = place.join("root.pem");
        let exe = std::env::current_exe().map_err(DoctorError::Start)?;
        let failed = |source| DoctorError::File { path: root.clone(), source };
        let mut bundle = Bundle::default();
        bundle.add([origin.authority.certificate()]);
        fs::write(&root, bundle.pem()).map_err(failed)?;
        Ok(Self { place, port: origin.port, exe, flags, root })
    }

    /// Of those that are installed, by their number.
    pub(super) fn versions(&self) -> Result<BTreeMap<usize, String>, DoctorError> {
        let ran = self.run("versions", LOOK_TIME, &[], &clients::look())?;
        if ran.code != Some(0) {
            return Err(DoctorError::Exec(ran.stderr));
        }
        let known = ran.stdout.lines().filter_map(|line| {
            let (number, version) = line.split_once(' ')?;
            Some((number.parse().ok()?, version.to_owned()))
        });
        Ok(known.filter(|(_, version)| !version.is_empty()).collect())
    }

    /// What becomes of `client` on an address family.
    pub(super) fn try_client(
        &self,
        number: usize,
        client: &Client,
        family: u8,
    ) -> Result<Trial, DoctorError> {
        let port = self.port;
        let host = if family == 4 { "127.0.0.1" } else { "[::1]" };
        let variables = [
            format!("URL=https://{host}:{port}"),
            format!("NAMED=https://localhost:{port}"),
            format!("FAMILY={family}"),
        ];
        let name = format!("{number}-{family}");
        let ran = self.run(&name, TIME, &variables, &clients::fetch(client))?;
        if ran.code == Some(SETUP) {
            return Err(DoctorError::Exec(ran.stderr));
        }
        let path = self.place.join(name).join("audit.jsonl");
        let text = fs::read_to_string(&path).map_err(|source| DoctorError::File { path, source })?;
        let records: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok(judge(&records, family, &ran))
    }

    fn run(
        &self,
        name: &str,
        time: Duration,
        variables: &[String],
        script: &str,
    ) -> Result<Ran, DoctorError> {
        let mut command = Command::new(&self.exe);
        // The address family is the client's choice only where no proxy is named to it.
        command.args([
            "exec",
            "--tls",
            "on",
            "--proxy-env",
            "none",
            "--log-level",
            "warn",
            "--summary",
            "never",
        ]);
        command.arg("--allow-host-ports").arg(self.port.to_string());
        command.arg("--agent-timeout").arg(format!("{}s", time.as_secs()));
        command.arg("--audit-dir").arg(self.place.join(name)).args(self.flags);
        command.args(variables.iter().flat_map(|pair| ["-e", pair]));
        command.args(["--", "bash", "-c", script]);
        // Nobody but awf-bpf vouches for the origin: this is read there, and merged into what the client is given.
        command.env("SSL_CERT_FILE", &self.root);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(DoctorError::Start)?;
        let said = [tail(child.stdout.take()), tail(child.stderr.take())];
        let code = wait(&mut child, time + MARGIN).map_err(DoctorError::Start)?;
        let [stdout, stderr] = said.map(|said| said.join().unwrap_or_default());
        Ok(Ran { code, stdout, stderr })
    }
}

/// Waits for its end, and ends it when it takes too long: awf-bpf dies then, and all of its run with it.
fn wait(child: &mut Child, time: Duration) -> io::Result<Option<i32>> {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: 0 };
    let pidfd = pidfd.as_fd();
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    if poll(&mut fds, Some(&time)) == Ok(0) {
        child.kill()?;
    }
    Ok(child.wait()?.code())
}

/// The end of what `stream` says, read whole so that nobody waits for us.
fn tail(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let (mut kept, mut buffer) = (VecDeque::new(), [0; 4096]);
        if let Some(mut stream) = stream {
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                kept.extend(&buffer[..count]);
                kept.drain(..kept.len().saturating_sub(SAID));
            }
        }
        String::from_utf8_lossy(kept.make_contiguous()).into_owned()
    })
}

/// What the records say: a request inside is trust, whatever became of it then.
fn judge(records: &[Value], family: u8, ran: &Ran) -> Trial {
    let ours = |record: &&Value| record["host"] == "localhost" && record["event"] != "dns";
    let asked = |record: &Value| {
        record["event"] == "request" && record["decision"] == "allow" && record["proto"] == "https"
    };
    let here = |record: &Value| record["family"] == family;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let ours: Vec<_> = records.iter().filter(ours).collect();
    if ours.iter().any(|record| asked(record) && here(record) && record["reason"] == "allowed") {
        return Trial { ok: true, result: "ok".into(), ..Trial::default() };
    }
    let worse = |record: &&&Value| here(record) && record["reason"] != "allowed";
    let left = ours.iter().filter(worse).max_by_key(|record| record["tls_alert"].is_string());
    if let Some(left) = left {
        return Trial {
            ok: false,
            result: text(&left["reason"]).unwrap_or_default(),
            tls_alert: text(&left["tls_alert"]),
            detail: text(&left["detail"]).or_else(|| last_line(ran)),
        };
    }
    if ours.iter().any(|record| asked(record)) {
        // It chose the other family by itself, and trusts the CA.
        return Trial { ok: true, result: "other family".into(), ..Trial::default() };
    }
    let result = if ran.code == Some(124) { "no answer" } else { "nothing asked" };
    Trial { ok: false, result: result.into(), tls_alert: None, detail: last_line(ran) }
}

/// What the client itself said.
fn last_line(ran: &Ran) -> Option<String> {
    let lines =
        ran.stderr.lines().rev().filter(|line| !line.trim().is_empty() && !line.starts_with("awf-bpf: "));
    let line = lines.take(1).next()?.chars().take(200).collect::<String>();
    Some(format!("it said: {}", line.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(records: &[&str]) -> Trial {
        let records: Vec<_> = records.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        let ran = Ran { code: Some(1), stdout: String::new(), stderr: "x\nawf-bpf: y\n".into() };
        judge(&records, 6, &ran)
    }

    #[test]
    fn a_request_inside_is_trust_and_nothing_else_is() {
        let asked = r#"{"event":"request","host":"localhost","decision":"allow","reason":"allowed","proto":"https","family":6}"#;
        let left = r#"{"event":"connection","host":"localhost","decision":"deny","reason":"tls_untrusted","tls_alert":"unknown_ca","detail":"d","family":6}"#;
        assert!(judged(&[left, asked]).ok);
        let refused = judged(&[left]);
        assert_eq!(
            (refused.ok, &*refused.result, refused.detail.as_deref()),
            (false, "tls_untrusted", Some("d"))
        );
        assert_eq!(refused.tls_alert.as_deref(), Some("unknown_ca"));
        for other in [
            "\"proto\":\"http\"",
            "\"decision\":\"deny\"",
            "\"host\":\"other.test\"",
            "\"event\":\"connection\"",
        ] {
            let (key, _) = other.split_once(':').unwrap();
            let mut record: Value = serde_json::from_str(asked).unwrap();
            let value: Value = serde_json::from_str(&format!("{{{other}}}")).unwrap();
            record[key.trim_matches('"')] = value[key.trim_matches('"')].clone();
            assert!(!judged(&[&record.to_string()]).ok, "{other}");
        }
        assert_eq!(judged(&[&asked.replace("\"family\":6", "\"family\":4")]).result, "other family");
        let nothing = judged(&[]);
        assert_eq!((&*nothing.result, nothing.detail.as_deref()), ("nothing asked", Some("it said: x")));
    }
}
