//! `soak [--minutes N | --seconds N] [--connections N]`: see `harness::soak`. Prints the figures; fails if one is
//! not good enough.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use harness::{
    soak::{self, Plan},
    tools,
};

const USAGE: &str = "usage: soak [--minutes N | --seconds N] [--connections N]";

/// awf-bpf has no more connections than 16,384, and some are hostile.
const MOST: usize = 16_000;

fn main() -> ExitCode {
    let Some(plan) = plan(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let own = std::env::current_exe().expect("find this program");
    let churn: PathBuf = own.with_file_name("churn");
    assert!(churn.is_file(), "{} is missing: cargo build -p awf-tests --bins", churn.display());
    println!("awf-bpf: {}", tools::awf_bpf().display());
    println!(
        "{} connections, {:?}; the limit of descriptors does for {}",
        plan.connections,
        plan.time,
        soak::room_for(MOST)
    );
    let report = soak::run(plan, &churn);
    println!("{report}");
    let failures = report.failures();
    for failure in &failures {
        println!("FAILED: {failure}");
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn plan(mut args: impl Iterator<Item = String>) -> Option<Plan> {
    let (mut connections, mut seconds) = (10_000, 600);
    while let Some(flag) = args.next() {
        let number: u64 = args.next()?.parse().ok().filter(|number| *number > 0)?;
        match flag.as_str() {
            "--minutes" => seconds = number.checked_mul(60)?,
            "--seconds" => seconds = number,
            "--connections" => connections = usize::try_from(number).ok()?,
            _ => return None,
        }
    }
    // A third of the time has some samples.
    let fits = (9..=24 * 3600).contains(&seconds) && connections <= MOST;
    let time = Duration::from_secs(seconds);
    let every = (time / 60).clamp(Duration::from_millis(500), Duration::from_secs(5));
    fits.then_some(Plan { connections, time, every })
}
