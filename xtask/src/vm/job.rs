//! What runs inside: the test programs, built here as `cargo test` builds them, and the shell script that starts them.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::{kernel::Kernel, machine::Accelerator};
use crate::{build, cmd};

/// What a kernel decides, when nothing else is asked for: a name of a program, and parts of names of its tests.
const SELECTION: [(&str, &[&str]); 3] = [
    ("awf_userspace", &["bpf::", "cgroup::", "jail::", "netns::", "session::", "sys::"]),
    (
        "e2e",
        &[
            "attach::",
            "files::",
            "founding::",
            "hidden::",
            "hook::",
            "lifecycle::",
            "limits::",
            "secrets::",
            "terminal::",
            "userland::",
        ],
    ),
    ("attacks", &[]),
];

/// The same where the processor is emulated and a run of awf-bpf takes seconds: of each layer and of each path into the
/// kernel some attacks, and of the rest what a kernel has a say in. (Without enforcement, `families` and `inet_types` have
/// the kernel look for a module a thousand times.)
const SELECTION_EMULATED: [(&str, &[&str]); 3] = [
    ("awf_userspace", &["bpf::", "cgroup::", "jail::", "netns::", "session::", "sys::"]),
    (
        "e2e",
        &[
            "attach::death::a_dead_daemon",
            "attach::death::who_takes",
            "attach::live::",
            "attach::nested::",
            "attach::policy::",
            "attach::reuse::",
            "attach::sockets::",
            "attach::targets::a_cgroup_as_a_whole",
            "files::",
            "founding::ipv6",
            "hidden::",
            "hook::attacks::a_dead_daemon",
            "hook::attacks::a_step_cannot_leave",
            "hook::job::steps_reach",
            "lifecycle::a_killed_run",
            "lifecycle::a_run_leaves",
            "lifecycle::sigkill_while",
            "limits::",
            "policy::a_raw_protocol_passes_by_name",
            "secrets::",
            "terminal::attacks::nothing_can_be_typed",
            "terminal::ends::a_terminal_that_is_gone",
            "terminal::jobs::ctrl_z",
            "terminal::jobs::each_key",
            "terminal::programs::bash",
            "terminal::programs::sizes_follow",
            "terminal::programs::the_command_has",
            "terminal::streams::tty_gives",
            "userland::a_jvm_sees_its_memory_limit",
            "userland::children_can_be_traced",
            "userland::programs_find_themselves",
        ],
    ),
    (
        "attacks",
        &[
            "breakout::",
            "foreign::families::host_network",
            "foreign::families::isolated",
            "foreign::packet_raw::",
            "foreign::unix::scm_rights::",
            "foreign::vsock::",
            "hooks::dccp::",
            "hooks::device_bound4::",
            "hooks::inet_types::host_network",
            "hooks::inet_types::isolated",
            "hooks::listen4::",
            "hooks::mptcp4::",
            "hooks::ping4::",
            "hooks::raw6::",
            "hooks::rthdr6_cmsg::",
            "hooks::sctp_stream::",
            "hooks::srcroute4_sockopt_udp::",
            "hooks::tcp4_fastopen_msg::",
            "hooks::tcp6::",
            "hooks::tcp_mapped::",
            "hooks::tcp_reconnect::",
            "hooks::udp4_sendto::",
            "hooks::udp6_sendmmsg::",
            "hooks::udp_mapped_sendto::",
            "hooks::udp_unspec::",
            "hooks::udplite4_sendto::",
            "hooks::uring_connect4::",
            "hooks::uring_socket6::",
            "jail::cgroup_clone3::",
            "jail::cgroup_leave::",
            "jail::int80::",
            "jail::pidfd_getfd::",
            "jail::setns_pidfd::",
            "jail::unshare_user_net::",
            "names::dns_udp6::",
            "names::port_reuse::",
            "names::sni_forged4::",
        ],
    ),
];

/// How much longer everything may take.
const PATIENCE_EMULATED: u32 = 30;

/// One test program and where cargo would run it.
#[derive(Debug)]
struct Program {
    name: &'static str,
    file: PathBuf,
    directory: PathBuf,
}

/// What was built.
#[derive(Debug)]
pub(super) struct Programs {
    awf_bpf: PathBuf,
    tests: Vec<Program>,
    /// What the tests start beside awf-bpf, by paths that are compiled into them.
    helpers: Vec<PathBuf>,
}

/// Builds awf-bpf and the tests, for development: what is tried is the kernel.
///
/// # Errors
/// When cargo fails.
pub(super) fn build() -> Result<Programs> {
    let awf_bpf = awf_bpf()?;
    let unit = test_programs(&["--package", "awf-userspace", "--lib"])?;
    let end_to_end = test_programs(&["--package", "awf-tests", "--test", "e2e", "--test", "attacks"])?;
    let find = |(name, directory): (&'static str, &str)| {
        let is = |file: &&PathBuf| {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy();
            stem.rsplit_once('-').is_some_and(|(begin, _)| begin == name)
        };
        let file =
            unit.iter().chain(&end_to_end).find(is).with_context(|| format!("cargo built no {name}"))?;
        Ok(Program { name, file: file.clone(), directory: cmd::root().join(directory) })
    };
    let wanted = [("awf_userspace", "awf-userspace"), ("e2e", "tests"), ("attacks", "tests")];
    let debug = cmd::target_dir()?.join("debug");
    let helpers = ["load", "probe"].map(|name| debug.join(name)).to_vec();
    Ok(Programs { awf_bpf, tests: wanted.into_iter().map(find).collect::<Result<_>>()?, helpers })
}

/// The one that `AWF_BPF_BIN` names, or a debug build.
fn awf_bpf() -> Result<PathBuf> {
    if let Some(given) = env::var_os(build::BIN_VAR) {
        let shown = || format!("{}={}", build::BIN_VAR, given.display());
        return Path::new(&given).canonicalize().with_context(shown);
    }
    cmd::run(cmd::cargo()?.args(["build", "--locked", "--package", "awf-userspace"]))?;
    Ok(cmd::target_dir()?.join("debug/awf-bpf"))
}

/// The test programs that cargo builds for `args`.
fn test_programs(args: &[&str]) -> Result<Vec<PathBuf>> {
    let mut cargo = cmd::cargo()?;
    cargo.args(["test", "--locked", "--no-run", "--message-format=json-render-diagnostics"]).args(args);
    let out = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let out = out.with_context(|| format!("starting {}", cmd::line(&cargo)))?;
    if !out.status.success() {
        bail!("{} failed ({})", cmd::line(&cargo), out.status);
    }
    Ok(String::from_utf8_lossy(&out.stdout).lines().filter_map(test_program).map(PathBuf::from).collect())
}

/// The file of a test program in one of cargo's messages (one JSON object a line, keys as cargo writes them).
fn test_program(message: &str) -> Option<&str> {
    let is_test = message.contains(r#""test":true},"#) && message.contains(r#""reason":"compiler-artifact""#);
    let (_, rest) = message.split_once(r#""executable":""#).filter(|_| is_test)?;
    rest.split_once('"').map(|(file, _)| file)
}

impl Programs {
    /// Copies everything into `dir`, so that a build meanwhile does not change what a machine runs, and returns the lines
    /// by which the machine's script puts each copy in its place.
    ///
    /// # Errors
    /// Names the file that could not be copied.
    pub(super) fn copy_to(&self, dir: &Path) -> Result<String> {
        fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        let tests = self.tests.iter().map(|program| &program.file);
        let mut script = String::from("copies() {\n");
        for (nth, file) in tests.chain([&self.awf_bpf]).chain(&self.helpers).enumerate() {
            let copy = dir.join(nth.to_string());
            fs::copy(file, &copy).with_context(|| format!("copying {}", file.display()))?;
            let mut mount = Command::new("mount");
            mount.arg("--bind").args([&copy, file]);
            let mut place = Command::new("place");
            place.arg(file);
            writeln!(script, "    {} && {}", cmd::line(&place), cmd::line(&mount))
                .expect("write to a String");
        }
        Ok(script + "}\n")
    }

    /// The functions that the machine's script calls; `filters` as typed, none for the selection.
    pub(super) fn jobs(&self, filters: &[String], accelerator: Accelerator) -> String {
        let emulated = accelerator == Accelerator::Tcg;
        let mut script = String::new();
        let patience = if emulated { PATIENCE_EMULATED } else { 2 };
        let selection = if emulated { &SELECTION_EMULATED } else { &SELECTION };
        let mut line =
            |words: Command| writeln!(script, "    {}", cmd::line(&words)).expect("write to a String");
        let mut export = Command::new("export");
        export.arg(format!("AWF_BPF_BIN={}", self.awf_bpf.display()));
        export.arg(format!("AWF_TEST_PATIENCE={patience}"));
        // The machine has all of cgroup v2: what needs it is shown here or fails.
        export.arg("AWF_TEST_CGROUP2=1");
        line(export);
        for program in &self.tests {
            let mut run = Command::new("run");
            run.arg(program.name).arg(&program.directory).arg(&program.file);
            match selection.iter().find(|(name, _)| filters.is_empty() && *name == program.name) {
                Some((_, selected)) => run.args(*selected),
                None => run.args(filters),
            };
            line(run);
        }
        format!("jobs_to_do() {{\n{script}}}\n")
    }
}

/// The variables that the machine's script reads.
pub(super) fn variables(token: &str, kernel: &Kernel) -> Result<String> {
    let (root, target) = (cmd::root(), cmd::target_dir()?);
    let mut directories = vec![quoted(&root)];
    if !target.starts_with(&root) {
        directories.push(quoted(&target));
    }
    Ok(format!(
        "token={token}\nmodules={}\ndirectories=({})\n",
        quoted(&kernel.modules),
        directories.join(" ")
    ))
}

fn quoted(path: &Path) -> String {
    cmd::line(&Command::new(path))
}

#[cfg(test)]
mod tests {
    use super::{Accelerator, Path, Program, Programs, test_program};

    #[test]
    fn the_file_is_read_from_cargos_message() {
        let message = |test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"name":"e2e","test":true}},"profile":{{"overflow_checks":true,"test":{test}}},"features":[],"executable":"/t/e2e-1f","fresh":true}}"#
            )
        };
        assert_eq!(test_program(&message(true)), Some("/t/e2e-1f"));
        assert_eq!(test_program(r#"{"reason":"build-finished","success":true}"#), None);
    }

    #[test]
    fn filters_replace_the_selection() {
        let tests = vec![Program { name: "e2e", file: "/t/e2e-1f".into(), directory: "/a b".into() }];
        let programs = Programs { awf_bpf: Path::new("/t/awf-bpf").into(), tests, helpers: Vec::new() };
        let jobs = programs.jobs(&["lab::".into()], Accelerator::Tcg);
        assert!(jobs.contains("\n    run e2e '/a b' /t/e2e-1f lab::\n"), "{jobs}");
        let jobs = programs.jobs(&[], Accelerator::Kvm);
        assert!(
            jobs.contains("run e2e '/a b' /t/e2e-1f attach:: files:: founding:: hidden:: hook:: "),
            "{jobs}"
        );
        let jobs = programs.jobs(&[], Accelerator::Tcg);
        assert!(jobs.contains("AWF_TEST_PATIENCE=30") && jobs.contains(" founding::ipv6 "), "{jobs}");
    }
}
