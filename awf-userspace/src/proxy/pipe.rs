//! Pipes for splice(2): lent out for one transfer at a time, so that a tunnel that waits for bytes holds none, and
//! never more than [`MOST`].
//!
//! What is in a pipe belongs to one tunnel: a pipe that is not empty is closed, and never lent again.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// Pipes at once. A peer that does not read keeps one with what is in it; tunnels beyond these copy.
const MOST: usize = 64;
/// Pipes kept for the next transfer.
const KEPT: usize = 16;
/// Bytes of a pipe: what anybody may ask for, if `pipe-max-size` is unchanged (pipe(7)).
const SIZE: usize = 1 << 20;

static IDLE: Mutex<Vec<Pipe>> = Mutex::new(Vec::new());
/// Lent and idle.
static MADE: AtomicUsize = AtomicUsize::new(0);

/// A pipe on loan. Dropped, it is closed.
#[derive(Debug)]
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    /// Bytes in it.
    held: usize,
}

impl Pipe {
    /// An empty pipe, unless there are too many, or the kernel gives none.
    pub(super) fn take() -> Option<Self> {
        idle().pop().or_else(Self::make)
    }

    fn make() -> Option<Self> {
        let below = |made| (made < MOST).then_some(made + 1);
        MADE.fetch_update(Relaxed, Relaxed, below).ok()?;
        match pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK) {
            Ok((read, write)) => {
                if let Err(error) = fcntl_setpipe_size(&write, SIZE) {
                    log::debug!("F_SETPIPE_SZ {SIZE}: {error}; the pipe stays as it is");
                }
                Some(Self { read, write, held: 0 })
            }
            Err(error) => {
                log::debug!("a pipe for splice: {error}; copying instead");
                MADE.fetch_sub(1, Relaxed);
                None
            }
        }
    }

    /// Keeps it for the next transfer, if it is empty.
    pub(super) fn give_back(self) {
        let mut idle = idle();
        if self.held == 0 && idle.len() < KEPT {
            idle.push(self);
        }
    }

    /// Bytes in it.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Moves what `from`, which does not block, has received into the empty pipe; 0 at its end.
    pub(super) fn fill(&mut self, from: impl AsFd) -> io::Result<usize> {
        debug_assert_eq!(self.held, 0, "a full pipe would look like an empty socket");
        let moved = splice(from, None, &self.write, None, SIZE, SpliceFlags::NONBLOCK)?;
        self.held += moved;
        Ok(moved)
    }

    /// Moves what is in the pipe on to `to`, which does not block; how many bytes it took.
    pub(super) fn drain(&mut self, to: impl AsFd) -> io::Result<usize> {
        let moved = splice(&self.read, None, to, None, self.held, SpliceFlags::NONBLOCK)?;
        if moved == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.held -= moved;
        #[cfg(test)]
        tests::SPLICED.fetch_add(moved as u64, Relaxed);
        Ok(moved)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        MADE.fetch_sub(1, Relaxed);
    }
}

fn idle() -> MutexGuard<'static, Vec<Pipe>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        sync::atomic::AtomicU64,
    };

    use super::*;

    /// Bytes that went through any pipe.
    pub(in crate::proxy) static SPLICED: AtomicU64 = AtomicU64::new(0);

    /// Pipes on loan.
    pub(in crate::proxy) fn lent() -> usize {
        let idle = idle();
        MADE.load(Relaxed) - idle.len()
    }

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    #[test]
    fn bytes_go_through_and_the_end_is_seen() {
        let ((mut from, near), (far, mut to)) = (pair(), pair());
        from.write_all(b"hello").unwrap();
        let mut pipe = Pipe::take().unwrap();
        assert_eq!((pipe.fill(&near).unwrap(), pipe.held()), (5, 5));
        assert_eq!((pipe.drain(&far).unwrap(), pipe.held()), (5, 0));
        let mut read = [0; 5];
        to.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"hello");
        drop(from);
        assert_eq!(pipe.fill(&near).unwrap(), 0);
        pipe.give_back();
    }

    /// Bytes of a tunnel that broke must not come out of another one.
    #[test]
    fn a_pipe_that_is_not_empty_is_never_lent_again() {
        for back in [Pipe::give_back, drop] {
            let (mut from, near) = pair();
            from.write_all(b"somebody's secret").unwrap();
            let mut pipe = Pipe::take().unwrap();
            pipe.fill(&near).unwrap();
            back(pipe);
            for pipe in idle().iter() {
                let read = rustix::io::read(&pipe.read, &mut [0; 16]);
                assert_eq!(read, Err(rustix::io::Errno::AGAIN));
            }
        }
    }

    #[test]
    fn kept_pipes_are_few_and_large() {
        let some: Vec<_> = (0..KEPT + 4).map_while(|_| Pipe::take()).collect();
        assert_eq!(rustix::pipe::fcntl_getpipe_size(&some[0].write).unwrap(), SIZE);
        some.into_iter().for_each(Pipe::give_back);
        assert!((1..=KEPT).contains(&idle().len()));
    }
}
