# System calls by which one leaves a jail; numbers of x86-64 and AArch64.
import fcntl, termios

NUMBERS = {
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "setns": (308, 268),
    "open_tree": (428, 428), "open_tree_attr": (467, 467), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "bpf": (321, 280), "perf_event_open": (298, 241), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219), "pidfd_getfd": (438, 438), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "open_by_handle_at": (304, 265), "userfaultfd": (323, 282), "syslog": (103, 116),
    "kexec_load": (246, 104), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "clone3": (435, 435),
}
WORDS = {"keyctl": (0, -3, 0), "bpf": (9999, 0, 0), "syslog": (2, 0, -1), "unshare": (), "reboot": (1, 2, 3, 0), "swapon": (b"/none", 0),
         "swapoff": (b"/none",), "acct": (b"/none/none",), "chroot": (b"/none",), "umount2": (b"/none", 0),
         "pivot_root": (b"/none", b"/none"), "mount": (0, b"/none", b"none", 0, 0), "fsopen": (b"none", 0),
         "delete_module": (b"none", 0), "quotactl": (0, 0, 0, 0)}
ARM = os.uname().machine != "x86_64"
for name, numbers in NUMBERS.items():
    gate(name, numbers[ARM], *WORDS.get(name, (-1, -1, -1, -1, -1, -1)))
for flag, bit in {"ns": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000,
                  "pid": 0x20000000, "net": 0x40000000, "time": 0x80}.items():
    gate("unshare_" + flag, (272, 97)[ARM], bit)

    def clone(bit=bit):
        pid = sys_call((56, 220)[ARM], bit | 17, 0, 0, 0, 0)
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)

    if flag != "time":
        attempt("clone_" + flag, clone)
attempt("mknod_char", lambda: os.mknod("%s/c-%d" % (os.environ["SCRATCH"], os.getpid()), 0o20666, os.makedev(1, 3)))
attempt("mknod_block", lambda: os.mknod("%s/b-%d" % (os.environ["SCRATCH"], os.getpid()), 0o60666, os.makedev(254, 0)))


def line_discipline():
    _, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSETD, b"\0\0\0\0")


attempt("line_discipline", line_discipline)
