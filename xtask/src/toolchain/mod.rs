//! Finds a Rust toolchain that can build `core` for the BPF target, and a linker that reads its bitcode.

mod candidate;
mod probe;

use std::{fmt, path::PathBuf};

use anyhow::{Result, anyhow};

pub use candidate::{Candidate, Source};
pub use probe::{Refusal, reader_version};

/// The release of bpf-linker that `setup` installs and that this project is built with.
pub const LINKER_VERSION: &str = "0.13.0";
/// The LLVM that bpf-linker is built against: it reads bitcode of this major version and of older ones.
pub const LINKER_LLVM: u32 = 22;

/// A toolchain that was seen to work: it has the library's source, and the linker read its bitcode.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// For messages: `rustup nightly-x86_64-unknown-linux-gnu`, `system /usr/bin`.
    pub name: String,
    /// The directory of its `cargo` and `rustc`.
    pub bin: PathBuf,
    /// As rustc prints them: `1.96.0` and `22.1.8`.
    pub release: String,
    pub llvm: String,
    /// It is not a nightly: `-Z build-std` needs `RUSTC_BOOTSTRAP=1`.
    pub bootstrap: bool,
    pub linker: PathBuf,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, release, llvm, linker, .. } = self;
        write!(f, "{name} (rustc {release}, LLVM {llvm}) and {}", linker.display())
    }
}

/// What was found on this machine: at most one usable toolchain, and all that was refused before it.
#[derive(Debug)]
pub struct Survey {
    pub usable: Option<Toolchain>,
    pub refused: Vec<(Candidate, Refusal)>,
    pub linkers: Vec<PathBuf>,
}

impl Survey {
    /// Tries `AWF_EBPF_TOOLCHAIN` alone if it is set, else rustup's toolchains, else the system's; stops at the first
    /// that works.
    #[must_use]
    pub fn take() -> Self {
        let linkers = candidate::linkers();
        let mut refused = Vec::new();
        for candidate in candidate::candidates() {
            match probe::probe(&candidate, &linkers) {
                Ok(usable) => return Self { usable: Some(usable), refused, linkers },
                Err(why) => refused.push((candidate, why)),
            }
        }
        Self { usable: None, refused, linkers }
    }
}

/// The refusals, one candidate a line with the command that mends it.
impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (candidate, why) in &self.refused {
            writeln!(f, "  {candidate}: {why}")?;
            writeln!(f, "      mend it with: {}", why.mend(candidate))?;
        }
        Ok(())
    }
}

/// Picks the toolchain that builds the eBPF programs.
///
/// # Errors
/// None works: the error lists each candidate, why it was refused, and what mends it.
pub fn detect() -> Result<Toolchain> {
    let survey = Survey::take();
    survey.usable.clone().ok_or_else(|| {
        anyhow!(
            "no toolchain here can build the eBPF programs:\n{survey}\
             `cargo xtask setup` installs what is missing; AWF_EBPF_TOOLCHAIN=NAME|/PREFIX names another toolchain, \
             AWF_EBPF_OBJECT=FILE takes a ready object, AWF_EBPF_SKIP=1 builds without one"
        )
    })
}
