//! Ways out of the jail that need no network. Each test is a list of tries (Python, beside this file), made without
//! awf-bpf, where they must succeed or the list proves nothing, and inside, where none may; with `--chroot off` too.

mod crashes;
mod decisive;
mod exchanged;
mod files;
mod handed;
mod root;

use std::{collections::BTreeMap, time::Duration};

use harness::{Lab, Process, Run};

use crate::kernel;

const COMMON: &str = include_str!("common.py");
const GATES: &str = include_str!("gates.py");
const PROCESSES: &str = include_str!("processes.py");
const KERNEL_FILES: &str = include_str!("kernel_files.py");

/// What became of each try: `open`, or why it is shut.
type Tries = BTreeMap<String, String>;

#[track_caller]
fn tries(lab: &Lab, run: &Run<'_>, script: &str) -> Tries {
    let run = run.clone().env("SCRATCH", lab.dir().work());
    let out = run.run(&["/usr/bin/python3", "-c", &format!("{COMMON}\n{script}")]);
    let said = out.ok().stdout();
    let line = |line: &str| {
        let shut = line.rsplit_once(" shut ");
        let (name, state) = shut.or_else(|| Some((line.strip_suffix(" open")?, "open")))?;
        Some((name.to_owned(), state.to_owned()))
    };
    let tries: Tries = said.lines().filter_map(line).collect();
    out.check(!tries.is_empty(), || "a line for each try".into());
    tries
}

fn open(tries: &Tries) -> Vec<&str> {
    tries.iter().filter(|(_, state)| *state == "open").map(|(name, _)| name.as_str()).collect()
}

/// All but `never` succeed outside; none does inside.
#[track_caller]
fn shut_inside(outside: &Tries, inside: &Tries, never: &[&str]) {
    assert_eq!(open(inside), [""; 0], "inside: {inside:#?}");
    let dull: Vec<_> =
        inside.keys().filter(|name| outside.get(*name).is_none_or(|state| state != "open")).collect();
    let unexpected: Vec<_> = dull.into_iter().filter(|name| !never.contains(&name.as_str())).collect();
    assert!(
        unexpected.is_empty(),
        "shut without awf-bpf too, so they prove nothing: {unexpected:?} {outside:#?}"
    );
}

/// The same command, called root.
fn as_root<'lab>(run: &Run<'lab>) -> Run<'lab> {
    run.clone().args(["--user", "root"])
}

/// Calls that this kernel does not have.
fn lacking() -> Vec<&'static str> {
    let options = [
        ("CONFIG_MODULES", &["init_module", "finit_module", "delete_module"][..]),
        ("CONFIG_KEXEC", &["kexec_load"]),
        ("CONFIG_KEYS", &["add_key", "request_key", "keyctl"]),
        ("CONFIG_SWAP", &["swapon", "swapoff"]),
        ("CONFIG_BSD_PROCESS_ACCT", &["acct"]),
        ("CONFIG_QUOTA", &["quotactl"]),
        ("CONFIG_USERFAULTFD", &["userfaultfd"]),
        ("CONFIG_PERF_EVENTS", &["perf_event_open"]),
        ("CONFIG_IO_URING", &["io_uring_setup", "io_uring_enter", "io_uring_register"]),
        ("CONFIG_TIME_NS", &["unshare_time"]),
        ("CONFIG_FHANDLE", &["open_by_handle_at"]),
        ("CONFIG_CROSS_MEMORY_ATTACH", &["process_vm_readv", "process_vm_writev"]),
    ];
    let absent = options.into_iter().filter(|(option, _)| kernel::has(option) == Some(false));
    // Linux 6.15.
    absent.flat_map(|(_, calls)| calls.iter().copied()).chain(["open_tree_attr"]).collect()
}

#[test]
fn system_calls_that_lead_out_are_refused() {
    let lab = Lab::new();
    let outside = tries(&lab, &lab.bare().as_root(), GATES);
    for run in [lab.awf(), lab.awf().machine_files()] {
        for run in [as_root(&run), run] {
            shut_inside(&outside, &tries(&lab, &run, GATES), &lacking());
        }
    }
}

/// A process of the command's user, outside.
fn bystander(lab: &Lab) -> Process {
    let process = lab.bare().spawn(&["sh", "-c", "echo ready; exec sleep 600"]);
    process.wait_for_stdout("ready", Duration::from_secs(10));
    process
}

/// Root's, so closed to the user outside as well.
const INITS: [&str; 10] = [
    "init_mem",
    "init_environ",
    "init_fd",
    "init_root",
    "init_cwd",
    "init_exe",
    "init_maps",
    "init_kill",
    "init_ptrace",
    "init_prlimit",
];

#[test]
fn processes_outside_are_out_of_reach() {
    let lab = Lab::new();
    let process = bystander(&lab);
    let pid = process.pid().as_raw_nonzero().to_string();
    let outside = tries(&lab, &lab.bare().env("PID", &pid), PROCESSES);
    for run in [lab.awf(), as_root(&lab.awf())] {
        shut_inside(&outside, &tries(&lab, &run.env("PID", &pid), PROCESSES), &INITS);
    }
    // The machine's processes are seen then, and what the kernel allows by uid alone is a known limit.
    let by_uid = [
        "f_setown",
        "getpgid",
        "ioprio_set",
        "prlimit",
        "sched_setaffinity",
        "sched_setscheduler",
        "setpriority",
        "proc_stat",
        "proc_cmdline",
        "proc_fd",
        "proc_task",
    ];
    let all = lab.awf().machine_files().env("PID", &pid);
    for run in [as_root(&all), all] {
        let mut seen = tries(&lab, &run, PROCESSES);
        seen.retain(|name, _| !by_uid.contains(&name.as_str()));
        shut_inside(&outside, &seen, &INITS);
    }
}

/// Its priority is set for all processes of a user at once, and those outside must not be among them.
#[test]
fn what_is_done_to_all_processes_of_a_user_stays_inside() {
    let lab = Lab::new();
    let process = bystander(&lab);
    let nice = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid().as_raw_nonzero()));
        stat.expect("it lives")
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split(' ').nth(17)?.parse::<i32>().ok())
    };
    let script = "import os, signal; os.setpriority(os.PRIO_USER, os.getuid(), 7)\n\
        try: os.kill(-1, signal.SIGKILL)\nexcept ProcessLookupError: print('alone')";
    for run in [lab.awf(), as_root(&lab.awf())] {
        run.run(&["/usr/bin/python3", "-c", script]).ok().stdout_is("alone\n");
    }
    assert_eq!(nice(), Some(0));
    assert!(!process.wait_exit(Duration::ZERO), "it was killed");
    lab.bare().run(&["/usr/bin/python3", "-c", script.lines().next().expect("a line")]).ok();
    assert_eq!(nice(), Some(7), "without awf-bpf it is among them");
}

#[test]
fn nothing_of_the_kernel_can_be_written_and_no_device_opened() {
    let lab = Lab::new();
    let outside = tries(&lab, &lab.bare().as_root(), KERNEL_FILES);
    let own_root = lab.awf().env("INSIDE", "1");
    let inside = tries(&lab, &own_root, KERNEL_FILES);
    let missing = inside.keys().filter(|name| !outside.contains_key(*name)).map(String::as_str);
    // Nobody writes to these.
    let never: Vec<_> = missing.chain(["write /proc/kcore", "write /proc/kmsg"]).collect();
    shut_inside(&outside, &inside, &never);
    shut_inside(&outside, &tries(&lab, &as_root(&own_root), KERNEL_FILES), &never);
    let all = own_root.machine_files();
    for run in [as_root(&all), all] {
        let mut seen = tries(&lab, &run, KERNEL_FILES);
        // The machine's devices are there; whether they open is their modes' affair.
        seen.remove("a device");
        shut_inside(&outside, &seen, &never);
    }
}
