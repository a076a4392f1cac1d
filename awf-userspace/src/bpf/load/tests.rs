//! The programs in this kernel, attached to cgroups of the test's own.

mod said;

use std::{os::fd::AsFd as _, time::Duration};

use super::*;
use crate::{bpf::Guarded, cgroup, session::bpffs};

fn no_host_ports() -> Box<PortSet> {
    Box::new(PortSet::EMPTY)
}

fn places(run: &cgroup::RunCgroup) -> Places<'_> {
    Places { agent: run.agent(), proxy: run.proxy(), guard: None }
}

/// The kernel's verifier takes every program, and every link outlives the one who made it.
#[test]
fn programs_load_attach_and_stay() {
    let id = format!("unit-{}-bpf", std::process::id());
    let globals = Globals { proxy_port: 1021, dns_port: 53, shared_netns: 0, reserved: [0; 3], netns: 0 };
    let programs = Programs::start_loading(globals, no_host_ports()).unwrap().finish().unwrap();
    let run = cgroup::RunCgroup::create(cgroup::place(&id).unwrap()).unwrap();
    let pins = bpffs::directory().unwrap().join(&id);
    let mut kernel = programs.attach(places(&run), &pins).unwrap();
    // This kernel takes the program that tells most, and would take the other.
    assert!(kernel.ebpf.program(EXEC[0]).unwrap().fd().is_ok());
    load(kernel.ebpf.program_mut(EXEC[1]).unwrap()).unwrap();
    kernel.take_origins().unwrap();
    kernel.take_events().unwrap();
    assert_eq!(kernel.counters().unwrap(), Counters::default());
    drop(kernel);
    assert_eq!(std::fs::read_dir(&pins).unwrap().count(), PROGRAMS.len());
    std::fs::remove_dir_all(&pins).unwrap();
    cgroup::kill(run.dir(), Duration::from_secs(5)).unwrap();
    cgroup::remove(run.dir()).unwrap();
}

/// The guards go on the root of all cgroups, and are gone with their pins.
#[test]
fn guards_load_attach_and_stay() {
    let id = format!("unit-{}-guard", std::process::id());
    let globals = Globals { proxy_port: 1021, dns_port: 53, shared_netns: 1, reserved: [0; 3], netns: 0 };
    let programs = Programs::start_loading_guarded(globals, no_host_ports()).unwrap().finish().unwrap();
    let run = cgroup::RunCgroup::create(cgroup::place(&id).unwrap()).unwrap();
    let pins = bpffs::directory().unwrap().join(&id);
    let root = cgroup::root().unwrap();
    let places = Places { guard: Some(Guarded { root: root.as_fd(), level: 1 }), ..places(&run) };
    drop(programs.attach(places, &pins).unwrap());
    assert_eq!(std::fs::read_dir(&pins).unwrap().count(), PROGRAMS.len() + GUARDS.len());
    std::fs::remove_dir_all(&pins).unwrap();
    cgroup::remove(run.dir()).unwrap();
}

/// Programs of a parent cgroup (systemd's, an outer awf-bpf's) go on seeing what a run below it does.
#[test]
fn programs_of_parents_keep_working() {
    let globals = Globals { proxy_port: 1021, dns_port: 53, shared_netns: 0, reserved: [0; 3], netns: 0 };
    let enforce = |dir: PathBuf, id: &str| {
        let run = cgroup::RunCgroup::create(dir).unwrap();
        let pins = bpffs::directory().unwrap().join(id);
        let programs = Programs::start_loading(globals, no_host_ports()).unwrap().finish().unwrap();
        let kernel = programs.attach(places(&run), &pins).unwrap();
        (run, kernel)
    };
    let id = format!("unit-{}-outer", std::process::id());
    let (outer, outer_kernel) = enforce(cgroup::place(&id).unwrap(), &id);
    let (inner, inner_kernel) = enforce(outer.dir().join("agent/inner"), &format!("{id}-inner"));

    let script = "echo $$ > \"$0/agent/cgroup.procs\" && exec bash -c 'echo x > /dev/udp/203.0.113.1/9'";
    let status = std::process::Command::new("bash").args(["-c", script]).arg(inner.dir()).status().unwrap();
    assert!(!status.success());
    for kernel in [&inner_kernel, &outer_kernel] {
        assert_eq!(kernel.counters().unwrap().calls_refused, 1);
    }
    for (run, kernel) in [(inner, inner_kernel), (outer, outer_kernel)] {
        kernel.detach().unwrap();
        cgroup::remove(run.dir()).unwrap();
    }
}
