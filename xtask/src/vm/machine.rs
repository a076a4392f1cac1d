//! qemu: started, listened to, and ended in time whatever the machine inside does.

use std::{
    fmt, fs,
    io::{BufRead as _, BufReader, Read, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};

use super::{initramfs, job, kernel, kernel::Kernel};
use crate::cmd;

/// How long a machine may take until it has its root: seconds with KVM, ten times that without.
const BOOT_KVM: Duration = Duration::from_secs(45);
const BOOT_TCG: Duration = Duration::from_secs(300);
const MEMORY_MIB: u32 = 4096;

/// What executes the machine's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accelerator {
    Kvm,
    /// qemu itself, ten times slower.
    Tcg,
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Kvm { "KVM" } else { "emulation (TCG)" })
    }
}

/// What to boot and what to do in it.
#[derive(Debug)]
pub(super) struct Plan<'p> {
    pub(super) kernel: &'p Kernel,
    pub(super) jobs: &'p str,
    pub(super) limit: Duration,
    pub(super) cache: &'p Path,
}

/// How a machine ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The jobs ran: 0 or the exit code of the last that failed.
    Ended(i32),
    NeverUp(String),
}

/// What to try, in this order. A KVM that opens may still not boot (a hypervisor that only runs guests of its kind).
pub(super) fn accelerators() -> &'static [Accelerator] {
    let kvm = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    if kvm { &[Accelerator::Kvm, Accelerator::Tcg] } else { &[Accelerator::Tcg] }
}

/// Boots the machine, shows what it writes, and ends it.
///
/// # Errors
/// When it cannot be started, or was up and then died or outlived its limit.
pub(super) fn run(plan: &Plan<'_>, accelerator: Accelerator) -> Result<Outcome> {
    let token = token();
    let script = job::variables(&token, plan.kernel)? + plan.jobs;
    let archive = initramfs::build(plan.kernel, &kernel::busybox(plan.cache)?, &script)?;
    let dir = plan.cache.join(&plan.kernel.version);
    fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    let initrd = dir.join("initramfs.cpio");
    fs::write(&initrd, archive).with_context(|| format!("writing {}", initrd.display()))?;
    let console = dir.join("console.log");
    let mut qemu = qemu(plan, accelerator, &initrd, &console);
    let mut machine = Machine::start(&mut qemu)?;
    let boot = if accelerator == Accelerator::Kvm { BOOT_KVM } else { BOOT_TCG };
    if let Err(why) = machine.wait_for(&token, "up", boot) {
        let last = last_line(&console);
        return Ok(Outcome::NeverUp(format!(
            "{why}; its last words: {last} (all of them: {})",
            console.display()
        )));
    }
    let code = machine
        .wait_for(&token, "exit", plan.limit)
        .with_context(|| format!("the kernel's words are in {}", console.display()))?;
    let code = code.trim().parse().context("the machine's exit code is no number")?;
    Ok(Outcome::Ended(code))
}

/// A word that no output of a test has.
fn token() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    format!("@awf-vm-{}-{now}", std::process::id())
}

fn qemu(plan: &Plan<'_>, accelerator: Accelerator, initrd: &Path, console: &Path) -> Command {
    // The machine ends with us, even if we are killed before we could end it; timeout(1) passes the signal on.
    let mut cmd = Command::new("setpriv");
    cmd.args(["--pdeathsig", "TERM", "timeout"]);
    let limit = plan.limit + BOOT_TCG + Duration::from_secs(60);
    cmd.args(["--foreground", "--kill-after=5"]).arg(limit.as_secs().to_string()).arg("qemu-system-x86_64");
    match accelerator {
        Accelerator::Kvm => cmd.args(["-accel", "kvm", "-cpu", "host"]),
        Accelerator::Tcg => cmd.args(["-accel", "tcg", "-cpu", "max"]),
    };
    let cpus = thread::available_parallelism().map_or(1, |n| n.get().min(4));
    cmd.args(["-M", "q35", "-nodefaults", "-display", "none", "-no-reboot", "-nic", "none"])
        .args(["-m", &MEMORY_MIB.to_string(), "-smp", &cpus.to_string()])
        .arg("-kernel")
        .arg(&plan.kernel.image)
        .arg("-initrd")
        .arg(initrd)
        .args(["-append", "console=ttyS0 panic=-1 loglevel=5"])
        .args(["-serial", &format!("file:{}", console.display()), "-serial", "stdio"])
        .args(["-fsdev", "local,id=host,path=/,readonly=on,security_model=none,multidevs=remap"])
        .args(["-device", "virtio-9p-pci,fsdev=host,mount_tag=host"]);
    cmd
}

fn last_line(console: &PathBuf) -> String {
    let text = fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("none").trim().to_owned()
}

/// A running qemu and the lines it writes. Dropped, it is killed.
struct Machine {
    child: Child,
    lines: Receiver<Vec<u8>>,
}

impl Machine {
    fn start(qemu: &mut Command) -> Result<Self> {
        qemu.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = qemu.spawn().with_context(|| format!("starting {}", cmd::line(qemu)))?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let (sender, lines) = mpsc::channel();
        // Ends with the machine: its end of the pipe is closed then.
        thread::spawn(move || pass_on(stdout, &|line| sender.send(line).is_ok()));
        Ok(Self { child, lines })
    }

    /// Shows every line until the machine says `word`, and returns the rest of that line.
    fn wait_for(&mut self, token: &str, word: &str, limit: Duration) -> Result<String> {
        let end = Instant::now() + limit;
        let wanted = format!("{token} {word}");
        let mut stdout = std::io::stdout();
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let text = String::from_utf8_lossy(&line);
                    // What a test wrote without an end of line may stand before it.
                    if let Some((_, rest)) = text.split_once(&wanted) {
                        return Ok(rest.to_owned());
                    }
                    // A closed stdout is no reason to stop.
                    drop(stdout.write_all(&line));
                }
                Err(RecvTimeoutError::Timeout) => bail!("not {word} within {} s", limit.as_secs()),
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("qemu ended ({}) before it was {word}", self.child.wait()?)
                }
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // SIGTERM first, which timeout(1) passes on; SIGKILL to it alone would leave qemu running.
        let pid = self.child.id().to_string();
        cmd::succeeds(Command::new("kill").arg(pid));
        drop(self.child.wait());
    }
}

fn pass_on(from: impl Read, take: &dyn Fn(Vec<u8>) -> bool) {
    let mut from = BufReader::new(from);
    loop {
        let mut line = Vec::new();
        match from.read_until(b'\n', &mut line) {
            Ok(1..) if take(line) => {}
            _ => return,
        }
    }
}
