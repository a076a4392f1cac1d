//! Builds the eBPF object, for `awf-userspace/build.rs` and for `cargo xtask build-ebpf`.
//!
//! aya-build does the same, but calls `rustup run nightly` wherever rustup exists (aya issue 1329); a nightly proves
//! nothing about `rust-src`, and Debian's compiler, which has it, would never be asked.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    child_env,
    toolchain::{self, Toolchain},
};

/// The variables that choose where the object comes from.
pub const OBJECT_VAR: &str = "AWF_EBPF_OBJECT";
pub const SKIP_VAR: &str = "AWF_EBPF_SKIP";
pub const TOOLCHAIN_VAR: &str = "AWF_EBPF_TOOLCHAIN";

const TARGET: &str = "bpfel-unknown-none";
/// What the object is made of, below the workspace's root.
const SOURCES: &[&str] = &[
    "awf-ebpf/src",
    "awf-ebpf/Cargo.toml",
    "awf-common/src",
    "awf-common/Cargo.toml",
    "Cargo.toml",
    "Cargo.lock",
];

/// What happens to the child cargo's chatter while it builds; a failure shows it either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chatter {
    /// Kept for the error: cargo swallows what a build script prints.
    Kept,
    /// Passed on to stderr as it comes.
    Shown,
}

/// A set, non-empty variable; `0` counts as unset for the switch.
#[must_use]
pub fn given(var: &str) -> Option<OsString> {
    let off = |value: &OsString| value.is_empty() || (var == SKIP_VAR && value == "0");
    env::var_os(var).filter(|value| !off(value))
}

/// Builds `awf-ebpf` of `workspace` into `target_dir/ebpf` for a userspace of `arch` and returns the object's path.
///
/// All profiles share that directory: with one each, `core` would be compiled for each.
///
/// # Errors
/// No toolchain works, or the build fails: the compiler's own words, and both LLVM versions if they disagree.
pub fn build(workspace: &Path, target_dir: &Path, arch: &str, chatter: Chatter) -> Result<PathBuf> {
    let toolchain = toolchain::detect()?;
    build_with(&toolchain, workspace, target_dir, arch, chatter)
}

fn build_with(
    tc: &Toolchain,
    workspace: &Path,
    target_dir: &Path,
    arch: &str,
    chatter: Chatter,
) -> Result<PathBuf> {
    let target_dir = target_dir.join("ebpf");
    let mut cmd = command(tc, workspace, &target_dir, arch)?;
    if chatter == Chatter::Kept {
        cmd.arg("--quiet");
    }
    let (ok, said) = run(&mut cmd, chatter)?;
    if !ok {
        bail!("building the eBPF programs with {tc} failed:\n{said}{}", llvm_advice(tc, &said));
    }
    let object = target_dir.join(TARGET).join("release/awf-ebpf");
    ensure!(object.is_file(), "cargo reported success, but {} is not there", object.display());
    Ok(object)
}

fn command(tc: &Toolchain, workspace: &Path, target_dir: &Path, arch: &str) -> Result<Command> {
    let mut cmd = Command::new(tc.bin.join("cargo"));
    child_env::isolate(&mut cmd)
        .current_dir(workspace)
        .args(["build", "--locked", "--package=awf-ebpf", "--bins", "--release"])
        .args(["--target", TARGET, "-Zbuild-std=core", "--target-dir"])
        .arg(target_dir)
        .env("PATH", path_with(&tc.bin)?)
        .env("RUSTC", tc.bin.join("rustc"))
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(arch))
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &tc.linker)
        // Empty rather than unset: that overrules `build.rustc-wrapper` of a configuration file, too
        // (https://doc.rust-lang.org/cargo/reference/config.html#buildrustc-wrapper).
        .env("RUSTC_WRAPPER", "")
        .env("RUSTC_WORKSPACE_WRAPPER", "");
    if tc.bootstrap {
        cmd.env("RUSTC_BOOTSTRAP", "1");
    }
    Ok(cmd)
}

/// rustup's proxies come first on a developer's `PATH`; whatever the child looks up there must be of its own kind.
fn path_with(bin: &Path) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::join_paths(std::iter::once(bin.to_owned()).chain(env::split_paths(&path)))
        .with_context(|| format!("{} cannot stand on PATH", bin.display()))
}

/// `--btf` keeps line information in the object, so that the verifier's complaints name lines of Rust.
/// `bpf_target_arch` is what aya-ebpf's `pt_regs` accessors are chosen by.
fn rustflags(arch: &str) -> String {
    [format!("--cfg=bpf_target_arch=\"{arch}\""), "-Cdebuginfo=2".into(), "-Clink-arg=--btf".into()]
        .join("\x1f")
}

fn run(cmd: &mut Command, chatter: Chatter) -> Result<(bool, String)> {
    let program = cmd.get_program().to_string_lossy().into_owned();
    let mut child = cmd
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {program}"))?;
    let mut said = String::new();
    for line in BufReader::new(child.stderr.take().context("the child's stderr")?).lines() {
        let line = line.with_context(|| format!("reading what {program} says"))?;
        if chatter == Chatter::Shown {
            eprintln!("{line}");
        }
        said.push_str(&line);
        said.push('\n');
    }
    let status = child.wait().with_context(|| format!("waiting for {program}"))?;
    Ok((status.success(), said))
}

/// LLVM reads bitcode of its own and older versions; its complaint about a newer one is hard to recognise.
fn llvm_advice(tc: &Toolchain, said: &str) -> String {
    if !said.contains("Producer:") {
        return String::new();
    }
    let linker_llvm = toolchain::reader_version(said).unwrap_or("unknown");
    format!(
        "\nthe compiler writes LLVM {} and {} reads LLVM {linker_llvm}: the linker must be of the same version or a \
         newer one; `cargo xtask setup` installs one built for LLVM {}",
        tc.llvm,
        tc.linker.display(),
        toolchain::LINKER_LLVM
    )
}

/// The build directory that `inside` (a build script's `OUT_DIR`, a running executable) lies in: cargo marks it,
/// wherever `--target-dir`, `CARGO_TARGET_DIR` or a configuration file have put it.
#[must_use]
pub fn target_dir_of(inside: &Path) -> Option<&Path> {
    inside.ancestors().find(|d| d.join("CACHEDIR.TAG").is_file() || d.join(".rustc_info.json").is_file())
}

/// Entry point for `awf-userspace/build.rs`: leaves the object in `OUT_DIR/awf-ebpf`, empty if it was skipped.
///
/// `PATH` is not among what causes a rerun: a shell and a test's bare environment would rebuild for each other
/// forever. The compiler and the linker that were found are, by file: a new version of either rebuilds.
#[must_use]
pub fn build_script() -> ExitCode {
    match place_object() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // Not `fn main() -> Result`: with RUST_BACKTRACE the compiler's words would drown in a backtrace.
            eprintln!("{why:#}");
            ExitCode::FAILURE
        }
    }
}

fn place_object() -> Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo set no OUT_DIR")?);
    let object = out.join("awf-ebpf");
    for var in [OBJECT_VAR, SKIP_VAR, TOOLCHAIN_VAR] {
        println!("cargo::rerun-if-env-changed={var}");
    }
    if given(SKIP_VAR).is_some() {
        println!("cargo::warning={SKIP_VAR} is set: built without eBPF programs; `exec` will refuse to run");
        return fs::write(&object, []).with_context(|| format!("writing {}", object.display()));
    }
    let from = match given(OBJECT_VAR) {
        Some(ready) => {
            println!("cargo::rerun-if-changed={}", Path::new(&ready).display());
            PathBuf::from(ready)
        }
        None => build_for_script(&out)?,
    };
    fs::copy(&from, &object)
        .with_context(|| format!("copying {} to {}", from.display(), object.display()))?;
    Ok(())
}

fn build_for_script(out: &Path) -> Result<PathBuf> {
    let manifest =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("cargo set no CARGO_MANIFEST_DIR")?);
    let workspace = manifest.parent().context("awf-userspace lies in no workspace")?;
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }
    let endian = env::var("CARGO_CFG_TARGET_ENDIAN").context("cargo set no CARGO_CFG_TARGET_ENDIAN")?;
    ensure!(
        endian == "little",
        "the eBPF programs are built little-endian only, and the target is {endian}-endian"
    );
    let arch = env::var("CARGO_CFG_TARGET_ARCH").context("cargo set no CARGO_CFG_TARGET_ARCH")?;
    let target_dir = target_dir_of(out).map_or_else(|| workspace.join("target"), Path::to_owned);
    let tc = toolchain::detect()?;
    for tool in [tc.bin.join("rustc"), tc.linker.clone()] {
        println!("cargo::rerun-if-changed={}", tool.display());
    }
    build_with(&tc, workspace, &target_dir, &arch, Chatter::Kept)
}

#[cfg(test)]
mod tests {
    use super::{Path, PathBuf, Toolchain, command, llvm_advice, rustflags};
    use std::collections::BTreeMap;

    fn toolchain(bootstrap: bool) -> Toolchain {
        Toolchain {
            name: "system /usr/bin".into(),
            bin: PathBuf::from("/usr/bin"),
            release: "1.96.0".into(),
            llvm: "22.1.8".into(),
            bootstrap,
            linker: PathBuf::from("/opt/bpf-linker"),
        }
    }

    fn env_of(bootstrap: bool) -> BTreeMap<String, String> {
        let cmd = command(&toolchain(bootstrap), Path::new("/ws"), Path::new("/t"), "x86_64").unwrap();
        let envs = cmd.get_envs();
        envs.filter_map(|(k, v)| Some((k.to_str()?.into(), v?.to_str()?.into()))).collect()
    }

    #[test]
    fn bootstrap_is_for_a_stable_compiler_only() {
        assert_eq!(env_of(true).get("RUSTC_BOOTSTRAP").map(String::as_str), Some("1"));
        assert_eq!(env_of(false).get("RUSTC_BOOTSTRAP"), None);
    }

    #[test]
    fn the_toolchains_own_tools_come_first_on_path() {
        assert!(env_of(true)["PATH"].starts_with("/usr/bin:"));
    }

    #[test]
    fn flags_are_separated_as_cargo_wants_them() {
        let flags = rustflags("aarch64");
        let parts: Vec<_> = flags.split('\x1f').collect();
        assert_eq!(parts, ["--cfg=bpf_target_arch=\"aarch64\"", "-Cdebuginfo=2", "-Clink-arg=--btf"]);
    }

    #[test]
    fn a_link_that_names_a_producer_prints_both_versions() {
        let said = "error: invalid (Producer: 'LLVM22.1.8' Reader: 'LLVM 21.1.0')";
        let advice = llvm_advice(&toolchain(true), said);
        assert!(advice.contains("22.1.8") && advice.contains("21.1.0"), "{advice}");
        assert_eq!(llvm_advice(&toolchain(true), "error: no space left"), "");
    }
}
