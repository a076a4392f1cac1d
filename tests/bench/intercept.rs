//! What interception costs, beside Squid's ssl-bump on the same work.

use std::time::Duration;

use harness::Run;

use super::{
    BULK, Bench, HOST, addr4, rate, ratio, show,
    squid::{self, Squid},
    stats::Samples,
};

/// Where the run's CA is, inside.
const CA: &str = "/run/awf-bpf/tls/ca.pem";
const CONNECTIONS: &str = "200";
const REQUESTS: &str = "500";
const HANDSHAKES: &str = "50";

/// How a row is shown.
#[derive(Clone, Copy)]
enum Unit {
    Time,
    PerSecond,
    Bulk,
}

impl Unit {
    fn show(self, time: Duration) -> String {
        match self {
            Self::Time => show(time),
            Self::PerSecond => format!("{:.0} /s", 1.0 / time.as_secs_f64()),
            Self::Bulk => rate(time),
        }
    }
}

pub(crate) fn run(bench: &Bench) {
    let squid = Squid::start(&bench.lab);
    if squid.is_none() {
        println!("\n(no column of Squid: squid-openssl is not installed)");
    }
    println!(
        "\n{:34} {:>10} {:>10} {:>7} {:>10} {:>7}",
        "intercepted", "direct", "awf-bpf", "ratio", "squid", "ratio"
    );
    let bulk = BULK.to_string();
    let rows: [(&str, &[&str], Unit); 4] = [
        ("connect + GET", &["latency", HOST, CONNECTIONS], Unit::Time),
        ("requests, 16 kept connections", &["requests", HOST, REQUESTS], Unit::PerSecond),
        ("download 256 MiB", &["download", HOST, &bulk], Unit::Bulk),
        ("upload 256 MiB", &["upload", HOST, &bulk], Unit::Bulk),
    ];
    for (name, args, unit) in rows {
        row(bench, squid.as_ref(), name, args, unit);
    }
    row(
        bench,
        squid.as_ref(),
        "connect + GET, 8 at once",
        &["handshakes", HOST, HANDSHAKES],
        Unit::PerSecond,
    );
    // Of a refused name only the handshake with the client is left.
    refused(bench, "refused, certificate known", "denied.test");
    refused(bench, "refused, new certificate each", "*.denied.test");
}

fn row(bench: &Bench, squid: Option<&Squid>, name: &str, args: &[&str], unit: Unit) {
    let lab_ca = bench.lab.ca_file().display().to_string();
    let bare = bench.lab.bare();
    let awf = bench.lab.awf().allow(HOST).no_proxy_env().args(["--tls", "on"]);
    let through = bench.lab.bare().env("LOAD_PROXY", squid::ADDR);
    // It breaks off large uploads whose answer it has not heard.
    let squid_can = args[0] != "upload";
    let mut all = [Samples::default(), Samples::default(), Samples::default()];
    bench.rounds(super::ROUNDS, |counts| {
        let mut take = |number: usize, run: &Run<'_>, ca: &str| {
            all[number].extend(measure(bench, run, args, ca).into_iter().filter(|_| counts));
        };
        take(0, &bare, &lab_ca);
        take(1, &awf, CA);
        if let Some(squid) = squid.filter(|_| squid_can) {
            take(2, &through, &squid.ca.display().to_string());
        }
    });
    let [direct, awf, squid] = all.map(|samples| samples.median());
    print!("{name:34} {:>10} {:>10} {:>7.2}", unit.show(direct), unit.show(awf), ratio(awf, direct));
    match squid {
        Duration::ZERO => println!(),
        _ => println!(" {:>10} {:>7.2}", unit.show(squid), ratio(squid, direct)),
    }
}

fn refused(bench: &Bench, name: &str, host: &str) {
    let awf = bench.lab.awf().allow(HOST).no_proxy_env().args(["--tls", "deny-only"]);
    let mut samples = Samples::default();
    bench.rounds(super::ROUNDS, |counts| {
        let taken = measure(bench, &awf, &["handshakes", host, HANDSHAKES], CA);
        samples.extend(taken.into_iter().filter(|_| counts));
    });
    println!("{name:34} {:>10} {:>10}", "", Unit::PerSecond.show(samples.median()));
}

/// `args`: verb, host and the rest.
fn measure(bench: &Bench, run: &Run<'_>, args: &[&str], ca: &str) -> Vec<Duration> {
    let load = bench.load.to_str().expect("the lab's paths are UTF-8");
    let addr = addr4(443);
    let argv = [&[load, args[0], &addr], &args[1..], &[ca]].concat();
    let text = run.run(&argv).ok().stdout();
    text.lines().map(|line| Duration::from_nanos(line.parse().expect("nanoseconds"))).collect()
}
