//! Files that decide whether the next job is behind the firewall: who can write them is rid of it then.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::Escape;
use crate::hook::{
    account::{Account, has_acl},
    install::{POLICY, plan},
};

/// What runs outside of every job, or begins it.
const PROGRAMS: [&str; 11] = [
    "bin",
    "bin/Runner.Listener",
    "bin/Runner.Listener.dll",
    "bin/Runner.Worker",
    "bin/Runner.Worker.dll",
    "bin/RunnerService.js",
    "run.sh",
    "run-helper.sh",
    "runsvc.sh",
    "env.sh",
    "externals",
];
/// Where the directories are that a service's PATH has (`runsvc.sh`).
const SEARCHED: &str = ".path";
const SEARCHED_MAX: u64 = 64 * 1024;

pub(super) fn look(account: &Account, dir: &Path) -> Vec<Escape> {
    vec![env(account, dir), searched(account, dir), programs(account, dir), of_root(account)]
}

fn env(account: &Account, dir: &Path) -> Escape {
    const NAME: &str = "runner's .env";
    let path = dir.join(".env");
    // Who can write a directory, and owns it or finds it without the sticky bit, renames what is in it.
    let ways = [(&path, fs::symlink_metadata(&path))];
    let mut open: Vec<_> = ways
        .iter()
        .filter(|(path, meta)| may(account, path, meta))
        .map(|(path, _)| (*path).clone())
        .collect();
    open.extend(dir.ancestors().filter(|above| replaceable(account, above)).map(Path::to_owned));
    let remedy = "awf-bpf hook install --protect-env, in a directory whose parents are root's";
    judge(NAME, &open, "a job can take the hooks out of it for the next one", remedy)
}

/// The runner looks for the shell that runs its hooks in its PATH.
fn searched(account: &Account, dir: &Path) -> Escape {
    const NAME: &str = "runner's PATH";
    let remedy = "awf-bpf hook install --protect-env; directories that only root writes first in DIR/.path";
    let path = dir.join(SEARCHED);
    let meta = fs::symlink_metadata(&path);
    let mut open = Vec::new();
    if meta.is_err() && account.may_write_dir(dir) || may(account, &path, &meta) {
        open.push(path.clone());
    }
    let text = match read(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        Err(e) => return Escape::unknown(NAME, format!("{}: {e}", path.display()), remedy),
    };
    for one in text.trim_end().split(':').filter(|_| !text.is_empty()) {
        let one = Path::new(one);
        // One that does not begin at the root is the workspace's. What cannot be looked at may be made by somebody.
        if !one.is_absolute() || account.may_replace(one) {
            open.push(one.to_owned());
        }
        if one.join("bash").exists() {
            break;
        }
    }
    judge(
        NAME,
        &open,
        "a job can put another shell before the one that runs the hooks of the next one",
        remedy,
    )
}

fn read(path: &Path) -> io::Result<String> {
    use std::{io::Read as _, os::unix::fs::OpenOptionsExt as _};
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = fs::File::options().read(true).custom_flags(flags).open(path)?;
    let mut bytes = Vec::new();
    file.take(SEARCHED_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether the user can rename or remove what is in `dir` and root's.
fn replaceable(account: &Account, dir: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(meta) = fs::symlink_metadata(dir) else { return true };
    let sticky = meta.mode() & 0o1000 != 0 && meta.uid() != account.uid;
    !sticky && account.may_write(&meta, has_acl(dir))
}

fn may(account: &Account, path: &Path, meta: &io::Result<fs::Metadata>) -> bool {
    meta.as_ref().is_ok_and(|meta| account.may_write(meta, has_acl(path)))
}

fn programs(account: &Account, dir: &Path) -> Escape {
    let open: Vec<PathBuf> = PROGRAMS
        .iter()
        .map(|name| dir.join(name))
        .filter(|path| may(account, path, &fs::metadata(path)))
        .collect();
    let remedy = "give bin, externals and the scripts to root (config.sh --disableupdate), or make the runner --ephemeral on a \
        machine that is thrown away after each job";
    judge("runner's programs", &open, "a job can change what begins the next one", remedy)
}

fn of_root(account: &Account) -> Escape {
    let paths = plan::hooks().into_iter().chain([POLICY]).map(Path::new).filter(|path| path.exists());
    let open: Vec<PathBuf> =
        paths.filter_map(|path| account.writable_on_the_way(path).ok().flatten()).collect();
    judge(
        "policy and hooks",
        &open,
        "a job can change them",
        "chown -R root:root /etc/awf-bpf; chmod -R go-w /etc/awf-bpf",
    )
}

fn judge(name: &'static str, open: &[PathBuf], what: &str, remedy: &str) -> Escape {
    if open.is_empty() {
        return Escape::closed(name, "root's alone to write");
    }
    let shown: Vec<_> = open.iter().map(|path| path.display().to_string()).collect();
    Escape::open(name, format!("{what}: {} can be written", shown.join(", ")), remedy)
}
