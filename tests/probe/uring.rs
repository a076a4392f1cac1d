//! io_uring by raw system calls: sockets made, connected and written without socket(2), connect(2) or send(2).

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use socket2::Socket;

use crate::Vector;
use crate::outcome::{Attempt, Done, Step, Stop, cvt};
use crate::target::{self, DEADLINE, Target, sockaddr_bytes};

pub(crate) const VECTORS: &[Vector] = &[
    ("uring_connect4", |t| connect(t, t.at4(), false)),
    ("uring_connect6", |t| connect(t, t.at6(), false)),
    ("uring_socket4", |t| connect(t, t.at4(), true)),
    ("uring_socket6", |t| connect(t, t.at6(), true)),
    ("uring_sendmsg", sendmsg),
    ("uring_send_to", send_to),
    ("uring_raw_socket", raw_socket),
];

// Opcodes of `enum io_uring_op` (include/uapi/linux/io_uring.h).
const OP_SENDMSG: u8 = 9;
const OP_CONNECT: u8 = 16;
const OP_SEND: u8 = 26;
const OP_SOCKET: u8 = 45;

const ENTRIES: u32 = 4;
const OFF_SQES: libc::off_t = 0x1000_0000;
const FEAT_SINGLE_MMAP: u32 = 1;

/// `struct io_sqring_offsets` and `struct io_cqring_offsets`, ten words each, in `struct io_uring_params`.
#[repr(C)]
#[derive(Default)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    sq_thread_cpu: u32,
    sq_thread_idle: u32,
    features: u32,
    wq_fd: u32,
    resv: [u32; 3],
    sq_off: [u32; 10],
    cq_off: [u32; 10],
}

/// `struct io_uring_sqe`, with the fields these operations use.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Entry {
    opcode: u8,
    flags: u8,
    ioprio: u16,
    fd: i32,
    offset: u64,
    addr: u64,
    len: u32,
    op_flags: u32,
    user_data: u64,
    rest: [u16; 2],
    splice: i32,
    pad: [u64; 2],
}
const _: () = assert!(size_of::<Params>() == 120 && size_of::<Entry>() == 64);

/// One ring, one operation at a time.
struct Ring {
    fd: OwnedFd,
    params: Params,
    rings: *mut u8,
    entries: *mut Entry,
}

impl Ring {
    fn new() -> Attempt<Self> {
        let mut params = Params::default();
        // SAFETY: `params` is a valid io_uring_params of 120 bytes.
        let fd = cvt(unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, &raw mut params) })
            .step("io_uring_setup")?;
        // SAFETY: a descriptor the kernel has just given to us alone.
        let fd = unsafe { OwnedFd::from_raw_fd(RawFd::try_from(fd).expect("a descriptor")) };
        if params.features & FEAT_SINGLE_MMAP == 0 {
            return Err(Stop::Impossible("io_uring without IORING_FEAT_SINGLE_MMAP".to_owned()));
        }
        let rings = map(&fd, 4096, 0).step("mmap ring")?;
        let entries = map(&fd, 4096, OFF_SQES).step("mmap entries")?.cast();
        Ok(Self { fd, params, rings, entries })
    }

    fn word(&self, offset: u32) -> &AtomicU32 {
        // SAFETY: the kernel's offsets lie inside the mapped ring page and are aligned to four bytes.
        unsafe { &*self.rings.add(offset as usize).cast::<AtomicU32>() }
    }

    /// Submits one entry and waits for its completion: the operation's result.
    fn run(&self, entry: Entry) -> io::Result<i32> {
        let (sq, cq) = (&self.params.sq_off, &self.params.cq_off);
        let tail = self.word(sq[1]);
        let slot = tail.load(Ordering::Relaxed) & self.word(sq[2]).load(Ordering::Relaxed);
        // SAFETY: `slot` is masked to the number of entries, and the kernel reads it only after the tail moves.
        unsafe { self.entries.add(slot as usize).write(entry) };
        self.word(sq[6] + 4 * slot).store(slot, Ordering::Relaxed);
        tail.fetch_add(1, Ordering::Release);
        // SAFETY: plain integers; IORING_ENTER_GETEVENTS is 1, no signal mask.
        cvt(unsafe {
            libc::syscall(libc::SYS_io_uring_enter, self.fd.as_raw_fd(), 1, 1, 1, ptr::null::<u8>(), 0)
        })?;
        let head = self.word(cq[0]);
        let seen = head.load(Ordering::Relaxed);
        if seen == self.word(cq[1]).load(Ordering::Acquire) {
            return Err(io::Error::from_raw_os_error(libc::EAGAIN));
        }
        // `struct io_uring_cqe` is 16 bytes with the result at offset 8.
        let at = cq[5] + 16 * (seen & self.word(cq[2]).load(Ordering::Relaxed)) + 8;
        let result = self.word(at).load(Ordering::Relaxed).cast_signed();
        head.fetch_add(1, Ordering::Release);
        if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result) }
    }

    fn socket(&self, family: i32, kind: i32, protocol: i32) -> Attempt<Socket> {
        let entry = Entry {
            opcode: OP_SOCKET,
            fd: family,
            offset: u64::from(kind.cast_unsigned()),
            len: protocol.cast_unsigned(),
            ..Entry::default()
        };
        let fd = self.run(entry).step("IORING_OP_SOCKET")?;
        // SAFETY: a descriptor the kernel has just given to us alone.
        let socket = Socket::from(unsafe { OwnedFd::from_raw_fd(fd) });
        socket.set_read_timeout(Some(DEADLINE)).step("setsockopt")?;
        Ok(socket)
    }
}

fn map(fd: &OwnedFd, length: usize, offset: libc::off_t) -> io::Result<*mut u8> {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_POPULATE);
    // SAFETY: a fresh shared mapping of the ring's descriptor; kept until the process ends.
    let at = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, fd.as_raw_fd(), offset) };
    if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(at.cast()) }
}

fn connect(t: &Target, to: SocketAddr, by_ring: bool) -> Attempt {
    let ring = Ring::new()?;
    let family = target::family_of(&to);
    let socket = if by_ring { ring.socket(family, libc::SOCK_STREAM, 0)? } else { target::tcp_for(&to)? };
    let (address, body) = (sockaddr_bytes(to), t.payload());
    let mut entry = Entry { opcode: OP_CONNECT, fd: socket.as_raw_fd(), ..Entry::default() };
    (entry.addr, entry.offset) = (address.as_ptr() as u64, address.len() as u64);
    ring.run(entry).step("IORING_OP_CONNECT")?;
    ring.run(send_entry(&socket, &body)).step("IORING_OP_SEND")?;
    target::hear(&socket)
}

fn send_entry(socket: &Socket, body: &[u8]) -> Entry {
    Entry {
        opcode: OP_SEND,
        fd: socket.as_raw_fd(),
        addr: body.as_ptr() as u64,
        len: u32::try_from(body.len()).expect("short"),
        ..Entry::default()
    }
}

fn sendmsg(t: &Target) -> Attempt {
    let ring = Ring::new()?;
    let socket = target::udp_for(&t.at4())?;
    let (address, body) = (sockaddr_bytes(t.at4()), t.payload());
    let mut part = libc::iovec { iov_base: body.as_ptr().cast_mut().cast(), iov_len: body.len() };
    // SAFETY: all-zero is a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = address.as_ptr().cast_mut().cast();
    message.msg_namelen = libc::socklen_t::try_from(address.len()).expect("at most 28");
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    let entry = Entry {
        opcode: OP_SENDMSG,
        fd: socket.as_raw_fd(),
        addr: &raw const message as u64,
        len: 1,
        ..Entry::default()
    };
    ring.run(entry).step("IORING_OP_SENDMSG")?;
    Ok(Done::Sent("by IORING_OP_SENDMSG".to_owned()))
}

/// IORING_OP_SEND with a destination (kernel 6.0): `addr2` and `addr_len` of the entry.
fn send_to(t: &Target) -> Attempt {
    let ring = Ring::new()?;
    let socket = target::udp_for(&t.at6())?;
    let (address, body) = (sockaddr_bytes(t.at6()), t.payload());
    let mut entry = send_entry(&socket, &body);
    entry.offset = address.as_ptr() as u64;
    // `addr_len` is the low half of the word that `splice_fd_in` shares.
    entry.splice = i32::try_from(address.len()).expect("at most 28");
    ring.run(entry).step("IORING_OP_SEND")?;
    Ok(Done::Sent("by IORING_OP_SEND with an address".to_owned()))
}

/// The families and types a filter on socket(2) refuses, by IORING_OP_SOCKET.
fn raw_socket(_: &Target) -> Attempt {
    let ring = Ring::new()?;
    let wanted = [
        (libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_UDPLITE),
        (libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_RAW),
        (libc::AF_VSOCK, libc::SOCK_STREAM, 0),
        (libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_GENERIC),
    ];
    let mut last = Err(Stop::Impossible("nothing tried".to_owned()));
    let mut opened = Vec::new();
    for (family, kind, protocol) in wanted {
        match ring.socket(family, kind, protocol) {
            Ok(_) => opened.push((family, kind, protocol)),
            Err(stop) => last = Err(stop),
        }
    }
    if opened.is_empty() { last } else { Ok(Done::Opened(format!("sockets {opened:?}"))) }
}
