//! `cargo xtask vm`: the tests on other kernels, in a virtual machine that has this machine's files.
//!
//! Nothing is installed inside: the root is ours over 9p, read-only, with a tmpfs on top. What is built here runs there
//! with the clients that are here, on another kernel, and whatever it does there is gone when the machine ends.

mod initramfs;
mod job;
mod kernel;
mod machine;

use std::{
    env::consts::ARCH,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{cmd, setup};

const USAGE: &str = "\
usage: cargo xtask vm [--kernel WHICH]... [--minutes N] [-- TEST...]
  --kernel 6.1   the newest such kernel that apt has here (Debian 12 has 6.1 and 6.12, the default)
  --kernel PATH  a linux-image .deb, or a directory with boot/vmlinuz-* and lib/modules/* of one kernel
  --minutes N    how long one machine may run (40)
  TEST...        parts of names of tests, as for `test`; without, a selection of what a kernel decides";

/// Packages that this needs beside the tests' own, and the program each is known by.
const PACKAGES: [(&str, &str); 3] =
    [("kmod", "depmod"), ("qemu-system-x86", "qemu-system-x86_64"), ("xz-utils", "xz")];

#[derive(Debug, PartialEq, Eq)]
struct Options {
    kernels: Vec<String>,
    limit: Duration,
    filters: Vec<String>,
}

/// The verb.
///
/// # Errors
/// When something cannot be had or built; and when a test failed on one of the kernels, after all have run.
pub(crate) fn main(args: &[String]) -> Result<()> {
    let options = parse(args)?;
    ensure!(ARCH == "x86_64", "`vm` knows how to boot x86_64 kernels only, and this is {ARCH}");
    setup::ensure_not_skipped("vm")?;
    setup::ensure_builder()?;
    setup::ensure_test_tools()?;
    install_missing()?;
    let cache = cmd::target_dir()?.join("vm");
    // All before anything is built: a name that apt does not know should not take minutes to be told.
    let kernels: Vec<_> =
        options.kernels.iter().map(|which| kernel::obtain(which, &cache)).collect::<Result<_>>()?;
    let programs = job::build()?;
    let results: Vec<_> = kernels.iter().map(|k| (k, boot(k, &programs, &options, &cache))).collect();
    report(&results)
}

fn boot(
    kernel: &kernel::Kernel,
    programs: &job::Programs,
    options: &Options,
    cache: &Path,
) -> Result<Duration> {
    let start = Instant::now();
    for accelerator in machine::accelerators() {
        cmd::say(&format!("Linux {} under {accelerator}", kernel.version));
        let copies = programs.copy_to(&cache.join(&kernel.version).join("programs"))?;
        let jobs = copies + &programs.jobs(&options.filters, *accelerator);
        let plan = machine::Plan { kernel, jobs: &jobs, limit: options.limit, cache };
        match machine::run(&plan, *accelerator)? {
            machine::Outcome::Ended(0) => return Ok(start.elapsed()),
            machine::Outcome::Ended(code) => bail!("tests failed (exit code {code})"),
            machine::Outcome::NeverUp(why) => {
                cmd::say(&format!("it does not boot under {accelerator}: {why}"))
            }
        }
    }
    bail!("it did not boot")
}

/// Says how each kernel did; an error if one did not do well.
fn report(results: &[(&kernel::Kernel, Result<Duration>)]) -> Result<()> {
    for (kernel, result) in results {
        match result {
            Ok(time) => cmd::say(&format!("Linux {}: passed in {} s", kernel.version, time.as_secs())),
            Err(why) => cmd::say(&format!("Linux {}: {why:#}", kernel.version)),
        }
    }
    let failed: Vec<_> = results.iter().filter(|r| r.1.is_err()).map(|r| r.0.version.as_str()).collect();
    ensure!(failed.is_empty(), "failed on Linux {}", failed.join(", "));
    Ok(())
}

fn parse(args: &[String]) -> Result<Options> {
    let mut options =
        Options { kernels: Vec::new(), limit: Duration::from_secs(40 * 60), filters: Vec::new() };
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value\n{USAGE}"));
        match word.as_str() {
            "--kernel" => options.kernels.push(value()?.clone()),
            "--minutes" => {
                let minutes = value()?;
                let parsed = minutes.parse().ok().filter(|m| (1..=24 * 60).contains(m));
                let parsed: u64 = parsed.with_context(|| format!("--minutes {minutes}: from 1 to 1440"))?;
                options.limit = Duration::from_secs(parsed * 60);
            }
            "--" => options.filters = words.by_ref().cloned().collect(),
            other => bail!("unknown word {other}\n{USAGE}"),
        }
    }
    if options.kernels.is_empty() {
        options.kernels = ["6.1", "6.12"].map(String::from).to_vec();
    }
    Ok(options)
}

fn install_missing() -> Result<()> {
    let path = setup::test_path()?;
    let missing: Vec<_> =
        PACKAGES.iter().filter(|(_, program)| cmd::which_in(program, &path).is_none()).collect();
    let missing: Vec<_> = missing.iter().map(|(package, _)| (*package).to_owned()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    ensure!(
        setup::apt::is_here(),
        "`vm` needs what Debian calls {}, and there is no apt here",
        missing.join(", ")
    );
    cmd::say(&format!("apt-get install {}", missing.join(" ")));
    setup::apt::install(&missing)
}

#[cfg(test)]
mod tests {
    use super::{Duration, Options, parse};

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(String::from).collect()
    }

    #[test]
    fn words_become_options() {
        let all = parse(&words("--kernel 6.1 --kernel /k.deb --minutes 3 -- founding:: bpf::")).unwrap();
        let limit = Duration::from_secs(180);
        let (kernels, filters) = (words("6.1 /k.deb"), words("founding:: bpf::"));
        assert_eq!(all, Options { kernels, limit, filters });
        assert_eq!(parse(&[]).unwrap().kernels, ["6.1", "6.12"]);
    }

    #[test]
    fn a_wrong_word_is_named() {
        for (line, named) in [
            ("--kernel", "--kernel needs a value"),
            ("--minutes 0", "--minutes 0"),
            ("--minutes x", "--minutes x"),
            ("6.1", "unknown word 6.1"),
        ] {
            let said = parse(&words(line)).unwrap_err().to_string();
            assert!(said.contains(named), "{line}: {said}");
        }
    }
}
