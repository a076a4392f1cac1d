//! `awf-bpf gc`.

use super::{EXIT_FAILURE, complain, is_root, logging, stdout::outln};
use crate::{config::LogLevel, session};

/// Reaps what killed runs left behind and names it.
pub(super) fn gc() -> u8 {
    logging::start(LogLevel::Info);
    if !is_root("gc") {
        return EXIT_FAILURE;
    }
    match session::reap() {
        Ok(reaped) => {
            reaped.cleared.iter().for_each(|run| outln!("removed {run}"));
            for run in &reaped.refusing {
                log::warn!(
                    "run {run} has lost its daemon, and its processes have no network: `awf-bpf detach {run}` gives it back"
                );
            }
            for run in &reaped.unknown {
                log::warn!("the state of run {run} is of another version of awf-bpf, and left alone");
            }
            if reaped.living == 0
                && reaped.refusing.is_empty()
                && reaped.unknown.is_empty()
                && reaped.failed.is_empty()
            {
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
