//! The judgements, each with what it is made from.

use std::{io, time::Duration};

use super::*;

fn level(finding: &Finding) -> Level {
    assert_eq!(finding.remedy.is_none(), finding.level == Level::Ok, "{finding:?}");
    finding.level
}

#[test]
fn kernels() {
    for (release, wanted) in [
        ("6.18.44-fc-v669", Level::Ok),
        ("5.18.0", Level::Ok),
        ("5.17.9-generic", Level::Unusable),
        ("4.19", Level::Unusable),
        ("10.0-rc1", Level::Ok),
        ("custom", Level::Unknown),
    ] {
        assert_eq!(level(&kernel::version(release)), wanted, "{release}");
    }
}

#[test]
fn configurations() {
    let all = "CONFIG_BPF_SYSCALL=y\nCONFIG_CGROUP_BPF=y\nCONFIG_CGROUPS=y\nCONFIG_NET_NS=y\nCONFIG_USER_NS=y\n\
        CONFIG_SECCOMP_FILTER=y\n";
    assert_eq!(level(&kernel::config(Some(all))), Level::Ok);
    let without = all.replace("CONFIG_CGROUP_BPF=y", "# CONFIG_CGROUP_BPF is not set");
    let finding = kernel::config(Some(&without));
    assert_eq!((level(&finding), &*finding.found), (Level::Unusable, "without CONFIG_CGROUP_BPF"));
    assert_eq!(level(&kernel::config(None)), Level::Ok);
}

#[test]
fn what_the_kernel_lets_nobody_do() {
    assert_eq!(
        level(&kernel::lsm(Some("lockdown,yama"), Some("[none] integrity confidentiality"))),
        Level::Ok
    );
    assert_eq!(level(&kernel::lsm(None, Some("none integrity [confidentiality]"))), Level::Degraded);
    assert_eq!(level(&kernel::landlock(Some(6))), Level::Ok);
    assert_eq!(level(&kernel::landlock(Some(5))), Level::Degraded);
    assert_eq!(level(&kernel::landlock(None)), Level::Degraded);
    assert_eq!(level(&kernel::unprivileged_bpf(Some("0"))), Level::Degraded);
    assert_eq!(level(&kernel::unprivileged_bpf(Some("2"))), Level::Ok);
}

#[test]
fn capabilities() {
    let of = |root, text| process::capabilities(root, text);
    assert_eq!(level(&of(true, Some("000001ffffffffff"))), Level::Ok);
    assert_eq!(level(&of(false, Some("0000000000000000"))), Level::Unknown);
    // As docker gives them.
    let docker = of(true, Some("00000000a80425fb"));
    assert_eq!(level(&docker), Level::Unusable);
    assert!(
        docker.found.contains("CAP_SYS_ADMIN") && docker.found.contains("CAP_NET_ADMIN"),
        "{}",
        docker.found
    );
    let without_bpf = of(true, Some("0000017fffffffff"));
    assert_eq!((level(&without_bpf), &*without_bpf.found), (Level::Degraded, "root without CAP_BPF"));
    assert_eq!(level(&of(true, Some("x"))), Level::Unknown);
}

#[test]
fn hierarchies() {
    let v2 = "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    let v1 = "33 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
    assert_eq!(level(&cgroups::mounted(v2, "0::/x\n")), Level::Ok);
    assert!(
        cgroups::mounted(&(v1.to_owned() + v2), "0::/x\n").found.ends_with("beside 1 mounts of version 1")
    );
    assert_eq!(cgroups::mounted(v1, "4:cpu:/\n").found, "only version 1 is mounted");
    assert_eq!(level(&cgroups::mounted("", "")), Level::Unusable);
    assert_eq!(level(&cgroups::mounted(v2, "4:cpu:/\n")), Level::Unusable);
}

#[test]
fn resolvers() {
    let fails = |_| Err(io::Error::other("silence"));
    let text = || Ok("nameserver 192.0.2.1\n".to_owned());
    assert_eq!(level(&network::resolver(text(), |_| Ok(()))), Level::Ok);
    let silent = network::resolver(text(), fails);
    assert_eq!((level(&silent), &*silent.found), (Level::Degraded, "192.0.2.1:53: silence"));
    assert_eq!(level(&network::resolver(Ok("search x\n".into()), |_| Ok(()))), Level::Degraded);
    let gone = network::resolver(Err(io::ErrorKind::NotFound.into()), |_| Ok(()));
    assert!(level(&gone) == Level::Degraded && gone.found.starts_with("/etc/resolv.conf: "), "{gone:?}");
    assert_eq!(level(&network::ipv6(Some("0"), Some("0001 01 80 10 80       lo"))), Level::Ok);
    assert_eq!(level(&network::ipv6(Some("1"), Some(""))), Level::Degraded);
    assert_eq!(level(&network::ipv6(None, None)), Level::Ok);
}

#[test]
fn what_comes_with_time() {
    let day = |days: u64| Duration::from_secs(days * 86_400);
    assert_eq!(level(&upkeep::clock(day(1), None)), Level::Degraded);
    assert_eq!(level(&upkeep::clock(day(20_500), Some(day(20_500)))), Level::Ok);
    assert_eq!(level(&upkeep::clock(day(20_500), Some(day(20_510)))), Level::Degraded);
    assert_eq!(level(&upkeep::disk(Some(1 << 20))), Level::Degraded);
    assert_eq!(level(&upkeep::disk(Some(1 << 30))), Level::Ok);
    assert_eq!(level(&upkeep::leftovers(false, None)), Level::Unknown);
    assert_eq!(level(&upkeep::leftovers(true, None)), Level::Degraded);
    assert_eq!(level(&upkeep::leftovers(true, Some(Default::default()))), Level::Ok);
}
