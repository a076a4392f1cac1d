//! Puts the eBPF object into `OUT_DIR`; how it is built is xtask's business.
use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::ebpf::build_script()
}
