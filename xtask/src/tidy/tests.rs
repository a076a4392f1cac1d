//! Each rule with a sample that breaks it and one that does not.

use super::rules::{MAX_LINES, check};

/// `rule@line` of everything wrong with `source` as the file `path`; a head is added.
fn broken(path: &str, source: &str) -> Vec<String> {
    let source = format!("//! Head.\n{source}");
    check(path, &source).into_iter().map(|v| format!("{}@{}", v.rule, v.line)).collect()
}

#[test]
fn a_file_has_at_most_400_lines() {
    let lines = |n: usize| "//! Head.\n".to_owned() + &"// x\n".repeat(n - 1);
    assert_eq!(check("xtask/src/a.rs", &lines(MAX_LINES)), []);
    let over = check("xtask/src/a.rs", &lines(MAX_LINES + 1));
    assert_eq!((over[0].rule, over[0].line), ("length", 401));
}

#[test]
fn a_file_opens_with_what_it_owns() {
    for source in ["use std::fs;\n", "// Not a head.\n", "", "\n//! Too late.\n"] {
        assert_eq!(check("xtask/src/a.rs", source)[0].rule, "head", "{source:?}");
    }
}

#[test]
fn a_violation_is_printed_where_an_editor_finds_it() {
    let shown = check("xtask/src/a.rs", "fn f() {}\n")[0].to_string();
    assert!(shown.starts_with("xtask/src/a.rs:1: head: "), "{shown}");
}

#[test]
fn proxy_never_names_bpf_however_it_is_written() {
    for source in [
        "use crate::bpf;",
        "use crate::{audit, bpf::Table};",
        "use super::bpf::Table;",
        "fn f() { crate::bpf::load(); }",
        "use crate::{\n    bpf,\n};",
    ] {
        let found = broken("awf-userspace/src/proxy/mod.rs", source);
        assert_eq!(found.len(), 1, "{source}: {found:?}");
        assert!(found[0].starts_with("direction@"), "{found:?}");
    }
    assert_eq!(broken("awf-userspace/src/proxy/sni.rs", "use super::super::dns;"), ["direction@2"]);
}

#[test]
fn lower_modules_may_be_named_and_a_mention_in_a_comment_is_none() {
    let source =
        "use crate::{audit::Record, policy::Reason, sys};\n// crate::bpf\nconst X: &str = \"crate::bpf::x\";";
    assert_eq!(broken("awf-userspace/src/proxy/mod.rs", source), [] as [&str; 0]);
    assert_eq!(broken("awf-userspace/src/session/mod.rs", "use crate::{bpf, proxy};"), [] as [&str; 0]);
}

#[test]
fn nothing_is_named_upwards() {
    for (module, above) in [
        ("policy", "audit"),
        ("audit", "proxy"),
        ("config", "session"),
        ("jail", "policy"),
        ("session", "cli"),
    ] {
        let path = format!("awf-userspace/src/{module}/mod.rs");
        assert_eq!(broken(&path, &format!("use crate::{above}::X;")), ["direction@2"], "{module} -> {above}");
    }
}

#[test]
fn the_resolver_names_its_seam_and_not_the_proxy() {
    let dns = "awf-userspace/src/dns/upstream.rs";
    assert_eq!(broken(dns, "use crate::resolve::{Resolve, ResolveError};"), [] as [&str; 0]);
    assert_eq!(broken(dns, "use crate::proxy::seam::Resolve;"), ["direction@2"]);
}

#[test]
fn a_part_of_a_module_may_be_allowed_alone() {
    let path = |text: &str| text.split("::").map(str::to_owned).collect::<Vec<_>>();
    assert!(super::direction::allows(&["a::b"], &path("crate::a::b::X")));
    assert!(!super::direction::allows(&["a::b"], &path("crate::a")));
    assert!(!super::direction::allows(&["a::b"], &path("crate::a::c")));
}

#[test]
fn tests_may_stand_on_the_layers_above_but_do_no_io_where_that_is_forbidden() {
    let bpf = "awf-userspace/src/bpf/load.rs";
    let inline = "#[cfg(test)]\nmod tests {\n    use crate::session::bpffs;\n}\n";
    assert_eq!(broken(bpf, inline), [] as [&str; 0]);
    assert_eq!(broken(bpf, &format!("{inline}use crate::session::bpffs;")), ["direction@6"]);
    assert_eq!(broken("awf-userspace/src/bpf/tests.rs", "use crate::session::bpffs;"), [] as [&str; 0]);
    assert_eq!(broken("awf-userspace/src/policy/tests.rs", "use std::fs;"), ["direction@2"]);
}

#[test]
fn a_module_without_a_place_in_the_table_is_refused() {
    assert_eq!(broken("awf-userspace/src/novelty/mod.rs", ""), ["direction@1"]);
}

#[test]
fn the_table_names_only_modules_that_it_knows() {
    for (module, allowed) in super::direction::MAY_NAME {
        for name in *allowed {
            let top = name.split("::").next().unwrap();
            assert!(
                super::direction::may_name(top).is_some(),
                "{module} may name {name}, which is no module"
            );
        }
    }
}

#[test]
fn pure_modules_do_no_io() {
    for source in ["use std::fs;", "use std::{net::{IpAddr, TcpStream}};", "fn f() { std::env::var(\"X\"); }"]
    {
        assert_eq!(broken("awf-userspace/src/policy/rule.rs", source), ["direction@2"], "{source}");
    }
    assert_eq!(broken("awf-userspace/src/proxy/sni.rs", "use tokio::io;"), ["direction@2"]);
    assert_eq!(broken("awf-userspace/src/proxy/listener.rs", "use tokio::io;"), [] as [&str; 0]);
    assert_eq!(broken("awf-userspace/src/policy/rule.rs", "use std::net::IpAddr;"), [] as [&str; 0]);
}

#[test]
fn jail_has_no_runtime_and_libraries_no_anyhow() {
    assert_eq!(broken("awf-userspace/src/jail/mounts.rs", "use tokio::task;"), ["direction@2"]);
    assert_eq!(broken("awf-userspace/src/dns/mod.rs", "use anyhow::Result;"), ["direction@2"]);
    assert_eq!(broken("awf-userspace/src/cli/mod.rs", "use anyhow::Result;"), [] as [&str; 0]);
}

#[test]
fn unsafe_has_few_homes() {
    let block = "// SAFETY: x is valid.\nlet y = unsafe { *x };";
    for path in ["awf-userspace/src/bpf/mod.rs", "xtask/src/a.rs", "awf-common/src/addr.rs"] {
        assert_eq!(broken(path, block), ["unsafe-place@3"], "{path}");
    }
    for path in [
        "awf-userspace/src/sys/mod.rs",
        "awf-userspace/tests/a.rs",
        "awf-ebpf/src/main.rs",
        "tests/probe/main.rs",
    ] {
        assert_eq!(broken(path, block), [] as [&str; 0], "{path}");
    }
    let pod = "// SAFETY: repr(C), no padding.\nunsafe impl aya::Pod for X {}";
    assert_eq!(broken("awf-common/src/addr.rs", pod), [] as [&str; 0]);
    assert_eq!(broken("awf-common/src/addr.rs", &pod.replace("Pod", "Send")), ["unsafe-place@3"]);
}

#[test]
fn unsafe_says_why_it_is_sound() {
    let path = "awf-userspace/src/sys/mod.rs";
    assert_eq!(broken(path, "fn f() { unsafe { g() } }"), ["unsafe-reason@2"]);
    assert_eq!(broken(path, "// SAFETY: stale.\nlet a = 1;\nunsafe { g() };"), ["unsafe-reason@4"]);
    for source in [
        "// SAFETY: g has no requirement.\nunsafe { g() }",
        "// SAFETY: g has no requirement,\n// in two lines.\nlet x =\n    unsafe { g() };",
        "// SAFETY: as above.\n#[expect(lint)]\nunsafe impl Send for X {}",
        "/// # Safety\n/// `x` is valid.\nunsafe fn f() {}",
    ] {
        assert_eq!(broken(path, source), [] as [&str; 0], "{source}");
    }
}

#[test]
fn only_the_command_line_speaks() {
    for source in ["println!(\"x\");", "eprintln!(\"x\");", "dbg!(x);", "std::print!(\"x\");"] {
        assert_eq!(broken("awf-userspace/src/proxy/mod.rs", source), ["printing@2"], "{source}");
        for path in ["awf-userspace/src/cli/exec.rs", "awf-userspace/tests/a.rs"] {
            assert_eq!(broken(path, source), [] as [&str; 0], "{source}");
        }
    }
    assert_eq!(
        broken("awf-userspace/src/proxy/mod.rs", "// println!(1)\nlog::info!(\"println!\");"),
        [] as [&str; 0]
    );
}

#[test]
fn what_is_left_for_later_has_an_issue() {
    for source in ["todo!()", "todo!(\"later\")", "#[ignore]", "#[ignore = \"slow\"]"] {
        assert_eq!(broken("tests/e2e/a.rs", source), ["unfinished@2"], "{source}");
    }
    for source in ["todo!(\"#12: v6\")", "#[ignore = \"#12: needs a newer kernel\"]", "fn ignore() {}"] {
        assert_eq!(broken("tests/e2e/a.rs", source), [] as [&str; 0], "{source}");
    }
}
