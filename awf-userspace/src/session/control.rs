//! The socket by which a run that goes on is spoken to: `/run/awf-bpf/<run>/control`, of root alone. One request a
//! connection, a line of JSON; the answer is another one. When the connection ends after the answer to `detach`, so has
//! the daemon.

use std::{
    fs::Permissions,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream as Connection},
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};

use super::{
    attach,
    live_rules::{RulesReply, RulesRequest},
    state::STATE,
};
use crate::audit::{JsonSink, ProcessInfo};

/// The socket's name in the run's directory.
const NAME: &str = "control";
/// Longest line in either direction, in bytes.
const LONGEST: u64 = 4 << 20;
/// How long a request may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many are listened to at once.
const MOST: usize = 16;

/// What may be asked of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// What has become of it so far.
    Show {},
    /// End it, with the enforcement.
    Detach {},
    /// About its rules.
    Policy(RulesRequest),
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Shown(Shown),
    /// It has ended, and nothing of it is left.
    Detached {},
    Policy(RulesReply),
    /// It could not be done, and why.
    Error(String),
}

/// The numbers of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    pub allowed: u64,
    pub denied: u64,
    /// The audit file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<PathBuf>,
    /// The process that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemon: Option<u32>,
}

impl Shown {
    pub(super) fn of(audit: &JsonSink) -> Self {
        let summary = audit.summary();
        Self {
            allowed: summary.allowed,
            denied: summary.denied,
            audit: Some(audit.path().to_owned()),
            daemon: Some(std::process::id()),
        }
    }
}

/// Why a run could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("it cannot be spoken to ({path}): {source}")]
    Socket { path: PathBuf, source: io::Error },
    #[error("its answer cannot be read: {0}")]
    Answer(#[source] serde_json::Error),
    #[error("it gave no answer")]
    Silent,
    #[error("{0}")]
    Refused(String),
}

/// Asks run `id`, for at most `patience`.
///
/// # Errors
///
/// When nobody answers in time, or the answer is an error.
pub fn ask(id: &str, request: &Request, patience: Duration) -> Result<Reply, ControlError> {
    let path = Path::new(STATE).join(id).join(NAME);
    let failed = |source| ControlError::Socket { path: path.clone(), source };
    let mut stream = UnixStream::connect(&path).map_err(failed)?;
    stream.set_read_timeout(Some(patience)).map_err(failed)?;
    stream.set_write_timeout(Some(patience)).map_err(failed)?;
    let mut line = serde_json::to_vec(request).map_err(ControlError::Answer)?;
    line.push(b'\n');
    stream.write_all(&line).map_err(failed)?;
    let mut reader = BufReader::new(stream.take(LONGEST));
    let mut answer = Vec::new();
    reader.read_until(b'\n', &mut answer).map_err(failed)?;
    if answer.is_empty() {
        return Err(ControlError::Silent);
    }
    let reply = serde_json::from_slice(&answer).map_err(ControlError::Answer)?;
    if let Reply::Error(why) = reply {
        return Err(ControlError::Refused(why));
    }
    if reply == (Reply::Detached {}) {
        // It is gone when its end of the connection is.
        let _ = reader.read(&mut [0]);
    }
    Ok(reply)
}

/// A request, and who waits for the answer.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) peer: ProcessInfo,
    pub(super) reply: oneshot::Sender<Reply>,
}

/// Makes the socket in a run's directory. Must run inside the runtime.
///
/// # Errors
///
/// When it cannot be made.
pub(super) fn listen(dir: &Path) -> Result<UnixListener, ControlError> {
    let path = dir.join(NAME);
    let listener = UnixListener::bind(&path);
    listener
        .and_then(|listener| {
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).map(|()| listener)
        })
        .map_err(|source| ControlError::Socket { path, source })
}

/// Answers that were written and whose connection stays open to the end.
static WRITTEN: tokio::sync::Notify = tokio::sync::Notify::const_new();

/// Waits until the answer to `detach` was written, or could not be.
pub(super) async fn written() {
    let _ = timeout(PATIENCE, WRITTEN.notified()).await;
}

/// Hands what is asked to `asked`, for as long as somebody takes it.
pub(super) async fn serve(listener: UnixListener, asked: mpsc::Sender<Asked>) {
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else { continue };
        let asked = asked.clone();
        tokio::spawn(async move {
            converse(stream, asked).await;
            drop(place);
        });
    }
}

async fn converse(mut stream: Connection, asked: mpsc::Sender<Asked>) {
    // The directory is root's alone; what is passed out of it is not.
    let Ok(peer) = stream.peer_cred() else { return };
    if peer.uid() != 0 {
        return;
    }
    let peer = described(peer.pid());
    let reply = match timeout(PATIENCE, read(&mut stream)).await {
        Ok(Ok(request)) => {
            if let Some(run) = changes(&request).then(|| attach::behind(peer.pid)).flatten() {
                let why =
                    format!("who is behind a run ({run}) of awf-bpf changes none: ask from another login");
                return answer(stream, &Reply::Error(why)).await;
            }
            let (reply, answer) = oneshot::channel();
            if asked.send(Asked { request, peer, reply }).await.is_err() {
                return;
            }
            answer.await.unwrap_or_else(|_| Reply::Error("the run is ending".into()))
        }
        Ok(Err(e)) => Reply::Error(format!("the request cannot be read: {e}")),
        Err(_elapsed) => Reply::Error(format!("the request did not come within {PATIENCE:?}")),
    };
    answer(stream, &reply).await;
}

/// Root is root, but for the root of a sandbox that has no capabilities: it shall not let itself out.
fn changes(request: &Request) -> bool {
    match request {
        Request::Show {} | Request::Policy(RulesRequest::Show {}) => false,
        Request::Detach {} | Request::Policy(RulesRequest::Edit { .. }) => true,
    }
}

async fn answer(mut stream: Connection, reply: &Reply) {
    let Ok(mut line) = serde_json::to_vec(reply) else { return };
    line.push(b'\n');
    let _ = timeout(PATIENCE, stream.write_all(&line)).await;
    if *reply == (Reply::Detached {}) {
        // Closed by the end of this process.
        std::mem::forget(stream);
        WRITTEN.notify_one();
    }
}

/// Who asks, for the record.
fn described(pid: Option<i32>) -> ProcessInfo {
    let pid = pid.and_then(|pid| u32::try_from(pid).ok()).unwrap_or_default();
    let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned();
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).ok().map(|exe| exe.display().to_string());
    ProcessInfo { pid, uid: Some(0), comm, exe, ..ProcessInfo::default() }
}

async fn read(stream: &mut Connection) -> io::Result<Request> {
    let mut line = Vec::new();
    tokio::io::BufReader::new(stream.take(LONGEST)).read_until(b'\n', &mut line).await?;
    serde_json::from_slice(&line).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_what_they_look_like() {
        let read = |text| serde_json::from_str::<Request>(text).ok();
        assert_eq!(read(r#"{"show":{}}"#), Some(Request::Show {}));
        assert_eq!(read(r#"{"detach":{}}"#), Some(Request::Detach {}));
        let edit = r#"{"policy":{"edit":{"list":"allow","remove":false,"entries":["x.test"]}}}"#;
        assert!(matches!(read(edit), Some(Request::Policy(RulesRequest::Edit { .. }))));
        for wrong in ["", "{}", r#"{"show":{"a":1}}"#, r#"{"open":{}}"#, r#""show""#, "[]"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
