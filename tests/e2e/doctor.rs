//! `awf-bpf doctor`: this machine is well, and each thing that is broken on purpose gets the line that says so.

use harness::{Lab, Output};
use serde_json::Value;

/// The finding of that name.
#[track_caller]
fn finding(out: &Output, check: &str) -> Value {
    let health: Value = serde_json::from_str(&out.stdout()).unwrap_or_else(|e| panic!("{e}\n{out}"));
    let all = health["findings"].as_array().unwrap_or_else(|| panic!("no findings\n{out}")).clone();
    all.into_iter().find(|one| one["check"] == check).unwrap_or_else(|| panic!("no {check}\n{out}"))
}

/// What doctor says on a machine after `script` broke it.
fn broken(lab: &Lab, script: &str) -> Output {
    let words = [harness::tools::awf_bpf().display().to_string(), "doctor".into(), "--json".into()];
    let script = format!("mount --make-rprivate /; {script}");
    let argv = ["unshare", "-m", "bash", "-c", &script, &words[0], &words[1], &words[2]];
    lab.bare().as_root().cwd("/").run(&argv)
}

#[test]
fn the_programs_are_loaded_and_tried_and_nothing_is_left() {
    let lab = Lab::new();
    let run = lab.awf();
    let out = run.subcommand(&["doctor", "--json"]);
    for (check, wanted) in [
        ("kernel", "ok"),
        ("cgroup2", "ok"),
        ("cgroup delegation", "ok"),
        ("resolver", "ok"),
        ("clock", "ok"),
        ("programs", "ok"),
    ] {
        let one = finding(&out, check);
        out.check(one["level"] == wanted && one["remedy"].is_null(), || format!("{check}: {one}"));
    }
    out.check([0, 1].contains(&out.exit_code()), || "usable".into());
    let lines = run.subcommand(&["doctor"]);
    lines.stdout_contains(
        "ok        programs: all are loaded and attached, and refused a connection and a datagram",
    );
    // In a cgroup and a /run of its own, where nothing is anybody else's: it leaves no cgroup, no state, no mount.
    let script = "mount -t tmpfs none /run; own=$(findmnt -nt cgroup2 -o TARGET | head -n 1)/doctor-$$; mkdir $own; \
        echo $$ > $own/cgroup.procs; \"$0\" \"$@\" > /dev/null; cat /proc/self/cgroup | grep -c \"^0::.*/doctor-$$\\$\"; \
        find $own -mindepth 1 -type d; find /run -mindepth 1; stat -f -c %T /run/awf-bpf/bpf; \
        echo $$ > ${own%/*}/cgroup.procs; rmdir $own; echo end";
    broken(&lab, script).ok().stdout_is("1\n/run/awf-bpf\n/run/awf-bpf/bpf\ntmpfs\nend\n");
}

#[test]
fn what_is_broken_is_named_with_its_remedy() {
    let lab = Lab::new();
    let go = "exec \"$0\" \"$@\"";
    let cases = [
        ("umount -a -t cgroup2", "cgroup2", "unusable", "mount -t cgroup2", 2),
        (
            "mount -o remount,ro,bind $(findmnt -nt cgroup2 -o TARGET | head -n 1)",
            "cgroup delegation",
            "unusable",
            "read-write",
            2,
        ),
        ("mount -t tmpfs none /etc", "resolver", "degraded", "--dns-servers", 1),
        ("mount --bind /dev/null /etc/resolv.conf", "resolver", "degraded", "--dns-servers", 1),
        (
            "echo nameserver 198.51.100.99 > /tmp/r.$$; mount --bind /tmp/r.$$ /etc/resolv.conf; rm /tmp/r.$$",
            "resolver",
            "degraded",
            "--dns-servers",
            1,
        ),
        ("mount -t tmpfs -o size=1m none /var/log", "disk", "degraded", "--audit-dir", 1),
        ("mkdir -p /run/awf-bpf; chmod 777 /run/awf-bpf", "programs", "unusable", "mend", 2),
    ];
    for (script, check, level, remedy, code) in cases {
        // The run's state is the machine's: the last case would be everybody's.
        let out = broken(&lab, &format!("mount -t tmpfs none /run; {script} && {go}"));
        let one = finding(&out, check);
        out.code(code).check(one["level"] == level, || format!("{check} {level}: {one}"));
        out.check(one["remedy"].as_str().is_some_and(|text| text.contains(remedy)), || {
            format!("{remedy}: {one}")
        });
    }
}

#[test]
fn capabilities_that_are_missing_are_named() {
    let lab = Lab::new();
    for (dropped, level) in [("sys_admin", "unusable"), ("net_admin", "unusable"), ("sys_ptrace", "degraded")]
    {
        let bound = format!("-{dropped}");
        let out =
            broken(&lab, &format!("exec setpriv --bounding-set={bound} --inh-caps={bound} \"$0\" \"$@\""));
        let one = finding(&out, "capabilities");
        let name = format!("CAP_{}", dropped.to_uppercase());
        out.check(one["level"] == level && one["found"].as_str().unwrap_or("").contains(&name), || {
            one.to_string()
        });
    }
    let out =
        broken(&lab, "exec setpriv --bounding-set=-sys_admin,-bpf --inh-caps=-sys_admin,-bpf \"$0\" \"$@\"");
    out.code(2).check(finding(&out, "programs")["level"] == "unusable", || "they cannot be loaded".into());
}

#[test]
fn without_root_it_says_what_it_could_not_look_at() {
    let lab = Lab::new();
    let binary = lab.dir().install(&harness::tools::awf_bpf());
    let out = lab.bare().run(&[&binary.display().to_string(), "doctor", "--json"]);
    for check in ["capabilities", "programs", "cgroup delegation"] {
        let one = finding(&out, check);
        out.check(one["level"] == "unknown", || format!("{check}: {one}"));
        out.check(one["remedy"] == "ask as root: sudo awf-bpf doctor", || format!("{check}: {one}"));
    }
    out.code(1).check(finding(&out, "kernel")["level"] == "ok", || "kernel".into());
}
