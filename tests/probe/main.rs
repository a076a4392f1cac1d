//! The attack probe: run as the sandboxed command, it tries by one named way to get a marked payload to an
//! address nobody may reach.
//!
//! `probe VECTOR TARGET_V4 TARGET_V6 [PORT | KEY=VALUE]...` prints one JSON line. It exits 0 when the attempt was
//! made, whatever came of it, 2 when this kernel cannot try it, and 64 when it was called wrongly.
//! `probe list` prints the vectors; `probe bystander` is the process outside that some of them attack, and
//! `probe whoami` prints the effective uid. Every wait has a deadline, so an attempt that gets no answer says so.

mod app;
mod device;
mod dgram;
mod dns;
mod escape;
mod family;
mod listen;
mod load;
mod outcome;
mod pass;
mod process;
mod raw;
mod route;
mod stream;
mod syscalls;
mod target;
mod uring;

use std::process::ExitCode;
use std::time::Instant;

use outcome::{Attempt, Stop};
use target::Target;

type Vector = (&'static str, fn(&Target) -> Attempt);

const TABLES: &[&[Vector]] = &[
    stream::VECTORS,
    dgram::VECTORS,
    raw::VECTORS,
    route::VECTORS,
    device::VECTORS,
    listen::VECTORS,
    family::VECTORS,
    uring::VECTORS,
    escape::VECTORS,
    pass::VECTORS,
    process::VECTORS,
    syscalls::VECTORS,
    dns::VECTORS,
    app::VECTORS,
    load::VECTORS,
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "list") {
        TABLES.iter().flat_map(|table| table.iter()).for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    if words.first().is_some_and(|word| word == "bystander") {
        process::bystander();
    }
    if words.first().is_some_and(|word| word == "whoami") {
        // SAFETY: no arguments, cannot fail.
        println!("{}", unsafe { libc::geteuid() });
        return ExitCode::SUCCESS;
    }
    let target = match Target::parse(&words) {
        Ok(target) => target,
        Err(why) => {
            eprintln!("probe: {why}\nusage: probe VECTOR TARGET_V4 TARGET_V6 [PORT | KEY=VALUE]...");
            return ExitCode::from(64);
        }
    };
    if target.forbidden_here() {
        eprintln!("probe: this is the network namespace that never= forbids; run me inside a lab");
        return ExitCode::from(64);
    }
    let Some((_, run)) =
        TABLES.iter().flat_map(|table| table.iter()).find(|(name, _)| *name == target.vector)
    else {
        eprintln!("probe: no vector {:?} (`probe list` prints them)", target.vector);
        return ExitCode::from(64);
    };
    let started = Instant::now();
    let attempt = run(&target);
    println!("{}", outcome::to_json(&target.vector, &attempt, started.elapsed()));
    match attempt {
        Err(Stop::Impossible(_)) => ExitCode::from(2),
        _ => ExitCode::SUCCESS,
    }
}
