//! sched_process_exec: tells of a new program of the command the moment it begins, so that it is looked at while it
//! still lives; one that connects and ends within a millisecond is gone before its connect() is read of. For kernels
//! that refuse `exec_image`, which tells more.

use awf_common::{Addr, EventKind, Refusal};
use aya_ebpf::{
    helpers::generated::bpf_get_current_cgroup_id, macros::raw_tracepoint, programs::RawTracePointContext,
};

use crate::{emit, maps::AGENT};

#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub(crate) fn process_exec(_ctx: RawTracePointContext) -> u32 {
    if is_of_the_command() {
        let origin = emit::origin(Addr::LOOPBACK4, 0, 4, 0, 0);
        emit::emit(EventKind::Exec as u32, Refusal::None as u32, 0, 0, &origin);
    }
    0
}

/// Every exec of the machine comes by; the command's own are in its cgroup, which it cannot divide.
#[inline(always)]
pub(crate) fn is_of_the_command() -> bool {
    // SAFETY: the helper takes nothing.
    let here = unsafe { bpf_get_current_cgroup_id() };
    AGENT.get(0) == Some(&here)
}
