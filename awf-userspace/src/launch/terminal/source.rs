//! Where CMD's keys come from: the caller's terminal, or with `--tty` a stdin that is none, which has an end.

use std::io::{self, Read};

use tokio::sync::mpsc;

/// A terminal takes no longer line (`MAX_CANON`).
const PIECE: usize = 4096;

/// Who types.
#[derive(Debug)]
pub(super) enum Source {
    /// The caller, while the terminal is ours.
    Terminal,
    /// Our stdin, up to its end.
    Stdin {
        pieces: mpsc::Receiver<Vec<u8>>,
        last: u8,
    },
    Nobody,
}

impl Source {
    /// Our stdin, read by a thread: a file or a socket cannot be waited for otherwise, and O_NONBLOCK would be on for
    /// everybody who has it.
    pub(super) fn stdin() -> io::Result<Self> {
        let (send, pieces) = mpsc::channel(1);
        std::thread::Builder::new().name("awf-stdin".into()).spawn(move || {
            let mut stdin = io::stdin().lock();
            let mut piece = vec![0; PIECE];
            loop {
                match stdin.read(&mut piece) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(0) | Err(_) => return,
                    Ok(got) if send.blocking_send(piece[..got].to_vec()).is_err() => return,
                    Ok(_) => {}
                }
            }
        })?;
        Ok(Self::Stdin { pieces, last: b'\n' })
    }
}
