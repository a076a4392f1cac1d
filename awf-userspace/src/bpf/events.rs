//! Reads the ring buffer in a thread of its own: the sooner a process is looked at, the likelier it still lives.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
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

/// The running reader. Dropping it drains what is left in the ring and ends the thread.
#[derive(Debug)]
pub struct Events {
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Events {
    /// Reads `ring` until dropped: connects are looked up in `processes`, refusals go to `refused`.
    ///
    /// # Errors
    ///
    /// When the thread or its eventfd cannot be made.
    pub fn start(
        ring: RingBuf<MapData>,
        processes: Arc<Processes>,
        refused: impl Fn(Notice) + Send + 'static,
    ) -> Result<Self, EventsError> {
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(|e| EventsError::Eventfd(e.into()))?;
        let seen = stop.try_clone().map_err(EventsError::Eventfd)?;
        let thread = std::thread::Builder::new()
            .name("awf-events".into())
            .stack_size(256 * 1024)
            .spawn(move || run(ring, &seen, &processes, &refused))
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

fn run(mut ring: RingBuf<MapData>, stop: &OwnedFd, processes: &Processes, refused: &impl Fn(Notice)) {
    // It races with the exit of the process it is to name.
    if let Err(e) = priority::prefer_this_thread() {
        log::debug!("the event reader keeps its priority: {e}");
    }
    loop {
        let stopping = {
            let mut fds =
                [PollFd::new(stop, PollFlags::IN), PollFd::from_borrowed_fd(ring.as_fd(), PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) => fds[0].revents().contains(PollFlags::IN),
                Err(rustix::io::Errno::INTR) => false,
                Err(e) => {
                    log::error!("the event reader cannot wait any longer: {e}; processes are named late");
                    return;
                }
            }
        };
        while let Some(item) = ring.next() {
            if let Some((event, said)) = image::decode(&item) {
                take(&event, said, processes, refused);
            }
        }
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
