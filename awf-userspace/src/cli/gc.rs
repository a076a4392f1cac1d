//! `awf-bpf gc`.

use super::{EXIT_FAILURE, complain, logging};
use crate::{config::LogLevel, session};

/// Reaps what killed runs left behind and names it.
pub(super) fn gc() -> u8 {
    logging::start(LogLevel::Info);
    match session::reap() {
        Ok(reaped) => {
            reaped.cleared.iter().for_each(|run| println!("removed {run}"));
            if reaped.living == 0 && reaped.failed.is_empty() {
                session::bpffs::unmount().unwrap_or_else(|e| log::warn!("unmounting our bpffs: {e}"));
            }
            if reaped.failed.is_empty() { 0 } else { EXIT_FAILURE }
        }
        Err(error) => {
            complain(&error);
            EXIT_FAILURE
        }
    }
}
