//! Finds a Rust toolchain that can build `core` for the BPF target, and a linker that reads its bitcode.
use anyhow::{Context as _, Result, bail};
use std::{
    env,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

/// A toolchain that has the library sources (`-Z build-std` needs them).
#[derive(Debug)]
pub struct Toolchain {
    pub name: String,
    pub cargo: PathBuf,
    pub rustc: PathBuf,
    pub bootstrap: bool,
    pub linker: PathBuf,
}

/// Why a candidate was turned down, for one readable error.
#[derive(Debug)]
struct Rejected(Vec<(String, String)>);
impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "no toolchain here can build the eBPF programs:")?;
        for (name, why) in &self.0 {
            writeln!(f, "  {name}: {why}")?;
        }
        write!(f, "run `cargo xtask setup` to install one")
    }
}

/// Picks the toolchain: `AWF_EBPF_TOOLCHAIN`, then rustup's, then the system's.
pub fn detect() -> Result<Toolchain> {
    let linker = find_linker()?;
    let mut rejected = Rejected(Vec::new());
    for (name, bin) in candidates()? {
        match check(&bin, &linker) {
            Ok(bootstrap) => {
                return Ok(Toolchain {
                    name,
                    cargo: bin.join("cargo"),
                    rustc: bin.join("rustc"),
                    bootstrap,
                    linker,
                });
            }
            Err(e) => rejected.0.push((name, format!("{e:#}"))),
        }
    }
    bail!("{rejected}")
}

fn candidates() -> Result<Vec<(String, PathBuf)>> {
    if let Some(forced) = env::var_os("AWF_EBPF_TOOLCHAIN") {
        let forced = forced.into_string().ok().context("AWF_EBPF_TOOLCHAIN is not UTF-8")?;
        return Ok(vec![match forced.strip_prefix('/') {
            Some(_) => (forced.clone(), Path::new(&forced).join("bin")),
            None => {
                let root = rustup_root(&forced)?;
                (format!("rustup {forced}"), root.join("bin"))
            }
        }]);
    }
    let mut found = Vec::new();
    for name in ["nightly", "stable"] {
        if let Ok(root) = rustup_root(name) {
            found.push((format!("rustup {name}"), root.join("bin")));
        }
    }
    found.push(("system".into(), PathBuf::from("/usr/bin")));
    Ok(found)
}

fn rustup_root(name: &str) -> Result<PathBuf> {
    let out = Command::new("rustup")
        .args(["run", name, "rustc", "--print", "sysroot"])
        .output()
        .context("rustup")?;
    if !out.status.success() {
        bail!("rustup has no toolchain {name}");
    }
    Ok(PathBuf::from(String::from_utf8(out.stdout)?.trim()))
}

fn find_linker() -> Result<PathBuf> {
    let home =
        env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| env::home_dir().map(|h| h.join(".cargo")));
    let dirs = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&dirs)
        .chain(home.map(|h| h.join("bin")))
        .map(|d| d.join("bpf-linker"))
        .find(|p| p.is_file())
        .context("bpf-linker is not on PATH nor in ~/.cargo/bin; run `cargo xtask setup`")
}

/// Returns whether the toolchain needs `RUSTC_BOOTSTRAP=1`.
fn check(bin: &Path, linker: &Path) -> Result<bool> {
    let rustc = bin.join("rustc");
    let run = |args: &[&str]| -> Result<String> {
        let out = Command::new(&rustc).args(args).output().with_context(|| format!("{}", rustc.display()))?;
        if !out.status.success() {
            bail!("rustc {args:?}: {}", String::from_utf8_lossy(&out.stderr).trim());
        }
        Ok(String::from_utf8(out.stdout)?)
    };
    let sysroot = PathBuf::from(run(&["--print", "sysroot"])?.trim());
    if !sysroot.join("lib/rustlib/src/rust/library/Cargo.lock").is_file() {
        bail!("has no library sources (the rust-src component)");
    }
    let version = run(&["-vV"])?;
    let dir = env::temp_dir().join(format!("awf-probe-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let (src, bc, obj) = (dir.join("p.rs"), dir.join("p.bc"), dir.join("p.o"));
    std::fs::write(&src, "#![no_std]\n#[unsafe(no_mangle)] pub extern \"C\" fn p(x: u32) -> u32 { x }\n")?;
    run(&[
        "--edition=2024",
        "--crate-type=lib",
        "-Cpanic=abort",
        "--emit=llvm-bc",
        "-o",
        bc.to_str().unwrap(),
        src.to_str().unwrap(),
    ])?;
    let out = Command::new(linker)
        .args(["--target=bpfel", "--export=p", "-o"])
        .args([&obj, &bc])
        .output()
        .context("bpf-linker")?;
    std::fs::remove_dir_all(&dir)?;
    if !out.status.success() {
        bail!("its LLVM does not match bpf-linker's: {}", String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(!version.contains("-nightly"))
}

pub fn encoded_rustflags(arch: &str) -> OsString {
    [format!("--cfg=bpf_target_arch=\"{arch}\""), "-Cdebuginfo=2".into(), "-Clink-arg=--btf".into()]
        .join("\x1f")
        .into()
}
