# A process of the same user outside. PID: its number there.
import fcntl, resource, signal, struct

pid = int(os.environ["PID"])
x86 = os.uname().machine == "x86_64"


def number(a, b):
    return a if x86 else b


attempt("kill", lambda: os.kill(pid, 0))
attempt("kill_stop", lambda: os.kill(pid, signal.SIGCONT))
attempt("tgkill", lambda: sys_call(number(234, 131), pid, pid, 0))
attempt("tkill", lambda: sys_call(number(200, 130), pid, 0))
info = (ctypes.c_char * 128)()
struct.pack_into("iii", info, 0, int(signal.SIGCONT), 0, -1)
attempt("rt_sigqueueinfo", lambda: sys_call(number(129, 138), pid, int(signal.SIGCONT), ctypes.addressof(info)))


def pidfd_signal():
    fd = os.pidfd_open(pid)
    sys_call(424, fd, 0, 0, 0)


attempt("pidfd_send_signal", pidfd_signal)
attempt("ptrace_seize", lambda: sys_call(number(101, 117), 0x4206, pid, 0, 0))
for name, flags in {"mem": os.O_RDWR, "environ": 0, "maps": 0, "fd": 0, "ns/net": 0, "root": 0, "cwd": 0, "exe": 0, "stat": 0,
                    "cmdline": 0, "root/etc/passwd": 0, "task": 0}.items():
    opened("proc_" + name, f"/proc/{pid}/{name}", flags)
    if name in ("mem", "environ", "fd", "root", "cwd", "exe", "maps"):
        opened("init_" + name, f"/proc/1/{name}", flags)
attempt("init_kill", lambda: os.kill(1, signal.SIGKILL))
attempt("init_ptrace", lambda: sys_call(number(101, 117), 0x4206, 1, 0, 0))
attempt("init_prlimit", lambda: resource.prlimit(1, resource.RLIMIT_NOFILE))


def owner():
    read, write = os.pipe()
    fcntl.fcntl(read, fcntl.F_SETOWN, pid)
    if fcntl.fcntl(read, fcntl.F_GETOWN) != pid:
        raise OSError(errno.ESRCH, "")


attempt("f_setown", owner)
attempt("prlimit", lambda: resource.prlimit(pid, resource.RLIMIT_CORE))
attempt("setpriority", lambda: os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid)))
attempt("sched_setaffinity", lambda: os.sched_setaffinity(pid, os.sched_getaffinity(pid)))
attempt("sched_setscheduler", lambda: os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0)))
attempt("ioprio_set", lambda: sys_call(number(251, 30), 1, pid, 2 << 13 | 4))
attempt("getpgid", lambda: os.getpgid(pid))
