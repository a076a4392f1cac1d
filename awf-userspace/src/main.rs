//! The `awf-bpf` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    awf_userspace::cli::main(std::env::args_os())
}
