//! What an attached program reaches, by which protocol and family, and what is on record of it.

use super::{Shell, assert_nothing_left, lab};

#[test]
fn what_runs_already_reaches_what_is_allowed_and_nothing_else() {
    let lab = lab();
    let shell = Shell::start(&lab);
    assert_eq!(shell.curl("", "denied.test").code, 0, "nothing is in the way before");
    let run = shell.attach(&["-d", "allowed.test"]);
    for family in ["-4", "-6"] {
        let said = shell.curl(family, "allowed.test");
        assert!(said.code == 0 && said.text.contains("hello from allowed.test"), "{family}: {said:?}");
        let said = shell.curl(family, "denied.test");
        assert!(said.code != 0 && !said.text.contains("hello"), "{family}: {said:?}");
        // By its address, past every resolver.
        let resolve = if family == "-4" { "203.0.113.20" } else { "2001:db8:2::20" };
        let said = shell.curl(&format!("{family} --resolve denied.test:443:{resolve}"), "denied.test");
        assert!(said.code != 0 && !said.text.contains("hello"), "{family}: {said:?}");
    }
    run.out.denied("denied.test", "not_in_allowlist");
    let ps = run.ps().expect("it is listed");
    assert!(ps["alive"] == true && ps["processes"].as_u64() >= Some(1), "{ps}");
    assert!(ps["allowed"].as_u64() >= Some(2) && ps["denied"].as_u64() >= Some(2), "{ps}");
    let id = run.id.clone();
    run.detach().ok().stdout_is(&format!("detached {id}\n"));
    assert_eq!(shell.curl("", "denied.test").code, 0, "as before");
    assert_nothing_left(&lab, &id);
}

#[test]
fn datagrams_and_names_are_refused_like_connections() {
    let lab = lab();
    let shell = Shell::start(&lab);
    let run = shell.attach(&["-d", "allowed.test"]);
    let before = lab.queries().all().len();
    let script = "import socket\n\
        for family, to in (socket.AF_INET, '203.0.113.66'), (socket.AF_INET6, '2001:db8:2::66'):\n\
        \x20 try:\n\x20   socket.socket(family, socket.SOCK_DGRAM).sendto(b'x', (to, 443)); print('SENT')\n\
        \x20 except OSError as e: print(e)\n\
        try:\n\x20 socket.getaddrinfo('denied.test', 443); print('FOUND')\n\
        except OSError as e: print(e)\n\
        print(socket.getaddrinfo('allowed.test', 443)[0][4][0])\n";
    let said = shell.sh(&format!("/usr/bin/python3 -c \"{script}\""));
    assert!(!said.text.contains("SENT") && !said.text.contains("FOUND"), "{said:?}");
    assert!(said.text.contains("Network is unreachable") && said.text.contains("10"), "{said:?}");
    let asked = lab.queries().all();
    assert!(asked[before..].iter().all(|query| !format!("{query:?}").contains("denied")), "{asked:?}");
    drop(run);
}

#[test]
fn two_attached_at_once_have_each_its_own_policy() {
    let lab = lab();
    let shells = [Shell::start(&lab), Shell::start(&lab), Shell::start(&lab)];
    let runs = [shells[0].attach(&["-d", "allowed.test"]), shells[1].attach(&["-d", "other.test"])];
    for (shell, reaches) in shells.iter().zip([[true, false], [false, true], [true, true]]) {
        for (host, reaches) in ["allowed.test", "other.test"].into_iter().zip(reaches) {
            let said = shell.curl("", host);
            assert_eq!(said.code == 0, reaches, "{host}: {said:?}");
        }
    }
    let [first, second] = runs;
    first.detach().ok();
    assert!(shells[0].curl("", "other.test").code == 0 && shells[1].curl("", "allowed.test").code != 0);
    second.detach().ok();
}

/// The caller's streams, session and environment are its own: nothing of the daemon is held by them.
#[test]
fn the_daemon_has_nothing_of_its_caller() {
    let lab = lab();
    let shell = Shell::start(&lab);
    let run = lab.awf().outer_env("RUNNER_TRACKING_ID", "job-4711");
    let audit = run.audit_dir().to_str().expect("UTF-8").to_owned();
    let pid = shell.pid().to_string();
    let out = run.subcommand(&["attach", "--audit-dir", &audit, "--pid", &pid]);
    let run = super::Attached { lab: &lab, id: out.ok().stdout().trim().into(), out, ended: false };
    let proc = format!("/proc/{}", run.daemon().as_raw_nonzero());
    let environ = std::fs::read(format!("{proc}/environ")).expect("read it");
    assert!(!String::from_utf8_lossy(&environ).contains("4711"), "{environ:?}");
    let stat = std::fs::read_to_string(format!("{proc}/stat")).expect("read it");
    let fields: Vec<_> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    assert_ne!(fields[3], run.daemon().as_raw_nonzero().to_string(), "it leads no session");
    let link = |name: &str| std::fs::read_link(format!("{proc}/{name}")).expect("a link");
    assert_eq!(
        (link("cwd"), link("fd/0"), link("fd/1")),
        ("/".into(), "/dev/null".into(), "/dev/null".into())
    );
    assert!(link("fd/2").ends_with("awf-bpf.log"));
    run.detach().ok();
}
