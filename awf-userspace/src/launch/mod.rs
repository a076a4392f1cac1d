//! The parent side of CMD's start: it is born inside its cgroup, set up by [`crate::jail`], watched through a
//! descriptor of its process, and given the signals that were meant for it.

pub mod child;
pub mod error;
pub mod escalation;
pub mod report;
pub mod signals;
pub mod spawn;
pub mod supervise;
pub mod terminal;

pub use child::{Child, Exit};
pub use error::LaunchError;
pub use signals::{BlockedSignals, Signal, Signals};
pub use spawn::{LaunchSpec, SETUP_LIMIT, Starting, Stdio, spawn, start};
pub use supervise::{GRACE, Limits, Outcome, supervise};
pub use terminal::Terminal;
