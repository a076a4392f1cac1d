//! Which system calls the filter refuses, and why. `ptrace` is not among them: debuggers work, and the Landlock
//! domain keeps them inside.

/// System calls refused with EPERM for one reason.
pub(super) struct Group {
    #[cfg_attr(not(test), expect(dead_code, reason = "for the reader, and for the test that prints it"))]
    pub(super) why: &'static str,
    pub(super) calls: &'static [i64],
}

/// `open_tree_attr(2)` of Linux 6.15, the same number on every architecture; not in libc yet.
const SYS_OPEN_TREE_ATTR: i64 = 467;

/// Answered with ENOSYS, as by a kernel that is older.
pub(super) const ABSENT: &[i64] = &[
    // Flags behind a pointer, which a filter cannot read.
    libc::SYS_clone3,
    // A ring makes sockets without the socket system call.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// Answered with EPERM.
pub(super) const REFUSED: &[Group] = &[
    Group { why: "enters other namespaces", calls: &[libc::SYS_setns] },
    Group {
        why: "changes what is mounted where",
        calls: &[
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
            libc::SYS_open_tree,
            SYS_OPEN_TREE_ATTR,
            libc::SYS_move_mount,
            libc::SYS_fsopen,
            libc::SYS_fsconfig,
            libc::SYS_fsmount,
            libc::SYS_fspick,
            libc::SYS_mount_setattr,
        ],
    },
    Group { why: "could undo the enforcement", calls: &[libc::SYS_bpf, libc::SYS_perf_event_open] },
    Group {
        why: "asks helpers outside, as root, to resolve names",
        calls: &[libc::SYS_add_key, libc::SYS_request_key, libc::SYS_keyctl],
    },
    Group {
        why: "takes descriptors or memory of other processes",
        calls: &[libc::SYS_pidfd_getfd, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev],
    },
    Group { why: "opens files that no path leads to", calls: &[libc::SYS_open_by_handle_at] },
    Group { why: "reads the kernel's log", calls: &[libc::SYS_syslog] },
    Group { why: "helps to exploit the kernel", calls: &[libc::SYS_userfaultfd] },
    Group {
        why: "replaces or administers the kernel",
        calls: &[
            libc::SYS_kexec_load,
            #[cfg(not(all(target_env = "musl", target_arch = "aarch64")))]
            libc::SYS_kexec_file_load,
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_delete_module,
            libc::SYS_reboot,
            libc::SYS_swapon,
            libc::SYS_swapoff,
            libc::SYS_acct,
            libc::SYS_quotactl,
            libc::SYS_quotactl_fd,
            #[cfg(target_arch = "x86_64")]
            libc::SYS_iopl,
            #[cfg(target_arch = "x86_64")]
            libc::SYS_ioperm,
        ],
    },
];

/// Every namespace a process can make for itself. A user namespace would give all capabilities inside it, and with
/// them raw sockets and mounts.
pub(super) const NAMESPACE_FLAGS: &[u64] = &[
    libc::CLONE_NEWNS as u64,
    libc::CLONE_NEWCGROUP as u64,
    libc::CLONE_NEWUTS as u64,
    libc::CLONE_NEWIPC as u64,
    libc::CLONE_NEWUSER as u64,
    libc::CLONE_NEWPID as u64,
    libc::CLONE_NEWNET as u64,
    libc::CLONE_NEWTIME as u64,
];

/// ioctls that type into the terminal CMD shares with the caller's shell.
#[allow(clippy::unnecessary_cast, reason = "musl's requests are int")]
pub(super) const TERMINAL_INJECTION: &[u64] = &[libc::TIOCSTI as u64, libc::TIOCLINUX as u64];

/// ioctl by which a terminal, CMD's own too, gets another line discipline: the kernel loads the module of any that is
/// asked for, and several have been ways to become root (CVE-2017-2636, CVE-2023-6546).
#[allow(clippy::unnecessary_cast, reason = "musl's requests are int")]
pub(super) const LINE_DISCIPLINE: &[u64] = &[libc::TIOCSETD as u64];

/// Socket options by which the kernel itself sends: a report of the joined group (IGMP, MLD), whose address can
/// carry 14 bytes of the command's to everyone on the link. No cgroup hook sees a packet that has no socket. For the
/// host's network only: in a namespace with nothing but `lo` there is nobody to report to. Level, option
/// (include/uapi/linux/in.h, in6.h).
pub(super) const MULTICAST: &[(u64, u64)] = &[
    (IP, 35),   // IP_ADD_MEMBERSHIP
    (IP, 36),   // IP_DROP_MEMBERSHIP
    (IP, 37),   // IP_UNBLOCK_SOURCE
    (IP, 38),   // IP_BLOCK_SOURCE
    (IP, 39),   // IP_ADD_SOURCE_MEMBERSHIP
    (IP, 40),   // IP_DROP_SOURCE_MEMBERSHIP
    (IP, 41),   // IP_MSFILTER
    (IP, 42),   // MCAST_JOIN_GROUP
    (IP, 43),   // MCAST_BLOCK_SOURCE
    (IP, 44),   // MCAST_UNBLOCK_SOURCE
    (IP, 46),   // MCAST_JOIN_SOURCE_GROUP
    (IP, 48),   // MCAST_MSFILTER
    (IPV6, 20), // IPV6_ADD_MEMBERSHIP
    (IPV6, 27), // IPV6_JOIN_ANYCAST
    (IPV6, 42),
    (IPV6, 43),
    (IPV6, 44),
    (IPV6, 46),
    (IPV6, 48),
];

const IP: u64 = libc::IPPROTO_IP as u64;
const IPV6: u64 = libc::IPPROTO_IPV6 as u64;
