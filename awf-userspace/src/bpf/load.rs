//! Loads the programs with the run's constants, attaches them, and pins the links so that they outlive us.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use awf_common::{Globals, Origin, PortSet, SockKey, event::Counter};
use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{Array, HashMap, MapData, MapError, PerCpuArray, RingBuf, SkStorage},
    pin::PinError,
    programs::{
        Program, ProgramError, RawTracePoint,
        links::{LinkError, PinnedLink},
    },
};

use rustix::thread::UnshareFlags;

use super::attach::{GUARDS, PROGRAMS, Places, attach};
use crate::sys::namespace;

/// Why the kernel side could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum BpfError {
    #[error(
        "this awf-bpf was built without its kernel programs (AWF_EBPF_SKIP); build it again without that variable"
    )]
    NotBuiltIn,
    #[error("starting a thread to load the kernel programs: {0}")]
    Thread(#[source] io::Error),
    #[error("the thread that loads the kernel programs died")]
    Died,
    #[error("giving the thread that loads the kernel programs a root of its own: {0}")]
    Rootless(#[source] io::Error),
    #[error("reading the kernel programs: {0}")]
    Object(#[source] Box<EbpfError>),
    #[error("reading the command's cgroup: {0}")]
    Agent(#[source] io::Error),
    #[error("the kernel programs have no {0}")]
    Missing(&'static str),
    #[error("loading program {name}: {source}; the kernel must be 5.18 or newer")]
    Load { name: &'static str, source: Box<ProgramError> },
    #[error("attaching program {name}: {source}")]
    Attach { name: &'static str, source: Box<ProgramError> },
    #[error("taking the link of program {name}: {source}")]
    Link { name: &'static str, source: LinkError },
    #[error("pinning the link of program {name} to {path}: {source}")]
    Pin { name: &'static str, path: PathBuf, source: PinError },
    #[error("opening map {name}: {source}")]
    Map { name: &'static str, source: MapError },
    #[error("making {path}: {source}")]
    PinDirectory { path: PathBuf, source: io::Error },
}

/// Tell of new programs of the command. They decide nothing: without them processes are named a little later. The
/// first reads what names a program off its stack; the second is for kernels that refuse it.
const EXEC: [&str; 2] = ["exec_image", "process_exec"];

/// The programs, verified by the kernel, not attached yet.
#[derive(Debug)]
pub struct Programs {
    ebpf: Ebpf,
    guard: bool,
}

/// The attached programs and their maps. Dropping it closes the links; the pins keep them attached until
/// [`Kernel::detach`].
pub struct Kernel {
    links: Vec<PinnedLink>,
    pins: PathBuf,
    counters: PerCpuArray<MapData, u64>,
    ebpf: Ebpf,
}

/// Programs being loaded by a thread of their own; other work can go on until [`Loading::finish`].
#[derive(Debug)]
pub struct Loading(JoinHandle<Result<Programs, BpfError>>);

impl Loading {
    /// Waits until the kernel has taken every program.
    ///
    /// # Errors
    ///
    /// Names the program that the kernel refused, with the verifier's words.
    pub fn finish(self) -> Result<Programs, BpfError> {
        self.0.join().map_err(|_| BpfError::Died)?
    }
}

impl Programs {
    /// Starts to load every program with `globals` as its constants; `host_ports` of the host's loopback are led to
    /// the proxy.
    ///
    /// # Errors
    ///
    /// When this build has no programs, or no thread can be had.
    pub fn start_loading(globals: Globals, host_ports: Box<PortSet>) -> Result<Loading, BpfError> {
        Self::start(globals, host_ports, false)
    }

    /// The same with the guards, for processes that were there before: see [`super::Guarded`].
    ///
    /// # Errors
    ///
    /// As [`Programs::start_loading`].
    pub fn start_loading_guarded(globals: Globals, host_ports: Box<PortSet>) -> Result<Loading, BpfError> {
        Self::start(globals, host_ports, true)
    }

    fn start(globals: Globals, host_ports: Box<PortSet>, guard: bool) -> Result<Loading, BpfError> {
        if !super::is_built_in() {
            return Err(BpfError::NotBuiltIn);
        }
        let load = move || {
            // `EbpfLoader::new` parses the kernel's own BTF, for 17 ms, before it can be told not to. Only UAPI
            // contexts are read here: nothing needs it. A thread that does not see /sys does not find it.
            leave_file_system().map_err(BpfError::Rootless)?;
            Self::load(globals, &host_ports, guard)
        };
        let thread = thread::Builder::new().name("awf-load".into()).spawn(load);
        Ok(Loading(thread.map_err(BpfError::Thread)?))
    }

    fn load(globals: Globals, host_ports: &PortSet, guard: bool) -> Result<Self, BpfError> {
        let mut ebpf = EbpfLoader::new()
            .btf(None)
            .override_global("GLOBALS", &globals, true)
            .override_global("HOST_PORTS", host_ports, true)
            .load(super::OBJECT)
            .map_err(|e| BpfError::Object(Box::new(e)))?;
        load_all(&mut ebpf, guard)?;
        load_exec(&mut ebpf);
        Ok(Self { ebpf, guard })
    }

    /// Attaches every program, in an order that refuses first, and pins its link in `pins`, a directory on a
    /// bpffs that this makes.
    ///
    /// # Errors
    ///
    /// Names the program and the step; what was attached before is detached again with `pins` removed.
    pub fn attach(mut self, places: Places<'_>, pins: &Path) -> Result<Kernel, BpfError> {
        let guards = if self.guard { &GUARDS[..] } else { &[] };
        if self.guard && places.guard.is_none() {
            return Err(BpfError::Missing("cgroup to guard"));
        }
        // Before anything is refused by it: a guard asks whose cgroup this is.
        let told = self.tell_agent(places);
        std::fs::create_dir(pins)
            .map_err(|source| BpfError::PinDirectory { path: pins.to_owned(), source })?;
        let mut links = Vec::with_capacity(PROGRAMS.len());
        for &(name, place) in PROGRAMS.iter().chain(guards) {
            let Some(cgroup) = places.of(place) else { continue };
            let program = self.ebpf.program_mut(name).ok_or(BpfError::Missing(name))?;
            let link = attach(program, cgroup, name)?;
            let path = pins.join(name);
            links.push(link.pin(&path).map_err(|source| BpfError::Pin { name, path, source })?);
        }
        if let Err(e) = told.and_then(|()| self.watch_execs()) {
            log::info!("{e}; processes that end at once may not be named");
        }
        let counters = self.ebpf.take_map("COUNTERS").ok_or(BpfError::Missing("map COUNTERS"))?;
        let counters =
            PerCpuArray::try_from(counters).map_err(|source| BpfError::Map { name: "COUNTERS", source })?;
        Ok(Kernel { links, pins: pins.to_owned(), counters, ebpf: self.ebpf })
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel").field("links", &self.links).field("pins", &self.pins).finish_non_exhaustive()
    }
}

impl Programs {
    /// Writes down whose cgroup it is about.
    fn tell_agent(&mut self, places: Places<'_>) -> Result<(), BpfError> {
        let map = self.ebpf.map_mut("AGENT").ok_or(BpfError::Missing("map AGENT"))?;
        let failed = |source| BpfError::Map { name: "AGENT", source };
        // The id of a cgroup is the inode of its directory.
        let inode = rustix::fs::fstat(places.agent).map_err(|e| BpfError::Agent(e.into()))?.st_ino;
        let mut agent = Array::<_, u64>::try_from(map).map_err(failed)?;
        agent.set(1, places.guard.map_or(0, |guard| guard.level), 0).map_err(failed)?;
        agent.set(0, inode, 0).map_err(failed)
    }

    /// Lets the kernel tell of every program that begins in the command's cgroup.
    fn watch_execs(&mut self) -> Result<(), BpfError> {
        let attach = |program: &mut Program| {
            let program: &mut RawTracePoint = program.try_into()?;
            program.attach("sched_process_exec").map(drop)
        };
        let loaded = |name: &&str| self.ebpf.program(name).is_some_and(|program| program.fd().is_ok());
        let name = EXEC.into_iter().find(loaded).unwrap_or(EXEC[1]);
        let program = self.ebpf.program_mut(name).ok_or(BpfError::Missing(name))?;
        attach(program).map_err(|source| BpfError::Attach { name, source: Box::new(source) })
    }
}

/// The origins of accepted sockets, and the senders of datagrams to the stub.
pub(super) type OriginMaps = (SkStorage<MapData, Origin>, HashMap<MapData, SockKey, Origin>);

/// What the programs counted, all CPUs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub events_lost: u64,
    pub packets_dropped: u64,
    pub sockets_refused: u64,
    pub calls_refused: u64,
    pub storage_failed: u64,
}

impl Kernel {
    /// The origins of accepted connections.
    ///
    /// # Errors
    ///
    /// When a map is missing, or was taken before.
    pub fn take_origins(&mut self) -> Result<OriginMaps, BpfError> {
        let accepted = self.ebpf.take_map("AC_ORIGIN").ok_or(BpfError::Missing("map AC_ORIGIN"))?;
        let queries = self.ebpf.take_map("QUERIES").ok_or(BpfError::Missing("map QUERIES"))?;
        Ok((
            SkStorage::try_from(accepted).map_err(|source| BpfError::Map { name: "AC_ORIGIN", source })?,
            HashMap::try_from(queries).map_err(|source| BpfError::Map { name: "QUERIES", source })?,
        ))
    }

    /// The ring buffer of events.
    ///
    /// # Errors
    ///
    /// When the map is missing, or was taken before.
    pub fn take_events(&mut self) -> Result<RingBuf<MapData>, BpfError> {
        let map = self.ebpf.take_map("EVENTS").ok_or(BpfError::Missing("map EVENTS"))?;
        RingBuf::try_from(map).map_err(|source| BpfError::Map { name: "EVENTS", source })
    }

    /// One of the maps that keep a number for a socket.
    pub(super) fn take_storage(&mut self, name: &'static str) -> Result<SkStorage<MapData, u32>, BpfError> {
        let map = self.ebpf.take_map(name).ok_or(BpfError::Missing(name))?;
        SkStorage::try_from(map).map_err(|source| BpfError::Map { name, source })
    }

    /// What was counted so far.
    ///
    /// # Errors
    ///
    /// When the kernel refuses to read the map.
    pub fn counters(&self) -> Result<Counters, BpfError> {
        let read = |counter: Counter| -> Result<u64, BpfError> {
            let values = self
                .counters
                .get(&(counter as u32), 0)
                .map_err(|source| BpfError::Map { name: "COUNTERS", source })?;
            Ok(values.iter().sum())
        };
        Ok(Counters {
            events_lost: read(Counter::EventsLost)?,
            packets_dropped: read(Counter::PacketsDropped)?,
            sockets_refused: read(Counter::SocketsRefused)?,
            calls_refused: read(Counter::CallsRefused)?,
            storage_failed: read(Counter::StorageFailed)?,
        })
    }

    /// Detaches every program. Only for a cgroup that is empty: what is left in it would be free.
    ///
    /// # Errors
    ///
    /// When a pin cannot be removed; the programs stay attached then.
    pub fn detach(self) -> io::Result<()> {
        for link in self.links {
            link.unpin()?;
        }
        std::fs::remove_dir(&self.pins)
    }
}

/// Gives the calling thread alone a root directory of its own: one without files.
fn leave_file_system() -> io::Result<()> {
    namespace::unshare(UnshareFlags::FS)?;
    Ok(rustix::process::chroot("/proc/self/fdinfo")?)
}

/// The verifier takes milliseconds for all programs together, and can walk two at once.
fn load_all(ebpf: &mut Ebpf, guard: bool) -> Result<(), BpfError> {
    let guards = if guard { &GUARDS[..] } else { &[] };
    let wanted = || PROGRAMS.iter().chain(guards);
    let waiting = Mutex::new(ebpf.programs_mut());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some((name, program)) = next() {
            if let Some((name, _)) = wanted().find(|(known, _)| *known == name) {
                load(program).map_err(|source| BpfError::Load { name, source: Box::new(source) })?;
            } else if name == EXEC[0]
                && let Err(e) = load(program)
            {
                log::debug!("{name} cannot be loaded: {e}; processes are named from /proc alone");
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let other = thread::Builder::new().spawn_scoped(scope, work);
        let own = work();
        // Without a second thread the first did all.
        other.map_or(Ok(()), |other| other.join().map_err(|_| BpfError::Died)?).and(own)
    })
}

/// Loads the first program of [`EXEC`] that this kernel takes; the first itself was tried with all others.
fn load_exec(ebpf: &mut Ebpf) {
    let [first, second] = EXEC;
    if ebpf.program(first).is_none_or(|program| program.fd().is_err())
        && let Some(Err(e)) = ebpf.program_mut(second).map(load)
    {
        log::info!("{second} cannot be loaded: {e}; processes that end at once may not be named");
    }
}

fn load(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::CgroupSkb(p) => p.load(),
        Program::CgroupSock(p) => p.load(),
        Program::CgroupSockAddr(p) => p.load(),
        Program::SockOps(p) => p.load(),
        Program::RawTracePoint(p) => p.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

#[cfg(test)]
mod tests;
