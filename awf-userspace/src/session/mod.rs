//! One run: the order of everything, and the reverse order of undoing.

pub mod attach;
pub mod bpffs;
pub mod control;
mod diagnosis;
mod edits;
mod error;
mod front;
mod ground;
mod join;
mod limits;
pub mod live_rules;
mod mount_point;
mod prepare;
mod run;
mod selftest;
mod startup;
pub mod state;
mod tls;
pub mod trust;
mod unix;
mod view;

pub use error::SessionError;
pub use ground::{Ground, Reaped};
pub use run::{Finished, run};

/// Clears what runs left whose awf-bpf is dead.
///
/// # Errors
///
/// When the state directory cannot be read. What cannot be cleared of one run is logged, and does not keep the
/// others.
pub fn reap() -> Result<Reaped, SessionError> {
    // Not at every start: it looks into the HOMEs of others, and a file system that hangs would hold them all up.
    mount_point::reap();
    ground::reap()
}

/// Clears what dead runs left, and says so only in the log: a start must not fail for another run's sake.
fn reap_quietly() {
    match ground::reap() {
        Ok(reaped) => {
            reaped.cleared.iter().for_each(|id| log::info!("cleared what run {id} left behind"));
        }
        Err(e) => log::warn!("looking for what dead runs left: {e}"),
    }
}
