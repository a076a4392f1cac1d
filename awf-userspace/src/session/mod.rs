//! One run: the order of everything, and the reverse order of undoing.

pub mod bpffs;
pub mod state;
