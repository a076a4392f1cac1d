//! The environment of a cargo or rustc that must not feel the cargo that started us.
//!
//! Cargo tells build scripts and `cargo run` a great deal through variables (`CARGO_ENCODED_RUSTFLAGS`,
//! `CARGO_MAKEFLAGS`, `RUSTC`, `RUSTC_WORKSPACE_WRAPPER`, `LD_LIBRARY_PATH`, …), and the caller's shell adds its own
//! (`RUSTFLAGS`, `CARGO_BUILD_TARGET`, `CARGO_PROFILE_*`, `RUSTC_BOOTSTRAP`). Each of them would change what a
//! child cargo builds, and the list grows with each release; so the list kept here is of what may pass.

use std::{env, ffi::OsStr, process::Command};

/// What a child needs to find its home, its temporary directory and the package registry.
const KEPT: &[&str] = &[
    "ALL_PROXY",
    "AWF_EBPF_OBJECT",
    "AWF_EBPF_SKIP",
    "AWF_EBPF_TOOLCHAIN",
    "CARGO_HOME",
    "GIT_SSL_CAINFO",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LOGNAME",
    "NO_PROXY",
    "PATH",
    "RUSTUP_HOME",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TERM",
    "TMPDIR",
    "USER",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// How to reach a registry, with `CARGO_HOME` on another disk or a company mirror in front.
const KEPT_PREFIXES: &[&str] =
    &["CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_SOURCE_", "LC_"];

/// Whether a variable of ours may reach a child that must build the same thing wherever it is started.
#[must_use]
pub fn is_kept(name: &OsStr) -> bool {
    name.to_str().is_some_and(|n| KEPT.contains(&n) || KEPT_PREFIXES.iter().any(|p| n.starts_with(p)))
}

/// Takes every variable from `cmd` that [`is_kept`] does not name.
pub fn isolate(cmd: &mut Command) -> &mut Command {
    cmd.env_clear().envs(env::vars_os().filter(|(name, _)| is_kept(name)))
}

#[cfg(test)]
mod tests {
    use super::{is_kept, isolate};
    use std::process::Command;

    #[test]
    fn an_isolated_child_does_not_inherit_what_cargo_told_us() {
        // `cargo test` sets both for every test binary.
        for var in ["CARGO", "CARGO_MANIFEST_DIR"] {
            assert!(std::env::var_os(var).is_some(), "{var} should be set by cargo test");
        }
        let out = isolate(&mut Command::new("/usr/bin/env")).output().unwrap();
        let out = String::from_utf8(out.stdout).unwrap();
        assert!(out.contains("\nPATH=") || out.starts_with("PATH="), "{out}");
        assert!(
            out.lines().all(|l| !l.starts_with("CARGO=") && !l.starts_with("CARGO_MANIFEST_DIR=")),
            "{out}"
        );
    }

    #[test]
    fn what_an_outer_cargo_says_does_not_pass() {
        for name in [
            "CARGO",
            "CARGO_BUILD_RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_MAKEFLAGS",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_TARGET_DIR",
            "LD_LIBRARY_PATH",
            "MAKEFLAGS",
            "RUSTC",
            "RUSTC_BOOTSTRAP",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTC_WRAPPER",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
        ] {
            assert!(!is_kept(name.as_ref()), "{name}");
        }
    }

    #[test]
    fn the_way_to_a_registry_passes() {
        for name in ["HOME", "CARGO_HOME", "CARGO_HTTP_CAINFO", "https_proxy", "SSL_CERT_FILE"] {
            assert!(is_kept(name.as_ref()), "{name}");
        }
    }
}
