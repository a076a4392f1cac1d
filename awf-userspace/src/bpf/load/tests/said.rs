//! What the kernel says of new programs, /proc left aside: real ones, with stacks as odd as execve(2) makes them.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command, time::Duration};

use awf_common::{EventKind, Globals, Image, PortSet};

use super::super::{Kernel, Programs};
use crate::{
    bpf::image::{self, Said},
    cgroup::{self, RunCgroup},
    session::bpffs,
};

const CUT: &str = "...[cut]";

struct Lab {
    run: RunCgroup,
    kernel: Kernel,
    dir: PathBuf,
}

impl Lab {
    fn new(name: &str) -> Self {
        let id = format!("unit-{}-{name}", std::process::id());
        let globals = Globals { proxy_port: 1021, dns_port: 53, shared_netns: 0, reserved: [0; 3], netns: 0 };
        let programs = Programs::start_loading(globals, Box::new(PortSet::EMPTY)).unwrap().finish().unwrap();
        let run = RunCgroup::create(cgroup::place(&id).unwrap()).unwrap();
        let pins = bpffs::directory().unwrap().join(&id);
        let kernel = programs.attach(super::places(&run), &pins).unwrap();
        let dir = std::env::temp_dir().join(&id);
        fs::create_dir(&dir).unwrap();
        Self { run, kernel, dir }
    }

    /// Runs `scripts`, which execute what they will; what was said of each program after bash.
    fn run(&mut self, scripts: &[&str]) -> Vec<Said> {
        let mut ring = self.kernel.take_events().unwrap();
        for script in scripts {
            let script = format!("echo $$ > \"$0/agent/cgroup.procs\" && {script}");
            let mut bash = Command::new("/bin/bash");
            bash.args(["-c", &script]).arg(self.run.dir()).current_dir(&self.dir);
            assert!(bash.status().unwrap().success(), "{script}");
        }
        let mut found = Vec::new();
        while let Some(item) = ring.next() {
            let (event, said) = image::decode(&item).unwrap();
            if event.kind == EventKind::Exec as u32 {
                found.push(said.unwrap());
            }
        }
        assert_eq!(self.kernel.counters().unwrap().events_lost, 0);
        found
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.dir.join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn end(self) {
        self.kernel.detach().unwrap();
        cgroup::kill(self.run.dir(), Duration::from_secs(5)).unwrap();
        cgroup::remove(self.run.dir()).unwrap();
        fs::remove_dir_all(self.dir).unwrap();
    }
}

fn said(path: &str, argv: &[&str]) -> Said {
    Said { path: Some(path.to_owned()), argv: Some(argv.iter().map(|arg| (*arg).to_owned()).collect()) }
}

#[test]
fn a_program_is_said_as_it_was_executed() {
    let mut lab = Lab::new("said");
    fs::copy("/bin/true", lab.dir.join("true")).unwrap();
    lab.write("script", b"#!/bin/sh -e\nexec /bin/true\n");
    let found = lab.run(&[
        "exec -a other /bin/true a '' 'b c' ''",
        "exec env -i /bin/true x",
        "exec env ./true",
        "exec \"$PWD/script\" y",
    ]);
    let script = lab.dir.join("script");
    let script = script.to_str().unwrap();
    let expected = [
        said("/bin/true", &["other", "a", "", "b c", ""]),
        said("/usr/bin/env", &["env", "-i", "/bin/true", "x"]),
        said("/bin/true", &["/bin/true", "x"]),
        said("/usr/bin/env", &["env", "./true"]),
        said("./true", &["./true"]),
        // Its interpreter got its path; execve(2) was given the script's.
        said(script, &["/bin/sh", "-e", script, "y"]),
        said("/bin/true", &["/bin/true"]),
    ];
    assert_eq!(found, expected);
    lab.end();
}

#[test]
fn megabytes_of_arguments_and_environment_are_bounded() {
    let mut lab = Lab::new("much");
    let args =
        "a=$(printf '%0100000d' 0); exec /bin/true \"$@\" $a $a $a $a $a $a $a $a $a $a $a $a $a $a $a";
    let numbers = "exec /bin/true $(seq 100000)";
    let environment = |n: u32| format!("exec env $(seq -f v%.0f= {n}) /bin/true z");
    let path =
        format!("mkdir -p ./{0}; cp /bin/true {0}; exec {0}/true", format!("{}/", "d".repeat(99)).repeat(3));
    let found = lab.run(&[args, numbers, &environment(1000), &environment(40_000), &path]);
    let true_ones: Vec<_> = found
        .iter()
        .filter(|said| {
            said.argv.as_ref().is_some_and(|argv| argv[0].ends_with("true") || argv[0].ends_with(CUT))
        })
        .collect();
    let [long, many, some, most, deep] = true_ones.as_slice() else { panic!("{true_ones:?}") };
    for cut in [long, many] {
        let argv = cut.argv.as_ref().unwrap();
        assert_eq!(cut.path.as_deref(), Some("/bin/true"));
        assert!(
            argv.last().unwrap().ends_with(CUT) && argv.concat().len() <= Image::ARGS + CUT.len(),
            "{argv:?}"
        );
    }
    assert_eq!(**some, said("/bin/true", &["/bin/true", "z"]));
    // Behind more environment than is walked over, the path is not found; the arguments still end where they end.
    assert_eq!(**most, Said { path: None, ..said("", &["/bin/true", "z"]) });
    assert!(
        deep.path.as_ref().unwrap().ends_with(CUT) && deep.path.as_ref().unwrap().len() < 300,
        "{deep:?}"
    );
    lab.end();
}

/// The stack of a program of 32 bits has words of 4 bytes: nothing is said of it rather than nonsense.
#[cfg(target_arch = "x86_64")]
#[test]
fn nothing_is_said_of_a_program_of_32_bits() {
    let mut lab = Lab::new("small");
    let (header, base) = (52 + 32, 0x0804_8000_u32);
    // mov eax, 1; xor ebx, ebx; int 0x80: _exit(0)
    let code = [0xb8, 1, 0, 0, 0, 0x31, 0xdb, 0xcd, 0x80];
    let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0".to_vec();
    for word in [1, base + header, 52, 0, 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend([52, 0, 32, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    for word in [1, 0, base, base, header + 9, header + 9, 5, 0x1000] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(code);
    lab.write("small", &elf);
    assert_eq!(lab.run(&["exec ./small with arguments"]), [Said::default()]);
    lab.end();
}
