//! How bpf-linker gets onto this machine.

use std::{env, path::Path, process::Command};

use anyhow::{Result, bail};
use xtask::{
    child_env,
    toolchain::{LINKER_LLVM, LINKER_VERSION},
};

use crate::cmd;

/// The package whose LLVM the linker is built against.
pub(super) const DEBIAN_PACKAGE: &str = "llvm-22-dev";
const DEBIAN_PREFIX: &str = "/usr/lib/llvm-22";

/// Where the linker comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Compiled against Debian's LLVM, which a step before this one installs.
    Debian,
    /// Compiled against an LLVM that is here.
    Prefix(String),
    /// Its authors' binary.
    Binstall,
}

impl Way {
    /// An LLVM that is here is best (nothing else to install), then a ready binary, then Debian's.
    pub(super) fn choose(apt: bool, binstall: bool, llvm_prefix: Option<&str>) -> Result<Self> {
        match llvm_prefix {
            Some(prefix) => Ok(Self::Prefix(prefix.to_owned())),
            None if binstall => Ok(Self::Binstall),
            None if apt => Ok(Self::Debian),
            None => bail!(
                "bpf-linker is missing, and there is neither an LLVM {LINKER_LLVM} to build it with (set LLVM_PREFIX), \
                 nor apt, nor cargo-binstall: `cargo install cargo-binstall`, then this again"
            ),
        }
    }

    pub(super) fn describe(&self) -> String {
        match self {
            Self::Debian => {
                format!("build bpf-linker {LINKER_VERSION} with {DEBIAN_PREFIX} (1 to 3 minutes)")
            }
            Self::Prefix(prefix) => {
                format!("build bpf-linker {LINKER_VERSION} with {prefix} (1 to 3 minutes)")
            }
            Self::Binstall => format!("cargo binstall bpf-linker@{LINKER_VERSION}"),
        }
    }

    pub(super) fn install(&self) -> Result<()> {
        let prefix = match self {
            Self::Binstall => {
                let spec = format!("bpf-linker@{LINKER_VERSION}");
                return cmd::run(&mut bare_cargo(&["binstall", "--no-confirm", "--force", &spec]));
            }
            Self::Debian => DEBIAN_PREFIX,
            Self::Prefix(prefix) => prefix,
        };
        let feature = format!("llvm-{LINKER_LLVM}");
        let args = ["install", "bpf-linker", "--locked", "--force", "--version", LINKER_VERSION];
        let features = ["--no-default-features", "--features", &feature];
        cmd::run(bare_cargo(&args).args(features).env("LLVM_PREFIX", prefix))
    }
}

/// Cargo as it is outside this repository: its target directory, flags and wrappers are not for installed tools.
pub(crate) fn bare_cargo(args: &[&str]) -> Command {
    let mut cmd = Command::new(cmd::cargo_path());
    child_env::isolate(&mut cmd).args(args).current_dir("/");
    // The rustc of the same toolchain: `CARGO` is the real one, past rustup's proxies.
    if let Some(toolchain) = env::var_os("RUSTUP_TOOLCHAIN") {
        cmd.env("RUSTUP_TOOLCHAIN", toolchain);
    }
    cmd
}

/// `LLVM_PREFIX` of the caller, or Debian's, if it is the LLVM that the linker is to be built with.
pub(super) fn llvm_prefix() -> Option<String> {
    let given = env::var("LLVM_PREFIX").ok();
    given.into_iter().chain([DEBIAN_PREFIX.to_owned()]).find(|prefix| {
        let version = Command::new(Path::new(prefix).join("bin/llvm-config")).arg("--version").output();
        version.is_ok_and(|out| out.stdout.starts_with(format!("{LINKER_LLVM}.").as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::Way;

    #[test]
    fn the_least_to_install_is_chosen() {
        assert_eq!(Way::choose(true, true, Some("/opt/llvm")).unwrap(), Way::Prefix("/opt/llvm".into()));
        assert_eq!(Way::choose(true, true, None).unwrap(), Way::Binstall);
        assert_eq!(Way::choose(true, false, None).unwrap(), Way::Debian);
        assert!(Way::choose(false, false, None).unwrap_err().to_string().contains("cargo-binstall"));
    }
}
