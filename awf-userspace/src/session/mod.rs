//! One run: the order of everything, and the reverse order of undoing.

pub mod bpffs;
mod diagnosis;
mod error;
mod ground;
mod join;
mod limits;
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
pub use ground::{Ground, Reaped, reap};
pub use run::{Finished, run};

/// Clears what dead runs left, and says so only in the log: a start must not fail for another run's sake.
fn reap_quietly() {
    match reap() {
        Ok(reaped) => {
            reaped.cleared.iter().for_each(|id| log::info!("cleared what run {id} left behind"));
        }
        Err(e) => log::warn!("looking for what dead runs left: {e}"),
    }
}
