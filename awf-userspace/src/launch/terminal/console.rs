//! CMD's terminal while CMD runs: bytes both ways, sizes, keys, stops.

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use rustix::process::Signal;
use rustix::termios::{tcgetwinsize, tcsetwinsize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

use super::flow::{Flow, SIZE};
use super::inner::{adjust, end_of_file, receive_master, receive_stop};
use super::outer::Outer;
use super::sink::Sink;
use super::source::Source;
use super::{Terminal, known_size, stop};
use crate::jail::terminal::Order;
use crate::sys::async_fd::duplex;
use crate::sys::terminal::signal_foreground;

/// How long what CMD wrote last may wait for a terminal that takes nothing.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same before we stop ourselves: it is shown after that otherwise.
const PATIENCE_TO_STOP: Duration = Duration::from_secs(1);
/// More than the kernel holds for a terminal: who goes on writing meanwhile is not waited for.
const MOST_PENDING: usize = 1 << 20;

/// What [`Console::next`] saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// CMD was stopped by this signal.
    Stopped(i32),
    /// The caller's terminal is gone.
    HungUp,
}

/// A pseudo-terminal and what is at its outer side. Dropped, it restores the caller's terminal.
#[derive(Debug)]
pub struct Console {
    outer: Option<Outer>,
    control: AsyncFd<OwnedFd>,
    master: AsyncFd<OwnedFd>,
    keys: Flow,
    shown: Flow,
    source: Source,
    sink: Sink,
    /// CMD may read the terminal, and what is typed is for it.
    owned: bool,
    /// It does, or did before it was stopped.
    wanted: bool,
    hung_up: bool,
}

impl Console {
    /// Takes the master that CMD's init hands over, makes it like the caller's terminal, and lets init go on.
    ///
    /// # Errors
    /// `UnexpectedEof` when init ended before that.
    pub(in crate::launch) async fn begin(terminal: &Terminal, control: OwnedFd) -> io::Result<Self> {
        let control = duplex(control)?;
        let master = control.async_io(Interest::READABLE, receive_master).await?;
        rustix::io::ioctl_fionbio(&master, true)?;
        adjust(terminal, &master)?;
        let outer = terminal.outer.as_ref().map(|fd| duplex(fd.try_clone()?)).transpose()?;
        let mut console = Self {
            outer: outer.map(|fd| Outer::new(fd, terminal.modes)),
            control,
            master: duplex(master)?,
            keys: Flow::new(),
            shown: Flow::new(),
            source: Source::Nobody,
            sink: Sink::Terminal,
            owned: false,
            wanted: terminal.spec.foreground,
            hung_up: false,
        };
        console.connect(terminal)?;
        console.order(Order::Start);
        Ok(console)
    }

    fn connect(&mut self, terminal: &Terminal) -> io::Result<()> {
        self.source = match (terminal.reads_pipe(), &self.outer) {
            (true, _) => Source::stdin()?,
            (false, Some(_)) => Source::Terminal,
            (false, None) => Source::Nobody,
        };
        if terminal.forced && !terminal.stdout {
            self.sink = Sink::stdout()?;
        }
        if terminal.spec.foreground && !terminal.reads_pipe() {
            self.take()?;
        }
        Ok(())
    }

    /// The next thing to decide about; bytes go both ways meanwhile. Cancel-safe.
    ///
    /// # Errors
    /// What the descriptors say; the caller's terminal being gone is no error.
    pub async fn next(&mut self) -> io::Result<Happened> {
        loop {
            let Self { outer, control, master, keys, shown, source, sink, owned, hung_up, .. } = self;
            let step = tokio::select! {
                stopped = control.async_io(Interest::READABLE, receive_stop) => {
                    match stopped? {
                        Some(signo) => return Ok(Happened::Stopped(signo)),
                        // Init ends, and CMD with it.
                        None => pending().await,
                    }
                }
                step = advance_keys(keys, source, outer.as_ref().filter(|_| *owned), master) => step?,
                step = advance_shown(shown, sink, outer.as_ref(), master) => step?,
            };
            match step {
                Step::Done => {}
                Step::NobodyTypes
                    if self.outer.as_ref().is_some_and(|outer| !outer.is_gone() && !outer.is_in_front()) =>
                {
                    // Given to somebody else behind our back.
                    self.owned = false;
                }
                Step::NobodyTypes | Step::NobodyLooks if *hung_up => self.leave(),
                Step::NobodyTypes | Step::NobodyLooks => return Ok(Happened::HungUp),
            }
        }
    }

    fn leave(&mut self) {
        self.source = Source::Nobody;
        self.sink = Sink::Nobody;
    }

    /// A signal that is about the terminal; false if it is not.
    ///
    /// # Errors
    /// What stopping ourselves and asking the terminal say.
    pub fn on_signal(&mut self, signal: Signal, from_terminal: bool) -> io::Result<bool> {
        match signal {
            Signal::WINCH => self.resize(),
            Signal::CONT => self.resume()?,
            Signal::TSTP => drop(signal_foreground(&self.master, Signal::TSTP)),
            // A key, while the terminal is not raw: it reached us instead of CMD.
            Signal::INT | Signal::QUIT if from_terminal => drop(signal_foreground(&self.master, signal)),
            // Already told, by the terminal itself.
            Signal::HUP if self.hung_up => {}
            Signal::HUP if self.outer.as_ref().is_some_and(Outer::is_gone) => self.hang_up(),
            Signal::HUP => self.order(Order::HangUp),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// CMD was stopped: gives it the terminal if that is what it wants and we have it, else stops ourselves too.
    ///
    /// # Errors
    /// As [`Self::on_signal`].
    pub async fn on_stop(&mut self, signo: i32) -> io::Result<()> {
        let signal = stop::seen_as(signo);
        let reads = signal != Signal::TSTP;
        self.wanted |= reads;
        if reads && self.in_front() && !self.hung_up {
            self.take()?;
            self.order(Order::Continue { foreground: true });
            return Ok(());
        }
        // A full-screen program leaves its screen before it stops.
        self.show_rest(PATIENCE_TO_STOP).await;
        self.release();
        if stop::stop_group(signal)? {
            // SIGCONT waits to be read, and does the rest.
            return Ok(());
        }
        if reads {
            // Nobody will ever bring us to the front. To read is an error then, which a terminal has no better word
            // for than its end.
            self.keys.put(end_of_file(&self.master, b'\n'));
        }
        self.order(Order::Continue { foreground: true });
        Ok(())
    }

    /// Nobody is at the other end any more: CMD's whole foreground gets SIGHUP.
    pub fn hang_up(&mut self) {
        self.hung_up = true;
        self.leave();
        self.order(Order::HangUp);
    }

    /// Shows what CMD wrote before it ended. When everything of CMD is dead, this is all there will be.
    pub async fn drain(mut self) {
        if self.show_rest(PATIENCE).await {
            let _ = timeout(PATIENCE, std::mem::replace(&mut self.sink, Sink::Nobody).finish()).await;
        }
    }

    /// Shows what was written so far; false if the terminal did not take it in time.
    async fn show_rest(&mut self, patience: Duration) -> bool {
        let mut bytes = vec![0; SIZE];
        let mut left = MOST_PENDING;
        loop {
            while !self.shown.is_empty() {
                let taken = timeout(patience, self.sink.take(&mut self.shown, self.outer.as_ref())).await;
                if !matches!(taken, Ok(Ok(()))) {
                    return false;
                }
            }
            if left == 0 {
                return true;
            }
            match rustix::io::read(&self.master, &mut bytes) {
                Ok(got @ 1..) => {
                    self.shown.put(bytes[..got].to_vec());
                    left = left.saturating_sub(got);
                }
                Err(Errno::INTR) => {}
                // EIO: every other side is closed; EAGAIN: somebody has one still, and writes nothing.
                _ => return true,
            }
        }
    }

    fn resume(&mut self) -> io::Result<()> {
        self.resize();
        let foreground = self.in_front() && self.wanted;
        if foreground {
            self.take()?;
        }
        self.order(Order::Continue { foreground });
        Ok(())
    }

    /// Gives CMD the caller's terminal.
    fn take(&mut self) -> io::Result<()> {
        let outer = self.outer.as_mut().filter(|_| matches!(self.source, Source::Terminal));
        match outer.map(Outer::make_raw) {
            // Gone, which reading it will tell.
            None | Some(Ok(()) | Err(Errno::IO)) => {}
            Some(Err(error)) => return Err(error.into()),
        }
        self.owned = true;
        Ok(())
    }

    fn release(&mut self) {
        self.owned = false;
        if let Some(outer) = &mut self.outer {
            outer.restore();
        }
    }

    fn in_front(&self) -> bool {
        self.outer.as_ref().is_none_or(Outer::is_in_front)
    }

    fn resize(&self) {
        if let Some(outer) = &self.outer {
            let _ = tcsetwinsize(&self.master, known_size(tcgetwinsize(&outer.fd).ok()));
        }
    }

    fn order(&self, order: Order) {
        // EPIPE: init has ended, and CMD with it. Its buffer holds thousands.
        let _ = send(&self.control, &[order.to_byte()], SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }
}

/// How far bytes got.
enum Step {
    Done,
    NobodyTypes,
    NobodyLooks,
}

async fn advance_keys(
    keys: &mut Flow,
    source: &mut Source,
    outer: Option<&Outer>,
    master: &AsyncFd<OwnedFd>,
) -> io::Result<Step> {
    if !keys.is_empty() {
        keys.drain(master).await?;
        return Ok(Step::Done);
    }
    match (&mut *source, outer) {
        (Source::Terminal, Some(outer)) => match keys.fill(&outer.fd).await {
            Ok(1..) => Ok(Step::Done),
            Ok(0) | Err(_) => Ok(Step::NobodyTypes),
        },
        (Source::Stdin { pieces, last }, _) => {
            match pieces.recv().await {
                Some(piece) => {
                    *last = piece.last().copied().unwrap_or(*last);
                    keys.put(piece);
                }
                None => {
                    keys.put(end_of_file(master, *last));
                    *source = Source::Nobody;
                }
            }
            Ok(Step::Done)
        }
        _ => pending().await,
    }
}

async fn advance_shown(
    shown: &mut Flow,
    sink: &Sink,
    outer: Option<&Outer>,
    master: &AsyncFd<OwnedFd>,
) -> io::Result<Step> {
    if !shown.is_empty() {
        return Ok(sink.take(shown, outer).await.map_or(Step::NobodyLooks, |()| Step::Done));
    }
    match shown.fill(master).await {
        Ok(1..) => Ok(Step::Done),
        // Every other side is closed: CMD's end is near.
        Ok(0) | Err(_) => pending().await,
    }
}
