//! `--user root`: a user namespace in which CMD's user is called uid 0, and in which there is nobody else. To the host
//! it stays that user: what it makes is that user's, a setuid file included, and of `/etc` and `/proc/sys` nothing is
//! its own.
//!
//! The namespace is made by root, so that neither `kernel.unprivileged_userns_clone` nor AppArmor is in the way, and
//! root owns it: no process of the user's, outside, has a right over it. It is mapped before anybody enters, and what
//! the kernel made of the map is read back.

use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{Gid, Pid, WaitOptions, waitpid};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, set_thread_groups};

use super::error::JailError;
use super::identity::Identity;
use super::privileges;
use crate::sys::fork::{Fork, end, fork};
use crate::sys::namespace;

/// Makes the namespace of `identity`, if it is to be called root. The caller has one thread and a `/proc` of its pid
/// namespace, and can be traced by itself (`PR_SET_DUMPABLE`).
pub(super) fn make(identity: &Identity) -> Result<Option<OwnedFd>, JailError> {
    if !identity.called_root {
        return Ok(None);
    }
    if identity.uid == 0 || identity.gid == 0 {
        return Err(JailError::Root);
    }
    held_by_a_child(identity).map(Some)
}

/// A namespace needs somebody in it to be mapped: a child, which ends when its end of `hold` does.
fn held_by_a_child(identity: &Identity) -> Result<OwnedFd, JailError> {
    let fails = failed("fork a process for it");
    let (told, tell) = io::pipe().map_err(fails)?;
    let (held, hold) = io::pipe().map_err(fails)?;
    match fork().map_err(fails)? {
        Fork::Child => {
            drop((told, hold));
            serve(tell, held)
        }
        Fork::Parent(child) => {
            drop((tell, held));
            let mapped = map(child, told, identity);
            drop(hold);
            waitpid(Some(child), WaitOptions::empty()).map_err(|e| fails(e.into()))?;
            mapped
        }
    }
}

/// Makes the namespace, tells the errno or 0, and is there until it is no longer needed.
fn serve(mut tell: PipeWriter, mut held: PipeReader) -> ! {
    let made = namespace::unshare(UnshareFlags::NEWUSER);
    let errno = made.map_or_else(|e| e.raw_os_error().unwrap_or(libc::EIO), |()| 0);
    // Nobody there: the end of the other pipe says so, too.
    let _ = tell.write_all(&errno.to_ne_bytes());
    drop(tell);
    let _ = held.read(&mut [0]);
    end()
}

fn map(child: Pid, mut told: PipeReader, identity: &Identity) -> Result<OwnedFd, JailError> {
    let mut errno = [0; 4];
    told.read_exact(&mut errno).map_err(failed("hear of it"))?;
    match i32::from_ne_bytes(errno) {
        0 => {}
        errno => return Err(failed("unshare(CLONE_NEWUSER)")(io::Error::from_raw_os_error(errno))),
    }
    let of_child = |name: &str| format!("/proc/{}/{name}", child.as_raw_nonzero());
    let write = |name: &'static str, text: &str| fs::write(of_child(name), text).map_err(failed(name));
    write("setgroups", "deny")?;
    write("gid_map", &format!("0 {} 1", identity.gid))?;
    write("uid_map", &format!("0 {} 1", identity.uid))?;
    Ok(File::open(of_child("ns/user")).map_err(failed("open it"))?.into())
}

/// Enters the namespace, with the groups of `identity`, which nobody can change inside. Entering gives every
/// capability in it, a full bounding set and fresh securebits (`set_cred_user_ns` of kernel/user_namespace.c): the
/// latter two are taken away again at once, the capabilities by [`privileges::drop_capabilities`] after the change of
/// uid.
pub(super) fn enter(namespace: OwnedFd, identity: &Identity) -> Result<(), JailError> {
    let groups: Vec<Gid> = identity.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    set_thread_groups(&groups).map_err(|e| failed("setgroups")(e.into()))?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::User))
        .map_err(|e| failed("setns")(e.into()))?;
    let read = |path: &'static str| fs::read_to_string(path).map_err(failed(path));
    let maps = (read("/proc/self/uid_map")?, read("/proc/self/gid_map")?);
    let as_meant = is_map(&maps.0, identity.uid) && is_map(&maps.1, identity.gid);
    if !as_meant || read("/proc/self/setgroups")?.trim_end() != "deny" {
        return Err(JailError::UserNamespaceMap);
    }
    privileges::empty_bounding_set()?;
    privileges::lock_securebits()
}

/// Whether id 0 is `id` outside, and nothing else is anything.
fn is_map(text: &str, id: u32) -> bool {
    text.split_ascii_whitespace().eq(["0", &id.to_string(), "1"])
}

fn failed(step: &'static str) -> impl Fn(io::Error) -> JailError + Copy {
    move |source| JailError::UserNamespace { step, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_one_line_of_one_id() {
        assert!(is_map("         0       1000          1\n", 1000));
        for other in ["", "0 0 1\n", "0 1000 2\n", "1 1000 1\n", "0 1000 1\n1 1001 1\n"] {
            assert!(!is_map(other, 1000), "{other:?}");
        }
    }

    #[test]
    fn the_machines_root_is_never_mapped() {
        for (uid, gid) in [(0, 4242), (4242, 0)] {
            let identity = Identity { called_root: true, ..Identity::bare(uid, gid) };
            assert!(matches!(make(&identity), Err(JailError::Root)));
        }
    }
}
