//! `cargo xtask test`: everything CI checks, in the order of what it costs; the first failure ends it.
//!
//! Everything runs in a bare environment of our own: a developer's proxy or CA variables must not make a test pass,
//! nor a resolver of theirs make one fail.

use std::{env, ffi::OsString, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use xtask::{child_env, ebpf};

use crate::{build, cmd, deny, fuzz, setup, tidy};

type Step = (&'static str, fn(&Runner) -> Result<()>);

/// Checks of the source; skipped when filters ask for certain tests.
const CHECKS: &[Step] = &[
    ("formatting (mend it with: cargo fmt --all)", |r| {
        cmd::run(r.builder().args(["fmt", "--all", "--check"]))
    }),
    ("tidy", |_| tidy::main(&[])),
    ("clippy", |r| {
        let args = ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
        cmd::run(r.builder().args(args))
    }),
    ("deny", |_| deny::main(&[])),
];

const TESTS: &[Step] = &[
    ("unit tests", |r| r.test(&["--workspace", "--exclude", E2E_PACKAGE], |_| ())),
    ("the release build", Runner::build_awf_bpf),
    ("end-to-end tests (as root)", Runner::end_to_end),
];

/// Skipped as the checks are: of fuzzing, enough to notice what broke.
const FUZZING: &[Step] =
    &[("fuzz targets, ten seconds each", |_| fuzz::main(&["--seconds".to_owned(), "10".to_owned()]))];

const E2E_PACKAGE: &str = "awf-tests";

/// The verb. `filters` are names of tests, as libtest takes them; with one, only tests run.
pub(crate) fn main(filters: &[String]) -> Result<()> {
    let filters = filters.strip_prefix(&["--".to_owned()]).unwrap_or(filters);
    if ebpf::given(ebpf::SKIP_VAR).is_none() {
        setup::ensure_builder()?;
    }
    setup::ensure_test_tools()?;
    let runner = Runner { path: setup::test_path()?, target: cmd::target_dir()?, filters: filters.to_vec() };
    let (checks, fuzzing) = if filters.is_empty() { (CHECKS, FUZZING) } else { (&[][..], &[][..]) };
    for (name, step) in checks.iter().chain(TESTS).chain(fuzzing) {
        cmd::say(name);
        step(&runner).with_context(|| format!("step failed: {name}"))?;
    }
    Ok(())
}

/// What all steps share.
struct Runner {
    path: OsString,
    target: PathBuf,
    filters: Vec<String>,
}

impl Runner {
    /// Cargo with what it needs to fetch and compile.
    fn builder(&self) -> Command {
        let mut cmd = Command::new(cmd::cargo_path());
        child_env::isolate(&mut cmd);
        self.equip(&mut cmd);
        cmd
    }

    /// Cargo with nothing that could reach a test.
    fn bare(&self) -> Command {
        let mut cmd = Command::new(cmd::cargo_path());
        let build_vars = [ebpf::OBJECT_VAR, ebpf::SKIP_VAR, ebpf::TOOLCHAIN_VAR];
        let kept = ["HOME", "CARGO_HOME", "RUSTUP_HOME", "TMPDIR"].into_iter().chain(build_vars);
        cmd.env_clear()
            .envs(kept.filter_map(|name| Some((name, env::var_os(name)?))))
            .env("CARGO_NET_OFFLINE", "true")
            .env("LANG", "C.UTF-8")
            .env("RUST_BACKTRACE", "1");
        self.equip(&mut cmd);
        cmd
    }

    /// Where to work and which compiler: the one that built us.
    fn equip(&self, cmd: &mut Command) {
        // The target directory too: cargo might otherwise build into another one than we look for binaries in.
        cmd.current_dir(cmd::root()).env("PATH", &self.path).env("CARGO_TARGET_DIR", &self.target);
        if let Some(toolchain) = env::var_os("RUSTUP_TOOLCHAIN") {
            cmd.env("RUSTUP_TOOLCHAIN", toolchain);
        }
    }

    /// `cargo test`, built first with the network and then run without.
    fn test(&self, packages: &[&str], customise: impl FnOnce(&mut Command)) -> Result<()> {
        cmd::run(self.builder().args(["test", "--locked", "--no-run"]).args(packages))?;
        let mut run = self.bare();
        run.args(["test", "--locked", "--no-fail-fast"]).args(packages);
        customise(&mut run);
        cmd::run_loud(run.arg("--").args(&self.filters))
    }

    fn build_awf_bpf(&self) -> Result<()> {
        setup::ensure_not_skipped("the end-to-end tests")?;
        cmd::run(self.builder().args(["build", "--locked", "--release", "--package", "awf-userspace"]))
    }

    /// Only the test programs become root: cargo as root would leave files that its owner cannot replace.
    fn end_to_end(&self) -> Result<()> {
        let awf_bpf = self.target.join("release/awf-bpf");
        // No doc tests: the last lines of the output are those of the real tests.
        self.test(&["--package", E2E_PACKAGE, "--tests"], |run| {
            run.env(build::BIN_VAR, awf_bpf);
            if !cmd::is_root() {
                let path = self.path.to_string_lossy();
                let runner =
                    format!("target.'cfg(all())'.runner = ['sudo', '-E', '--', 'env', 'PATH={path}']");
                run.args(["--config", &runner]);
            }
        })
    }
}
