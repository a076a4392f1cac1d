//! Other processes and other ABIs: tracing, descriptors taken, signals, a survivor, 32-bit system calls.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::Vector;
use crate::escape::{open_pidfd, reap};
use crate::outcome::{Attempt, Done, Step, Stop, cvt};
use crate::target::{self, Target, stream_to, tcp_for};

pub(crate) const VECTORS: &[Vector] = &[
    ("ptrace", ptrace),
    ("process_vm", process_vm),
    ("pidfd_getfd", pidfd_getfd),
    ("proc_environ", proc_environ),
    ("kill_outside", kill_outside),
    ("daemon", daemon),
    ("int80", int80),
    ("x32", x32),
    ("setuid", setuid),
];

/// A process outside the sandbox: holds a socket, says by which descriptor, and waits to be killed.
pub(crate) fn bystander() -> ! {
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0)).expect("bind a socket");
    println!("fd={};", socket.as_raw_fd());
    loop {
        // SAFETY: no arguments.
        unsafe { libc::pause() };
    }
}

/// Seizes a process outside, of the same uid: its registers are ours, and so are its sockets.
fn ptrace(t: &Target) -> Attempt {
    let pid: i32 = t.need("pid")?;
    let nothing = std::ptr::null_mut::<u8>();
    // SAFETY: PTRACE_SEIZE takes no pointers.
    cvt(unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, nothing, nothing) }).step("ptrace PTRACE_SEIZE")?;
    // The tracee goes free again when this process ends.
    Ok(Done::Opened(format!("traces process {pid}")))
}

/// Reads a process's memory, where its first mapping is.
fn process_vm(t: &Target) -> Attempt {
    let pid: i32 = t.need("pid")?;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).step("read maps")?;
    let start = maps.split('-').next().and_then(|hex| usize::from_str_radix(hex, 16).ok());
    let start = start.ok_or(Stop::Refused("read maps", io::Error::from_raw_os_error(libc::EPERM)))?;
    let mut bytes = [0_u8; 8];
    let here = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let there = libc::iovec { iov_base: start as *mut libc::c_void, iov_len: bytes.len() };
    // SAFETY: `here` is eight writable bytes of ours; `there` is resolved in the other process.
    cvt(unsafe { libc::process_vm_readv(pid, &raw const here, 1, &raw const there, 1, 0) })
        .step("process_vm_readv")?;
    Ok(Done::Opened(format!("read {bytes:02x?} of process {pid}")))
}

/// Takes descriptor `fd=` of process `pid=`, a socket made outside.
fn pidfd_getfd(t: &Target) -> Attempt {
    let (pid, fd): (i32, RawFd) = (t.need("pid")?, t.need("fd")?);
    let process = open_pidfd(pid).step("pidfd_open")?;
    // SAFETY: plain integers.
    let taken = cvt(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd, 0) })
        .step("pidfd_getfd")?;
    // SAFETY: a descriptor the kernel has just given to us alone.
    crate::pass::use_foreign(t, unsafe {
        OwnedFd::from_raw_fd(RawFd::try_from(taken).expect("a descriptor"))
    })
}

/// The environment of a process outside is where its secrets are.
fn proc_environ(t: &Target) -> Attempt {
    let pid: i32 = t.need("pid")?;
    let read = fs::read(format!("/proc/{pid}/environ")).step("read environ")?;
    Ok(Done::Opened(format!("{} bytes of environment", read.len())))
}

/// Tries to end exactly the process the test names (`pid=parent`: the one that started this; never a group, never
/// process 1), and to have the kernel end
/// it when memory is short; then whether the door is open.
fn kill_outside(t: &Target) -> Attempt {
    // SAFETY: no arguments, cannot fail.
    let parent = || Ok(unsafe { libc::getppid() });
    let pid: i32 = if t.extra("pid") == Some("parent") { parent() } else { t.need("pid") }?;
    if pid <= 1 {
        return Err(Stop::Impossible("a pid above 1 is needed".to_owned()));
    }
    let _ = fs::write(format!("/proc/{pid}/oom_score_adj"), "1000");
    // SAFETY: plain integers; `pid` is positive, so it names one process.
    let killed = cvt(unsafe { libc::kill(pid, libc::SIGKILL) }).step("kill");
    match stream_to(t, &tcp_for(&t.at4())?, t.at4()) {
        Ok(Done::Reached) => Ok(Done::Reached),
        other => killed.map(|_| Done::Opened(format!("killed {pid}, then {other:?}"))),
    }
}

/// Leaves a process behind, in a session of its own, that connects once CMD is gone: the reading end of a pipe
/// tells it, because CMD holds the other one.
fn daemon(t: &Target) -> Attempt {
    let (watch, life) = io::pipe().step("pipe")?;
    // SAFETY: this process has one thread; the child uses nothing that another thread could hold.
    if cvt(unsafe { libc::fork() }).step("fork")? != 0 {
        // Kept open until this process ends, whatever way it ends.
        std::mem::forget(life);
        return Ok(Done::Opened("a survivor".to_owned()));
    }
    drop(life);
    // SAFETY: no arguments.
    unsafe { libc::setsid() };
    // SAFETY: as above.
    if unsafe { libc::fork() } != 0 {
        // SAFETY: ends the intermediate process.
        unsafe { libc::_exit(0) }
    }
    let _ = io::Read::read(&mut &watch, &mut [0_u8; 1]);
    for to in [t.at4(), t.at6()] {
        let _ = tcp_for(&to).and_then(|socket| stream_to(t, &socket, to));
        let _ = target::udp_for(&to).and_then(|socket| target::datagram_to(t, &socket, to));
    }
    // SAFETY: ends the survivor.
    unsafe { libc::_exit(0) }
}

/// Runs `program=`, which is somebody else's and has the setuid bit: it says who it is.
fn setuid(t: &Target) -> Attempt {
    let program: String = t.need("program")?;
    let out = std::process::Command::new(program).arg("whoami").output().step("execve")?;
    let became: u32 =
        String::from_utf8_lossy(&out.stdout).trim().parse().map_err(|_| Stop::Closed("execve"))?;
    // SAFETY: no arguments, cannot fail.
    if became == unsafe { libc::geteuid() } {
        return Err(Stop::Refused("setuid", io::Error::from_raw_os_error(libc::EPERM)));
    }
    Ok(Done::Opened(format!("uid {became} by a setuid program")))
}

/// Runs `attempt` in a child: a filter may answer it with SIGSYS, and the probe has to live to tell.
fn in_a_child(attempt: impl Fn() -> i32) -> Attempt<i32> {
    // SAFETY: this process has one thread.
    let child = cvt(unsafe { libc::fork() }).step("fork")?;
    if child == 0 {
        let code = attempt();
        // SAFETY: ends the child.
        unsafe { libc::_exit(code) }
    }
    Ok(reap(child))
}

/// What a child killed by a signal comes to; see [`reap`].
const KILLED: i32 = 255;

/// socket, connect and write by the 32-bit entry: a filter written for x86-64 numbers sees other calls.
#[cfg(target_arch = "x86_64")]
fn int80(t: &Target) -> Attempt {
    use std::arch::asm;
    const CONNECT: usize = 362;
    const SOCKET: usize = 359;
    const WRITE: usize = 4;

    fn call(number: usize, a: usize, b: usize, c: usize) -> isize {
        let result: isize;
        // SAFETY: the 32-bit entry reads eax, ebx, ecx and edx and may clear r8 to r11; rbx is put back because
        // the compiler reserves it. Pointers given lie below 4 GiB.
        unsafe {
            asm!(
                "xchg rbx, {a}", "int 0x80", "xchg rbx, {a}", a = inout(reg) a => _,
                inlateout("rax") number => result, in("rcx") b, in("rdx") c,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            );
        }
        isize::try_from(result as i32).expect("32 bits fit")
    }

    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT);
    // SAFETY: a fresh anonymous page below 4 GiB.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error()).step("mmap MAP_32BIT");
    }
    let (address, body) = (target::sockaddr_bytes(t.at4()), t.payload());
    let (name, text) = (page as usize, page as usize + 64);
    // SAFETY: the page is ours, writable, and larger than both.
    unsafe {
        std::ptr::copy_nonoverlapping(address.as_ptr(), name as *mut u8, address.len());
        std::ptr::copy_nonoverlapping(body.as_ptr(), text as *mut u8, body.len());
    }
    let code = in_a_child(|| {
        let fd = call(SOCKET, 2, 1, 0);
        if fd < 0 {
            return i32::try_from(-fd).unwrap_or(1);
        }
        let fd = fd.cast_unsigned();
        let connected = call(CONNECT, fd, name, address.len());
        if connected < 0 {
            return i32::try_from(-connected).unwrap_or(1);
        }
        i32::from(call(WRITE, fd, text, body.len()) < 0)
    })?;
    match code {
        0 => Ok(Done::Sent("by int 0x80".to_owned())),
        KILLED => {
            Err(Stop::Refused("int 0x80: killed by a signal", io::Error::from_raw_os_error(libc::EPERM)))
        }
        errno => Err(io::Error::from_raw_os_error(errno)).step("int 0x80"),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn int80(_: &Target) -> Attempt {
    Err(Stop::Impossible("int 0x80 is of x86-64".to_owned()))
}

/// socket(2) by the x32 numbers, which differ from the x86-64 ones by one bit.
fn x32(_: &Target) -> Attempt {
    const X32_BIT: libc::c_long = 0x4000_0000;
    let code = in_a_child(|| {
        // SAFETY: plain integers.
        let fd = unsafe { libc::syscall(X32_BIT | libc::SYS_socket, libc::AF_INET, libc::SOCK_STREAM, 0) };
        if fd < 0 { io::Error::last_os_error().raw_os_error().unwrap_or(1) } else { 0 }
    })?;
    match code {
        0 => Ok(Done::Opened("a socket by the x32 ABI".to_owned())),
        KILLED => Err(Stop::Refused("x32: killed by a signal", io::Error::from_raw_os_error(libc::EPERM))),
        errno => Err(io::Error::from_raw_os_error(errno)).step("x32 socket"),
    }
}
