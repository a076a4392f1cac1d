//! Where goes what CMD shows: the caller's terminal, or with `--tty` a stdout that is none.

use std::io::{self, Write};

use tokio::sync::{mpsc, oneshot};

use super::flow::Flow;
use super::outer::Outer;

/// Who looks.
#[derive(Debug)]
pub(super) enum Sink {
    Terminal,
    /// Our stdout, written by a thread: see [`super::source::Source::stdin`].
    Stdout {
        pieces: mpsc::Sender<Vec<u8>>,
        done: oneshot::Receiver<()>,
    },
    Nobody,
}

impl Sink {
    pub(super) fn stdout() -> io::Result<Self> {
        let (pieces, mut receive) = mpsc::channel::<Vec<u8>>(1);
        let (end, done) = oneshot::channel();
        std::thread::Builder::new().name("awf-stdout".into()).spawn(move || {
            let mut stdout = io::stdout().lock();
            while let Some(piece) = receive.blocking_recv() {
                if stdout.write_all(&piece).and_then(|()| stdout.flush()).is_err() {
                    break;
                }
            }
            drop(receive);
            let _ = end.send(());
        })?;
        Ok(Self::Stdout { pieces, done })
    }

    /// Passes some of `flow` on. Cancel-safe.
    ///
    /// # Errors
    /// When nobody looks any more.
    pub(super) async fn take(&self, flow: &mut Flow, outer: Option<&Outer>) -> io::Result<()> {
        match (self, outer) {
            (Self::Terminal, Some(outer)) => flow.drain(&outer.fd).await,
            (Self::Stdout { pieces, .. }, _) => {
                let place = pieces.reserve().await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
                place.send(flow.pending().to_vec());
                flow.clear();
                Ok(())
            }
            _ => {
                flow.clear();
                Ok(())
            }
        }
    }

    /// Waits until everything is written.
    pub(super) async fn finish(self) {
        if let Self::Stdout { pieces, done } = self {
            drop(pieces);
            let _ = done.await;
        }
    }
}
