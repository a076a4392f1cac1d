//! The record of what was decided: one JSON line an event, and the summary made of them.

mod bound;
mod error;
mod file;
mod line;
pub mod mask;
pub mod record;
mod sink;
pub mod summary;

pub use error::AuditError;
pub use file::{FILE_NAME, Invoker, open_dir};
pub use record::{Decision, EventId, EventKind, ProcessInfo, Record, Recorder};
pub use sink::JsonSink;
pub use summary::Summary;

#[cfg(test)]
mod tests;
