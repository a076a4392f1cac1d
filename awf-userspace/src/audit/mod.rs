//! The record of what was decided: one JSON line an event, and the summary made of them.

pub mod record;

pub use record::{Decision, EventKind, ProcessInfo, Record};
