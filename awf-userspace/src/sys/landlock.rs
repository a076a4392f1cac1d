//! Landlock, as far as one domain with few rules needs it (`Documentation/userspace-api/landlock.rst`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// `struct landlock_ruleset_attr` of ABI 6.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct RulesetAttr {
    pub handled_access_fs: u64,
    pub handled_access_net: u64,
    pub scoped: u64,
}

/// `struct landlock_path_beneath_attr` (packed in the kernel's header).
#[repr(C, packed)]
struct PathBeneathAttr {
    allowed_access: u64,
    parent_fd: i32,
}

const CREATE_RULESET_VERSION: libc::c_ulong = 1;
const RULE_PATH_BENEATH: libc::c_ulong = 1;
/// Size of the attribute in ABI 1 to 3, which know only the first field.
const ATTR_SIZE_FS_ONLY: usize = size_of::<u64>();

/// The kernel's Landlock ABI version.
///
/// # Errors
/// `ENOSYS` when not built in, `EOPNOTSUPP` when disabled at boot.
pub fn abi() -> io::Result<u32> {
    // SAFETY: with the version flag the kernel takes no memory: NULL and 0 are what it demands.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0, CREATE_RULESET_VERSION)
    };
    u32::try_from(version).map_err(|_| io::Error::last_os_error())
}

/// Creates a ruleset. `scoped` needs ABI 6; without it only the first field is sent.
pub fn create_ruleset(attr: &RulesetAttr) -> io::Result<OwnedFd> {
    let size = if attr.scoped == 0 { ATTR_SIZE_FS_ONLY } else { size_of::<RulesetAttr>() };
    // SAFETY: `attr` is a live repr(C) struct of at least `size` bytes, only read by the kernel.
    let fd = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, attr as *const RulesetAttr, size, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that the kernel just gave to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Allows `access` beneath `parent`.
pub fn allow_beneath(ruleset: BorrowedFd<'_>, parent: BorrowedFd<'_>, access: u64) -> io::Result<()> {
    let attr = PathBeneathAttr { allowed_access: access, parent_fd: parent.as_raw_fd() };
    // SAFETY: `attr` is alive and has the layout of rule type PATH_BENEATH; both descriptors are open.
    let done = unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), RULE_PATH_BENEATH, &raw const attr, 0)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Puts the calling thread, and all it starts, into the domain. Needs no_new_privs.
pub fn restrict_self(ruleset: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes a descriptor and flags, no memory.
    let done = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
