//! What a long policy costs: `awf-bpf check` with ten names and with a million, start to end; and the decisions of
//! an audit record judged again with each.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    mem::MaybeUninit,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{ROUNDS, show, stats::Samples};

const RECORDS: u32 = 200_000;

/// Wall time, and the largest resident size in KiB.
#[expect(clippy::zombie_processes, reason = "wait4 reaps it, and tells its memory")]
fn measure(awf: &Path, args: &[&str]) -> (Duration, i64) {
    let begun = Instant::now();
    let mut command = Command::new(awf);
    command.arg("check").args(args).stdout(Stdio::null());
    let child = command.spawn().expect("start awf-bpf");
    let pid = child.id().cast_signed();
    let (mut status, mut usage) = (0, MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: both pointers are valid for writing; `rusage` is plain numbers, for which zeroes are a value. The child
    // is ours and waited for nowhere else (`Child` does not reap when dropped).
    let usage = unsafe {
        assert_eq!(libc::wait4(pid, &mut status, 0, usage.as_mut_ptr()), pid);
        usage.assume_init()
    };
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) < 2, "check failed: {status}");
    (begun.elapsed(), usage.ru_maxrss)
}

fn name(number: u32) -> String {
    format!("host-{:06x}.example{}.test", number.wrapping_mul(0x9e37_79b1) & 0xff_ffff, number % 977)
}

fn write(path: &Path, lines: impl Iterator<Item = String>) {
    let mut file = BufWriter::new(File::create(path).expect("make a file"));
    lines.for_each(|line| writeln!(file, "{line}").expect("write a line"));
    file.flush().expect("write a file");
}

/// Prints the rows.
pub(crate) fn run(awf: &Path, dir: &Path) {
    let file = |name: &str| -> PathBuf { dir.join(name) };
    let record = file("scale.jsonl");
    write(&record, (0..RECORDS).map(|number| {
        let host = name(number % 10);
        format!(r#"{{"event":"connection","decision":"allow","reason":"allowed","host":"a.{host}","port":443,"proto":"tls"}}"#)
    }));
    println!("\n{:34} {:>10} {:>10} {:>14}", "awf-bpf check", "load", "peak", "a record again");
    for count in [10, 1_000_000] {
        let list = file("scale.txt");
        write(&list, (0..count).map(name));
        let list = list.to_str().expect("the lab's paths are UTF-8");
        let record = record.to_str().expect("the lab's paths are UTF-8");
        let (mut load, mut again, mut peak) = (Samples::default(), Samples::default(), 0);
        for _ in 0..ROUNDS {
            let (elapsed, memory) = measure(awf, &["--allow-domains-file", list, "https://a.test"]);
            load.extend([elapsed]);
            peak = peak.max(memory);
            again.extend([measure(awf, &["--allow-domains-file", list, "--replay", record]).0]);
        }
        let each = again.median().saturating_sub(load.median()) / RECORDS;
        println!(
            "{:34} {:>10} {:>6} MiB {:>11} ns",
            format!("{count} names"),
            show(load.median()),
            peak >> 10,
            each.as_nanos()
        );
    }
}
