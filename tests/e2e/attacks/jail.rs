//! What the jail must close: other namespaces and cgroups, other processes, sockets from outside, other ABIs.

use crate::{
    attack::{Attack, attacks},
    outside,
};

const TCP: u8 = 6;
const UDP: u8 = 17;

attacks! {
    setns_path: Attack::heard4(UDP).root().wrap_bare(&["unshare", "--net", "--"]).prepare(outside::bystander);
    setns_pidfd: Attack::heard4(UDP).root().wrap_bare(&["unshare", "--net", "--"]).prepare(outside::bystander);
    unshare_user_net: Attack::opened();
    unshare_user_mount: Attack::opened();
    clone_user_net: Attack::opened();
    cgroup_leave: Attack::heard4(TCP).root().prepare(outside::in_a_cgroup);
    cgroup_clone3: Attack::heard4(TCP).root().prepare(outside::in_a_cgroup);
}

attacks! {
    inherited: Attack::heard4(UDP).inherit(9).words(&["443", "fd=9"]);
    pidfd_getfd: Attack::heard4(UDP).prepare(outside::bystander);
    process_vm: Attack::opened().prepare(outside::bystander);
    // With `--chroot off` this stands on Landlock's scopes (signals: kernel 6.12).
    ptrace: Attack::opened().prepare(outside::bystander);
    proc_environ: Attack::opened().prepare(outside::bystander);
    int80: Attack::heard4(TCP).absent_without("CONFIG_IA32_EMULATION");
    x32: Attack::opened().absent_without("CONFIG_X86_X32_ABI");
    daemon: Attack::heard4(TCP).may_open();
}

mod stdin {
    use super::*;
    attacks! {
        inherited: Attack::heard4(UDP).inherit(0).words(&["443", "fd=0"]);
    }
}

mod stderr {
    use super::*;
    attacks! {
        inherited: Attack::heard4(UDP).inherit(2).words(&["443", "fd=2"]);
    }
}

mod the_firewall {
    use super::*;
    attacks! {
        kill_outside: Attack::opened().prepare(outside::bystander_or_parent);
    }
}

mod a_neighbour {
    use super::*;
    attacks! {
            kill_outside: Attack::opened().prepare(outside::bystander);
    }
}

attacks! {
    sys_bpf: Attack::opened().root();
    sys_perf_event_open: Attack::opened().root().absent_without("CONFIG_PERF_EVENTS");
    sys_add_key: Attack::opened().absent_without("CONFIG_KEYS");
    sys_request_key: Attack::opened().absent_without("CONFIG_KEYS");
    sys_keyctl: Attack::opened().absent_without("CONFIG_KEYS");
    sys_userfaultfd: Attack::opened().absent_without("CONFIG_USERFAULTFD");
    sys_open_by_handle_at: Attack::opened().root().absent_without("CONFIG_FHANDLE");
    sys_fsopen: Attack::opened().root();
    sys_chroot: Attack::opened().root();
    sys_init_module: Attack::opened().root().absent_without("CONFIG_MODULES");
    sys_kexec_load: Attack::opened().root().absent_without("CONFIG_KEXEC");
    ioctl_tiocsti: Attack::opened().root();
    ioctl_tioclinux: Attack::opened();
    write_core_pattern: Attack::opened().root();
    write_etc: Attack::opened().root();
    write_later: Attack::opened().root();
    write_disk: Attack::opened().root();
    setuid: Attack::opened().prepare(outside::setuid_copy);
}
