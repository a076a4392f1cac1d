//! What the firewall costs: start of a command, a long policy, latency of a connection, bulk throughput; each beside the same
//! without it, in alternating rounds of one run on one machine. The ratios are the result.

mod intercept;
mod scale;
mod squid;
mod stats;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use harness::{Lab, Run, hosts, tools};
use stats::Samples;

const STARTS: usize = 20;
const ROUNDS: usize = 5;
const CONNECTIONS: u32 = 200;
const BULK: u64 = 256 << 20;
/// Rounds that would begin later than this are left out.
const BUDGET: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    if !rustix::process::geteuid().is_root() {
        eprintln!("bench: needs root (network namespaces, eBPF)");
        return ExitCode::FAILURE;
    }
    if cfg!(debug_assertions) {
        println!("A debug build: these numbers mean nothing. Use `cargo xtask bench`.");
    }
    let parts: [(&str, Part); 4] = [
        ("starts", Bench::starts),
        ("policy", |bench| scale::run(&tools::awf_bpf(), bench.lab.dir().root())),
        ("through", Bench::through),
        ("intercepted", intercept::run),
    ];
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Some(other) = wanted.iter().find(|wanted| !parts.iter().any(|(name, _)| name == wanted)) {
        eprintln!("bench: there is no part {other:?}: {}", parts.map(|(name, _)| name).join(", "));
        return ExitCode::FAILURE;
    }
    let bench = Bench::new();
    println!("awf-bpf: {}", tools::awf_bpf().display());
    for (name, part) in parts {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            part(&bench);
        }
    }
    println!("\nin {:.0} s", bench.begun.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

/// bwrap with what the command sees behind awf-bpf.
fn same_binds(lab: &Lab) -> Vec<String> {
    let mut argv: Vec<String> = ["bwrap", "--unshare-all", "--cap-drop", "ALL"].map(str::to_owned).into();
    let mut add = |words: &[&str]| argv.extend(words.iter().map(|word| (*word).to_owned()));
    for path in
        ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/etc", "/var/lib/dpkg"]
    {
        match std::fs::read_link(path) {
            Ok(to) => add(&["--symlink", to.to_str().expect("UTF-8"), path]),
            Err(_) => add(&["--ro-bind-try", path, path]),
        }
    }
    add(&["--proc", "/proc", "--dev", "/dev", "--ro-bind", "/sys", "/sys"]);
    ["/tmp", "/var/tmp", "/run"].iter().for_each(|path| add(&["--tmpfs", path]));
    let dir = lab.dir();
    for (flag, path) in
        [("--bind", dir.home()), ("--bind", dir.work()), ("--ro-bind", dir.root().join("etc"))]
    {
        let path = path.display().to_string();
        add(&[flag, &path, &path]);
    }
    add(&["--uid", "12345", "--gid", "12345", "--unshare-user", "--", "true"]);
    argv
}

const HOST: &str = "allowed.test";

fn addr4(port: u16) -> String {
    format!("{}:{port}", hosts::v4(HOST))
}

fn addr6(port: u16) -> String {
    format!("[{}]:{port}", hosts::v6(HOST))
}

/// What can be asked for by name.
type Part = fn(&Bench);

struct Bench {
    lab: Lab,
    load: PathBuf,
    begun: Instant,
}

impl Bench {
    fn new() -> Self {
        let lab = Lab::new();
        let own = std::env::current_exe().expect("find this program");
        let load = own.with_file_name("load");
        assert!(load.is_file(), "{} is missing: cargo build -p awf-tests --bins", load.display());
        let load = lab.dir().install(&load);
        Self { lab, load, begun: Instant::now() }
    }

    /// Rounds until `count` or the end of the budget; the first is for the caches and not counted.
    fn rounds(&self, count: usize, mut round: impl FnMut(bool)) {
        for number in 0..=count {
            if number > 1 && self.begun.elapsed() > BUDGET {
                println!("(the time is over: {} of {count} rounds)", number - 1);
                return;
            }
            round(number > 0);
        }
    }

    fn starts(&self) {
        let awf = self.lab.awf().allow(HOST);
        let (bare, root) = (self.lab.bare(), self.lab.bare().as_root());
        let bwrap = Path::new("/usr/bin/bwrap").is_file();
        let jail: &[&str] = &[
            "bwrap",
            "--unshare-all",
            "--ro-bind",
            "/",
            "/",
            "--dev",
            "/dev",
            "--proc",
            "/proc",
            "--",
            "true",
        ];
        let same = same_binds(&self.lab);
        let same: Vec<&str> = same.iter().map(String::as_str).collect();
        let commands: [(&str, &Run<'_>, &[&str]); 5] = [
            ("bare", &bare, &["true"]),
            // What one argument after `--` means.
            ("bare bash -c", &bare, &["bash", "-c", "true"]),
            ("awf-bpf exec", &awf, &["true"]),
            ("bwrap --unshare-all", &root, jail),
            ("bwrap, the same binds", &root, &same),
        ];
        let commands = &commands[..if bwrap { 5 } else { 3 }];
        let mut samples = vec![Samples::default(); commands.len()];
        self.rounds(STARTS, |counts| {
            for (samples, (_, run, argv)) in samples.iter_mut().zip(commands) {
                let elapsed = run.run(argv).ok().elapsed();
                samples.extend(counts.then_some(elapsed));
            }
        });
        println!("\n{:34} {:>10} {:>10} {:>10}", "wall time of `true`", "median", "p90", "x bare");
        let base = samples[0].median();
        for ((name, ..), samples) in commands.iter().zip(&samples) {
            let (median, p90) = (samples.median(), samples.quantile(0.9));
            println!("{name:34} {:>10} {:>10} {:>10.1}", show(median), show(p90), ratio(median, base));
        }
    }

    fn through(&self) {
        println!("\n{:34} {:>10} {:>10} {:>10} {:>10} {:>7}", "", "direct", "p90", "awf-bpf", "p90", "ratio");
        for (name, addr, tls) in [
            ("connect + GET, clear, IPv4", addr4(80), false),
            ("connect + GET, clear, IPv6", addr6(80), false),
            ("connect + GET, TLS, IPv4", addr4(443), true),
            ("connect + GET, TLS, IPv6", addr6(443), true),
        ] {
            self.latency(name, &addr, tls);
        }
        for (name, verb, port) in [
            ("download 256 MiB, clear", "download", 80),
            ("download 256 MiB, TLS", "download", 443),
            ("upload 256 MiB, clear", "upload", 80),
            ("upload 256 MiB, TLS", "upload", 443),
        ] {
            self.bulk(name, verb, &addr4(port), port == 443);
        }
    }

    fn latency(&self, name: &str, addr: &str, tls: bool) {
        let count = CONNECTIONS.to_string();
        let (direct, awf) = self.compare(&["latency", addr, HOST, &count], tls);
        println!(
            "{name:34} {:>10} {:>10} {:>10} {:>10} {:>7.2}",
            show(direct.median()),
            show(direct.quantile(0.9)),
            show(awf.median()),
            show(awf.quantile(0.9)),
            ratio(awf.median(), direct.median())
        );
    }

    fn bulk(&self, name: &str, verb: &str, addr: &str, tls: bool) {
        let bytes = BULK.to_string();
        let (direct, awf) = self.compare(&[verb, addr, HOST, &bytes], tls);
        println!(
            "{name:34} {:>10} {:>10} {:>10} {:>10} {:>7.2}",
            rate(direct.median()),
            rate(direct.quantile(0.9)),
            rate(awf.median()),
            rate(awf.quantile(0.9)),
            ratio(awf.median(), direct.median())
        );
    }

    /// The same load without and with the firewall, in turns.
    fn compare(&self, args: &[&str], tls: bool) -> (Samples, Samples) {
        let (direct, awf) = (self.lab.bare(), self.lab.awf().allow(HOST).no_proxy_env());
        let ca = self.lab.ca_file();
        let ca = tls.then(|| ca.to_str().expect("the lab's paths are UTF-8"));
        let load = self.load.to_str().expect("the lab's paths are UTF-8");
        let argv: Vec<&str> = [&[load], args, ca.as_slice()].concat();
        let measure = |run: &Run<'_>| -> Vec<Duration> {
            let text = run.run(&argv).ok().stdout();
            text.lines().map(|line| Duration::from_nanos(line.parse().expect("nanoseconds"))).collect()
        };
        let (mut without, mut with) = (Samples::default(), Samples::default());
        self.rounds(ROUNDS, |counts| {
            let (one, other) = (measure(&direct), measure(&awf));
            if counts {
                without.extend(one);
                with.extend(other);
            }
        });
        (without, with)
    }
}

fn ratio(this: Duration, that: Duration) -> f64 {
    this.as_secs_f64() / that.as_secs_f64()
}

fn show(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// MB/s of [`BULK`] in this time.
fn rate(time: Duration) -> String {
    format!("{:.0} MB/s", BULK as f64 / 1e6 / time.as_secs_f64())
}
