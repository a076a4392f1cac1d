//! Who stands outside and would help: processes to take over, services to ask, and a world that dials in.

use std::{
    fs,
    io::{IoSlice, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    os::{
        fd::AsFd,
        linux::net::SocketAddrExt,
        unix::{
            fs::PermissionsExt,
            net::{SocketAddr as UnixAddr, UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use harness::{
    Lab, Process,
    canary::MARKER,
    hosts::{CANARY_V4, MACHINE_V4, MACHINE_V6},
    tools,
};
use rustix::{
    mount::{MountFlags, mount},
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, sendmsg, shutdown},
};

/// What a preparation may look at and change.
#[derive(Debug)]
pub(crate) struct Setting<'a> {
    pub(crate) lab: &'a Lab,
    /// The probe where the lab's user may execute it.
    pub(crate) probe: &'a Path,
    pub(crate) firewalled: bool,
    /// The whole command line to be.
    pub(crate) words: Vec<String>,
}

/// What a preparation leaves behind: kept until the probe has ended.
pub(crate) type Kept = Box<dyn std::any::Any>;

/// Lets every group open ping sockets, as distributions do.
pub(crate) fn ping_for_all(setting: &mut Setting<'_>) -> Kept {
    let path = "/proc/sys/net/ipv4/ping_group_range";
    setting.lab.machine().within(|| fs::write(path, "0 2147483647")).expect("open ping sockets to all");
    Box::new(())
}

/// A process of the command's own user, outside, with a socket.
pub(crate) fn bystander(setting: &mut Setting<'_>) -> Kept {
    let probe = setting.probe.to_str().expect("the lab's directory is ASCII");
    let process: Process = setting.lab.bare().spawn(&[probe, "bystander"]);
    let said = process.wait_for_stdout(";", Duration::from_secs(10));
    setting.words.push(format!("pid={}", process.pid().as_raw_nonzero()));
    setting.words.push(said.trim().trim_end_matches(';').to_owned());
    Box::new(process)
}

/// A program with the setuid bit, of an owner who is nobody here: root's would be a gift to every user of this
/// machine as long as the test runs.
pub(crate) fn setuid_copy(setting: &mut Setting<'_>) -> Kept {
    let copy = setting.lab.dir().root().join("bin/setuid");
    let mut install = Command::new(tools::require("install"));
    tools::succeed(install.args(["-o", "54321", "-m", "4755"]).arg(setting.probe).arg(&copy));
    setting.words.push(format!("program={}", copy.display()));
    Box::new(())
}

/// Behind awf-bpf the process to kill is awf-bpf itself.
pub(crate) fn bystander_or_parent(setting: &mut Setting<'_>) -> Kept {
    if !setting.firewalled {
        return bystander(setting);
    }
    setting.words.push("pid=parent".to_owned());
    Box::new(())
}

/// Without awf-bpf: a cgroup of the test's own, inside another one, to start in.
pub(crate) fn in_a_cgroup(setting: &mut Setting<'_>) -> Kept {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    if setting.firewalled {
        return Box::new(());
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("read mountinfo");
    let mounted = mounts.lines().find(|line| line.contains(" - cgroup2 ")).expect("cgroup v2 is mounted");
    let root = Path::new(mounted.split(' ').nth(4).expect("mountinfo has a mount point"));
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let parent = root.join(format!("awf-attack-{}-{number}", std::process::id()));
    let child = parent.join("child");
    fs::create_dir_all(&child).expect("make a cgroup");
    let enter = ["sh", "-c", r#"echo $$ > "$0" && exec "$@""#].map(str::to_owned);
    let procs = child.join("cgroup.procs").display().to_string();
    setting.words.splice(0..0, enter.into_iter().chain([procs]));
    Box::new(Cgroups([child, parent]))
}

struct Cgroups([PathBuf; 2]);

impl Drop for Cgroups {
    fn drop(&mut self) {
        // A panic here would hide the test's own.
        self.0.iter().for_each(|path| drop(fs::remove_dir(path)));
    }
}

/// A unix socket on the machine, and what is done with whoever connects.
struct Service {
    listener: Arc<UnixListener>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    fn start(lab: &Lab, open: impl FnOnce() -> UnixListener + Send, serve: fn(UnixStream)) -> Kept {
        let started = lab.machine().within(move || {
            let listener = Arc::new(open());
            let accepting = Arc::clone(&listener);
            let accept = move || {
                while let Ok((stream, _)) = accepting.accept() {
                    serve(stream);
                }
            };
            Self { listener, thread: Some(thread::spawn(accept)) }
        });
        Box::new(started)
    }

    fn at_path(setting: &mut Setting<'_>, path: PathBuf, serve: fn(UnixStream)) -> Kept {
        setting.words.push(format!("path={}", path.display()));
        let open = || {
            let parent = path.parent().expect("a socket is in a directory");
            fs::create_dir_all(parent).expect("make the service's directory");
            let listener = UnixListener::bind(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("open the service to all");
            listener
        };
        Self::start(setting.lab, open, serve)
    }

    /// As [`Self::at_path`], in a /run of this lab's machine.
    fn in_run(setting: &mut Setting<'_>, path: &str, serve: fn(UnixStream)) -> Kept {
        let cover = || mount("awf-attack", "/run", "tmpfs", MountFlags::empty(), c"mode=755");
        setting.lab.machine().within(cover).expect("give the machine a /run of its own");
        Self::at_path(setting, path.into(), serve)
    }

    fn abstract_name(setting: &mut Setting<'_>, serve: fn(UnixStream)) -> Kept {
        // Abstract names belong to the network namespace, so labs do not see each other's.
        setting.words.push("abstract=awf-attack".to_owned());
        let open = || {
            let name = UnixAddr::from_abstract_name("awf-attack").expect("a short name");
            UnixListener::bind_addr(&name).expect("bind an abstract name")
        };
        Self::start(setting.lab, open, serve)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Wakes the thread out of accept().
        let _ = shutdown(self.listener.as_fd(), Shutdown::Both);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Hands an unconnected UDP socket, made outside, to whoever connects.
fn pass_a_socket(stream: UnixStream) {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("bind a socket");
    let fds = [socket.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)), "the buffer holds one descriptor");
    // The probe may be gone already, and that is its affair.
    let _ = sendmsg(&stream, &[IoSlice::new(b"x")], &mut control, SendFlags::NOSIGNAL);
}

/// Does for the command what it asks: tells the canary.
fn ask_the_world(mut stream: UnixStream) {
    let mut request = vec![0; 4096];
    let length = stream.read(&mut request).unwrap_or(0);
    let asked = request[..length].windows(MARKER.len()).any(|part| part == MARKER.as_bytes());
    if asked {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("bind a socket");
        socket.send_to(&request[..length], (CANARY_V4, 443)).expect("tell the canary");
    }
    let _ = stream.write_all(b"done");
}

pub(crate) fn passer_abstract(setting: &mut Setting<'_>) -> Kept {
    Service::abstract_name(setting, pass_a_socket)
}

pub(crate) fn passer_path(setting: &mut Setting<'_>) -> Kept {
    let path = setting.lab.dir().root().join("passer.sock");
    Service::at_path(setting, path, pass_a_socket)
}

pub(crate) fn service_abstract(setting: &mut Setting<'_>) -> Kept {
    Service::abstract_name(setting, ask_the_world)
}

pub(crate) fn service_nscd(setting: &mut Setting<'_>) -> Kept {
    Service::in_run(setting, "/run/nscd/socket", ask_the_world)
}

pub(crate) fn service_resolved(setting: &mut Setting<'_>) -> Kept {
    Service::in_run(setting, "/run/systemd/resolve/io.systemd.Resolve", ask_the_world)
}

pub(crate) fn service_docker(setting: &mut Setting<'_>) -> Kept {
    Service::in_run(setting, "/run/docker.sock", ask_the_world)
}

/// Between two dials of the world.
const PAUSE: Duration = Duration::from_millis(20);
/// One dial's bound.
const DIAL: Duration = Duration::from_millis(300);

/// The world, dialling the machine until the probe has ended.
struct Dialler {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Dialler {
    fn start(lab: &Lab, dial: impl Fn() + Send + 'static) -> Kept {
        let (stop, stopped) = mpsc::channel();
        let turn = move || {
            while stopped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                dial();
            }
        };
        let thread = lab.world().within(|| thread::spawn(turn));
        Box::new(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Dialler {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn dial(at: SocketAddr) {
    if let Ok(mut stream) = TcpStream::connect_timeout(&at, DIAL) {
        stream.set_read_timeout(Some(DIAL)).expect("set a timeout");
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

const MACHINE: [IpAddr; 2] = [IpAddr::V4(MACHINE_V4), IpAddr::V6(MACHINE_V6)];

pub(crate) fn dial_in_tcp(setting: &mut Setting<'_>) -> Kept {
    Dialler::start(setting.lab, || MACHINE.iter().for_each(|addr| dial((*addr, 4444).into())))
}

/// Dials the port the probe writes into a file, where the kernel has chosen it.
pub(crate) fn dial_in_reported(setting: &mut Setting<'_>) -> Kept {
    let report = setting.lab.dir().work().join("port");
    setting.words.push(format!("report={}", report.display()));
    Dialler::start(setting.lab, move || {
        let port = fs::read_to_string(&report).ok().and_then(|port| port.parse::<u16>().ok());
        if let Some(port) = port {
            dial((MACHINE_V4, port).into());
        }
    })
}

pub(crate) fn dial_in_udp(setting: &mut Setting<'_>) -> Kept {
    Dialler::start(setting.lab, || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("bind a socket");
        socket.send_to(b"anybody there?", (MACHINE_V4, 4444)).expect("write to the machine");
    })
}
