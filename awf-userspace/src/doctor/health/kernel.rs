//! The kernel: its version, how it was built, and what it lets nobody do.

use std::{io::Read as _, process::Command};

use super::{Finding, Level, read};
use crate::sys::landlock;

/// The first with everything that is needed: `bpf_link` for all of cgroup's hooks, `cgroup.kill` (5.14), and
/// `getpeername` hooks (5.8); 5.18 is the oldest that is tested.
const OLDEST: (u32, u32) = (5, 18);
/// Without one of these the programs cannot be loaded or attached (Kconfig).
const NEEDED: [&str; 6] = [
    "CONFIG_BPF_SYSCALL",
    "CONFIG_CGROUP_BPF",
    "CONFIG_CGROUPS",
    "CONFIG_NET_NS",
    "CONFIG_USER_NS",
    "CONFIG_SECCOMP_FILTER",
];
/// The first with scopes (Linux 6.12): abstract sockets and signals.
const LANDLOCK_SCOPES: u32 = 6;

pub(super) fn look() -> Vec<Finding> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut findings = vec![version(&release), config(built_with(&release).as_deref())];
    let btf = std::path::Path::new("/sys/kernel/btf/vmlinux").exists();
    let text = if btf { "/sys/kernel/btf/vmlinux is there" } else { "there is none, and none is needed" };
    findings.push(Finding::ok("btf", text));
    findings.push(lsm(
        read("/sys/kernel/security/lsm").as_deref(),
        read("/sys/kernel/security/lockdown").as_deref(),
    ));
    findings.push(landlock(landlock::abi().ok()));
    findings.push(unprivileged_bpf(read("/proc/sys/kernel/unprivileged_bpf_disabled").as_deref()));
    findings
}

pub(super) fn version(release: &str) -> Finding {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return Finding::bad(
            "kernel",
            Level::Unknown,
            format!("{release:?} is no version"),
            "tell us what uname -r says",
        );
    };
    if (major, minor) < OLDEST {
        let remedy = format!("awf-bpf needs Linux {}.{} or newer", OLDEST.0, OLDEST.1);
        return Finding::bad("kernel", Level::Unusable, format!("Linux {release}"), remedy);
    }
    Finding::ok("kernel", format!("Linux {release}, {}", std::env::consts::ARCH))
}

/// The text of the kernel's configuration, where a distribution or the kernel itself keeps it.
fn built_with(release: &str) -> Option<String> {
    if let Some(text) = read(&format!("/boot/config-{release}")) {
        return Some(text);
    }
    let mut gzip = Command::new("gzip");
    gzip.args(["-dc", "/proc/config.gz"])
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped());
    let mut child = gzip.spawn().ok()?;
    let mut text = String::new();
    let read = child.stdout.take()?.take(1 << 22).read_to_string(&mut text);
    let ended = child.wait().ok()?;
    (read.is_ok() && ended.success()).then_some(text)
}

pub(super) fn config(text: Option<&str>) -> Finding {
    let Some(text) = text else {
        return Finding::ok(
            "kernel config",
            "it cannot be read here; whether the programs load says the same",
        );
    };
    let has = |name: &&str| text.lines().any(|line| line.strip_prefix(*name) == Some("=y"));
    let missing: Vec<_> = NEEDED.into_iter().filter(|name| !has(name)).collect();
    if missing.is_empty() {
        return Finding::ok("kernel config", NEEDED.join(", "));
    }
    let found = format!("without {}", missing.join(", "));
    Finding::bad(
        "kernel config",
        Level::Unusable,
        found,
        "use a kernel that was built with them; those of distributions are",
    )
}

pub(super) fn lsm(list: Option<&str>, lockdown: Option<&str>) -> Finding {
    let list = list.filter(|list| !list.is_empty()).unwrap_or("not shown");
    match lockdown {
        Some(text) if text.contains("[confidentiality]") => Finding::bad(
            "lsm",
            Level::Degraded,
            format!("{list}; lockdown confidentiality keeps programs from reading the kernel's memory"),
            "boot with lockdown=integrity, or do without the names of processes that end at once",
        ),
        Some(text) if text.contains("[integrity]") => {
            Finding::ok("lsm", format!("{list}; lockdown integrity"))
        }
        _ => Finding::ok("lsm", list),
    }
}

pub(super) fn landlock(abi: Option<u32>) -> Finding {
    match abi {
        Some(abi) if abi >= LANDLOCK_SCOPES => Finding::ok("landlock", format!("ABI {abi}")),
        Some(abi) => Finding::bad(
            "landlock",
            Level::Degraded,
            format!("ABI {abi} has no scopes"),
            "Linux 6.12 or newer also closes abstract unix sockets and signals to processes outside",
        ),
        None => Finding::bad(
            "landlock",
            Level::Degraded,
            "not in this kernel, or not enabled",
            "add landlock to lsm= on the kernel's command line",
        ),
    }
}

pub(super) fn unprivileged_bpf(value: Option<&str>) -> Finding {
    match value {
        Some("0") => Finding::bad(
            "unprivileged bpf",
            Level::Degraded,
            "every user may load programs of its own",
            "sysctl -w kernel.unprivileged_bpf_disabled=1",
        ),
        _ => Finding::ok("unprivileged bpf", "refused to everybody but root"),
    }
}
