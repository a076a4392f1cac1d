//! The filter as the kernel applies it to real processes.

use crate::support::python;

const PRELUDE: &str = "import ctypes, errno, os, socket, sys, threading\n\
    libc = ctypes.CDLL(None, use_errno=True)\n\
    def name(n): return errno.errorcode.get(n, n)\n\
    def call(*a):\n \
     r = libc.syscall(*[ctypes.c_long(x) for x in a])\n \
     return 'ok' if r >= 0 else name(ctypes.get_errno())\n\
    def sock(*a):\n \
     try: socket.socket(*a).close(); return 'ok'\n \
     except OSError as e: return name(e.errno)\n";

fn probe(script: &str) -> String {
    let ran = python(&format!("{PRELUDE}{script}")).run();
    assert_eq!(ran.stderr, "");
    ran.text().trim_end().to_owned()
}

#[test]
fn ordinary_sockets_work() {
    let script = "print(sock(2, 1), sock(2, 1, 6), sock(2, 2), sock(2, 2, 17), sock(10, 1), sock(10, 2), sock(1, 1), \
        sock(1, 2), sock(16, 3, 0), sock(16, 2, 0))";
    assert_eq!(probe(script), ["ok"; 10].join(" "));
}

#[test]
fn families_no_hook_sees_do_not_exist() {
    // AF_PACKET, AF_VSOCK, AF_CAN, AF_TIPC, AF_ALG, AF_RXRPC, AF_SMC, AF_XDP, AF_KEY, AF_BLUETOOTH.
    let script =
        "print({sock(f, t, 0) for f in (17, 40, 29, 30, 38, 33, 43, 44, 15, 31) for t in (1, 2, 3, 5)})";
    assert_eq!(probe(script), "{'EAFNOSUPPORT'}");
}

#[test]
fn types_and_protocols_no_hook_sees_are_refused() {
    // Raw; ICMP, UDP-Lite; SCTP, MPTCP; netlink other than route.
    let script = "print(sock(2, 3, 1), sock(10, 3, 58), sock(2, 3, 255), sock(2, 10, 0), '|', sock(2, 2, 1), \
        sock(10, 2, 58), sock(2, 2, 136), '|', sock(2, 1, 132), sock(2, 1, 262), sock(2, 5, 132), '|', \
        sock(16, 3, 9), sock(16, 3, 12))";
    let unsupported = "EPROTONOSUPPORT";
    let want = [
        ["EPERM"; 4].join(" "),
        [unsupported; 3].join(" "),
        format!("{unsupported} {unsupported} EPERM"),
        [unsupported; 2].join(" "),
    ];
    assert_eq!(probe(script), want.join(" | "));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn ways_around_are_closed() {
    // io_uring_setup, clone3; unshare of each namespace, setns, mount, bpf, perf_event_open, keyctl, pidfd_getfd.
    let script = "print(call(425, 8, 0), call(435, 0, 0))\n\
        print({call(272, f) for f in (0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, \
        0x40000000)})\n\
        print({call(n, 0, 0, 0, 0, 0) for n in (308, 165, 166, 155, 161, 428, 429, 430, 431, 432, 433, 442, 321, \
        298, 248, 249, 250, 438, 310, 311, 323, 304)})\n\
        print(call(16, 0, 0x5412, 0), call(16, 0, 0x541c, 0))";
    assert_eq!(probe(script), "ENOSYS ENOSYS\n{'EPERM'}\n{'EPERM'}\nEPERM EPERM");
}

#[test]
fn threads_children_and_tracing_of_them_work() {
    let script = "t = threading.Thread(target=lambda: print('thread', flush=True)); t.start(); t.join()\n\
        pid = os.fork()\n\
        if pid == 0:\n \
         libc.ptrace(0, 0, 0, 0); os.kill(os.getpid(), 19); os._exit(3)\n\
        _, status = os.waitpid(pid, 0)\n\
        print('stopped' if os.WIFSTOPPED(status) else status)\n\
        libc.ptrace(7, pid, 0, 0)\n\
        _, status = os.waitpid(pid, 0)\n\
        print(os.WEXITSTATUS(status), os.system('exit 4') >> 8)";
    assert_eq!(probe(script), "thread\nstopped\n3 4");
}

/// `mov eax, NUMBER; int 0x80` or `syscall`; `ret`.
#[cfg(target_arch = "x86_64")]
fn machine_code(number: u32, entry: &str) -> u8 {
    let [a, b, c, d] = number.to_le_bytes();
    let script = format!(
        "import ctypes, mmap\n\
         m = mmap.mmap(-1, 4096, prot=7)\n\
         m.write(bytes([0xb8, {a}, {b}, {c}, {d}]) + bytes.fromhex('{entry}') + b'\\xc3')\n\
         ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()"
    );
    python(&script).run().code()
}

#[cfg(target_arch = "x86_64")]
#[test]
fn foreign_system_call_tables_kill() {
    const SIGSYS: u8 = 128 + 31;
    let (getpid, i386_getpid, x32_getpid) = (39, 20, 0x4000_0000 | 39);
    assert_eq!(machine_code(getpid, "0f05"), 0, "the native one works, or the others prove nothing");
    assert_eq!(machine_code(i386_getpid, "cd80"), SIGSYS);
    assert_eq!(machine_code(x32_getpid, "0f05"), SIGSYS);
}
