//! Starting other programs: what is shown, as whom they run, where cargo and the workspace are.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    io::{self, Write as _},
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, anyhow, bail};
use xtask::ebpf;

/// Announces a step. All chatter goes to stderr: stdout belongs to what `run` and `test` start.
pub(crate) fn say(what: &str) {
    // A closed stderr is no reason to stop working.
    drop(writeln!(io::stderr(), "==> {what}"));
}

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&manifest).parent().map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// The build directory we were built into ourselves.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let exe = env::current_exe().context("finding our own executable")?;
    let found = ebpf::target_dir_of(&exe);
    Ok(found.map_or_else(|| root().join("target"), Path::to_owned))
}

/// The cargo that started us.
pub(crate) fn cargo_path() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

/// Cargo in the caller's own environment: what the caller built by hand is not built again.
pub(crate) fn cargo() -> Result<Command> {
    let mut cmd = Command::new(cargo_path());
    cmd.current_dir(root()).arg("--color=auto").env("CARGO_TARGET_DIR", target_dir()?);
    forget_cargo_run(&mut cmd);
    Ok(cmd)
}

/// Removes what `cargo run` added to our environment: it describes xtask, and must reach neither another build nor
/// the user's command.
pub(crate) fn forget_cargo_run(cmd: &mut Command) {
    for (name, _) in env::vars_os() {
        let n = name.to_string_lossy();
        if n == "CARGO" || n.starts_with("CARGO_PKG_") || n.starts_with("CARGO_MANIFEST_") {
            cmd.env_remove(&name);
        }
    }
    let Some(libraries) = env::var_os("LD_LIBRARY_PATH") else { return };
    let sysroot = cargo_path().ancestors().nth(2).map(Path::to_owned);
    let target = target_dir().ok();
    let added = |dir: &Path| [&sysroot, &target].into_iter().flatten().any(|own| dir.starts_with(own));
    let kept: Vec<_> = env::split_paths(&libraries).filter(|d| !added(d)).collect();
    match env::join_paths(&kept) {
        Ok(kept) if !kept.is_empty() => cmd.env("LD_LIBRARY_PATH", kept),
        _ => cmd.env_remove("LD_LIBRARY_PATH"),
    };
}

/// As [`forget_cargo_run`], and rustup's part, for the programs we become: `RUSTUP_TOOLCHAIN` would overrule the
/// `rust-toolchain.toml` of the user's own project. One that the caller set (rustup says so) stays.
pub(crate) fn forget_cargo_and_rustup(cmd: &mut Command) {
    forget_cargo_run(cmd);
    if env::var_os("RUSTUP_TOOLCHAIN_SOURCE").is_some_and(|from| from != "env") {
        cmd.env_remove("RUSTUP_TOOLCHAIN");
    }
    cmd.env_remove("RUSTUP_TOOLCHAIN_SOURCE").env_remove("RUST_RECURSION_COUNT");
}

/// Runs `cmd` to its end, its stdout joined to stderr.
pub(crate) fn run(cmd: &mut Command) -> Result<()> {
    run_to(cmd, io::stderr().into())
}

/// Runs `cmd` to its end with our own stdout.
pub(crate) fn run_loud(cmd: &mut Command) -> Result<()> {
    run_to(cmd, Stdio::inherit())
}

fn run_to(cmd: &mut Command, stdout: Stdio) -> Result<()> {
    let status = cmd
        .stdin(Stdio::null())
        .stdout(stdout)
        .status()
        .with_context(|| format!("starting {}", line(cmd)))?;
    if status.success() { Ok(()) } else { bail!("{} failed ({status})", line(cmd)) }
}

/// Whether `cmd` succeeds; what it prints is dropped.
pub(crate) fn succeeds(cmd: &mut Command) -> bool {
    let quiet = cmd.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|s| s.success())
}

/// Becomes `cmd`: its exit code, its signals and its terminal are then nobody else's.
///
/// # Errors
/// Returns only if it cannot be started.
pub(crate) fn become_command(cmd: &mut Command) -> anyhow::Error {
    let why = cmd.exec();
    anyhow!(why).context(format!("starting {}", line(cmd)))
}

/// `cmd` as one types it, for messages.
pub(crate) fn line(cmd: &Command) -> String {
    let words = std::iter::once(cmd.get_program()).chain(cmd.get_args());
    words.map(|w| quoted(&w.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Whether we are root (`/proc/self` belongs to the effective user).
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

/// `program` as root with root's own `PATH`, through sudo if we are not root.
pub(crate) fn as_root(program: &Path) -> Result<Command> {
    if is_root() {
        return Ok(Command::new(program));
    }
    let sudo = which("sudo").with_context(|| {
        format!("{} needs root, and there is no sudo here: run this as root", program.display())
    })?;
    let mut cmd = Command::new(sudo);
    cmd.arg("--").arg(program);
    Ok(cmd)
}

/// `program` as root in our own environment, `PATH` too: the user's command is looked up there, and sudo would put
/// root's in its place. `SUDO_UID` and its kin tell awf-bpf whom to drop to.
pub(crate) fn as_root_in_our_env(program: &Path) -> Result<Command> {
    let mut cmd = as_root(program)?;
    if !is_root() {
        let mut path = OsString::from("PATH=");
        path.push(env::var_os("PATH").unwrap_or_default());
        cmd = Command::new(cmd.get_program());
        cmd.args(["-E", "--", "env"]).arg(path).arg(program);
    }
    Ok(cmd)
}

/// The first executable of that name on our own `PATH`.
pub(crate) fn which(name: &str) -> Option<PathBuf> {
    which_in(name, &env::var_os("PATH")?)
}

/// The first executable of that name on `path`.
pub(crate) fn which_in(name: &str, path: &OsStr) -> Option<PathBuf> {
    let executable = |file: &PathBuf| fs::metadata(file).is_ok_and(|m| m.is_file() && m.mode() & 0o111 != 0);
    env::split_paths(path).map(|dir| dir.join(name)).find(executable)
}

#[cfg(test)]
mod tests {
    use super::{Command, line};

    #[test]
    fn a_command_is_shown_as_one_types_it() {
        let mut cmd = Command::new("python3");
        cmd.args(["-c", "import requests", "", "it's"]);
        assert_eq!(line(&cmd), r"python3 -c 'import requests' '' 'it'\''s'");
    }
}
