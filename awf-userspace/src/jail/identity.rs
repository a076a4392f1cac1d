//! As whom CMD runs: chosen by the parent from what is known about the caller, assumed by `__init`, for good.

use std::ffi::OsString;
use std::path::PathBuf;

use rustix::process::{Gid, Uid, getegid, geteuid, getgid, getuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde::{Deserialize, Serialize};

use super::accounts::{Accounts, User, parse_id};
use super::error::JailError;
use super::spec::os_path;

/// `nobody`, and `nogroup` beside it.
const NOBODY: u32 = 65534;

/// Groups whose members are root in all but name: they own disks, or a service that does what it is told as root.
/// Left out, or the sockets that the jail hides could be reached by another path.
const ROOT_EQUIVALENT: [&str; 11] = [
    "docker",
    "podman",
    "lxd",
    "incus",
    "incus-admin",
    "libvirt",
    "libvirt-qemu",
    "microk8s",
    "disk",
    "kmem",
    "shadow",
];

/// CMD's user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups, sorted, without [`Self::gid`].
    pub groups: Vec<u32>,
    /// Inside it is called uid 0 and gid 0, by a user namespace.
    #[serde(default)]
    pub called_root: bool,
    /// For USER and LOGNAME.
    pub name: String,
    /// For HOME.
    #[serde(with = "os_path")]
    pub home: PathBuf,
    /// For SHELL.
    #[serde(with = "os_path")]
    pub shell: PathBuf,
}

/// What is known about whoever started awf-bpf. Filled in by the command line's side: nothing here reads the
/// environment.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The effective uid of awf-bpf.
    pub euid: u32,
    /// `--user`: `USER` or `USER:GROUP`, each a name or an id.
    pub user: Option<String>,
    /// `SUDO_UID`, as found.
    pub sudo_uid: Option<String>,
    /// `SUDO_GID`, as found.
    pub sudo_gid: Option<String>,
    /// The owner of the working directory.
    pub cwd_owner: Option<u32>,
}

/// The choice, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub identity: Identity,
    /// It has no home directory of its own: give it one on a tmpfs, and set [`Identity::home`] to that.
    pub home_on_tmpfs: bool,
    /// One line for the user, when the choice is not the obvious one.
    pub note: Option<String>,
}

/// Why nobody can be chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error(
        "awf-bpf needs root to set up the firewall (uid is {0}): run it with sudo; the command runs as you"
    )]
    NotRoot(u32),
    #[error("--user {0}: root has no other group inside; write --user root")]
    RootsGroup(String),
    #[error("--user {0}: no such user in /etc/passwd (a uid works without an entry)")]
    NoSuchUser(String),
    #[error("--user {0}: no such group in /etc/group (a gid works without an entry)")]
    NoSuchGroup(String),
    #[error("--user {user}: whoever is in the group {group} is as good as root; name another group")]
    RefusedGroup { user: String, group: String },
    #[error("{name}={value:?} is not an id: run awf-bpf by sudo itself, or say --user NAME")]
    BadSudoVariable { name: &'static str, value: String },
}

/// Chooses by `--user`, else who called sudo, else the owner of the working directory, else nobody; never the
/// machine's root: `--user root` is one of the latter, by that name.
///
/// # Errors
/// See [`IdentityError`]; each names its remedy.
pub fn choose(caller: &Caller, accounts: &Accounts) -> Result<Choice, IdentityError> {
    if caller.euid != 0 {
        return Err(IdentityError::NotRoot(caller.euid));
    }
    match &caller.user {
        Some(text) => by_flag(text, caller, accounts),
        None => by_default(caller, accounts),
    }
}

fn by_default(caller: &Caller, accounts: &Accounts) -> Result<Choice, IdentityError> {
    let sudo_uid = sudo_id("SUDO_UID", caller.sudo_uid.as_deref())?;
    let sudo_gid = sudo_id("SUDO_GID", caller.sudo_gid.as_deref())?;
    if let Some(uid) = sudo_uid.filter(|uid| *uid != 0) {
        return Ok(of_uid(uid, sudo_gid, accounts));
    }
    match caller.cwd_owner.filter(|uid| *uid != 0) {
        Some(uid) => {
            let choice = of_uid(uid, None, accounts);
            let line = format!(
                "root without sudo: the command runs as {}, owner of the working directory",
                choice.identity.name
            );
            Ok(with_note(choice, line))
        }
        None => {
            let line = "root without sudo, in a directory of root's: the command runs as nobody (--user NAME \
                changes that)";
            Ok(with_note(of_uid(NOBODY, None, accounts), line.to_owned()))
        }
    }
}

fn by_flag(text: &str, caller: &Caller, accounts: &Accounts) -> Result<Choice, IdentityError> {
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let by_name = accounts.by_name(user).map(|entry| entry.uid);
    let uid = by_name.or_else(|| parse_id(user)).ok_or_else(|| IdentityError::NoSuchUser(text.to_owned()))?;
    let no_group = || IdentityError::NoSuchGroup(text.to_owned());
    let gid = |name: &str| accounts.gid_of(name).or_else(|| parse_id(name)).ok_or_else(no_group);
    let gid = group.map(gid).transpose()?;
    match gid {
        Some(gid) if uid == 0 && gid != 0 => Err(IdentityError::RootsGroup(text.to_owned())),
        _ if uid == 0 => by_default(caller, accounts).map(called_root),
        Some(gid) if !is_harmless(gid, accounts) => {
            let name = accounts.name_of_group(gid).map_or_else(|| gid.to_string(), str::to_owned);
            Err(IdentityError::RefusedGroup { user: text.to_owned(), group: name })
        }
        _ => Ok(of_uid(uid, gid, accounts)),
    }
}

/// The same user with the same files, HOME and groups, by the name of root.
fn called_root(mut choice: Choice) -> Choice {
    let identity = &mut choice.identity;
    let (uid, name) = (identity.uid, std::mem::replace(&mut identity.name, "root".to_owned()));
    identity.called_root = true;
    // What led to that user is said there.
    with_note(
        choice,
        format!("--user root: the command is uid 0 inside, and {name} (uid {uid}) to the machine"),
    )
}

fn sudo_id(name: &'static str, value: Option<&str>) -> Result<Option<u32>, IdentityError> {
    let parse = |value: &str| {
        parse_id(value).ok_or_else(|| IdentityError::BadSudoVariable { name, value: value.to_owned() })
    };
    value.map(parse).transpose()
}

fn of_uid(uid: u32, gid: Option<u32>, accounts: &Accounts) -> Choice {
    let Some(user) = accounts.by_uid(uid) else { return without_entry(uid, gid, accounts) };
    let gid = primary([gid, Some(user.gid)], accounts);
    let identity = Identity {
        uid,
        gid,
        groups: supplementary(user, gid, accounts),
        called_root: false,
        name: user.name.clone(),
        home: user.home.clone(),
        shell: if user.shell.as_os_str().is_empty() { "/bin/sh".into() } else { user.shell.clone() },
    };
    let home_on_tmpfs = uid == NOBODY || !identity.home.is_absolute();
    Choice { identity, home_on_tmpfs, note: None }
}

/// A container's arbitrary uid, or an account that only NSS knows.
fn without_entry(uid: u32, gid: Option<u32>, accounts: &Accounts) -> Choice {
    let identity = Identity::bare(uid, primary([gid, Some(uid)], accounts));
    let note = format!("uid {uid} has no entry in /etc/passwd: no supplementary groups, HOME on a tmpfs");
    Choice { identity, home_on_tmpfs: true, note: Some(note) }
}

fn with_note(mut choice: Choice, line: String) -> Choice {
    choice.note = Some(match choice.note {
        Some(more) => format!("{line}; {more}"),
        None => line,
    });
    choice
}

/// The first that does not amount to root: the group of whoever called sudo may (`newgrp docker`), and even the
/// account's own.
fn primary(candidates: [Option<u32>; 2], accounts: &Accounts) -> u32 {
    let harmless = |gid: &u32| is_harmless(*gid, accounts);
    candidates.into_iter().flatten().find(harmless).unwrap_or(NOBODY)
}

fn is_harmless(gid: u32, accounts: &Accounts) -> bool {
    gid != 0 && accounts.name_of_group(gid).is_none_or(|name| !ROOT_EQUIVALENT.contains(&name))
}

fn supplementary(user: &User, gid: u32, accounts: &Accounts) -> Vec<u32> {
    let wanted = accounts.groups_of(user).filter(|group| !ROOT_EQUIVALENT.contains(&group.name.as_str()));
    let mut gids: Vec<u32> =
        wanted.map(|group| group.gid).filter(|other| *other != gid && *other != 0).collect();
    gids.sort_unstable();
    gids.dedup();
    gids
}

impl Identity {
    /// Ids without an account: no groups, home `/`.
    pub fn bare(uid: u32, gid: u32) -> Self {
        Self {
            uid,
            gid,
            groups: Vec::new(),
            called_root: false,
            name: uid.to_string(),
            home: "/".into(),
            shell: "/bin/sh".into(),
        }
    }

    /// The uid and gid that CMD sees as its own.
    pub fn seen(&self) -> (u32, u32) {
        if self.called_root { (0, 0) } else { (self.uid, self.gid) }
    }

    /// HOME, USER, LOGNAME and SHELL, as login(1) sets them.
    pub fn variables(&self) -> [(OsString, OsString); 4] {
        let name = OsString::from(&self.name);
        [
            ("HOME".into(), self.home.clone().into()),
            ("USER".into(), name.clone()),
            ("LOGNAME".into(), name),
            ("SHELL".into(), self.shell.clone().into()),
        ]
    }
}

/// Becomes `identity`, in all three uids and gids, and makes sure that there is no way back. Who is to be called root
/// has its groups, and is alone in its user namespace, already.
pub(super) fn assume(identity: &Identity) -> Result<(), JailError> {
    if identity.uid == 0 {
        return Err(JailError::Root);
    }
    let (uid, gid) = identity.seen();
    let failed = |call: &'static str| {
        move |e: rustix::io::Errno| JailError::Identity { uid, gid, call, source: e.into() }
    };
    let (to_uid, to_gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    if !identity.called_root {
        let groups: Vec<Gid> = identity.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        set_thread_groups(&groups).map_err(failed("setgroups"))?;
    }
    set_thread_res_gid(to_gid, to_gid, to_gid).map_err(failed("setresgid"))?;
    set_thread_res_uid(to_uid, to_uid, to_uid).map_err(failed("setresuid"))?;
    let is_now = (getuid(), geteuid(), getgid(), getegid()) == (to_uid, to_uid, to_gid, to_gid);
    let other = Uid::from_raw(if identity.called_root { identity.uid } else { 0 });
    if !is_now || set_thread_res_uid(other, other, other).is_ok() {
        return Err(JailError::Regained { uid });
    }
    Ok(())
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
