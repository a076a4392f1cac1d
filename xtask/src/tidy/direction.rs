//! Which module of `awf-userspace` may name which, and what the pure ones must not name at all.
//!
//! `docs/design.md` says it in words; this table is what is enforced. A line added here is a decision about the
//! architecture, not a way to silence the check.

/// A module of `awf-userspace/src` and what it may name beside itself: a module with all below it, or only a part
/// (`jail::spec`). Tests may name any: they stand on what the layers above set up, and are not shipped.
///
/// `cli -> config -> policy`; `cli -> session -> {cgroup, netns, bpf, proxy, dns, ca, launch} -> {policy, audit, sys}`.
pub(super) const MAY_NAME: &[(&str, &[&str])] = &[
    // Values in, values out: below everything.
    ("policy", &[]),
    ("sys", &[]),
    ("audit", &["policy", "sys"]),
    // The seam between `proxy` and `dns`: traits, no mechanism.
    ("resolve", &["policy"]),
    // What `config` reads and `proxy` goes by: values.
    ("upstream_proxy", &["policy"]),
    // The mechanisms: siblings do not know each other, `session` joins them.
    ("cgroup", &["policy", "audit", "sys"]),
    ("netns", &["policy", "audit", "sys"]),
    ("bpf", &["policy", "audit", "sys"]),
    ("dns", &["resolve", "policy", "audit", "sys"]),
    ("ca", &["policy", "audit", "sys"]),
    ("inject", &["policy", "audit", "sys"]),
    ("proxy", &["ca", "inject", "resolve", "upstream_proxy", "policy", "audit", "sys"]),
    // What fuzzers try to break; built for them and for tests.
    ("fuzzing", &["dns", "policy", "proxy"]),
    // The two sides of the command's start share one description of it.
    ("jail", &["sys"]),
    ("launch", &["jail", "policy", "audit", "sys"]),
    // What was typed, and whether this machine can do it.
    // `resolve`: what a name server is; `ca`: whether two files are a CA.
    ("config", &["ca", "resolve", "upstream_proxy", "policy", "audit", "sys"]),
    ("preflight", &["config", "cgroup", "netns", "bpf", "policy", "audit", "sys"]),
    (
        "session",
        &[
            "config",
            "preflight",
            "cgroup",
            "netns",
            "bpf",
            "proxy",
            "dns",
            "resolve",
            "upstream_proxy",
            "ca",
            "inject",
            "launch",
            "jail",
            "policy",
            "audit",
            "sys",
        ],
    ),
    // It runs sessions by their command line, beside a server of its own.
    // `bpf`, `cgroup`, `dns`: it tries what a machine must have.
    ("doctor", &["session", "bpf", "cgroup", "dns", "ca", "policy", "audit", "sys"]),
    ("hook", &["config", "session", "cgroup", "preflight", "policy", "audit", "sys"]),
    (
        "cli",
        &["config", "session", "doctor", "preflight", "hook", "launch", "jail", "policy", "audit", "sys"],
    ),
    // `jail`: the process that becomes the command must not pass through the command line.
    ("main", &["cli", "jail"]),
];

/// What a module must not name of other crates, and why. A module stands for all below it.
pub(super) struct Ban {
    pub(super) modules: &'static [&'static str],
    pub(super) paths: &'static [&'static str],
    pub(super) why: &'static str,
}

pub(super) const BANS: &[Ban] = &[
    Ban {
        modules: &[
            "policy",
            "config::resolve",
            "proxy::sni",
            "proxy::request",
            "proxy::sniff",
            "jail::rootfs",
        ],
        paths: &[
            "aya",
            "libc",
            "rustix",
            "socket2",
            "std::env",
            "std::fs",
            "std::io::stderr",
            "std::io::stdin",
            "std::io::stdout",
            "std::net::TcpListener",
            "std::net::TcpStream",
            "std::net::ToSocketAddrs",
            "std::net::UdpSocket",
            "std::os::unix::net",
            "std::process",
            "std::thread",
            "std::time::Instant",
            "std::time::SystemTime",
            "tokio",
        ],
        why: "it is pure: values in, values out",
    },
    Ban {
        modules: &["jail"],
        paths: &["aya", "hyper", "tokio"],
        why: "it runs single-threaded between clone and execve, and must be small enough to audit",
    },
    Ban {
        modules: &["proxy", "dns", "resolve", "launch", "cgroup", "netns", "audit", "config", "cli"],
        paths: &["aya"],
        why: "only `bpf` knows the kernel programs",
    },
    Ban {
        modules: &[
            "audit",
            "bpf",
            "ca",
            "cgroup",
            "config",
            "dns",
            "hook",
            "inject",
            "jail",
            "launch",
            "netns",
            "policy",
            "preflight",
            "proxy",
            "resolve",
            "session",
            "sys",
        ],
        paths: &["anyhow"],
        why: "an error is a thiserror variant here; anyhow is for cli and xtask",
    },
];

/// Whether `allowed` has `path` (`["crate", "proxy", "seam", "Resolve"]`, of this crate).
pub(super) fn allows(allowed: &[&str], path: &[String]) -> bool {
    path.get(1..).is_some_and(|inner| allowed.iter().any(|a| starts_with(inner, a)))
}

/// What `module` may name; `None` if the table does not know it.
pub(super) fn may_name(module: &str) -> Option<&'static [&'static str]> {
    MAY_NAME.iter().find(|(name, _)| *name == module).map(|(_, allowed)| *allowed)
}

/// Why `module` (`["proxy", "sni"]`) must not name `path` (`["std", "fs", "File"]`), with the banned prefix.
pub(super) fn ban(module: &[String], path: &[String]) -> Option<(&'static str, &'static str)> {
    BANS.iter().filter(|b| b.modules.iter().any(|m| starts_with(module, m))).find_map(|b| {
        let hit = b.paths.iter().find(|p| starts_with(path, p))?;
        Some((*hit, b.why))
    })
}

fn starts_with(path: &[String], prefix: &str) -> bool {
    let mut segments = path.iter();
    prefix.split("::").all(|want| segments.next().is_some_and(|have| have == want))
}
