//! Thousands of connections held and churned through a real awf-bpf, and what that took: the body of
//! `cargo xtask soak`, and of its short form among the end-to-end tests.
//!
//! ```text
//! churn (inside, tests/churn) -> awf-bpf -> origin (in the world)
//!   opens N connections       "held"   -> figures at rest    file `go`
//!   churns for the given time          -> a sample each few seconds
//!   closes everything         "done"   -> nothing may be left file `leave`
//! ```

pub mod http;
pub mod http2;
mod origin;
mod report;
pub mod sample;
pub mod wire;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub use self::{origin::Origin, report::Report};
use self::{
    sample::{Sample, sample},
    wire::{ALLOWED, HTTP_PORT, HTTP2_PORT, TLS_PORT},
};
use crate::{Lab, Process, hosts};

/// What opening and closing all connections may take, beside the time of the load.
const EDGES: Duration = Duration::from_secs(180);

/// How much, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub connections: usize,
    pub time: Duration,
    /// Between two samples.
    pub every: Duration,
}

/// Runs the plan with the program `churn`.
///
/// # Panics
/// If awf-bpf or the load dies, or does not come to its end.
#[must_use]
pub fn run(plan: Plan, churn: &Path) -> Report {
    let room = room_for(plan.connections);
    let hint = "raise the hard limit (ulimit -Hn), or take fewer --connections";
    assert!(plan.connections <= room, "this machine's descriptors do for {room} connections: {hint}");
    let lab = Lab::new();
    let origin = Origin::start(&lab);
    let churn = lab.dir().install(churn);
    let allowed = format!(
        "https://{ALLOWED}:{TLS_PORT},http://{ALLOWED}:{HTTP_PORT},http://{ALLOWED}:{HTTP2_PORT},https://{ALLOWED}"
    );
    let limit = plan.time + EDGES;
    let awf = lab.awf().allow(&allowed).args(["--summary", "never"]).limit(limit);
    let (count, seconds) = (plan.connections.to_string(), plan.time.as_secs().to_string());
    let addrs = [hosts::v4(ALLOWED).to_string(), hosts::v6(ALLOWED).to_string(), hosts::DNS_V4.to_string()];
    let [v4, v6, dns] = addrs.each_ref().map(String::as_str);
    let churn = churn.to_str().expect("the lab's paths are UTF-8");
    let process = awf.spawn(&[churn, v4, v6, dns, &count, &seconds]);

    let begin = Instant::now();
    process.wait_for_stdout("ready\n", EDGES);
    let before = sample(process.pid(), begin.elapsed());
    lab.dir().file("open", "");
    process.wait_for_stdout("held\n", EDGES);
    let held = sample(process.pid(), begin.elapsed());
    lab.dir().file("go", "");
    let samples = watch(&process, plan, begin);
    process.wait_for_stdout("done\n", EDGES);
    let after = settled(&process, before, begin);
    lab.dir().file("leave", "");
    let out = awf.finish(process);
    out.ok();
    let leaks = origin.leaks.all();
    Report::new(plan, &out.stdout(), [before, held, after], samples, leaks, out.verdicts())
}

/// Samples until the load is over.
fn watch(process: &Process, plan: Plan, begin: Instant) -> Vec<Sample> {
    let start = Instant::now();
    let mut samples = Vec::new();
    while start.elapsed() < plan.time {
        let left = plan.time.saturating_sub(start.elapsed()).min(plan.every);
        assert!(!process.wait_exit(left), "the load ended early");
        samples.push(sample(process.pid(), begin.elapsed()));
    }
    samples
}

/// Looks until the descriptors are as few as before, or time is over: what is refused is listened to for seconds.
fn settled(process: &Process, before: Sample, begin: Instant) -> Sample {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let now = sample(process.pid(), begin.elapsed());
        if now.fds <= before.fds + report::FDS_KEPT || Instant::now() > end {
            return now;
        }
        assert!(!process.wait_exit(Duration::from_millis(200)), "awf-bpf ended early");
    }
}

/// Whether connection `number` of the load is one for which awf-bpf dials nothing: 16 of each 100.
#[must_use]
pub const fn is_serverless(number: usize) -> bool {
    number % 25 < 4
}

/// Descriptors that awf-bpf keeps back from connections (`session::limits`).
const RESERVE: usize = 1024;
/// Sockets of connections beyond those held: hostile ones, and those that are just being closed.
const CHURN: usize = 500;

/// Makes room for `connections` of the load; for how many there is room. awf-bpf is the narrowest: it has two sockets
/// for each that needs a server.
#[must_use]
pub fn room_for(connections: usize) -> usize {
    let sockets = |connections: usize| connections * (2 * 84 + 16) / 100;
    let free = raise_descriptors(sockets(connections) + CHURN + RESERVE).saturating_sub(CHURN);
    if sockets(connections) <= free { connections } else { free * 100 / (2 * 84 + 16) }
}

/// Raises the limit of descriptors to `wanted` in this process and in those it starts, as far as the machine lets it;
/// how many sockets awf-bpf has for connections then.
#[must_use]
pub fn raise_descriptors(wanted: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let (soft, hard) = (current.unwrap_or(u64::MAX), maximum.unwrap_or(u64::MAX));
    let wanted = wanted as u64;
    let set = |limit: u64, most: u64| {
        let limits = Rlimit { current: Some(limit), maximum: Some(most) };
        setrlimit(Resource::Nofile, limits).is_ok().then_some(limit)
    };
    let now = if soft >= wanted {
        soft
    } else {
        // A container may not let root raise the hard limit.
        set(wanted, hard.max(wanted)).or_else(|| set(hard, hard)).unwrap_or(soft)
    };
    usize::try_from(now).unwrap_or(usize::MAX).saturating_sub(RESERVE)
}
