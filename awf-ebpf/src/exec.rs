//! sched_process_exec: tells of a new program of the command the moment it begins, so that it is looked at while it
//! still lives; one that connects and ends within a millisecond is gone before its connect() is read of. For kernels
//! that refuse `exec_image`, which tells more. Every exec of the machine comes by.

use awf_common::{Addr, EventKind, Refusal};
use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};

use crate::{emit, maps::is_of_the_command};

#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub(crate) fn process_exec(_ctx: RawTracePointContext) -> u32 {
    if is_of_the_command() {
        let origin = emit::origin(Addr::LOOPBACK4, 0, 4, 0, 0);
        emit::emit(EventKind::Exec as u32, Refusal::None as u32, 0, 0, &origin);
    }
    0
}
