//! What this kernel was built with: a vector may only be missed where the kernel itself lacks it.

use std::{path::Path, process::Command};

use harness::tools;

/// Whether the option is built in or a module; `None` if the kernel does not publish its configuration.
pub(crate) fn has(option: &str) -> Option<bool> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("read the kernel's release");
    let text = if Path::new("/proc/config.gz").exists() {
        tools::succeed(Command::new(tools::require("zcat")).arg("/proc/config.gz"))
    } else {
        std::fs::read_to_string(format!("/boot/config-{}", release.trim())).ok()?
    };
    Some(text.lines().any(|line| line == format!("{option}=y") || line == format!("{option}=m")))
}
