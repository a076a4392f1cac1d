//! Builds the eBPF object with the toolchain that `toolchain::detect` picks.
use crate::toolchain::{self, Toolchain};
use anyhow::{Context as _, Result, bail};
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// Builds `awf-ebpf` under `target_dir` and returns the object's path.
pub fn build(workspace: &Path, target_dir: &Path, arch: &str) -> Result<PathBuf> {
    let tc: Toolchain = toolchain::detect()?;
    let mut cmd = Command::new(&tc.cargo);
    cmd.current_dir(workspace)
        .env("RUSTC", &tc.rustc)
        .args([
            "build",
            "--locked",
            "--quiet",
            "--package=awf-ebpf",
            "--bins",
            "--release",
            "--target=bpfel-unknown-none",
            "-Zbuild-std=core",
            "--target-dir",
        ])
        .arg(target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", toolchain::encoded_rustflags(arch))
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &tc.linker);
    for key in
        ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTUP_TOOLCHAIN", "RUSTFLAGS", "CARGO_BUILD_TARGET"]
    {
        cmd.env_remove(key);
    }
    if tc.bootstrap {
        cmd.env("RUSTC_BOOTSTRAP", "1");
    }
    let out = cmd.output().with_context(|| format!("{cmd:?}"))?;
    if !out.status.success() {
        bail!(
            "building the eBPF programs with {} failed:\n{}",
            tc.name,
            String::from_utf8_lossy(&out.stderr)
        );
    }
    Ok(target_dir.join("bpfel-unknown-none/release/awf-ebpf"))
}

/// Entry point for `awf-userspace/build.rs`: leaves the object in `OUT_DIR`.
pub fn build_script() -> Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR")?);
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("CARGO_MANIFEST_DIR")?);
    let workspace = manifest.parent().context("no parent")?;
    for p in ["awf-ebpf", "awf-common", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(p).display());
    }
    for v in ["AWF_EBPF_OBJECT", "AWF_EBPF_SKIP", "AWF_EBPF_TOOLCHAIN", "PATH"] {
        println!("cargo::rerun-if-env-changed={v}");
    }
    let object = out.join("awf-ebpf");
    if env::var_os("AWF_EBPF_SKIP").is_some() {
        println!("cargo::warning=AWF_EBPF_SKIP: built without eBPF programs; `exec` will refuse to run");
        return Ok(std::fs::write(object, [])?);
    }
    if let Some(given) = env::var_os("AWF_EBPF_OBJECT") {
        std::fs::copy(&given, &object).with_context(|| format!("{given:?}"))?;
        return Ok(());
    }
    let shared =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from).join("ebpf");
    let built = build(workspace, &shared, &env::var("CARGO_CFG_TARGET_ARCH")?)?;
    std::fs::copy(&built, &object).with_context(|| format!("{}", built.display()))?;
    Ok(())
}
