//! What programs look for beside files and the network, and find as outside: who they are, the machine, time and
//! language, memory and processors, processes of their own to watch and to debug.

use std::process::Command;

use harness::{Lab, OwnCgroup, tools, workdir::UID};

/// The same words, the same output.
#[test]
fn the_machine_looks_the_same() {
    let lab = Lab::new();
    for script in [
        "hostname; uname -a; nproc; getconf _NPROCESSORS_ONLN; getconf PAGESIZE; getconf ARG_MAX; arch",
        "id; whoami; id -Gn; getent passwd root $(id -u); getent group $(id -g); echo ~",
        "TZ=Europe/Berlin date -d @0; TZ=America/New_York date -d @0; date -d @0; readlink -f /etc/localtime",
        "locale; locale -a; LC_ALL=C.UTF-8 python3 -c 'print(chr(228), chr(0x65e5))'; printf '%s' Ä | wc -m",
        "awk '/MemTotal/' /proc/meminfo; free -b | awk '/Mem/ {print $2}'; lscpu | grep -i 'model name'",
        "cat /etc/os-release; ldd --version | head -n1; getent services https; getent protocols tcp; umask; ulimit -n -u",
    ] {
        let outside = lab.bare().sh(script);
        lab.awf().sh(script).stdout_is(&outside.ok().stdout());
    }
}

/// Many ask for what this host has an address of its own for (`AI_ADDRCONFIG`), some for one family: 127.0.0.1 and ::1
/// count for nothing there.
#[test]
fn names_are_resolved_for_who_asks_for_families_that_this_host_has() {
    let lab = Lab::new();
    let script = "python3 -c '
import socket as s
for name in \"allowed.test\", \"v4only.test\", \"v6only.test\":
    for family in s.AF_UNSPEC, s.AF_INET, s.AF_INET6:
        try: print(name, sorted({i[4][0] for i in s.getaddrinfo(name, 443, family, s.SOCK_STREAM, 0, s.AI_ADDRCONFIG)}))
        except s.gaierror as e: print(name, family, e.errno)'";
    let names = "allowed.test,v4only.test,v6only.test";
    let outside = lab.bare().sh(script).ok().stdout();
    assert!(outside.contains("allowed.test ['203.0.113.10']\nallowed.test ['2001:db8:"), "{outside}");
    lab.awf().allow(names).sh(script).ok().stdout_is(&outside);
    lab.awf().allow(names).no_proxy_env().machine_files().sh(script).ok().stdout_is(&outside);
}

/// Of the addresses that are there for that one is loopback; from and to the other nothing is carried.
#[test]
fn the_addresses_that_show_a_network_lead_nowhere() {
    let lab = Lab::new();
    let script =
        "ip -o addr | awk '{print $2, $4}'; ip -4 route; ip -6 route | awk '{print $1, $3}'; python3 -c '
import socket as s
own = \"fd61:7766:6270:6601::1\"
server = s.create_server((own, 8000), family=s.AF_INET6)
server.settimeout(1)
def tell(what):
    try: print(what())
    except OSError as e: print(type(e).__name__)
def say(kind, source, to, patience=1):
    with s.socket(s.AF_INET6, kind) as one:
        one.settimeout(patience); one.bind((source, 0)); one.connect(to); one.send(b\"x\"); return one.recv(9)
tell(lambda: say(s.SOCK_STREAM, \"::\", (own, 8000), 30))
tell(lambda: say(s.SOCK_STREAM, own, (own, 8000)))
tell(lambda: say(s.SOCK_STREAM, own, (\"2001:db8:2::10\", 443)))
tell(lambda: say(s.SOCK_DGRAM, own, (\"::1\", 9)))
tell(lambda: say(s.SOCK_DGRAM, own, (\"2001:db8:2::10\", 443)))
tell(server.accept)'";
    let out = lab.awf().no_proxy_env().allow("allowed.test").sh(script);
    out.ok().stdout_is(
        "lo 127.0.0.1/8\nlo 127.0.0.2/32\nlo fd61:7766:6270:6601::1/128\nlo ::1/128\nfd61:7766:6270:6601::1 lo\n\
         ConnectionResetError\nTimeoutError\nTimeoutError\nPermissionError\nOSError\nTimeoutError\n",
    );
    lab.assert_not_dialled("allowed.test");
}

#[test]
fn ordinary_tools_work() {
    for program in ["lsof", "top", "ps", "free"] {
        let _ = tools::require(program);
    }
    let lab = Lab::new();
    let script = "f=$(mktemp); d=$(mktemp -d); echo x > $f; cp $f $d/; mv $d/* ./moved; rm -r $f $d
exec 8> held; lsof -p $$ | grep -q /held
ps -e -o comm= | sort -u; top -b -n1 | grep -c bash; df . /tmp >/dev/null; df | grep -c ^none || true
flock lock true; timeout 9 nice -n5 setsid -w script -qec 'tty; stty size' /dev/null
seq 3 | xargs -P3 -n1 echo | sort; mkfifo p; (echo fifo > p &); cat p; echo done | tee /dev/stderr /dev/stdout >/dev/null
cat <(echo process) /dev/fd/0 <<< substitution";
    let out = lab.awf().sh(script);
    out.ok().stdout_contains("bash\n").stdout_contains("/dev/pts/0").stdout_contains("1\n2\n3\nfifo\n");
    out.stdout_contains("process\nsubstitution\n");
    assert!(!out.stdout().contains("systemd\n"), "{out}");
}

#[test]
fn children_can_be_traced_and_debugged_and_nobody_becomes_root() {
    let lab = Lab::new();
    let script = "strace -f -e trace=execve -o log sh -c '/bin/true; :' && grep -c execve log
gdb -nx -batch -ex 'break exit' -ex run -ex 'info inferiors' --args /bin/true 2>&1 | grep -c 'process'
sudo -n true || echo kept; python3 -c 'import os; os.setuid(0)' 2>/dev/null || echo kept";
    let out = lab.awf().sh(script);
    out.ok().stdout_contains("2\n").stdout_contains("kept\nkept\n");
    out.check(out.stdout().lines().count() == 4, || "four lines".to_owned());
}

#[test]
fn python_has_processes_shared_memory_and_locks() {
    let lab = Lab::new();
    let script = "cat > p.py <<'END'
import multiprocessing as m
from multiprocessing import shared_memory
def square(x): return x * x
if __name__ == '__main__':
    for how in m.get_all_start_methods():
        with m.get_context(how).Pool(2) as pool: assert pool.map(square, range(9))[8] == 64
    with m.Manager() as manager: manager.dict()['a'] = 1
    block = shared_memory.SharedMemory(create=True, size=1 << 20); block.buf[0] = 1; block.close(); block.unlink()
    from concurrent.futures import ProcessPoolExecutor
    with ProcessPoolExecutor() as pool: assert sum(pool.map(square, range(4))) == 14
    print('hello')
END
python3 p.py";
    lab.awf().sh(script).ok().stdout_is("hello\n");
}

/// `/proc/self/exe` is what a program finds its own files by, and executes itself by.
#[test]
fn programs_find_themselves() {
    let lab = Lab::new();
    let script = "cat > l.c <<'END'
#include <stdio.h>
#include <unistd.h>
int main(int n, char **argv) {
    char self[4096] = {0};
    if (readlink(\"/proc/self/exe\", self, sizeof self - 1) < 0) return 1;
    puts(self);
    fflush(stdout);
    return n == 1 ? execl(\"/proc/self/exe\", argv[0], \"again\", (char *)0) : 0;
}
END
gcc -o launcher l.c && ./launcher
python3 -c 'import os, sys; print(os.path.samefile(\"/proc/self/exe\", sys.executable))'
perl -e 'print readlink(\"/proc/self/exe\"), qq(\\n)'
node -p 'require(\"fs\").realpathSync(\"/proc/self/exe\") === require(\"fs\").realpathSync(process.execPath)'
ruby -rrbconfig -e 'puts File.identical?(RbConfig.ruby, \"/proc/self/exe\")'";
    let own = lab.dir().work().join("launcher").display().to_string();
    lab.awf().sh(script).ok().stdout_is(&format!("{own}\n{own}\nTrue\n/usr/bin/perl\ntrue\ntrue\n"));
}

const JVM: &str = "import java.nio.file.*;
public class J { public static void main(String[] a) throws Exception {
    System.out.println(Runtime.getRuntime().availableProcessors());
    System.out.println(Files.readSymbolicLink(Paths.get(\"/proc/self/exe\")).endsWith(\"bin/java\"));
    System.out.println(Files.createTempFile(\"x\", \"y\").startsWith(\"/tmp\"));
    System.out.println(System.getProperty(\"user.name\") + java.util.TimeZone.getDefault().getID());
} }";

#[test]
fn a_jvm_sees_its_processors_and_its_user() {
    let lab = Lab::new();
    lab.dir().file("J.java", JVM);
    let processors = tools::succeed(&mut Command::new(tools::require("nproc")));
    let out = lab.awf().outer_env("TZ", "Europe/Berlin").sh("java -Xshare:auto J.java");
    out.ok().stdout_is(&format!("{processors}true\ntrue\nrunnerEurope/Berlin\n"));
}

/// Of cgroup v2: nothing of v1 is shown to the command.
#[test]
fn a_jvm_sees_its_memory_limit() {
    let lab = Lab::new();
    let Some(own) = OwnCgroup::new() else { return };
    let heap = |limit: &str| -> u64 {
        let run = lab.awf().in_cgroup(&own).args(["--memory-limit", limit]);
        let out = run
            .sh("java -XX:+PrintFlagsFinal -version 2>/dev/null | awk '$2 == \"MaxHeapSize\" { print $4 }'");
        out.ok().stdout().trim().parse().expect("bytes")
    };
    // A quarter of what there is, by default, in whole pages of its own.
    assert_eq!(["512m", "1g"].map(|limit| heap(limit) >> 20), [128, 256]);
}

#[test]
fn a_user_without_an_account_has_one_inside() {
    let lab = Lab::new();
    let script = "id -u; id -un; whoami; getent passwd $(id -u) | cut -d: -f1,3; touch ~/x; python3 -c 'import getpass, \
                  os; print(getpass.getuser(), os.path.expanduser(\"~\") == os.environ[\"HOME\"])'; git config --global user.name x; \
                  java -XshowSettings:properties -version 2>&1 | grep -c 'user.home = ?' || true";
    for uid in ["23456", "777"] {
        let run = lab.awf().cwd("/").outer_env("SUDO_UID", uid).outer_env("SUDO_GID", uid);
        run.sh(script).ok().stdout_is(&format!("{uid}\n{uid}\n{uid}\n{uid}:{uid}\n{uid} True\n0\n"));
    }
}

/// Not changed to 1000, as for an image's user.
#[test]
fn a_systems_user_keeps_its_uid_and_its_files() {
    let lab = Lab::new();
    let dir = lab.dir().work();
    std::os::unix::fs::chown(&dir, Some(33), Some(33)).expect("give it to www-data");
    lab.awf().sh("id -u; id -un; touch made; stat -c %u made").ok().stdout_is("33\nwww-data\n33\n");
    assert_ne!(UID, 33);
}

#[test]
fn the_working_directory_is_where_it_was_asked_for() {
    let lab = Lab::new();
    let home = lab.dir().home().display().to_string();
    let at = |dir: &str| lab.awf().args(["--container-workdir", dir]).run(&["pwd"]);
    at(&home).ok().stdout_is(&format!("{home}\n"));
    at("/usr/share").ok().stdout_is("/usr/share\n");
    let lost = at("/home/nobody/there");
    lost.code(125)
        .stdout_is("")
        .stderr_contains("--container-workdir /home/nobody/there: the command cannot start there");
}
