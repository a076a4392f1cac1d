//! Reads the ring buffer in a thread of its own: the sooner a process is looked at, the likelier it still lives. Who
//! asks for a process that this thread has not got to yet reads the ring itself.

use std::{
    fmt, io,
    os::fd::{AsFd as _, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use awf_common::{Event, EventKind, Refusal};
use aya::maps::{MapData, RingBuf};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use super::{
    Caller, Processes,
    image::{self, Said},
};
use crate::{audit::ProcessInfo, sys::priority};

/// Most events that are taken in search of one: a command that makes more all the time holds nobody up for ever.
const CATCH_UP: usize = 4096;

/// Something the kernel refused, with who asked for it.
#[derive(Clone, Debug)]
pub struct Notice {
    pub refusal: Refusal,
    pub event: Event,
    /// `None` for packets: they carry no process.
    pub process: Option<ProcessInfo>,
}

/// Why the reader could not be started or ended.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    #[error("making the eventfd that stops the event reader: {0}")]
    Eventfd(#[source] io::Error),
    #[error("starting the event reader: {0}")]
    Thread(#[source] io::Error),
}

/// The ring of events: a thread reads it, and who cannot wait for that thread to get a processor.
pub struct Ring {
    ring: Mutex<RingBuf<MapData>>,
    processes: Arc<Processes>,
    refused: Box<dyn Fn(Notice) + Send + Sync>,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("processes", &self.processes).finish_non_exhaustive()
    }
}

impl Ring {
    /// Connects are looked up in `processes`, refusals go to `refused`.
    #[must_use]
    pub fn new(
        ring: RingBuf<MapData>,
        processes: Arc<Processes>,
        refused: impl Fn(Notice) + Send + Sync + 'static,
    ) -> Self {
        Self { ring: ring.into(), processes, refused: Box::new(refused) }
    }

    /// What is known of the process of `caller`. The kernel told of its call before a byte of it came, so that what
    /// is not known yet waits in the ring.
    #[must_use]
    pub fn describe(&self, caller: &Caller) -> ProcessInfo {
        if !self.processes.has_seen(caller) {
            self.read(CATCH_UP, || self.processes.has_seen(caller));
        }
        self.processes.describe(caller)
    }

    /// See [`Processes::started`].
    #[must_use]
    pub fn started(&self, tgid: u32) -> Option<u64> {
        self.processes.started(tgid)
    }

    /// Takes at most `most` events, until `enough`.
    fn read(&self, most: usize, enough: impl Fn() -> bool) {
        // Held while they are taken: a connection is named by the program that began before it.
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..most {
            if enough() {
                return;
            }
            let Some(item) = ring.next() else { return };
            if let Some((event, said)) = image::decode(&item) {
                take(&event, said, &self.processes, &self.refused);
            }
        }
    }
}

/// The running reader. Dropping it drains what is left in the ring and ends the thread.
#[derive(Debug)]
pub struct Events {
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Events {
    /// Reads `ring` until dropped.
    ///
    /// # Errors
    ///
    /// When the thread or its eventfd cannot be made.
    pub fn start(ring: Arc<Ring>) -> Result<Self, EventsError> {
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(|e| EventsError::Eventfd(e.into()))?;
        let seen = stop.try_clone().map_err(EventsError::Eventfd)?;
        let full = ring.ring.lock().unwrap_or_else(PoisonError::into_inner).as_fd().try_clone_to_owned();
        let full = full.map_err(EventsError::Eventfd)?;
        let thread = std::thread::Builder::new()
            .name("awf-events".into())
            .stack_size(256 * 1024)
            .spawn(move || run(&ring, &full, &seen))
            .map_err(EventsError::Thread)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// `full` can be read while `ring` has events.
fn run(ring: &Ring, full: &OwnedFd, stop: &OwnedFd) {
    // It races with the exit of the process it is to name.
    if let Err(e) = priority::prefer_this_thread() {
        log::debug!("the event reader keeps its priority: {e}");
    }
    loop {
        let stopping = {
            let mut fds = [PollFd::new(stop, PollFlags::IN), PollFd::new(full, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) => fds[0].revents().contains(PollFlags::IN),
                Err(rustix::io::Errno::INTR) => false,
                Err(e) => {
                    log::error!("the event reader cannot wait any longer: {e}; processes are named late");
                    return;
                }
            }
        };
        ring.read(usize::MAX, || false);
        if stopping {
            return;
        }
    }
}

fn take(event: &Event, said: Option<Said>, processes: &Processes, refused: &impl Fn(Notice)) {
    match EventKind::from_u32(event.kind) {
        Some(EventKind::Connect | EventKind::Dns) => {
            processes.observe(&Caller::from(&event.origin), event.time);
        }
        Some(EventKind::Exec) => processes.began(&Caller::from(&event.origin), event.time, said),
        Some(EventKind::Refused) => {
            let refusal = Refusal::from_u32(event.refusal).unwrap_or(Refusal::None);
            let process =
                (event.origin.tgid != 0).then(|| processes.observe(&Caller::from(&event.origin), event.time));
            let process = process.map(Arc::unwrap_or_clone);
            refused(Notice { refusal, event: *event, process });
        }
        None => log::warn!("an event of unknown kind {} from the kernel programs", event.kind),
    }
}
