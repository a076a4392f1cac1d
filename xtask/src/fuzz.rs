//! `cargo xtask fuzz`: libFuzzer over the properties of `awf-userspace/src/fuzzing.rs`, several targets at once.
//!
//! A target is a directory of `fuzz/seeds`. What libFuzzer learns is kept below `target/fuzz`, so that the next run
//! goes on from there. No nightly compiler is needed: the instrumentation is LLVM's, and sanitizers would find nothing
//! in code without `unsafe`.

use std::{
    collections::BTreeSet,
    fs,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};
use xtask::ebpf;

use crate::{
    cmd,
    setup::{self, linker::bare_cargo},
};

const USAGE: &str =
    "usage: cargo xtask fuzz [TARGET...] [--seconds N] | cargo xtask fuzz TARGET --try FILE...";
const SECONDS: u64 = 60;

/// What libFuzzer needs of the compiler (rustc's `-Cpasses`, LLVM's SanitizerCoverage), and the mark of such a build.
const FLAGS: [&str; 7] = [
    "--cfg",
    "awf_fuzz",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=3",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Longest input in bytes, most seconds of one input, most memory of one fuzzer in megabytes.
const LIMITS: [&str; 3] = ["-max_len=4096", "-timeout=20", "-rss_limit_mb=2048"];

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    targets: Vec<String>,
    seconds: u64,
    /// Inputs to try once, in place of fuzzing.
    inputs: Vec<PathBuf>,
}

/// The verb.
pub(crate) fn main(args: &[String]) -> Result<()> {
    let wanted = Wanted::parse(args, &known()?)?;
    setup::ensure_cxx()?;
    let program = build()?;
    if !wanted.inputs.is_empty() {
        let mut one = command(&program, &wanted.targets[0]);
        return cmd::run(one.args(LIMITS).args(&wanted.inputs));
    }
    let at_once = thread::available_parallelism().map_or(1, usize::from);
    let what = wanted.targets.join(", ");
    cmd::say(&format!("{} s each, {at_once} at once: {what}", wanted.seconds));
    let mut broken = Vec::new();
    for few in wanted.targets.chunks(at_once) {
        let begun: Result<Vec<_>> =
            few.iter().map(|name| Fuzzer::begin(&program, name, wanted.seconds)).collect();
        for fuzzer in begun? {
            let name = fuzzer.name.clone();
            if !fuzzer.end()? {
                broken.push(name);
            }
        }
    }
    ensure!(broken.is_empty(), "something was found, see above: {}", broken.join(", "));
    Ok(())
}

impl Wanted {
    fn parse(args: &[String], known: &BTreeSet<String>) -> Result<Self> {
        let mut wanted = Self { targets: Vec::new(), seconds: SECONDS, inputs: Vec::new() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--seconds" => {
                    let seconds =
                        args.next().and_then(|text| text.parse().ok()).filter(|seconds| *seconds > 0);
                    wanted.seconds =
                        seconds.with_context(|| format!("--seconds takes a number from 1\n{USAGE}"))?;
                }
                "--try" => {
                    let given = args.by_ref().map(|file| Path::new(file).canonicalize());
                    wanted.inputs =
                        given.collect::<std::io::Result<_>>().context("looking for what to --try")?;
                    ensure!(wanted.targets.len() == 1 && !wanted.inputs.is_empty(), "{USAGE}");
                }
                name if known.contains(name) => wanted.targets.push(name.to_owned()),
                other => {
                    let known = known.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                    bail!("no target `{other}`; there are {known}\n{USAGE}");
                }
            }
        }
        if wanted.targets.is_empty() {
            wanted.targets = known.iter().cloned().collect();
        }
        Ok(wanted)
    }
}

/// The targets.
fn known() -> Result<BTreeSet<String>> {
    let seeds = cmd::root().join("fuzz/seeds");
    let list = || -> std::io::Result<BTreeSet<String>> {
        let names = fs::read_dir(&seeds)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    };
    list().with_context(|| format!("listing {}", seeds.display()))
}

/// The fuzzer, for all targets. In the profile of tests, whose build tools (macros, build scripts) are there already.
fn build() -> Result<PathBuf> {
    let host = host()?;
    let target = cmd::target_dir()?;
    let mut cargo = bare_cargo(&["build", "--locked", "--package", "awf-fuzz", "--target", &host]);
    cargo
        .current_dir(cmd::root())
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"))
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env(ebpf::SKIP_VAR, "1");
    cmd::run(&mut cargo)?;
    Ok(target.join(host).join("debug/awf-fuzz"))
}

/// What the compiler builds for by itself. Named, so that build scripts and macros are not instrumented.
fn host() -> Result<String> {
    let rustc = cmd::cargo_path().with_file_name("rustc");
    let rustc = if rustc.is_file() { rustc } else { "rustc".into() };
    let out = Command::new(rustc).arg("-vV").output().context("starting rustc")?;
    let text = String::from_utf8_lossy(&out.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}

fn command(program: &Path, name: &str) -> Command {
    let mut cmd = Command::new(program);
    cmd.env_clear().env("AWF_FUZZ_TARGET", name).env("RUST_BACKTRACE", "1").stdin(Stdio::null());
    cmd
}

/// One target being fuzzed.
struct Fuzzer {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Fuzzer {
    fn begin(program: &Path, name: &str, seconds: u64) -> Result<Self> {
        let own = cmd::target_dir()?.join("fuzz").join(name);
        let corpus = own.join("corpus");
        fs::create_dir_all(&corpus).with_context(|| format!("making {}", corpus.display()))?;
        let log = own.join("log");
        let out = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let fuzz = cmd::root().join("fuzz");
        let mut cmd = command(program, name);
        // The first directory is where new inputs go.
        cmd.arg(&corpus).arg(fuzz.join("seeds").join(name));
        cmd.args(Some(fuzz.join("findings").join(name)).filter(|dir| dir.is_dir()));
        cmd.args(LIMITS).arg("-print_final_stats=1").arg(format!("-max_total_time={seconds}"));
        cmd.arg(format!("-artifact_prefix={}/", own.display()));
        let dictionary = fuzz.join("dictionaries").join(name);
        if dictionary.is_file() {
            cmd.arg(format!("-dict={}", dictionary.display()));
        }
        let child = cmd.stdout(Stdio::null()).stderr(out).spawn();
        let child = child.with_context(|| format!("starting {}", program.display()))?;
        Ok(Self { name: name.to_owned(), log, child })
    }

    /// Waits for it and says what came of it: whether the property held.
    fn end(mut self) -> Result<bool> {
        let status = self.child.wait().context("waiting for a fuzzer")?;
        let said = fs::read(&self.log).with_context(|| format!("reading {}", self.log.display()))?;
        let said = String::from_utf8_lossy(&said);
        let name = &self.name;
        if status.success() {
            cmd::say(&format!("{name}: {}", figures(&said)));
            return Ok(true);
        }
        let found =
            said.lines().find_map(|line| line.split_once("Test unit written to ")).map(|(_, path)| path);
        let lines: Vec<_> = said.lines().collect();
        let why =
            lines.iter().position(|line| line.contains("panicked at") || line.contains("ERROR: libFuzzer"));
        let why = why.map(|at| lines[at..(at + 8).min(lines.len())].join("\n")).unwrap_or_default();
        let log = self.log.display();
        cmd::say(&format!("{name} FAILED ({status}): {why}\nall of it is in {log}"));
        if let Some(path) = found {
            cmd::say(&format!(
                "again: cargo xtask fuzz {name} --try {path}\nmended, it belongs to what the tests try: \
                 cp {path} fuzz/findings/{name}/WHAT-IT-IS"
            ));
        }
        Ok(false)
    }
}

/// How many inputs were tried, and how much of the code they reach.
fn figures(said: &str) -> String {
    let field = |line: &str, name: &str| {
        let mut words = line.split_whitespace().skip_while(|word| *word != name).skip(1);
        words.next().map(str::to_owned)
    };
    let runs = said.lines().find_map(|line| field(line, "stat::number_of_executed_units:"));
    let cover = said.lines().rev().find_map(|line| field(line, "cov:"));
    format!("{} inputs, {} edges", runs.unwrap_or_else(|| "?".into()), cover.unwrap_or_else(|| "?".into()))
}

#[cfg(test)]
mod tests {
    use super::{BTreeSet, SECONDS, Wanted, figures};

    fn parse(args: &[&str]) -> Result<Wanted, String> {
        let known = BTreeSet::from(["host", "rule"].map(String::from));
        let args: Vec<_> = args.iter().map(ToString::to_string).collect();
        Wanted::parse(&args, &known).map_err(|error| error.to_string())
    }

    #[test]
    fn targets_are_named_or_all() {
        let wanted = |targets: &[&str], seconds| {
            Ok(Wanted {
                targets: targets.iter().map(ToString::to_string).collect(),
                seconds,
                inputs: Vec::new(),
            })
        };
        assert_eq!(parse(&[]), wanted(&["host", "rule"], SECONDS));
        assert_eq!(parse(&["rule", "--seconds", "5"]), wanted(&["rule"], 5));
        assert!(parse(&["hots"]).unwrap_err().contains("there are host, rule"));
        for wrong in [&["--seconds"][..], &["--seconds", "0"], &["--try", "/dev/null"], &["rule", "--try"]] {
            assert!(parse(wrong).unwrap_err().contains("usage"), "{wrong:?}");
        }
        assert_eq!(
            parse(&["rule", "--try", "/dev/null"]).unwrap().inputs,
            [std::path::Path::new("/dev/null")]
        );
    }

    #[test]
    fn the_last_figures_count() {
        let said = "#5\tNEW    cov: 17 ft: 3\n#9\tDONE   cov: 21 ft: 33 corp: 8\nstat::number_of_executed_units: 9\n";
        assert_eq!(figures(said), "9 inputs, 21 edges");
        assert_eq!(figures(""), "? inputs, ? edges");
    }
}
