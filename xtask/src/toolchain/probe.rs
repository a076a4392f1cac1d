//! Whether one candidate works: it has the library's source, and a linker here reads the bitcode it writes.

use std::{
    env, fmt, fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::{self, Command},
};

use super::{Candidate, LINKER_LLVM, LINKER_VERSION, Source, Toolchain};
use crate::child_env;

/// The oldest compiler that builds the workspace, from `workspace.package.rust-version`.
const RUST_VERSION: &str = env!("CARGO_PKG_RUST_VERSION");

/// Why a candidate was turned down.
#[derive(Debug)]
pub enum Refusal {
    /// Its `rustc` or `cargo` is not there.
    Absent(PathBuf),
    /// It has no `rust-src`: `-Z build-std` cannot compile `core`.
    NoSources(PathBuf),
    /// Its version is below the workspace's `rust-version`.
    TooOld(String),
    /// There is no bpf-linker on this machine.
    NoLinker,
    /// No bpf-linker here reads its bitcode; what the last one said.
    Unreadable { llvm: String, linker: PathBuf, linker_llvm: Option<String>, said: String },
    /// A step of the probe itself failed.
    Broken(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(path) => write!(f, "{} is not there", path.display()),
            Self::NoSources(path) => write!(f, "it has no library source ({} is not there)", path.display()),
            Self::TooOld(release) => {
                write!(f, "it is {release}, and the workspace needs {RUST_VERSION} or newer")
            }
            Self::NoLinker => {
                write!(f, "it would do, but there is no bpf-linker on PATH or in cargo's bin directory")
            }
            Self::Unreadable { llvm, linker, linker_llvm, said } => {
                let theirs = linker_llvm.as_deref().unwrap_or("an unknown version");
                write!(
                    f,
                    "it writes LLVM {llvm}, and {} (LLVM {theirs}) cannot read that: {said}",
                    linker.display()
                )
            }
            Self::Broken(what) => f.write_str(what),
        }
    }
}

impl Refusal {
    /// The command that makes this candidate usable.
    #[must_use]
    pub fn mend(&self, candidate: &Candidate) -> String {
        match (self, &candidate.source) {
            (Self::NoLinker | Self::Unreadable { .. }, _) => linker_command(),
            (Self::NoSources(_), Source::Rustup(name)) => {
                format!("rustup component add rust-src --toolchain {name}")
            }
            (_, Source::Rustup(name)) => format!("rustup toolchain install {name} --component rust-src"),
            (_, Source::System) => {
                "apt-get update && apt-get install rustc-web cargo-web rust-web-src".into()
            }
            (_, Source::Given) => "AWF_EBPF_TOOLCHAIN=<a rustup name, or a prefix that has bin/rustc>".into(),
        }
    }
}

/// What a user types to get the linker (Debian's package `llvm-22-dev` is what it is built against).
fn linker_command() -> String {
    format!(
        "LLVM_PREFIX=/usr/lib/llvm-{LINKER_LLVM} cargo install bpf-linker --locked --force --version {LINKER_VERSION} \
         --no-default-features --features llvm-{LINKER_LLVM}"
    )
}

/// Tries `candidate` with each of `linkers`.
pub(super) fn probe(candidate: &Candidate, linkers: &[PathBuf]) -> Result<Toolchain, Refusal> {
    let bin = candidate.bin();
    let rustc = bin.join("rustc");
    for file in [&rustc, &bin.join("cargo")] {
        if !file.is_file() {
            return Err(Refusal::Absent(file.clone()));
        }
    }
    let lock = sysroot(candidate, &rustc)?.join("lib/rustlib/src/rust/library/Cargo.lock");
    if !lock.is_file() {
        return Err(Refusal::NoSources(lock));
    }
    let version = stdout(Command::new(&rustc).arg("-vV"))?;
    let (release, llvm) = (field(&version, "release: ")?, field(&version, "LLVM version: ")?);
    if minor(release) < minor(RUST_VERSION) {
        return Err(Refusal::TooOld(release.into()));
    }
    let linker = readable_by(&rustc, llvm, linkers)?;
    Ok(Toolchain {
        name: candidate.to_string(),
        release: release.into(),
        llvm: llvm.into(),
        bootstrap: !(release.ends_with("-nightly") || release.ends_with("-dev")),
        bin,
        linker,
    })
}

/// The first linker that reads what `rustc` writes.
fn readable_by(rustc: &Path, llvm: &str, linkers: &[PathBuf]) -> Result<PathBuf, Refusal> {
    let dir = ProbeDir::new().map_err(|e| Refusal::Broken(format!("a directory for the probe: {e}")))?;
    let (source, bitcode, object) = (dir.0.join("p.rs"), dir.0.join("p.bc"), dir.0.join("p.o"));
    fs::write(&source, "#![no_std]\n#[unsafe(no_mangle)]\npub extern \"C\" fn p(x: u32) -> u32 { x }\n")
        .map_err(|e| Refusal::Broken(format!("{}: {e}", source.display())))?;
    let args = ["--edition=2024", "--crate-type=lib", "-Cpanic=abort", "--emit=llvm-bc", "-o"];
    stdout(Command::new(rustc).args(args).args([&bitcode, &source]))?;
    let mut why = Refusal::NoLinker;
    for linker in linkers {
        match stdout(
            Command::new(linker).args(["--target=bpfel", "--export=p", "-o"]).args([&object, &bitcode]),
        ) {
            Ok(_) => return Ok(linker.clone()),
            Err(said) => {
                let said = said.to_string();
                let linker_llvm = reader_version(&said).map(str::to_owned);
                why = Refusal::Unreadable { llvm: llvm.into(), linker: linker.clone(), linker_llvm, said };
            }
        }
    }
    Err(why)
}

/// The linker's own LLVM version, out of its complaint `(Producer: 'LLVM23.1.0' Reader: 'LLVM 22.1.8')`.
#[must_use]
pub fn reader_version(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("Reader: '")?;
    rest.split_once('\'').map(|(version, _)| version.trim_start_matches("LLVM").trim())
}

/// A rustup toolchain is its own sysroot, so no process is needed to refuse one without sources.
fn sysroot(candidate: &Candidate, rustc: &Path) -> Result<PathBuf, Refusal> {
    if let Source::Rustup(_) = candidate.source {
        return Ok(candidate.prefix.clone());
    }
    stdout(Command::new(rustc).args(["--print", "sysroot"])).map(|out| PathBuf::from(out.trim()))
}

fn stdout(cmd: &mut Command) -> Result<String, Refusal> {
    let out = child_env::isolate(cmd).output();
    let program = cmd.get_program().to_string_lossy();
    match out {
        Ok(out) if out.status.success() => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
        Ok(out) => Err(Refusal::Broken(format!(
            "{program} failed ({}): {}",
            out.status,
            String::from_utf8_lossy(&out.stderr).trim()
        ))),
        Err(e) => Err(Refusal::Broken(format!("{program} could not be started: {e}"))),
    }
}

fn field<'v>(version: &'v str, key: &str) -> Result<&'v str, Refusal> {
    let found = version.lines().find_map(|l| l.strip_prefix(key));
    found.ok_or_else(|| Refusal::Broken(format!("`rustc -vV` prints no `{}`", key.trim())))
}

/// `1.96.0-nightly` and `1.95` as numbers that compare.
fn minor(version: &str) -> (u32, u32) {
    let mut parts = version.split(['.', '-']).map(|p| p.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// A directory nobody else has, gone when the probe ends however it ends.
struct ProbeDir(PathBuf);

impl ProbeDir {
    /// Two builds probe at once (a build script of each profile, an editor): each gets its own name, and a name that
    /// exists already is another process's, alive or dead.
    fn new() -> io::Result<Self> {
        let builder = {
            let mut b = fs::DirBuilder::new();
            b.mode(0o700);
            b
        };
        for n in 0..1000 {
            let dir = env::temp_dir().join(format!("awf-probe-{}-{n}", process::id()));
            match builder.create(&dir) {
                Ok(()) => return Ok(Self(dir)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(io::Error::new(e.kind(), format!("{}: {e}", dir.display()))),
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "a thousand probes are left over in the temporary directory",
        ))
    }
}

impl Drop for ProbeDir {
    fn drop(&mut self) {
        // A leftover costs a few kilobytes of a temporary directory; failing the build for it would cost more.
        drop(fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::{ProbeDir, minor, reader_version};

    #[test]
    fn versions_compare_as_numbers() {
        assert!(minor("1.100.0") > minor("1.95"));
        assert!(minor("1.85.0") < minor("1.95"));
        assert_eq!(minor("1.96.0-nightly"), (1, 96));
    }

    #[test]
    fn the_linkers_llvm_is_read_from_its_complaint() {
        let said = "Invalid record (Producer: 'LLVM23.1.0-rust-1.99.0-nightly' Reader: 'LLVM 22.1.8')";
        assert_eq!(reader_version(said), Some("22.1.8"));
        assert_eq!(reader_version("out of memory"), None);
    }

    #[test]
    fn two_probes_of_one_process_do_not_share_a_directory_and_leave_none() {
        let (a, b) = (ProbeDir::new().unwrap(), ProbeDir::new().unwrap());
        assert_ne!(a.0, b.0);
        let paths = [a.0.clone(), b.0.clone()];
        drop((a, b));
        assert!(paths.iter().all(|p| !p.exists()));
    }
}
