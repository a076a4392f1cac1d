//! A machine with an /etc, an /opt and a /srv of its own, and a runner in it.

use std::{collections::BTreeSet, process::Command};

use harness::{Lab, Output, Process, procs::Marker, tools};
use rustix::mount::mount_bind;

pub(super) const BINARY: &str = "/opt/awf-bpf";
pub(super) const RUNNER: &str = "/srv/runner";
pub(super) const UNIT: &str = "actions.runner.o-r.n.service";

/// As the runner's installation leaves it: its user's directory, a service of root's.
const LAY_OUT: &str = "mkdir -p /srv/runner/bin /srv/runner/_work /etc/systemd/system /etc/sudoers.d\n\
    echo 'runner:*:19000:0:99999:7:::' >> /etc/shadow\n\
    cp /bin/sleep /srv/runner/bin/Runner.Listener\n\
    echo 'LANG=C.UTF-8' > /srv/runner/.env; chmod 600 /srv/runner/.env\n\
    echo 'actions.runner.o-r.n.service' > /srv/runner/.service\n\
    echo '[Service]' > /etc/systemd/system/actions.runner.o-r.n.service\n\
    echo s > /srv/secret; chmod 600 /srv/secret\n\
    chown -R runner:runner /srv/runner";

pub(super) struct Machine(Lab);

impl Machine {
    pub(super) fn new() -> Self {
        let machine = Self(Lab::new());
        let root = machine.0.dir().root().to_owned();
        let etc = root.join("machine-etc");
        machine.0.machine().within(|| {
            tools::succeed(Command::new("/bin/cp").arg("-a").arg("/etc").arg(&etc));
            for (name, covered) in [("machine-opt", "/opt"), ("machine-srv", "/srv"), ("machine-run", "/run")]
            {
                std::fs::create_dir(root.join(name)).expect("make a directory of the machine");
                mount_bind(root.join(name), covered).unwrap_or_else(|e| panic!("cover {covered}: {e}"));
            }
            mount_bind(&etc, "/etc").expect("cover /etc");
            // Not by this process: see WorkDir::install.
            let mut install = Command::new(tools::require("install"));
            tools::succeed(install.args(["-m", "755"]).arg(tools::awf_bpf()).arg(BINARY));
        });
        machine.root_sh(LAY_OUT);
        machine
    }

    pub(super) fn root(&self, argv: &[&str]) -> Output {
        self.0.bare().as_root().cwd("/").run(argv)
    }

    pub(super) fn spawn_root(&self, argv: &[&str]) -> Process {
        self.0.bare().as_root().cwd("/").spawn(argv)
    }

    #[track_caller]
    pub(super) fn root_sh(&self, script: &str) -> Output {
        let out = self.root(&["bash", "-ec", script]);
        out.ok();
        out
    }

    pub(super) fn as_user(&self, argv: &[&str]) -> Output {
        self.0.bare().cwd("/").run(argv)
    }

    pub(super) fn install(&self, flags: &[&str]) -> Output {
        self.root(&[&[BINARY, "hook", "install", "--runner-dir", RUNNER], flags].concat())
    }

    pub(super) fn uninstall(&self) -> Output {
        self.root(&[BINARY, "hook", "uninstall", "--runner-dir", RUNNER])
    }

    pub(super) fn status(&self) -> Output {
        self.root(&[BINARY, "hook", "status"])
    }

    /// Puts a script in the place of awf-bpf.
    pub(super) fn stand_in(&self, script: &str) {
        self.root_sh(&format!("printf '%s\\n' '#!/bin/sh' '{script}' > {BINARY}.new; chmod 755 {BINARY}.new; mv {BINARY}.new {BINARY}"));
    }

    /// A process of the runner's, with its executable.
    pub(super) fn listener(&self, marker: &Marker) -> Process {
        let program = format!("{RUNNER}/bin/Runner.Listener");
        let process =
            self.0.bare().cwd("/").spawn(&["bash", "-c", "echo up; exec \"$0\" 1000", &program, &marker.0]);
        process.wait_for_stdout("up", std::time::Duration::from_secs(10));
        // Until execve(2) it is bash.
        self.root_sh(&format!(
            "until ls -l /proc/[0-9]*/exe 2>/dev/null | grep -q ' {program}$'; do :; done"
        ));
        process
    }

    /// Every file, with its owner, mode and content: what a test compares.
    pub(super) fn snapshot(&self) -> BTreeSet<String> {
        let script = "find /etc /srv /opt -xdev -printf '%p|%y|%m|%U|%G|%l\\n'; \
            find /etc /srv /opt -xdev -type f -print0 | xargs -0 sha256sum | sed 's/^\\([0-9a-f]*\\)  \\(.*\\)/\\2|\\1/'";
        let out = self.root_sh(script);
        out.stdout().lines().map(str::to_owned).collect()
    }

    /// The machine is as it was when `wanted` was taken.
    #[track_caller]
    pub(super) fn assert_is(&self, wanted: &BTreeSet<String>, when: &str) {
        let now = self.snapshot();
        let (more, less): (Vec<_>, Vec<_>) =
            (now.difference(wanted).collect(), wanted.difference(&now).collect());
        assert!(more.is_empty() && less.is_empty(), "{when}: there is now {more:#?} instead of {less:#?}");
    }
}

/// The path in a line of a snapshot.
pub(super) fn path_of(line: &str) -> &str {
    line.split('|').next().unwrap_or_default()
}
