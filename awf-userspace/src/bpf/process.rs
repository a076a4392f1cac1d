//! What is known of the processes behind connections: read from /proc the moment the kernel reports a connect(),
//! so that a process is named even when it is gone before its connection is judged. Of one that is gone before
//! even that, what the kernel said when its program began.

use std::{
    collections::{HashMap, VecDeque},
    ffi::OsString,
    fs::{self, File},
    io::Read as _,
    os::unix::ffi::OsStringExt as _,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use awf_common::Origin;
use rustix::time::{ClockId, clock_gettime};

use super::{image::Said, steps::Steps};
use crate::{audit::ProcessInfo, sys::proc_stat::Stat};

/// How many sockets are remembered; the oldest are forgotten first.
const SOCKETS: usize = 16_384;
/// Bytes of what is remembered for sockets, about. The command chooses most of them.
const BYTES: usize = 16 << 20;
/// How many processes are remembered between two reads of /proc.
const PROCESSES: usize = 1024;
/// How long (ns) after its end a process may still be asked for by a caller of whom no time is known.
const GRACE: u64 = 1_000_000_000;
/// How many ancestors are named.
const ANCESTORS: usize = 8;
/// Most bytes kept of a command line, and of a path. The command chooses them, up to megabytes, and they are kept
/// for every socket; the audit record keeps no more.
const ARGV: u64 = 4096;
/// Most arguments kept: each costs more than the byte or two that it may consist of.
const ARGS: usize = 256;
/// Stands for the arguments beyond [`ARGS`].
pub(super) const CUT: &str = "...[cut]";
const PATH: usize = 1024;
/// `USER_HZ`: the unit of start times in /proc/PID/stat, fixed in the kernel's ABI.
const USER_HZ: u64 = 100;

/// Processes by the cookie of their socket.
#[derive(Debug, Default)]
pub struct Processes {
    state: Mutex<State>,
    /// Whether our /proc numbers processes as the kernel programs do.
    foreign_numbers: bool,
    /// Which step of a job a process belongs to.
    steps: Option<Steps>,
}

#[derive(Debug, Default)]
struct State {
    /// Each with the bytes counted for it.
    by_cookie: HashMap<u64, (Arc<ProcessInfo>, usize)>,
    /// The oldest first.
    order: VecDeque<u64>,
    bytes: usize,
    /// The newer and the older half of [`PROCESSES`].
    by_pid: [HashMap<u32, Known>; 2],
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

/// A process as it was read or told of last, with what tells it from another one of the same number or another
/// program.
#[derive(Clone, Debug)]
struct Known {
    /// Its start and executable in /proc; `None`: it is known from what the kernel said.
    read: Option<(u64, PathBuf)>,
    comm: [u8; 16],
    /// When its program began, if that is known (boot time, ns).
    since: u64,
    /// When it was found to have ended: who calls later is another one of the same number.
    gone: u64,
    info: Arc<ProcessInfo>,
}

/// Why a process cannot be read.
enum Miss {
    /// It had ended at that time (boot time, ns), or another one has its number since.
    Ended(u64),
    /// Its first thread has ended, or it is just ending.
    Unreadable,
}

impl State {
    /// The program of this number and name that was read or told of last, if it may have called at `time`.
    fn known(&self, caller: &Caller, time: u64) -> Option<&Known> {
        let known = self.by_pid.iter().find_map(|half| half.get(&caller.tgid))?;
        (known.comm == caller.comm && known.lived_at(time)).then_some(known)
    }

    /// The process that was remembered under the socket of `caller`, if it is that one.
    fn seen(&self, caller: &Caller) -> Option<&Arc<ProcessInfo>> {
        self.by_cookie.get(&caller.cookie).map(|(info, _)| info).filter(|info| info.pid == caller.tgid)
    }

    fn keep(&mut self, pid: u32, known: Known) {
        if self.by_pid[0].len() >= PROCESSES / 2 && !self.by_pid[0].contains_key(&pid) {
            self.by_pid.swap(0, 1);
            self.by_pid[0].clear();
        }
        self.by_pid[1].remove(&pid);
        self.by_pid[0].insert(pid, known);
    }

    fn forget(&mut self, pid: u32) {
        self.by_pid.iter_mut().for_each(|half| drop(half.remove(&pid)));
    }

    fn ended(&mut self, pid: u32, at: u64) {
        let known = self.by_pid.iter_mut().find_map(|half| half.get_mut(&pid));
        if let Some(known) = known.filter(|known| known.since <= at) {
            known.gone = known.gone.min(at);
        }
    }

    fn remember(&mut self, cookie: u64, info: Arc<ProcessInfo>) {
        // Sockets that one process makes in a row share what is known of it: only the first is counted.
        let last = self.order.back().and_then(|last| self.by_cookie.get(last));
        let shared = last.is_some_and(|(last, _)| Arc::ptr_eq(last, &info));
        let size = if shared { size_of::<Arc<ProcessInfo>>() } else { size(&info) };
        self.bytes += size;
        match self.by_cookie.insert(cookie, (info, size)) {
            Some((_, before)) => self.bytes -= before,
            None => self.order.push_back(cookie),
        }
        while self.order.len() > SOCKETS || self.bytes > BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            self.bytes -= self.by_cookie.remove(&oldest).map_or(0, |(_, size)| size);
        }
    }
}

/// The memory that `info` takes, about.
fn size(info: &ProcessInfo) -> usize {
    let texts = info
        .argv
        .iter()
        .flatten()
        .chain(&info.ancestors)
        .chain(&info.exe)
        .chain(&info.step)
        .chain([&info.comm]);
    // 40: the `String` itself and what an allocation takes at least.
    size_of::<ProcessInfo>() + texts.map(|text| text.capacity() + 40).sum::<usize>()
}

impl Processes {
    /// `foreign_numbers`: awf-bpf runs in a pid namespace of its own, so numbers from the kernel mean nothing in
    /// its /proc; processes are then known by number, uid and comm alone.
    #[must_use]
    pub fn new(foreign_numbers: bool) -> Self {
        Self { state: Mutex::default(), foreign_numbers, steps: None }
    }

    /// Says of each process in which step it belongs.
    #[must_use]
    pub fn with_steps(mut self, steps: Steps) -> Self {
        self.steps = Some(steps);
        self
    }

    /// Looks at the process that called at `time` (boot time, ns) and remembers it under its socket.
    pub fn observe(&self, caller: &Caller, time: u64) -> Arc<ProcessInfo> {
        let info = self.look(caller, time);
        if let Ok(mut state) = self.state.lock() {
            state.remember(caller.cookie, Arc::clone(&info));
        }
        info
    }

    /// Whether the event of `caller` was read.
    pub(super) fn has_seen(&self, caller: &Caller) -> bool {
        self.state.lock().is_ok_and(|state| state.seen(caller).is_some())
    }

    /// What is known of the process of `caller`; where its event was lost, /proc is read.
    #[must_use]
    pub fn describe(&self, caller: &Caller) -> ProcessInfo {
        let known = self.state.lock().ok().and_then(|state| state.seen(caller).cloned());
        Arc::unwrap_or_clone(known.unwrap_or_else(|| self.look(caller, u64::MAX)))
    }

    /// When the process with this number started, in clock ticks since boot (proc_pid_stat(5), field 22); `None` if it
    /// has ended, or /proc does not know the numbers of the kernel programs.
    #[must_use]
    pub fn started(&self, tgid: u32) -> Option<u64> {
        if self.foreign_numbers {
            return None;
        }
        Stat::read(tgid).map(|stat| stat.start)
    }

    /// Looks at a program of the command that began at `time`: whatever is known of its number is old. `said`: by
    /// what it is named if nothing is left to look at.
    pub fn began(&self, caller: &Caller, time: u64, said: Option<Said>) {
        if self.foreign_numbers {
            return;
        }
        if let Ok(mut state) = self.state.lock() {
            state.forget(caller.tgid);
            if let Some(said) = said {
                state.keep(caller.tgid, Known::said(caller, time, said));
            }
        }
        self.look(caller, time);
    }

    fn look(&self, caller: &Caller, time: u64) -> Arc<ProcessInfo> {
        if self.foreign_numbers {
            return bare(caller).into();
        }
        let known = self.state.lock().ok().and_then(|state| state.known(caller, time).cloned());
        let read = Known::read(caller, time, known.as_ref(), self.steps.as_ref());
        if let Ok(mut state) = self.state.lock() {
            match &read {
                Ok(read) => state.keep(caller.tgid, read.clone()),
                Err(Miss::Ended(at)) => state.ended(caller.tgid, *at),
                Err(Miss::Unreadable) => {}
            }
        }
        read.ok().or(known).map_or_else(|| bare(caller).into(), |known| known.info)
    }
}

impl Known {
    /// What the kernel said of the program that began at `time`. Its parent is not among that.
    fn said(caller: &Caller, time: u64, said: Said) -> Self {
        let info = ProcessInfo { exe: said.path, argv: said.argv, ..bare(caller) };
        Self { read: None, comm: caller.comm, since: time, gone: u64::MAX, info: info.into() }
    }

    /// Whether it lived at `time`; `u64::MAX`: at a time that is not known, just now.
    fn lived_at(&self, time: u64) -> bool {
        let last = if time == u64::MAX { boot_time().saturating_sub(GRACE) } else { time };
        self.since <= time && last <= self.gone
    }

    /// Reads the process that called at `time`, unless it is `known` already.
    fn read(caller: &Caller, time: u64, known: Option<&Self>, steps: Option<&Steps>) -> Result<Self, Miss> {
        let stat = Stat::read(caller.tgid).ok_or_else(|| Miss::Ended(boot_time()))?;
        if start_ns(&stat) > time {
            return Err(Miss::Ended(start_ns(&stat)));
        }
        let exe = exe(caller.tgid).ok_or(Miss::Unreadable)?;
        let read = Some((stat.start, exe));
        if let Some(known) = known.filter(|known| known.read == read) {
            return Ok(known.clone());
        }
        let info = ProcessInfo {
            ppid: Some(stat.ppid),
            exe: read.as_ref().map(|(_, exe)| exe.to_string_lossy().into_owned()),
            argv: argv(caller.tgid),
            ancestors: ancestors(stat.ppid),
            step: steps.map(|steps| steps.of(caller.tgid, &stat)),
            ..bare(caller)
        };
        // It may have ended while it was read: what was read of its successor is thrown away.
        let same = Stat::read(caller.tgid).is_some_and(|now| now.start == stat.start);
        if !same || info.argv.is_none() {
            return Err(Miss::Unreadable);
        }
        Ok(Self { read, comm: caller.comm, since: 0, gone: u64::MAX, info: info.into() })
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
    split(&bytes)
}

/// The arguments in `bytes`, each ended by 0; `None`: there are none.
pub(super) fn split(bytes: &[u8]) -> Option<Vec<String>> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if bytes.is_empty() {
        return None;
    }
    let mut args = bytes.split(|b| *b == 0);
    let kept = args.by_ref().take(ARGS).map(|arg| String::from_utf8_lossy(arg).into_owned());
    let mut kept: Vec<_> = kept.collect();
    kept.extend(args.next().map(|_| CUT.to_owned()));
    Some(kept)
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
        // The command's init is this program, and no more its ancestor than we are.
        if stat.ppid == own && fs::read_link("/proc/self/exe").ok() == exe(pid) {
            break;
        }
        found.push(exe(pid).map_or(stat.comm, |path| path.to_string_lossy().into_owned()));
        pid = stat.ppid;
    }
    found
}

/// Nanoseconds since boot, as events have them.
fn boot_time() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn proc_path(pid: u32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}

/// Nanoseconds since boot.
fn start_ns(stat: &Stat) -> u64 {
    stat.start.saturating_mul(Duration::from_secs(1).as_nanos() as u64 / USER_HZ)
}

#[cfg(test)]
mod tests;
