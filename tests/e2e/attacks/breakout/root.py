# What uid 0 could try, and root can. SCRATCH: a directory of the command's.
import fcntl, resource, shutil, socket, subprocess

scratch = os.environ["SCRATCH"]
x86 = os.uname().machine == "x86_64"
file = "%s/file-%d" % (scratch, os.getpid())
open(file, "w").close()


def forked(name, what):
    def call():
        pid = os.fork()
        if pid == 0:
            try:
                what()
                os._exit(0)
            except OSError as error:
                os._exit(error.errno)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code:
            raise OSError(code if code > 0 else errno.EPERM, "")

    attempt(name, call)


def fail():
    raise OSError(errno.EPERM, "")


def write(name, text):
    os.write(os.open("/proc/self/" + name, os.O_WRONLY), text)


def prctl(*words):
    return lambda: sys_call(157 if x86 else 167, *words, *[0] * (5 - len(words)))


# Other ids; more groups; capabilities.
forked("setuid", lambda: os.setuid(12345))
forked("setresuid", lambda: os.setresuid(-1, 1, -1))
forked("setgid", lambda: os.setgid(12345))
forked("setgroups", lambda: os.setgroups([0]))
forked("setgroups_none", lambda: os.setgroups([]))
forked("setfsuid", lambda: (libc.setfsuid(1), fail() if libc.setfsuid(-1) != 1 else None))
header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(1 << 21, 1 << 21, 0, 0, 0, 0)
forked("capset", lambda: sys_call(126 if x86 else 91, ctypes.addressof(header), ctypes.addressof(sets)))
forked("securebits", prctl(28, 0))
forked("bounding_set", prctl(24, 21))


def more_by_exec(name, program):
    def call():
        out = subprocess.run([program, "-c", "import os; s = open('/proc/self/status').read(); print(s)"], capture_output=True)
        effective = [line for line in out.stdout.decode().splitlines() if line.startswith("CapEff")]
        if not effective or int(effective[0].split()[1], 16) == 0:
            fail()

    attempt(name, call)


more_by_exec("exec", sys.executable)
setuid = "%s/python-%d" % (scratch, os.getpid())
shutil.copy(sys.executable, setuid)
os.chmod(setuid, 0o6755)
more_by_exec("exec_setuid", setuid)
os.unlink(setuid)

# Files: owners, attributes, other people's.
attempt("chown", lambda: os.chown(file, 1, 1))
attempt("chgrp", lambda: os.chown(file, -1, 1))
attempt("file_capability", lambda: os.setxattr(file, "security.capability", b"\1\0\0\2\xff\xff\xff\xff" + bytes(12)))
attempt("file_capability_v3", lambda: os.setxattr(file, "security.capability", b"\1\0\0\3\xff\xff\xff\xff" + bytes(16)))
attempt("trusted_attribute", lambda: os.setxattr(file, "trusted.x", b"x"))


def immutable():
    fd = os.open(file, os.O_RDONLY)
    for flags in (0x10, 0):
        fcntl.ioctl(fd, 0x40086602, flags.to_bytes(8, "little"))


attempt("immutable", immutable)
for path in ["/etc", "/usr/bin", "/root"]:
    attempt("write in " + path, lambda: (os.mkdir(path + "/awf-attack"), os.rmdir(path + "/awf-attack")))
attempt("chmod /etc/passwd", lambda: os.chmod("/etc/passwd", os.stat("/etc/passwd").st_mode))
opened("/etc/shadow", "/etc/shadow")

# The machine: its name, its clock, its priorities and limits, its low ports.
attempt("hostname", lambda: socket.sethostname(socket.gethostname()))
# Of a time zone 10000 minutes away: nonsense to whoever may set it.
gate("settimeofday", 164 if x86 else 170, 0, ctypes.addressof((ctypes.c_int * 2)(10000, 0)))
forked("nice", lambda: os.nice(-5))
forked("realtime", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
forked("hard_limit", lambda: resource.setrlimit(resource.RLIMIT_NICE, (30, 30)))
forked("oom_score", lambda: write("oom_score_adj", b"-1000"))
attempt("low_port", lambda: socket.socket().bind(("127.0.0.1", 79)))
attempt("low_port_v6", lambda: socket.socket(socket.AF_INET6).bind(("::1", 79)))
attempt("so_mark", lambda: socket.socket().setsockopt(socket.SOL_SOCKET, 36, 1))
attempt("so_rcvbufforce", lambda: socket.socket().setsockopt(socket.SOL_SOCKET, 33, 4096))
attempt("transparent", lambda: socket.socket().setsockopt(socket.SOL_IP, 19, 1))
gate("tiocsti", 16 if x86 else 29, 0, 0x5412, 0)
# Its own namespace.
attempt("setgroups_allow", lambda: write("setgroups", b"allow"))
for map in ["uid_map", "gid_map"] if os.environ.get("INSIDE") else []:
    attempt(map, lambda: write(map, b"0 0 4294967295"))
