//! The kernel side: loads the programs, attaches them to the run's cgroups, and reads what they remember.

mod attach;
mod events;
mod image;
mod load;
mod marks;
mod origins;
mod process;
mod steps;

pub use attach::{Guarded, Places};
pub use events::{Events, EventsError, Notice, Ring};
pub use load::{BpfError, Counters, Kernel, Loading, Programs};
pub use marks::{Births, mark_listeners};
pub use origins::Origins;
pub use process::{Caller, Processes};
pub use steps::Steps;

/// The object that `build.rs` left; empty when it was built with `AWF_EBPF_SKIP`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/awf-ebpf"));

/// Whether this binary carries the kernel programs.
#[must_use]
pub fn is_built_in() -> bool {
    !OBJECT.is_empty()
}
