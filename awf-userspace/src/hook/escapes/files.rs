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
const PROGRAMS: [&str; 6] =
    ["bin/Runner.Listener", "bin/Runner.Worker", "bin/RunnerService.js", "run.sh", "runsvc.sh", "externals"];

pub(super) fn look(account: &Account, dir: &Path) -> Vec<Escape> {
    vec![env(account, dir), programs(account, dir), of_root(account)]
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
