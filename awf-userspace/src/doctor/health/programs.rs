//! All of it together: the programs are loaded, attached to a cgroup of their own, and this process, moved into it, tries
//! a connection and a datagram that they must refuse.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd as _,
    path::Path,
    time::Duration,
};

use awf_common::{Globals, PortSet};

use super::{Finding, Level};
use crate::{
    bpf::{BpfError, Programs},
    cgroup::{self, CgroupError},
    session::{Ground, SessionError, bpffs, state},
    sys::birth,
};

const CHECK: &str = "programs";
/// On this host's loopback.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why the trial did not get to its end.
#[derive(Debug, thiserror::Error)]
enum TrialError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    State(#[from] state::StateError),
    #[error(transparent)]
    Bpf(#[from] BpfError),
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error("entering {path}: {source}")]
    Enter { path: String, source: io::Error },
    #[error("a listener to connect to: {0}")]
    Canary(#[source] io::Error),
    /// The programs are attached, and do not hold.
    #[error("{0} got through the programs")]
    Through(&'static str),
}

pub(super) fn look(root: bool) -> Finding {
    if !root {
        return Finding::unknown(CHECK, "not loaded: that takes root");
    }
    let remedy = "mend what is unusable above; if nothing is, the kernel's words are the whole that is known";
    match trial() {
        Ok(()) if let Err(e) = guards() => Finding::bad(
            CHECK,
            Level::Degraded,
            format!("exec works, attach does not: {}", e.to_string().trim().replace('\n', "; ")),
            "a newer kernel, or awf-bpf exec",
        ),
        Ok(()) => Finding::ok(CHECK, "all are loaded and attached, and refused a connection and a datagram"),
        Err(e) => Finding::bad(CHECK, Level::Unusable, e.to_string().trim().replace('\n', "; "), remedy),
    }
}

/// As a run with `--network host` has them; nobody listens on these ports.
fn globals() -> Result<Globals, TrialError> {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).map_err(TrialError::Canary)?;
    let netns = birth::netns_cookie(socket.as_fd()).map_err(TrialError::Canary)?;
    Ok(Globals { proxy_port: 1, dns_port: 1, shared_netns: 1, reserved: [0; 3], netns })
}

fn trial() -> Result<(), TrialError> {
    let canary = Canary::new().map_err(TrialError::Canary)?;
    // Without the programs it is heard, or its silence would prove nothing.
    canary.tcp().map_err(TrialError::Canary)?;
    canary.datagram().map_err(TrialError::Canary)?;
    let loading = Programs::start_loading(globals()?, Box::new(PortSet::EMPTY))?;
    let home = own()?;
    let mut ground = Ground::lay(state::new_id()?)?;
    ground.enforce(loading.finish()?)?;
    let inside = ground.cgroup().dir().join("agent");
    enter(&inside)?;
    let (tcp, datagram) = (canary.tcp(), canary.datagram());
    // Whoever is in it when it is cleared is killed.
    enter(&home)?;
    ground.clear()?;
    let _ = bpffs::unmount();
    match (tcp, datagram) {
        (Ok(()), _) => Err(TrialError::Through("a connection")),
        (_, Ok(())) => Err(TrialError::Through("a datagram")),
        (Err(_), Err(_)) => Ok(()),
    }
}

/// What attach needs beside them, for sockets that are older than it.
fn guards() -> Result<(), TrialError> {
    Ok(Programs::start_loading_guarded(globals()?, Box::new(PortSet::EMPTY))?.finish().map(drop)?)
}

/// The directory of our own cgroup.
fn own() -> Result<std::path::PathBuf, CgroupError> {
    let place = cgroup::place("doctor")?;
    Ok(place.parent().map_or(place.clone(), Path::to_owned))
}

fn enter(dir: &Path) -> Result<(), TrialError> {
    let path = dir.join("cgroup.procs");
    fs::write(&path, "0").map_err(|source| TrialError::Enter { path: path.display().to_string(), source })
}

/// Listens on this host's loopback, which is not the attached processes' own.
struct Canary {
    tcp: TcpListener,
    udp: UdpSocket,
}

impl Canary {
    fn new() -> io::Result<Self> {
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let canary = Self { tcp: TcpListener::bind(any)?, udp: UdpSocket::bind(any)? };
        canary.tcp.set_nonblocking(true)?;
        canary.udp.set_read_timeout(Some(PATIENCE))?;
        Ok(canary)
    }

    /// An error is what the programs are for.
    fn tcp(&self) -> io::Result<()> {
        let _stream = TcpStream::connect_timeout(&self.tcp.local_addr()?, PATIENCE)?;
        // On loopback a connection is there when connect(2) returns.
        self.tcp.accept().map(drop)
    }

    fn datagram(&self) -> io::Result<()> {
        let socket = UdpSocket::bind((self.udp.local_addr()?.ip(), 0))?;
        socket.send_to(b"canary", self.udp.local_addr()?)?;
        self.udp.recv(&mut [0; 16]).map(drop)
    }
}
