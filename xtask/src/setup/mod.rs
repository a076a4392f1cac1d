//! `cargo xtask setup`: finds what is missing to build, says what it will do, does it.
//!
//! Nothing is installed on a machine that can build already, wherever its tools came from.

pub(crate) mod apt;
pub(crate) mod linker;
mod tools;

use std::{path::Path, process::Command};

use anyhow::{Result, anyhow, bail, ensure};
use xtask::{
    ebpf,
    toolchain::{LINKER_LLVM, Refusal, Source, Survey, Toolchain},
};

use crate::cmd;

pub(crate) use tools::{ensure_cxx, ensure_test_tools, test_path};

/// One thing to do. Its `Display`-like line is the plan that the user reads first.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Debian's compiler, which carries the library's source.
    Apt(Vec<String>),
    /// The library's source for a toolchain of rustup's.
    RustSrc(String),
    /// bpf-linker.
    Linker(linker::Way),
}

impl Step {
    fn describe(&self) -> String {
        match self {
            Self::Apt(packages) => format!("apt-get install {}", packages.join(" ")),
            Self::RustSrc(name) => format!("rustup component add rust-src --toolchain {name}"),
            Self::Linker(way) => way.describe(),
        }
    }

    fn apply(&self) -> Result<()> {
        match self {
            Self::Apt(packages) => apt::install(packages),
            Self::RustSrc(name) => {
                cmd::run(Command::new("rustup").args(["component", "add", "rust-src", "--toolchain", name]))
            }
            Self::Linker(way) => way.install(),
        }
    }
}

/// The verb. With `--plan`, only says what would be done.
pub(crate) fn main(args: &[String]) -> Result<()> {
    let only_plan = match args {
        [] => false,
        [one] if one == "--plan" => true,
        _ => bail!("usage: cargo xtask setup [--plan]"),
    };
    let survey = Survey::take();
    if only_plan && survey.usable.is_none() {
        show(&survey, &plan(&survey, &Machine::look())?);
        return Ok(());
    }
    let toolchain = install_missing(survey)?;
    cmd::say(&format!("the eBPF programs are built by {toolchain}"));
    Ok(())
}

/// Makes sure that the eBPF programs can be built; silent if nothing is missing.
pub(crate) fn ensure_builder() -> Result<()> {
    if let Some(object) = ebpf::given(ebpf::OBJECT_VAR) {
        let path = Path::new(&object);
        ensure!(path.is_file(), "{}={} is not a file", ebpf::OBJECT_VAR, path.display());
        return Ok(());
    }
    install_missing(Survey::take()).map(drop)
}

/// Refuses a build that would make an `awf-bpf` that refuses to run.
pub(crate) fn ensure_not_skipped(verb: &str) -> Result<()> {
    ensure!(
        ebpf::given(ebpf::SKIP_VAR).is_none(),
        "{} is set, and {verb} needs the eBPF programs: unset it",
        ebpf::SKIP_VAR
    );
    Ok(())
}

fn install_missing(survey: Survey) -> Result<Toolchain> {
    let machine = Machine::look();
    let mut survey = survey;
    // Twice: whether a linker that is already here reads a compiler's bitcode is known once the compiler is.
    for _ in 0..2 {
        if let Some(toolchain) = survey.usable {
            return Ok(toolchain);
        }
        let steps = plan(&survey, &machine)?;
        show(&survey, &steps);
        for step in &steps {
            cmd::say(&step.describe());
            step.apply()?;
        }
        survey = Survey::take();
    }
    survey.usable.clone().ok_or_else(|| {
        anyhow!("everything was installed, and still no toolchain builds the eBPF programs:\n{survey}")
    })
}

fn show(survey: &Survey, steps: &[Step]) {
    let plan: Vec<_> = (1..).zip(steps).map(|(n, step)| format!("  {n}. {}", step.describe())).collect();
    cmd::say(&format!("the eBPF programs cannot be built here yet:\n{}", survey.to_string().trim_end()));
    cmd::say(&format!("the plan (some minutes, once):\n{}", plan.join("\n")));
}

/// What this machine offers to install with.
#[derive(Clone, Debug)]
struct Machine {
    apt: bool,
    rustup: bool,
    binstall: bool,
    /// An LLVM of the linker's version that is here without apt.
    llvm_prefix: Option<String>,
}

impl Machine {
    fn look() -> Self {
        Self {
            apt: apt::is_here(),
            rustup: cmd::which("rustup").is_some(),
            binstall: cmd::which("cargo-binstall").is_some(),
            llvm_prefix: linker::llvm_prefix(),
        }
    }
}

/// The steps that make one candidate usable: a toolchain with sources if there is none, a linker if none reads it.
fn plan(survey: &Survey, machine: &Machine) -> Result<Vec<Step>> {
    let linkable = |why: &Refusal| match why {
        Refusal::NoLinker => true,
        Refusal::Unreadable { llvm, .. } => major(llvm) <= LINKER_LLVM,
        _ => false,
    };
    let has_compiler = survey.refused.iter().any(|(_, why)| linkable(why));
    let needs_linker = survey.linkers.is_empty() || has_compiler;
    let mut steps = Vec::new();
    if !has_compiler {
        steps.push(compiler(survey, machine)?);
    }
    if needs_linker {
        let way = linker::Way::choose(machine.apt, machine.binstall, machine.llvm_prefix.as_deref())?;
        if let linker::Way::Debian = way {
            steps.push(Step::Apt(vec![linker::DEBIAN_PACKAGE.into()]));
        }
        steps.push(Step::Linker(way));
    }
    Ok(merge_apt(steps))
}

fn compiler(survey: &Survey, machine: &Machine) -> Result<Step> {
    if ebpf::given(ebpf::TOOLCHAIN_VAR).is_some() {
        bail!("{} names a toolchain that does not work:\n{survey}", ebpf::TOOLCHAIN_VAR);
    }
    let without_source = survey.refused.iter().find_map(|(candidate, why)| match (&candidate.source, why) {
        (Source::Rustup(name), Refusal::NoSources(_)) => Some(name.clone()),
        _ => None,
    });
    match without_source {
        _ if machine.apt && apt::may_have("rustc-web")? => {
            Ok(Step::Apt(["rustc-web", "cargo-web", "rust-web-src"].map(String::from).to_vec()))
        }
        Some(name) if machine.rustup => Ok(Step::RustSrc(name)),
        _ => bail!(
            "no toolchain here builds the eBPF programs, and neither apt (Debian 12's rustc-web) nor rustup can \
             install one:\n{survey}"
        ),
    }
}

/// One apt call for all packages.
fn merge_apt(steps: Vec<Step>) -> Vec<Step> {
    let mut packages = Vec::new();
    let mut others = Vec::new();
    for step in steps {
        match step {
            Step::Apt(more) => packages.extend(more),
            other => others.push(other),
        }
    }
    if !packages.is_empty() {
        others.insert(0, Step::Apt(packages));
    }
    others
}

fn major(version: &str) -> u32 {
    version.split('.').next().and_then(|m| m.parse().ok()).unwrap_or(u32::MAX)
}
