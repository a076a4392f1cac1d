//! Anonymous namespaces: made by a thread, held by a descriptor, gone with the process.

use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    thread,
};

use rustix::{
    mount::{MountPropagationFlags, mount_change},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};

/// A network namespace, with a mount namespace of its own if it is a machine's.
#[derive(Debug)]
pub struct Namespace {
    net: OwnedFd,
    mnt: Option<OwnedFd>,
}

impl Namespace {
    /// An empty network namespace; the mounts stay the process's.
    #[must_use]
    pub fn network() -> Self {
        in_thread(|| {
            unshare(UnshareFlags::NEWNET);
            Self { net: own_namespace("net"), mnt: None }
        })
    }

    /// An empty network namespace plus a copy of the mount table, whose changes stay inside.
    #[must_use]
    pub fn machine() -> Self {
        in_thread(|| {
            unshare(UnshareFlags::NEWNET | UnshareFlags::NEWNS);
            mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
                .expect("make every mount of the lab's mount namespace a slave");
            Self { net: own_namespace("net"), mnt: Some(own_namespace("mnt")) }
        })
    }

    /// Runs `f` on a thread inside; what it spawns (processes, threads) stays inside, what it opens belongs here.
    pub fn within<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        in_thread(|| {
            self.enter();
            f()
        })
    }

    /// Moves the calling thread inside, for good.
    pub fn enter(&self) {
        if let Some(mnt) = &self.mnt {
            // A thread that shares its cwd with others may not change mount namespace (setns(2)).
            unshare(UnshareFlags::FS);
            set_ns(mnt.as_fd(), LinkNameSpaceType::Mount);
        }
        set_ns(self.net.as_fd(), LinkNameSpaceType::Network);
    }

    /// A path any process of this machine can open while `self` lives.
    #[must_use]
    pub fn net_path(&self) -> PathBuf {
        use std::os::fd::AsRawFd;
        format!("/proc/{}/fd/{}", std::process::id(), self.net.as_raw_fd()).into()
    }
}

impl AsFd for Namespace {
    /// The network namespace.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.net.as_fd()
    }
}

fn unshare(flags: UnshareFlags) {
    // SAFETY: FILES is never among the flags, so no thread loses sight of another's descriptors.
    unsafe { unshare_unsafe(flags) }
        .unwrap_or_else(|e| panic!("unshare {flags:?}: {e} (the end-to-end tests need root)"));
}

fn set_ns(fd: BorrowedFd<'_>, kind: LinkNameSpaceType) {
    move_into_link_name_space(fd, Some(kind)).expect("setns into a namespace of the lab");
}

fn own_namespace(kind: &str) -> OwnedFd {
    File::open(format!("/proc/thread-self/ns/{kind}")).expect("open this thread's own namespace").into()
}

fn in_thread<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| match scope.spawn(f).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
