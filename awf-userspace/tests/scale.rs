//! A policy of a million names, in a process of its own: how long it takes to read, how much memory it holds, and
//! that it decides as it should. `cargo xtask bench` has the figures of a release build.

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use awf_userspace::{
    config::{Inputs, PolicyArgs, resolve_policy},
    policy::{Host, List, Protocol},
};

const NAMES: u32 = 1_000_000;
/// Of a debug build on a busy machine. A release build takes a tenth.
const PATIENCE: Duration =
    if cfg!(debug_assertions) { Duration::from_secs(60) } else { Duration::from_secs(2) };
const MEMORY: u64 = 120_000_000;

/// Bytes of a line of `/proc/self/status`.
fn status(key: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().unwrap() * 1024
}

fn name(number: u32) -> String {
    format!("host-{:06x}.example{}.test", number.wrapping_mul(0x9e37_79b1) & 0xff_ffff, number % 977)
}

#[test]
fn a_million_names_load_fast_and_small() {
    let path: PathBuf = std::env::temp_dir().join(format!("awf-bpf-million-{}", std::process::id()));
    let mut file = std::io::BufWriter::new(fs::File::create(&path).unwrap());
    (0..NAMES).for_each(|number| writeln!(file, "{}", name(number)).unwrap());
    file.into_inner().unwrap().sync_data().unwrap();

    let (before, begun) = (status("VmRSS:"), Instant::now());
    let args = PolicyArgs { allow_domains_file: vec![path.clone()], ..PolicyArgs::default() };
    let (policy, _) = resolve_policy(&args, &Inputs::read_policy(&args)).unwrap();
    let elapsed = begun.elapsed();
    let (held, peak) = (status("VmRSS:") - before, status("VmHWM:") - before);
    fs::remove_file(&path).unwrap();
    println!("{elapsed:?}, holds {} MB, at most {} MB", held / 1_000_000, peak / 1_000_000);
    assert!(elapsed < PATIENCE, "{elapsed:?}");
    assert!(held > 10_000_000 && peak < MEMORY, "{held} {peak}");

    // Names that occur twice are kept once.
    let kept = policy.count(List::Allow);
    assert!((900_000..=1_000_000).contains(&kept), "{kept}");
    for number in (0..NAMES).step_by(9973) {
        let decide =
            |text: String| policy.decide(Some(&Host::parse(&text).unwrap()), None, 443, Protocol::Tls);
        let rule = name(number);
        assert_eq!(decide(format!("a.{rule}")).unwrap().rule.as_ref(), rule);
        assert!(decide(format!("x{rule}")).is_err() && decide(format!("{rule}.evil.test")).is_err());
        assert!(decide(rule.split_once('.').unwrap().1.to_owned()).is_err());
    }
}
