//! `awf-bpf gc`.

use super::{EXIT_FAILURE, complain, logging};
use crate::{config::LogLevel, session};

/// Reaps what killed runs left behind and names it.
pub(super) fn gc() -> u8 {
    logging::start(LogLevel::Info);
    match session::gc() {
        Ok(reaped) => {
            reaped.iter().for_each(|run| println!("removed {run}"));
            0
        }
        Err(error) => {
            complain(&error);
            EXIT_FAILURE
        }
    }
}
