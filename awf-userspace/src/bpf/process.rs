//! What is known of the processes behind connections: read from /proc the moment the kernel reports a connect(),
//! so that a process is named even when it is gone before its connection is judged.

use std::{
    collections::{HashMap, VecDeque},
    ffi::OsString,
    fs::{self, File},
    io::Read as _,
    os::unix::ffi::OsStringExt as _,
    path::PathBuf,
    sync::Mutex,
    time::Duration,
};

use awf_common::Origin;

use crate::audit::ProcessInfo;

/// How many sockets are remembered; the oldest are forgotten first.
const SOCKETS: usize = 16_384;
/// How many processes are remembered between two reads of /proc.
const PROCESSES: usize = 1024;
/// How many ancestors are named.
const ANCESTORS: usize = 8;
/// Most bytes kept of a command line, and of a path. The command chooses them, up to megabytes, and they are kept
/// for every socket; the audit record keeps no more.
const ARGV: u64 = 4096;
const PATH: usize = 1024;
/// `USER_HZ`: the unit of start times in /proc/PID/stat, fixed in the kernel's ABI.
const USER_HZ: u64 = 100;

/// Processes by the cookie of their socket.
#[derive(Debug, Default)]
pub struct Processes {
    state: Mutex<State>,
    /// Whether our /proc numbers processes as the kernel programs do.
    foreign_numbers: bool,
}

#[derive(Debug, Default)]
struct State {
    by_cookie: HashMap<u64, ProcessInfo>,
    order: VecDeque<u64>,
    by_pid: HashMap<u32, Known>,
}

/// Who made a socket call, as the kernel programs saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub cookie: u64,
    pub tgid: u32,
    pub uid: u32,
    pub comm: [u8; 16],
}

impl From<&Origin> for Caller {
    fn from(origin: &Origin) -> Self {
        Self { cookie: origin.cookie, tgid: origin.tgid, uid: origin.uid, comm: origin.comm() }
    }
}

/// A process as it was read last, with what tells it from another one of the same number or another program.
#[derive(Clone, Debug)]
struct Known {
    start: u64,
    exe: PathBuf,
    comm: [u8; 16],
    info: ProcessInfo,
}

impl Processes {
    /// `foreign_numbers`: awf-bpf runs in a pid namespace of its own, so numbers from the kernel mean nothing in
    /// its /proc; processes are then known by number, uid and comm alone.
    #[must_use]
    pub fn new(foreign_numbers: bool) -> Self {
        Self { state: Mutex::default(), foreign_numbers }
    }

    /// Looks at the process that called at `time` (boot time, ns) and remembers it under its socket.
    pub fn observe(&self, caller: &Caller, time: u64) -> ProcessInfo {
        let info = self.look(caller, time);
        if let Ok(mut state) = self.state.lock() {
            if state.order.len() >= SOCKETS
                && let Some(oldest) = state.order.pop_front()
            {
                state.by_cookie.remove(&oldest);
            }
            if state.by_cookie.insert(caller.cookie, info.clone()).is_none() {
                state.order.push_back(caller.cookie);
            }
        }
        info
    }

    /// What is known of the process of `caller`; where the event has not been read yet, /proc is.
    #[must_use]
    pub fn describe(&self, caller: &Caller) -> ProcessInfo {
        let known = self.state.lock().ok().and_then(|state| {
            state.by_cookie.get(&caller.cookie).filter(|info| info.pid == caller.tgid).cloned()
        });
        known.unwrap_or_else(|| self.look(caller, u64::MAX))
    }

    /// Looks at a program of the command that began at `time`: whatever is known of its number is old.
    pub fn began(&self, caller: &Caller, time: u64) {
        if let Ok(mut state) = self.state.lock() {
            state.by_pid.remove(&caller.tgid);
        }
        self.look(caller, time);
    }

    fn look(&self, caller: &Caller, time: u64) -> ProcessInfo {
        if self.foreign_numbers {
            return bare(caller);
        }
        let known = self.known(caller);
        let read = Known::read(caller, time, known.as_ref());
        match (read, known) {
            (Some(read), _) => {
                self.keep(caller, read.clone());
                read.info
            }
            // It has ended, and its number was not given to another program of the command since.
            (None, Some(known)) => known.info,
            (None, None) => bare(caller),
        }
    }

    /// The program of this number and name that was read last.
    fn known(&self, caller: &Caller) -> Option<Known> {
        let state = self.state.lock().ok()?;
        state.by_pid.get(&caller.tgid).filter(|known| known.comm == caller.comm).cloned()
    }

    fn keep(&self, caller: &Caller, known: Known) {
        if let Ok(mut state) = self.state.lock() {
            if state.by_pid.len() >= PROCESSES {
                state.by_pid.clear();
            }
            state.by_pid.insert(caller.tgid, known);
        }
    }
}

impl Known {
    /// Reads the process that called at `time`, unless it is `known` already. `None`: it has ended, or another one
    /// has taken its number.
    fn read(caller: &Caller, time: u64, known: Option<&Self>) -> Option<Self> {
        let stat = Stat::read(caller.tgid)?;
        if stat.start_ns() > time {
            return None;
        }
        let exe = exe(caller.tgid)?;
        if let Some(known) = known.filter(|known| known.start == stat.start && known.exe == exe) {
            return Some(known.clone());
        }
        let info = ProcessInfo {
            ppid: Some(stat.ppid),
            exe: Some(exe.to_string_lossy().into_owned()),
            argv: argv(caller.tgid),
            ancestors: ancestors(stat.ppid),
            ..bare(caller)
        };
        // It may have ended while it was read: what was read of its successor is thrown away.
        let same = Stat::read(caller.tgid).is_some_and(|now| now.start == stat.start);
        (same && info.argv.is_some()).then_some(Self { start: stat.start, exe, comm: caller.comm, info })
    }
}

/// What the kernel itself said.
fn bare(caller: &Caller) -> ProcessInfo {
    let len = caller.comm.iter().position(|b| *b == 0).unwrap_or(caller.comm.len());
    ProcessInfo {
        pid: caller.tgid,
        uid: Some(caller.uid),
        comm: String::from_utf8_lossy(&caller.comm[..len]).into_owned(),
        ..ProcessInfo::default()
    }
}

fn argv(pid: u32) -> Option<Vec<String>> {
    let mut bytes = Vec::new();
    // One byte more than is kept, so that the record sees that it was cut.
    File::open(proc_path(pid, "cmdline")).ok()?.take(ARGV + 1).read_to_end(&mut bytes).ok()?;
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    if bytes.is_empty() {
        return None;
    }
    Some(bytes.split(|b| *b == 0).map(|arg| String::from_utf8_lossy(arg).into_owned()).collect())
}

fn exe(pid: u32) -> Option<PathBuf> {
    let mut bytes = fs::read_link(proc_path(pid, "exe")).ok()?.into_os_string().into_vec();
    bytes.truncate(PATH);
    Some(OsString::from_vec(bytes).into())
}

/// Executables from `pid` upwards, ending where the tree leaves what can be seen, or at awf-bpf itself.
fn ancestors(mut pid: u32) -> Vec<String> {
    let own = std::process::id();
    let mut found = Vec::new();
    while found.len() < ANCESTORS && pid > 1 && pid != own {
        let Some(stat) = Stat::read(pid) else { break };
        found.push(exe(pid).map_or(stat.comm, |path| path.to_string_lossy().into_owned()));
        pid = stat.ppid;
    }
    found
}

fn proc_path(pid: u32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}

/// What is needed of /proc/PID/stat (proc_pid_stat(5)).
struct Stat {
    comm: String,
    ppid: u32,
    /// Clock ticks since boot.
    start: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&String::from_utf8_lossy(&fs::read(proc_path(pid, "stat")).ok()?))
    }

    /// The name is in parentheses and may itself hold any byte: the last `)` ends it.
    fn parse(text: &str) -> Option<Self> {
        let (head, rest) = text.rsplit_once(')')?;
        let comm = head.split_once('(')?.1.to_owned();
        let mut fields = rest.split_ascii_whitespace();
        let ppid = fields.nth(1)?.parse().ok()?;
        let start = fields.nth(17)?.parse().ok()?;
        Some(Self { comm, ppid, start })
    }

    fn start_ns(&self) -> u64 {
        self.start.saturating_mul(Duration::from_secs(1).as_nanos() as u64 / USER_HZ)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };

    use super::*;

    fn caller(tgid: u32, cookie: u64) -> Caller {
        let mut comm = [0; 16];
        comm[..4].copy_from_slice(b"test");
        Caller { cookie, tgid, uid: 7, comm }
    }

    #[test]
    fn stat_survives_a_hostile_name() {
        let text = "42 (a) R 1 (b) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 999 1 2";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.comm.as_str(), stat.ppid, stat.start), ("a) R 1 (b", 7, 12345));
        assert!(Stat::parse("").is_none());
        assert!(Stat::parse("1 (x) S").is_none());
    }

    #[test]
    fn a_living_process_is_named() {
        let info = Processes::new(false).observe(&caller(std::process::id(), 1), u64::MAX);
        assert_eq!(info.exe.as_deref(), std::env::current_exe().unwrap().to_str());
        assert_eq!(info.argv.unwrap().len(), std::env::args().count());
        assert_eq!((info.uid, info.comm.as_str()), (Some(7), "test"));
    }

    #[test]
    fn a_number_taken_by_another_process_is_not_named() {
        let info = Processes::new(false).observe(&caller(std::process::id(), 1), 1);
        assert_eq!((info.exe, info.argv, info.comm.as_str()), (None, None, "test"));
    }

    #[test]
    fn a_dead_process_is_remembered_by_its_socket() {
        let processes = Processes::new(false);
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let caller = caller(child.id(), 9);
        // Its echo tells that its exec is over.
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        processes.observe(&caller, u64::MAX);
        drop(child.stdin.take());
        child.wait().unwrap();
        let info = processes.describe(&caller);
        assert!(info.exe.as_deref().unwrap_or_default().ends_with("cat"), "{info:?}");
        assert_eq!(info.argv.unwrap(), ["cat"]);
    }

    #[test]
    fn a_long_command_line_is_not_kept() {
        let long = "x".repeat(100_000);
        let mut command = Command::new("cat");
        command.arg("-").arg(long).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let argv = Processes::new(false).observe(&caller(child.id(), 3), u64::MAX).argv.unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!((argv[0].as_str(), argv.len(), argv.concat().len()), ("cat", 3, ARGV as usize + 1 - 2));
    }

    #[test]
    fn memory_is_bounded() {
        let processes = Processes::new(true);
        for cookie in 0..SOCKETS as u64 + 10 {
            processes.observe(&caller(1, cookie), u64::MAX);
        }
        let state = processes.state.lock().unwrap();
        assert_eq!((state.by_cookie.len(), state.order.len()), (SOCKETS, SOCKETS));
        assert!(!state.by_cookie.contains_key(&0));
    }
}
