//! `cargo xtask VERB`: the chores of this repository, one module a verb.

mod bench;
mod build;
mod cmd;
mod deny;
mod fuzz;
mod run;
mod setup;
mod soak;
mod test;
mod tidy;
mod vm;

use std::{env::consts::ARCH, process::ExitCode};

use anyhow::{Result, bail, ensure};
use xtask::ebpf;

const USAGE: &str = "\
cargo xtask VERB
  setup [--plan]                install what is missing to build the eBPF programs; --plan only says what
  run                           the demonstration: a private network, an allowed and a denied origin
  run -- [FLAGS] -- CMD [ARGS]  build, then `awf-bpf exec [FLAGS] -- CMD [ARGS]`
  test [NAME...]                everything CI checks; with names, only the tests they select
  tidy                          house rules: sizes, heads, who may use whom, where unsafe may be
  deny                          licenses, bans, sources and advisories of the dependencies
  bench [PART...]               what awf-bpf costs, against the bare command: starts, policy, through, intercepted
  fuzz [TARGET...]              tries to break what must hold of any input; --seconds N (of each target; 60)
  soak [--debug] [ARGS]         10,000 connections for ten minutes; --minutes N, --connections N
  vm [ARGS]                     the tests on other kernels (6.1 and 6.12), in a virtual machine
  build-ebpf                    build the eBPF object and print its path";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why:#}");
            // As awf-bpf itself: the firewall could not be set up, and nothing was run.
            if args.first().is_some_and(|verb| verb == "run") {
                ExitCode::from(125)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn dispatch(args: &[String]) -> Result<()> {
    let Some((verb, args)) = args.split_first() else { bail!("{USAGE}") };
    match verb.as_str() {
        "setup" => setup::main(args),
        "run" => run::main(args),
        "test" => test::main(args),
        "tidy" => tidy::main(args),
        "deny" => deny::main(args),
        "fuzz" => fuzz::main(args),
        "bench" => bench::main(args),
        "soak" => soak::main(args),
        "vm" => vm::main(args),
        "build-ebpf" => build_ebpf(args),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => bail!("no verb `{other}`\n{USAGE}"),
    }
}

fn build_ebpf(args: &[String]) -> Result<()> {
    ensure!(args.is_empty(), "usage: cargo xtask build-ebpf");
    setup::ensure_builder()?;
    let object = ebpf::build(&cmd::root(), &cmd::target_dir()?, ARCH, ebpf::Chatter::Shown)?;
    println!("{}", object.display());
    Ok(())
}
