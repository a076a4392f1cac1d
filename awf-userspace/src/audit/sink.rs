//! [`JsonSink`]: the [`Recorder`] of a run, which writes `audit.jsonl` and adds up the summary.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use time::OffsetDateTime;

use super::{
    AuditError, EventId, Record, Recorder, Summary,
    file::{Invoker, LineFile},
    line::Line,
};

/// Writes each record with one write(2) before [`Recorder::record`] returns.
///
/// No queue and no buffer: what was decided is in the file even when the process is killed a moment later,
/// and a slow disk slows the decisions down instead of filling memory. A write goes to the page cache (a few
/// microseconds), which is small beside the connection it is about. While the file cannot be written,
/// records wait in memory (4 MiB) and [`Recorder::is_keeping`] says `false`, so that nothing more is
/// allowed.
#[derive(Debug)]
pub struct JsonSink {
    run: Box<str>,
    path: PathBuf,
    next: AtomicU64,
    keeping: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: LineFile,
    summary: Summary,
}

impl JsonSink {
    /// Opens `dir`/`audit.jsonl` (0640, appended to), making `dir` (0750) if need be; both become readable
    /// by the invoker's group. `run` names the run in each record.
    ///
    /// # Errors
    /// When the file cannot be opened, or when somebody other than this user and `invoker` could replace it.
    pub fn create(dir: &Path, run: &str, invoker: Option<Invoker>) -> Result<Self, AuditError> {
        let file = LineFile::create(dir, invoker)?;
        Ok(Self {
            run: run.into(),
            path: file.path().to_owned(),
            next: AtomicU64::new(1),
            keeping: AtomicBool::new(true),
            inner: Mutex::new(Inner { file, summary: Summary::default() }),
        })
    }

    /// The file the records go to.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was recorded up to now.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let inner = self.lock();
        let mut summary = inner.summary.clone();
        summary.lost_records = inner.file.lost();
        summary
    }

    /// Writes what waits. Records may still come afterwards.
    ///
    /// # Errors
    /// When records were lost, or the file is no longer where it was: the run's record is not complete.
    pub fn finish(&self) -> Result<(), AuditError> {
        self.lock().file.finish()
    }

    /// A panic elsewhere while the lock was held leaves whole lines behind: carry on.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder for JsonSink {
    fn next_id(&self) -> EventId {
        EventId::new(&self.run, self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, id: EventId, record: Record) {
        let mut inner = self.lock();
        inner.summary.add(&record);
        // The time is taken under the lock, so that the lines of the file are in its order.
        let line = Line { at: OffsetDateTime::now_utc(), run: &self.run, id: &id, record: &record };
        let kept = match line.to_bytes() {
            Ok(bytes) => inner.file.append(&bytes),
            Err(e) => {
                inner.file.lose(io::Error::other(e));
                false
            }
        };
        self.keeping.store(kept, Ordering::Release);
    }

    fn is_keeping(&self) -> bool {
        self.keeping.load(Ordering::Acquire)
    }
}
