# Files of the kernel, opened for writing and nothing more; devices; cgroups.
import stat

for path in ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/drop_caches",
             "/proc/sys/net/ipv4/ip_forward", "/proc/sysrq-trigger", "/proc/kcore", "/proc/kmsg", "/sys/kernel/uevent_helper",
             "/sys/power/state", "/etc/ld.so.preload", "/etc/passwd", "/etc/crontab", "/etc/profile", "/usr/bin/env", "/bin/sh"]:
    if os.path.exists(path) or os.environ.get("INSIDE"):
        opened("write " + path, path, os.O_WRONLY)


def walk(name, top, skip=()):
    def look():
        for directory, below, files in os.walk(top):
            below[:] = [b for b in below if not os.path.islink(os.path.join(directory, b))]
            for file in files:
                path = os.path.join(directory, file)
                if path in skip or os.path.islink(path) or not stat.S_ISREG(os.lstat(path).st_mode):
                    continue
                try:
                    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
                    return print("#", path)
                except OSError:
                    pass
        raise OSError(errno.EACCES, "")

    attempt(name, look)


# Everybody opens it; who writes needs CAP_CHECKPOINT_RESTORE (kernel/pid_namespace.c).
walk("some of /proc/sys", "/proc/sys", ["/proc/sys/kernel/ns_last_pid"])
walk("some of /sys", "/sys")
walk("some of /sys/fs/cgroup", "/sys/fs/cgroup")
attempt("a cgroup", lambda: (os.mkdir("/sys/fs/cgroup/awf-attack"), os.rmdir("/sys/fs/cgroup/awf-attack")))


def devices():
    harmless = {(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)}
    for directory, below, files in os.walk("/dev"):
        for file in files:
            mode = os.lstat(os.path.join(directory, file))
            number = os.major(mode.st_rdev), os.minor(mode.st_rdev)
            device = stat.S_ISCHR(mode.st_mode) or stat.S_ISBLK(mode.st_mode)
            if device and number not in harmless and number[0] != 136:
                return print("#", directory, file)
    raise OSError(errno.ENOENT, "")


attempt("a device", devices)
