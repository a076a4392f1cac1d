# What every try needs: a system call by number, and one line for each: "NAME open" or "NAME shut WHY".
import ctypes, errno, os, sys

libc = ctypes.CDLL(None, use_errno=True)


def sys_call(number, *words):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *[w if isinstance(w, bytes) else ctypes.c_long(w) for w in words])
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def attempt(name, what):
    try:
        what()
        print(name, "open", flush=True)
    except OSError as error:
        print(name, "shut", errno.errorcode.get(error.errno, error.errno), flush=True)


# Nonsense as arguments: whoever gets past the gate hears that they are nonsense.
def gate(name, number, *words):
    def call():
        pid = os.fork()
        if pid == 0:
            try:
                sys_call(number, *words)
                os._exit(0)
            except OSError as error:
                os._exit(error.errno if error.errno < 250 else 1)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code in (errno.EPERM, errno.ENOSYS, errno.EACCES):
            raise OSError(code, "")
        if code < 0:
            raise OSError(errno.EPERM, "killed")

    attempt(name, call)


def opened(name, path, flags=os.O_RDONLY):
    def call():
        try:
            os.close(os.open(path, flags | os.O_NONBLOCK))
        except OSError as error:
            # Somebody runs it just now: it could be written to a moment later.
            if error.errno != errno.ETXTBSY:
                raise

    attempt(name, call)
