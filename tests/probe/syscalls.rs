//! System calls a command has no business with: each is made with arguments that change nothing.

use std::ffi::c_long;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr;

use crate::Vector;
use crate::outcome::{Attempt, Done, Step, Stop, cvt};
use crate::target::Target;

pub(crate) const VECTORS: &[Vector] = &[
    ("sys_bpf", bpf),
    ("sys_perf_event_open", perf_event_open),
    ("sys_add_key", add_key),
    ("sys_request_key", request_key),
    ("sys_keyctl", keyctl),
    ("sys_userfaultfd", userfaultfd),
    ("sys_open_by_handle_at", open_by_handle_at),
    ("sys_fsopen", fsopen),
    ("sys_chroot", chroot),
    ("sys_init_module", init_module),
    ("sys_kexec_load", kexec_load),
    ("ioctl_tiocsti", tiocsti),
    ("ioctl_tioclinux", tioclinux),
    ("write_core_pattern", |_| may_write("/proc/sys/kernel/core_pattern")),
    ("write_etc", |_| may_write("/etc/passwd")),
    ("write_later", |_| may_write_any(&LATER)),
    ("write_disk", write_disk),
];

/// A descriptor that came back is closed at once and counts as a door opened.
fn descriptor(name: &'static str, result: c_long) -> Attempt {
    let fd = cvt(result).step(name)?;
    // SAFETY: a descriptor the kernel has just given to us alone.
    drop(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).expect("a descriptor")) });
    Ok(Done::Opened(name.to_owned()))
}

/// A call that must fail because of its arguments shows by *how* it fails whether it was let through.
fn reached_kernel(name: &'static str, result: c_long, let_through: &[i32]) -> Attempt {
    match cvt(result) {
        Ok(_) => Ok(Done::Opened(name.to_owned())),
        Err(error) if error.raw_os_error().is_some_and(|errno| let_through.contains(&errno)) => {
            Ok(Done::Opened(format!("{name}: {error}")))
        }
        Err(error) => Err(error).step(name),
    }
}

/// BPF_MAP_CREATE of an array with one element.
fn bpf(_: &Target) -> Attempt {
    let attributes: [u32; 18] = [2, 4, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // SAFETY: 72 readable bytes, as said.
    descriptor("bpf", unsafe {
        libc::syscall(libc::SYS_bpf, 0, attributes.as_ptr(), size_of_val(&attributes))
    })
}

/// A software clock of this process: `struct perf_event_attr`, version 0.
fn perf_event_open(_: &Target) -> Attempt {
    let attributes: [u64; 8] = [1 | (64 << 32), 0, 0, 0, 0, 1 << 5, 0, 0];
    // SAFETY: 64 readable bytes, the size the structure itself names.
    descriptor("perf_event_open", unsafe {
        libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), 0, -1, -1, 0)
    })
}

const PROCESS_KEYRING: i32 = -2;

fn add_key(_: &Target) -> Attempt {
    // SAFETY: C strings and a one-byte payload; the keyring dies with this process.
    let key = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            c"probe".as_ptr(),
            c"x".as_ptr(),
            1,
            PROCESS_KEYRING,
        )
    };
    reached_kernel("add_key", key, &[])
}

/// Without callout information the kernel starts no helper: it only looks.
fn request_key(_: &Target) -> Attempt {
    // SAFETY: C strings; a null callout.
    let key = unsafe {
        libc::syscall(libc::SYS_request_key, c"user".as_ptr(), c"probe-none".as_ptr(), ptr::null::<u8>(), 0)
    };
    reached_kernel("request_key", key, &[libc::ENOKEY])
}

/// KEYCTL_GET_KEYRING_ID of the process keyring, without making one.
fn keyctl(_: &Target) -> Attempt {
    // SAFETY: plain integers.
    let key = unsafe { libc::syscall(libc::SYS_keyctl, 0, PROCESS_KEYRING, 0) };
    reached_kernel("keyctl", key, &[libc::ENOKEY])
}

fn userfaultfd(_: &Target) -> Attempt {
    const UFFD_USER_MODE_ONLY: i32 = 1;
    // SAFETY: plain integers.
    descriptor("userfaultfd", unsafe {
        libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | UFFD_USER_MODE_ONLY)
    })
}

/// Opens the root directory by its handle: with handles, every file of a file system is in reach.
fn open_by_handle_at(_: &Target) -> Attempt {
    // `struct file_handle`: bytes, type, then up to MAX_HANDLE_SZ (128).
    let mut handle = [0_u32; 34];
    handle[0] = 128;
    let mut mount = 0_i32;
    // SAFETY: a handle with room for 128 bytes, and an int.
    cvt(unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            libc::AT_FDCWD,
            c"/".as_ptr(),
            handle.as_mut_ptr(),
            &raw mut mount,
            0,
        )
    })
    .step("name_to_handle_at")?;
    let root = std::fs::File::open("/").step("open /")?;
    // SAFETY: the handle just made, a live descriptor.
    descriptor("open_by_handle_at", unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            std::os::fd::AsRawFd::as_raw_fd(&root),
            handle.as_ptr(),
            libc::O_PATH | libc::O_CLOEXEC,
        )
    })
}

fn fsopen(_: &Target) -> Attempt {
    // SAFETY: a C string; nothing is mounted by it.
    descriptor("fsopen", unsafe { libc::syscall(libc::SYS_fsopen, c"tmpfs".as_ptr(), 1) })
}

fn chroot(_: &Target) -> Attempt {
    // SAFETY: a C string; to where this process already is.
    reached_kernel("chroot", unsafe { libc::syscall(libc::SYS_chroot, c"/".as_ptr()) }, &[])
}

/// An empty image: the kernel refuses its format after it has granted the call.
fn init_module(_: &Target) -> Attempt {
    // SAFETY: no bytes are read from a null pointer of length 0.
    let result = unsafe { libc::syscall(libc::SYS_init_module, ptr::null::<u8>(), 0, c"".as_ptr()) };
    reached_kernel("init_module", result, &[libc::ENOEXEC, libc::EFAULT, libc::EINVAL])
}

/// Flags that do not exist.
fn kexec_load(_: &Target) -> Attempt {
    // SAFETY: no segments, so nothing is read.
    let result = unsafe { libc::syscall(libc::SYS_kexec_load, 0, 0, ptr::null::<u8>(), 0xffff_usize) };
    reached_kernel("kexec_load", result, &[libc::EINVAL])
}

/// A terminal of the probe's own: the slave end of a fresh pair.
fn own_terminal() -> Attempt<(OwnedFd, OwnedFd)> {
    let (mut master, mut slave) = (-1, -1);
    // SAFETY: two ints to write; the optional arguments are null.
    cvt(unsafe { libc::openpty(&raw mut master, &raw mut slave, ptr::null_mut(), ptr::null(), ptr::null()) })
        .step("openpty")?;
    // SAFETY: descriptors the call has just given to us alone.
    Ok(unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) })
}

/// Types a character into its own terminal, as it would into the one it was started from.
fn tiocsti(_: &Target) -> Attempt {
    let (_master, slave) = own_terminal()?;
    let character = b'x';
    // SAFETY: one readable byte.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            std::os::fd::AsRawFd::as_raw_fd(&slave),
            libc::TIOCSTI,
            &raw const character,
        )
    };
    reached_kernel("ioctl TIOCSTI", result, &[libc::EIO])
}

/// On a terminal that is no console the kernel does not know the request: ENOTTY means that it was asked.
fn tioclinux(_: &Target) -> Attempt {
    let (_master, slave) = own_terminal()?;
    let subcode = 6_u8;
    // SAFETY: one readable byte.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            std::os::fd::AsRawFd::as_raw_fd(&slave),
            libc::TIOCLINUX,
            &raw const subcode,
        )
    };
    reached_kernel("ioctl TIOCLINUX", result, &[libc::ENOTTY, libc::EINVAL])
}

/// What somebody else runs later, outside.
const LATER: [&str; 6] = [
    "/etc/ld.so.preload",
    "/etc/cron.d",
    "/etc/profile.d",
    "/etc/systemd/system",
    "/var/spool/cron",
    "/usr/bin",
];

fn may_write_any(paths: &[&'static str]) -> Attempt {
    let mut last = Err(Stop::Impossible("none of the paths is there".to_owned()));
    for path in paths {
        match may_write(path) {
            Ok(done) => return Ok(done),
            Err(Stop::Impossible(_)) => {}
            refused => last = refused,
        }
    }
    last
}

/// Every block device the kernel names.
fn write_disk(_: &Target) -> Attempt {
    let names = std::fs::read_dir("/sys/block").step("list /sys/block")?;
    let paths = names.filter_map(Result::ok).map(|name| format!("/dev/{}", name.file_name().display()));
    let mut last = Err(Stop::Impossible("no block device in view".to_owned()));
    for path in paths {
        match may_write(&path) {
            Ok(done) => return Ok(done),
            Err(Stop::Impossible(_)) => {}
            refused => last = refused,
        }
    }
    last
}

/// Asks, and does not write: a file by which the machine could be taken over must not be writable.
fn may_write(path: &str) -> Attempt {
    let name = std::ffi::CString::new(path).expect("no NUL");
    // SAFETY: a C string that outlives the call.
    let result = unsafe { libc::faccessat(libc::AT_FDCWD, name.as_ptr(), libc::W_OK, libc::AT_EACCESS) };
    match cvt(result) {
        Ok(_) => Ok(Done::Opened(format!("may write {path}"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Stop::Impossible(format!("no {path}"))),
        Err(error) => Err(Stop::Refused("faccessat", error)),
    }
}
