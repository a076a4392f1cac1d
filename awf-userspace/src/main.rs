//! The `awf-bpf` binary.

use std::process::ExitCode;

use awf_userspace::{cli, jail};

fn main() -> ExitCode {
    // Before anything else: this process is to become the command.
    if std::env::args_os().nth(1).is_some_and(|arg| arg == jail::INIT_ARG) {
        return jail::init_main();
    }
    cli::main(std::env::args_os())
}
