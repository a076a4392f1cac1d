//! `awf-bpf doctor --hook`: each way out of a job is found where it is, and closed by what is said to close it.

use std::{collections::BTreeMap, time::Duration};

use harness::{Output, procs::Marker};
use serde_json::Value;

use super::machine::{BINARY, Machine, RUNNER};

const SOON: Duration = Duration::from_secs(10);

/// What doctor says of each way.
#[track_caller]
fn ways(out: &Output) -> BTreeMap<String, String> {
    let value: Value = serde_json::from_str(&out.stdout()).unwrap_or_else(|e| panic!("{e}\n{out}"));
    let all = value["runners"][0]["escapes"].as_array().unwrap_or_else(|| panic!("no escapes\n{out}"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    all.iter().map(|one| (text(&one["name"]), text(&one["way"]))).collect()
}

fn look(machine: &Machine) -> Output {
    machine.root(&[BINARY, "doctor", "--hook", "--runner-dir", RUNNER, "--json"])
}

/// Makes a way out, and closes it again.
struct Way {
    name: &'static str,
    open: &'static str,
    /// The user takes it.
    take: &'static str,
    close: &'static str,
}

const WAYS: [Way; 6] = [
    Way {
        name: "sudo",
        open: "echo 'runner ALL=(ALL) NOPASSWD: /usr/bin/id' > /etc/sudoers.d/x; chmod 440 /etc/sudoers.d/x",
        take: "test $(sudo -n id -u) = 0",
        close: "/opt/awf-bpf hook install --runner-dir /srv/runner --disable-sudo",
    },
    Way {
        name: "containers",
        open: "rm -f /run/docker.sock; python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.bind(\"/run/docker.sock\"); s.listen()'; \
            chmod 666 /run/docker.sock",
        take: "test -w /run/docker.sock",
        close: "chmod 660 /run/docker.sock",
    },
    Way {
        name: "cgroups",
        open: "mkdir $CGROUP; chown runner $CGROUP $CGROUP/cgroup.procs",
        take: "test -w $CGROUP/cgroup.procs",
        close: "chown root $CGROUP $CGROUP/cgroup.procs",
    },
    Way {
        name: "su",
        open: "sed -i s/^runner:[^:]*:/runner::/ /etc/shadow",
        take: "true",
        close: "sed -i s/^runner:[^:]*:/runner:*:/ /etc/shadow",
    },
    Way {
        name: "runner's programs",
        open: "chown -R runner /srv/runner/bin",
        take: "test -w /srv/runner/bin/Runner.Listener",
        close: "chown -R root /srv/runner/bin; chown runner /srv/runner/.service",
    },
    Way {
        name: "policy and hooks",
        open: "chmod 777 /etc/awf-bpf/hooks",
        take: "mv /etc/awf-bpf/hooks/pre-job.sh /etc/awf-bpf/hooks/x; mv /etc/awf-bpf/hooks/x /etc/awf-bpf/hooks/pre-job.sh",
        close: "chmod 755 /etc/awf-bpf/hooks; chown root:root /etc/awf-bpf/hooks/*",
    },
];

#[test]
fn each_way_out_is_found_and_what_closes_it_does() {
    let machine = Machine::new();
    machine.install(&[]).ok();
    let cgroup =
        format!("CGROUP=$(findmnt -nt cgroup2 -o TARGET | head -n 1)/awf-e2e-ways-{}; ", std::process::id());
    for way in &WAYS {
        machine.root_sh(&format!("{cgroup}{}", way.open));
        let out = look(&machine);
        out.code(1).check(ways(&out)[way.name] == "open", || format!("{} open", way.name));
        machine.as_user(&["bash", "-ec", &format!("{cgroup}{}", way.take)]).ok();
        // The runner's user is told by its Listener: who is root's then is somebody else's runner.
        if way.name == "runner's programs" {
            continue;
        }
        machine.root_sh(&format!("{cgroup}{}", way.close));
        let out = look(&machine);
        out.check(ways(&out)[way.name] == "closed", || format!("{} closed", way.name));
    }
    machine.root_sh(&format!("{cgroup}rmdir $CGROUP"));
}

/// cron and sshd are known by what they are: an executable that runs, a port that greets.
#[test]
fn daemons_that_run_for_others_are_found() {
    let machine = Machine::new();
    machine.install(&[]).ok();
    let out = look(&machine);
    for name in ["cron", "ssh to localhost"] {
        out.check(ways(&out)[name] == "closed", || format!("{name}: nothing runs yet"));
    }
    let (cron, ssh) = (Marker::new("cron"), Marker::new("sshd"));
    let script = "cp /bin/sleep /opt/cron; echo up; exec /opt/cron 1000";
    let cron_runs = machine.spawn_root(&["bash", "-ec", script, &cron.0]);
    let greet = "import socket; s = socket.create_server(('127.0.0.1', 22)); print('up', flush=True)\nwhile True: s.accept()[0].send(b'SSH-2.0-x\\r\\n')";
    let ssh_runs = machine.spawn_root(&["python3", "-c", greet, &ssh.0]);
    cron_runs.wait_for_stdout("up", SOON);
    ssh_runs.wait_for_stdout("up", SOON);
    machine.root_sh("until ls -l /proc/[0-9]*/exe 2>/dev/null | grep -q ' /opt/cron$'; do :; done");
    let out = look(&machine);
    for name in ["cron", "ssh to localhost"] {
        out.check(ways(&out)[name] == "open", || format!("{name} open"));
    }
    machine.root_sh("echo root > /etc/cron.allow");
    let out = look(&machine);
    out.check(ways(&out)["cron"] == "closed", || "the remedy".into());
}

#[test]
fn other_runners_of_the_same_user_are_found() {
    let machine = Machine::new();
    machine.install(&[]).ok();
    let of_others = |out: &Output| ways(out)["other runners"].clone();
    assert_eq!(of_others(&look(&machine)), "closed");
    machine.root_sh(&format!(
        "cp -a {RUNNER} /srv/second; rm /srv/second/.service; {BINARY} hook install --runner-dir /srv/second"
    ));
    assert_eq!(of_others(&look(&machine)), "open");
    machine.root_sh(&format!("{BINARY} hook uninstall --runner-dir /srv/second"));
    assert_eq!(of_others(&look(&machine)), "closed");
}

/// The runtime of GitHub's runner has such a socket for each of its processes.
#[test]
fn a_diagnostics_port_of_the_runners_is_found() {
    let machine = Machine::new();
    machine.install(&[]).ok();
    let marker = Marker::new("listener");
    let listener = machine.listener(&marker);
    let of_port = |out: &Output| ways(out)["diagnostics port"].clone();
    assert_eq!(of_port(&look(&machine)), "closed");
    let pid = listener.pid().as_raw_nonzero();
    let script = format!(
        "import socket, time; s = socket.socket(socket.AF_UNIX); s.bind('/run/dotnet-diagnostic-{pid}-1-socket'); print('up', flush=True); time.sleep(100)"
    );
    let port = machine.spawn_root(&["python3", "-c", &script]);
    port.wait_for_stdout("up", SOON);
    let out = look(&machine);
    assert_eq!(of_port(&out), "open", "{out}");
}

/// The runner looks for bash in PATH, which its service takes from a file of the runner's.
#[test]
fn no_job_puts_another_shell_before_that_of_the_hooks() {
    let machine = Machine::new();
    machine.root_sh("mkdir /srv/tools; chown runner /srv/tools; cd /srv/runner; echo /usr/bin:/srv/tools > .path; chown runner:runner .path");
    machine.install(&[]).ok();
    let (before, of_path) = (machine.snapshot(), |out: &Output| ways(out)["runner's PATH"].clone());
    let attacks = ["echo /srv/tools:/usr/bin > .path", "rm -f .path", "mv .path x", "chmod 666 .path"];
    assert_eq!(of_path(&look(&machine)), "open");
    machine.as_user(&["bash", "-ec", "cd /srv/runner; cp .path x; rm .path; mv x .path"]).ok();
    machine.install(&["--protect-env"]).ok();
    assert_eq!(of_path(&look(&machine)), "closed");
    for attack in attacks {
        machine.as_user(&["bash", "-ec", &format!("cd /srv/runner; {attack}")]).fails();
    }
    machine
        .root_sh("cd /srv/runner; [ $(cat .path) = /usr/bin:/srv/tools ]; echo /srv/tools:/usr/bin > .path");
    assert_eq!(of_path(&look(&machine)), "open");
    for (odd, way) in [
        ("/no/such:/usr/bin", "closed"),
        ("/srv/tools/none:/bin", "open"),
        ("x:/bin", "open"),
        (":/bin", "open"),
    ] {
        machine.root_sh(&format!("echo {odd} > /srv/runner/.path"));
        assert_eq!(of_path(&look(&machine)), way, "{odd}");
    }
    machine.root_sh("echo /usr/bin:/srv/tools > /srv/runner/.path");
    machine.uninstall().ok();
    machine.install(&[]).ok();
    machine.assert_is(&before, "without the protection");
    // A service without one has systemd's; nobody makes one then.
    machine.root_sh("rm /srv/runner/.path");
    assert_eq!(of_path(&look(&machine)), "open");
    machine.install(&["--protect-env"]).ok();
    assert_eq!(of_path(&look(&machine)), "closed");
    // What doctor advises for the programs does not make it a runner of root's.
    machine.root_sh("chown -R root /srv/runner/bin");
    let out = look(&machine);
    assert_eq!(ways(&out).get("runner's programs").map(String::as_str), Some("closed"), "{out}");
    machine.uninstall().ok();
    machine.root_sh("[ ! -e /srv/runner/.path ]");
}

#[test]
fn a_protected_env_is_a_closed_way() {
    let machine = Machine::new();
    machine.install(&[]).ok();
    let of_env = |out: &Output| ways(out)["runner's .env"].clone();
    assert_eq!(of_env(&look(&machine)), "open");
    machine.install(&["--protect-env"]).ok();
    assert_eq!(of_env(&look(&machine)), "closed");
    machine.root(&[BINARY, "doctor", "--hook"]).stdout_contains("closed   runner's .env");
    machine.uninstall().ok();
    machine.root(&[BINARY, "doctor", "--hook"]).code(2).stderr_contains("no hooks are installed");
    machine
        .as_user(&[BINARY, "doctor", "--hook", "--runner-dir", RUNNER])
        .code(2)
        .stderr_contains("sudo awf-bpf doctor");
}
