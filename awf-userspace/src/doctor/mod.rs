//! `awf-bpf doctor`: whether it works here. `--tls`: each client of this machine that is known fetches from a server of our
//! own through a real run, and what that recorded says whether the client took the run's CA.
//!
//! ```text
//! origin   the server
//! clients  who is tried, and how
//! trial    one run of one client
//! health   without --tls: the machine
//! ```

mod clients;
pub mod health;
mod origin;
mod trial;

use std::{fs, io, path::PathBuf, process};

use serde::Serialize;

use self::{clients::CLIENTS, origin::Origin, trial::Doctor};
use crate::{
    ca::{CaError, LeafError},
    session::state::{self, StateError},
};

/// Why nothing could be tried.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    #[error("awf-bpf doctor runs clients behind the firewall, which takes root: sudo awf-bpf doctor --tls")]
    NotRoot,
    #[error("making a network for the test: {0}")]
    Network(#[source] io::Error),
    #[error("listening there: {0}")]
    Listen(#[source] io::Error),
    #[error(transparent)]
    Ca(#[from] CaError),
    #[error(transparent)]
    Leaf(#[from] LeafError),
    #[error("preparing TLS: {0}")]
    Tls(#[source] rustls::Error),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{name} is not a client that doctor knows; those are {}", names().join(", "))]
    Unknown { name: String },
    #[error("starting awf-bpf exec: {0}")]
    Start(#[source] io::Error),
    /// With what it said.
    #[error("awf-bpf exec does not work here:\n{0}")]
    Exec(String),
}

/// What the runs are to be like.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Flags of `exec`.
    pub flags: Vec<String>,
    /// Only these clients, unless it is empty.
    pub only: Vec<String>,
}

/// Those that are tried, if they are installed.
#[must_use]
pub fn names() -> Vec<&'static str> {
    CLIENTS.iter().map(|client| client.name).collect()
}

/// What became of one client on one address family.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Trial {
    pub ok: bool,
    /// In one or two words, for the matrix.
    pub result: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_alert: Option<String>,
    /// Why, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// One client that is installed.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub client: &'static str,
    pub version: String,
    pub ipv4: Trial,
    pub ipv6: Trial,
}

/// The matrix.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub ok: bool,
    pub clients: Vec<Row>,
    /// Clients that are not installed, as the command's user sees the machine.
    pub absent: Vec<&'static str>,
}

/// Tries every client. To be called on the main thread, before there is any other.
///
/// # Errors
/// When nothing can be tried.
pub fn tls(options: &Options, mut progress: impl FnMut(&str)) -> Result<Report, DoctorError> {
    if !rustix::process::geteuid().is_root() {
        return Err(DoctorError::NotRoot);
    }
    let unknown = options.only.iter().find(|name| !names().contains(&name.as_str()));
    if let Some(name) = unknown {
        return Err(DoctorError::Unknown { name: name.clone() });
    }
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let place = Place::make()?;
    let origin = Origin::start()?;
    let doctor = Doctor::new(&place.0, &origin, &options.flags)?;
    let mut report = Report { ok: true, ..Report::default() };
    let versions = doctor.versions()?;
    for (number, client) in CLIENTS.iter().enumerate().filter(|(_, client)| wanted(client.name)) {
        let Some(version) = versions.get(&number) else {
            report.absent.push(client.name);
            continue;
        };
        progress(client.name);
        let [ipv4, ipv6] = [4, 6].map(|family| doctor.try_client(number, client, family));
        let (ipv4, ipv6) = (ipv4?, ipv6?);
        report.ok &= ipv4.ok && ipv6.ok;
        report.clients.push(Row { client: client.name, version: version.clone(), ipv4, ipv6 });
    }
    Ok(report)
}

const PREFIX: &str = "doctor-";

/// A directory of root's alone, removed at the end.
struct Place(PathBuf);

impl Place {
    fn make() -> Result<Self, DoctorError> {
        state::make_private(state::STATE.as_ref())?;
        sweep();
        let path = PathBuf::from(state::STATE).join(format!("{PREFIX}{}", process::id()));
        state::make_private(&path)?;
        Ok(Self(path))
    }
}

/// Removes those of doctors that were killed; what cannot be read or removed now is left to the next one.
fn sweep() {
    let entries = fs::read_dir(state::STATE).into_iter().flatten().flatten();
    for entry in entries {
        let pid = entry.file_name().to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        let dead = |pid: &u32| *pid == process::id() || !PathBuf::from(format!("/proc/{pid}")).exists();
        if pid.as_ref().is_some_and(dead) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
