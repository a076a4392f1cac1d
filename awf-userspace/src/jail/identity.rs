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
    /// `--user`.
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
    #[error(
        "--user {0}: needs the jail, which this version does not have yet: uid 0 would own the host's files"
    )]
    RootRefused(String),
    #[error("--user {0}: no such user in /etc/passwd (a uid works without an entry)")]
    NoSuchUser(String),
    #[error("{name}={value:?} is not an id: run awf-bpf by sudo itself, or say --user NAME")]
    BadSudoVariable { name: &'static str, value: String },
}

/// Chooses by `--user`, else who called sudo, else the owner of the working directory, else nobody; never root.
///
/// # Errors
/// See [`IdentityError`]; each names its remedy.
pub fn choose(caller: &Caller, accounts: &Accounts) -> Result<Choice, IdentityError> {
    if caller.euid != 0 {
        return Err(IdentityError::NotRoot(caller.euid));
    }
    if let Some(user) = &caller.user {
        return by_flag(user, accounts);
    }
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

fn by_flag(user: &str, accounts: &Accounts) -> Result<Choice, IdentityError> {
    let uid = match accounts.by_name(user) {
        Some(entry) => entry.uid,
        None => parse_id(user).ok_or_else(|| IdentityError::NoSuchUser(user.to_owned()))?,
    };
    if uid == 0 {
        return Err(IdentityError::RootRefused(user.to_owned()));
    }
    Ok(of_uid(uid, None, accounts))
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
    let harmless = |gid: &u32| {
        *gid != 0 && accounts.name_of_group(*gid).is_none_or(|name| !ROOT_EQUIVALENT.contains(&name))
    };
    candidates.into_iter().flatten().find(harmless).unwrap_or(NOBODY)
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
            name: uid.to_string(),
            home: "/".into(),
            shell: "/bin/sh".into(),
        }
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

/// Becomes `identity`, in all three uids and gids, and makes sure that there is no way back.
pub(super) fn assume(identity: &Identity) -> Result<(), JailError> {
    let (uid, gid) = (identity.uid, identity.gid);
    if uid == 0 {
        return Err(JailError::Root);
    }
    let failed = |call: &'static str| {
        move |e: rustix::io::Errno| JailError::Identity { uid, gid, call, source: e.into() }
    };
    let groups: Vec<Gid> = identity.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    let (to_uid, to_gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_thread_groups(&groups).map_err(failed("setgroups"))?;
    set_thread_res_gid(to_gid, to_gid, to_gid).map_err(failed("setresgid"))?;
    set_thread_res_uid(to_uid, to_uid, to_uid).map_err(failed("setresuid"))?;
    let is_now = (getuid(), geteuid(), getgid(), getegid()) == (to_uid, to_uid, to_gid, to_gid);
    if !is_now || set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).is_ok() {
        return Err(JailError::Regained { uid });
    }
    Ok(())
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
