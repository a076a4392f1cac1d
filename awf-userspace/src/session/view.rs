//! What the command is to see of this machine's files, from the plan and what is known of its user.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    SessionError,
    mount_point::{MountPoint, User},
    unix,
};
use crate::{
    config::{Chroot, SessionPlan},
    jail::{
        Identity,
        accounts::Accounts,
        hide,
        rootfs::{Facts, Home, Own, RootfsPlan, Trust, UserMount, Wanted},
        survey,
    },
};

const RESOLV_CONF: &str = "/etc/resolv.conf";
const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// Whom the root is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct For<'a> {
    pub(super) identity: &'a Identity,
    pub(super) accounts: &'a Accounts,
    pub(super) home_on_tmpfs: bool,
    /// Where awf-bpf was started.
    pub(super) here: &'a Path,
    /// Where the record goes, if that was said.
    pub(super) audit: Option<&'a Path>,
    /// What `--allow-unix` was found to lead to.
    pub(super) allowed: &'a [PathBuf],
    /// Other unix sockets that processes outside serve.
    pub(super) sockets: &'a [PathBuf],
    /// The run's CA, if something is intercepted.
    pub(super) trust: &'a Trust,
    /// What decides whom the next run trusts.
    pub(super) trusted: &'a [PathBuf],
}

/// The root to build, and what of the host's HOME it needs for as long as it lasts.
#[derive(Debug)]
pub(super) struct View {
    pub(super) root: RootfsPlan,
    pub(super) mount_point: Option<MountPoint>,
}

/// The root to build, or none with `--chroot off`.
///
/// # Errors
/// What is wrong with the mounts, all of it; or the mount table cannot be read.
pub(super) fn root(plan: &SessionPlan, of: For<'_>) -> Result<Option<View>, SessionError> {
    if plan.jail.chroot == Chroot::Off {
        return Ok(None);
    }
    let wanted = wanted(plan, of)?;
    let look = || survey::look(&wanted).map_err(SessionError::MountTable);
    let mut facts = look()?;
    let mount_point = mount_point(&wanted, &facts);
    if mount_point.as_ref().is_some_and(|point| point.is_new) {
        facts = look()?;
    }
    unix::check_same(&wanted.unix, of.allowed, |path| facts.entries.get(path).cloned())?;
    let root = RootfsPlan::new(&wanted, &facts).map_err(SessionError::Mounts)?;
    root.notes.iter().for_each(|note| log::info!("{note}"));
    let unseen = unseen(&root, plan.env.path());
    if !unseen.is_empty() {
        log::info!("the command does not see {} of PATH (--mount shows it)", unseen.join(", "));
    }
    Ok(Some(View { root, mount_point }))
}

/// The directory in HOME that the user's own file of the run's CA lies over. Without it most of what the command runs
/// trusts the CA all the same.
fn mount_point(wanted: &Wanted, facts: &Facts) -> Option<MountPoint> {
    let own = wanted.trust.own.as_ref()?;
    let home = wanted.own_home(facts)?;
    let made = MountPoint::new(&home, &own.dir, User { uid: wanted.uid, gid: wanted.gid });
    let warn = |e: &String| log::warn!("{e}: Chromium does not trust the run's CA (docs/trust.md)");
    made.inspect_err(warn).ok()
}

/// Directories of `path` that are there and not inside.
fn unseen(root: &RootfsPlan, path: &OsStr) -> Vec<String> {
    let real = |dir: &PathBuf| fs::canonicalize(dir).ok().filter(|dir| dir.is_dir());
    let hidden = |dir: &PathBuf| real(dir).is_some_and(|dir| root.inside(&dir).is_empty());
    std::env::split_paths(path).filter(hidden).map(|dir| dir.display().to_string()).collect()
}

fn wanted(plan: &SessionPlan, of: For<'_>) -> Result<Wanted, SessionError> {
    let home = of.identity.home.clone();
    let mut workspaces = plan.jail.workspaces.clone();
    workspaces.push(of.here.into());
    let mount = |mount: &crate::config::Mount| UserMount {
        source: mount.source.clone(),
        target: mount.target.clone(),
        writable: mount.writable,
    };
    Ok(Wanted {
        home: if of.home_on_tmpfs { Home::Memory(home) } else { Home::Host(home) },
        uid: of.identity.uid,
        gid: of.identity.gid,
        workspaces,
        own: Own { writable: plan.jail.own.clone(), read_only: plan.jail.own_caches.clone() },
        tool_caches: plan.jail.tool_caches.clone(),
        config_dirs: plan.jail.config_dirs.clone(),
        secrets: secrets(plan, of),
        keep: keep(plan, of.here).chain(of.trusted.iter().cloned()).collect(),
        mounts: plan.jail.mounts.iter().map(mount).collect(),
        unix: plan.jail.unix.clone(),
        allow_write: plan.jail.allow_write.clone(),
        share_tmp: plan.jail.share_tmp,
        etc: etc(of).map_err(SessionError::Accounts)?,
        sockets: of.sockets.into(),
        trust: of.trust.clone(),
    })
}

/// What the caller's environment names, the record, and the usual places of services: a terminal multiplexer that starts
/// later has its socket in the shared /tmp.
fn secrets(plan: &SessionPlan, of: For<'_>) -> Vec<PathBuf> {
    let named = plan.jail.secrets.iter().map(|path| of.here.join(path));
    named.chain(of.audit.map(Into::into)).chain(hide::services(of.identity.uid)).collect()
}

/// What is run outside while the command runs, and later: we ourselves, as root the next time, and what that run is made
/// of; what a runner says; and in its temporary directory the scripts of its steps, which a shell reads as it goes.
fn keep(plan: &SessionPlan, here: &Path) -> impl Iterator<Item = PathBuf> {
    let own = std::env::current_exe().into_iter();
    let mut all: Vec<PathBuf> =
        own.chain(plan.jail.keep.iter().cloned()).chain(decisive(plan, here)).collect();
    let entries = plan.jail.temp.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_dir()));
    all.extend(files.map(|entry| entry.path()));
    all.into_iter()
}

/// What the next run is made of.
pub(super) fn decisive<'a>(plan: &'a SessionPlan, here: &'a Path) -> impl Iterator<Item = PathBuf> + 'a {
    plan.jail.decisive.iter().map(|path| here.join(path))
}

/// Files of /etc that are different inside.
fn etc(of: For<'_>) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let resolv_conf = fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    let mut files = vec![(RESOLV_CONF.into(), resolver(&resolv_conf).into_bytes())];
    let user = of.identity;
    let (uid, gid) = user.seen();
    if of.accounts.by_uid(uid).is_none_or(|known| known.home != user.home) {
        let text = without_uid(&fs::read_to_string(PASSWD)?, uid);
        let (home, shell) = (user.home.display(), user.shell.display());
        let line = format!("{}:x:{uid}:{gid}::{home}:{shell}\n", user.name);
        files.push((PASSWD.into(), (line + &text).into_bytes()));
    }
    if of.accounts.name_of_group(gid).is_none() {
        let line = format!("{}:x:{gid}:\n", user.name);
        files.push((GROUP.into(), (line + &fs::read_to_string(GROUP)?).into_bytes()));
    }
    Ok(files)
}

/// The stub, whatever server is asked: this one is there. How names are completed stays the host's affair.
fn resolver(host: &str) -> String {
    let kept = host.lines().filter(|line| {
        let word = line.split_ascii_whitespace().next();
        matches!(word, Some("search" | "domain" | "options"))
    });
    kept.fold("nameserver 127.0.0.1\n".to_owned(), |text, line| text + line + "\n")
}

fn without_uid(passwd: &str, uid: u32) -> String {
    let uid = uid.to_string();
    let others = passwd.lines().filter(|line| line.split(':').nth(2) != Some(&uid));
    others.fold(String::new(), |text, line| text + line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resolver_is_the_stub_and_the_rest_stays() {
        let host = "# by resolved\nnameserver 198.51.100.53\nsearch corp.test\noptions ndots:2\nsortlist x\n";
        assert_eq!(resolver(host), "nameserver 127.0.0.1\nsearch corp.test\noptions ndots:2\n");
    }

    #[test]
    fn an_entry_is_taken_out_by_its_uid() {
        let passwd = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/false\n";
        assert_eq!(without_uid(passwd, 65534), "root:x:0:0::/root:/bin/sh\n");
        assert_eq!(without_uid(passwd, 5), passwd);
    }
}
