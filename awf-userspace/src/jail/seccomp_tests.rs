//! The compiled filters, run by a small interpreter over the calls that matter. What the kernel makes of them is
//! tested with real processes in `tests/launch.rs`.

use super::*;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;

fn errno(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno as u32
}

/// The strictest verdict of all filters, as the kernel takes it: the lower the action as a signed number, the stricter.
fn verdict(arch: u32, nr: u32, args: [u64; 6]) -> u32 {
    let run = |program: BpfProgram| interpret(&program, arch, nr, args);
    let action = |value: &u32| (value & libc::SECCOMP_RET_ACTION_FULL) as i32;
    programs(Held { groups: true, core_limit: true })
        .unwrap()
        .into_iter()
        .map(run)
        .min_by_key(action)
        .unwrap()
}

fn call(nr: i64, args: &[u64]) -> u32 {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    verdict(NATIVE, nr as u32, all)
}

/// Classic BPF, as far as seccompiler emits it.
fn interpret(program: &[sock_filter], arch: u32, nr: u32, args: [u64; 6]) -> u32 {
    let load = |offset: u32| match offset {
        0 => nr,
        4 => arch,
        16.. => (args[(offset as usize - 16) / 8] >> (8 * (offset % 8))) as u32,
        _ => panic!("load from {offset}"),
    };
    let (mut pc, mut a) = (0, 0);
    loop {
        let i = &program[pc];
        let jump = |taken: bool| pc + 1 + usize::from(if taken { i.jt } else { i.jf });
        pc = match i.code {
            0x20 => {
                a = load(i.k);
                pc + 1
            }
            0x54 => {
                a &= i.k;
                pc + 1
            }
            0x05 => pc + 1 + i.k as usize,
            0x15 => jump(a == i.k),
            0x25 => jump(a > i.k),
            0x35 => jump(a >= i.k),
            0x06 => return i.k,
            code => panic!("instruction {code:#x}"),
        }
    }
}

#[test]
fn ordinary_sockets_are_allowed_with_any_flags() {
    let flags = (libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) as u64;
    for family in [INET, INET6] {
        for (kind, protocol) in [(STREAM, 0), (STREAM, 6), (DGRAM, 0), (DGRAM, 17)] {
            assert_eq!(call(libc::SYS_socket, &[family, kind | flags, protocol]), ALLOW);
        }
    }
    // glibc's getaddrinfo looks for local addresses through a raw NETLINK_ROUTE socket.
    assert_eq!(call(libc::SYS_socket, &[NETLINK, 3 | flags, 0]), ALLOW);
    assert_eq!(call(libc::SYS_socket, &[UNIX, 5, 0]), ALLOW);
    assert_eq!(call(libc::SYS_socketpair, &[UNIX, STREAM, 0]), ALLOW);
}

#[test]
fn groups_are_joined_in_a_namespace_of_ones_own_only() {
    for (level, name) in [(libc::IPPROTO_IP, 35), (libc::IPPROTO_IP, 42), (libc::IPPROTO_IPV6, 20)] {
        let args = [3, level as u64 | 7 << 32, name];
        assert_eq!(call(libc::SYS_setsockopt, &args), errno(libc::ENODEV));
        let mut all = [0; 6];
        all[..3].copy_from_slice(&args);
        for program in programs(Held { groups: false, core_limit: false }).unwrap() {
            assert_eq!(interpret(&program, NATIVE, libc::SYS_setsockopt as u32, all), ALLOW);
        }
    }
    for (level, name) in [(libc::SOL_SOCKET, libc::SO_REUSEADDR), (libc::IPPROTO_TCP, libc::TCP_NODELAY)] {
        assert_eq!(call(libc::SYS_setsockopt, &[3, level as u64, name as u64]), ALLOW);
    }
}

#[test]
fn every_other_family_does_not_exist() {
    for family in (0..64).filter(|family| ![UNIX, INET, INET6, NETLINK].contains(family)) {
        assert_eq!(call(libc::SYS_socket, &[family, STREAM, 0]), errno(libc::EAFNOSUPPORT), "{family}");
        assert_eq!(call(libc::SYS_socket, &[family, 3, 1]), errno(libc::EAFNOSUPPORT), "{family}");
    }
    assert_eq!(call(libc::SYS_socketpair, &[INET, STREAM, 0]), errno(libc::EAFNOSUPPORT));
}

#[test]
fn raw_sockets_need_a_privilege_and_other_protocols_do_not_exist() {
    for family in [INET, INET6] {
        for kind in [3, 4, 5, 6, 10] {
            assert_eq!(call(libc::SYS_socket, &[family, kind, 1]), errno(libc::EPERM), "type {kind}");
        }
        for (kind, protocol) in [(DGRAM, 1), (DGRAM, 58), (DGRAM, 136), (STREAM, 132), (STREAM, 262)] {
            let got = call(libc::SYS_socket, &[family, kind, protocol]);
            assert_eq!(got, errno(libc::EPROTONOSUPPORT), "type {kind} protocol {protocol}");
        }
    }
    for protocol in 1..23 {
        assert_eq!(call(libc::SYS_socket, &[NETLINK, 3, protocol]), errno(libc::EPROTONOSUPPORT));
    }
}

#[test]
fn the_upper_half_of_an_int_does_not_matter() {
    let high = 0xdead_beef_0000_0000;
    assert_eq!(call(libc::SYS_socket, &[high | 17, 3, 0]), errno(libc::EAFNOSUPPORT));
    assert_eq!(call(libc::SYS_socket, &[high | INET, high | 3, 0]), errno(libc::EPERM));
    assert_eq!(call(libc::SYS_ioctl, &[0, high | 0x5412]), errno(libc::EPERM));
    assert_eq!(call(libc::SYS_ioctl, &[0, high | 0x5423]), errno(libc::EPERM));
    assert_eq!(call(libc::SYS_clone, &[high | 0x1000_0000]), errno(libc::EPERM));
}

#[test]
fn foreign_system_call_tables_are_killed() {
    const I386: u32 = 0x4000_0003;
    const ARM: u32 = 0x4000_0028;
    for arch in [I386, ARM] {
        assert_eq!(verdict(arch, 102, [0; 6]), KILL);
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn x32_is_killed_and_a_skipped_call_is_not() {
    let x32 = 0x4000_0000;
    assert_eq!(verdict(NATIVE, x32 | libc::SYS_socket as u32, [INET, 3, 0, 0, 0, 0]), KILL);
    assert_eq!(verdict(NATIVE, x32 | 1, [0; 6]), KILL);
    assert_eq!(verdict(NATIVE, u32::MAX, [0; 6]), ALLOW);
}

#[test]
fn threads_and_forks_are_allowed_but_namespaces_are_not() {
    let thread = (libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_THREAD) as u64;
    assert_eq!(call(libc::SYS_clone, &[thread]), ALLOW);
    assert_eq!(call(libc::SYS_clone, &[libc::SIGCHLD as u64]), ALLOW);
    assert_eq!(call(libc::SYS_unshare, &[libc::CLONE_FILES as u64]), ALLOW);
    for flag in NAMESPACE_FLAGS {
        assert_eq!(call(libc::SYS_unshare, &[*flag]), errno(libc::EPERM), "{flag:#x}");
        if *flag != libc::CLONE_NEWTIME as u64 {
            assert_eq!(
                call(libc::SYS_clone, &[flag | libc::SIGCHLD as u64]),
                errno(libc::EPERM),
                "{flag:#x}"
            );
        }
    }
}

#[test]
fn every_call_of_the_tables_is_refused_as_the_table_says() {
    for group in REFUSED {
        for nr in group.calls {
            assert_eq!(call(*nr, &[]), errno(libc::EPERM), "{nr}: {}", group.why);
        }
    }
    for nr in ABSENT {
        assert_eq!(call(*nr, &[]), errno(libc::ENOSYS), "{nr}");
    }
}

#[test]
fn what_programs_need_is_allowed() {
    let needed = [
        libc::SYS_read,
        libc::SYS_execve,
        libc::SYS_ptrace,
        libc::SYS_connect,
        libc::SYS_sendmsg,
        libc::SYS_seccomp,
        libc::SYS_prctl,
        libc::SYS_epoll_pwait,
        libc::SYS_inotify_init1,
        libc::SYS_memfd_create,
        libc::SYS_wait4,
    ];
    for nr in needed {
        assert_eq!(call(nr, &[]), ALLOW, "{nr}");
    }
    assert_eq!(call(libc::SYS_ioctl, &[0, 0x5413]), ALLOW);
}

#[test]
fn the_core_limit_is_asked_for_and_seems_to_be_set() {
    let (done, high) = (errno(0), 0xdead_beef_0000_0000);
    for limit in [1, high] {
        assert_eq!(call(libc::SYS_prlimit64, &[0, 4, limit, 0]), done);
        assert_eq!(call(libc::SYS_prlimit64, &[7, high | 4, limit, 1]), done);
    }
    assert_eq!(call(libc::SYS_setrlimit, &[high | 4, 1]), done);
    assert_eq!(call(libc::SYS_prlimit64, &[0, 4, 0, 1]), ALLOW);
    for other in [0, 3, 5, 7] {
        assert_eq!(call(libc::SYS_prlimit64, &[0, other, 1, 0]), ALLOW);
        assert_eq!(call(libc::SYS_setrlimit, &[other, 1]), ALLOW);
    }
    let args = [0, 4, 1, 0, 0, 0];
    for program in programs(Held { groups: false, core_limit: false }).unwrap() {
        assert_eq!(interpret(&program, NATIVE, libc::SYS_prlimit64 as u32, args), ALLOW);
    }
}
