//! The caller's terminal is as it was, whatever the end; nothing that was written is lost.

use harness::Lab;
use rustix::process::Signal;

use super::{Shell, both, quiet, start};

#[test]
fn ten_megabytes_are_shown_to_the_last_byte() {
    let lab = Lab::new();
    for run in both(&lab) {
        let at = start(&run, &lab, &["bash", "-c", "head -c 10000000 /dev/zero | tr '\\0' x; exit 5"]);
        assert_eq!(at.ends_with(5).matches('x').count(), 10_000_000);
    }
}

#[test]
fn what_still_has_the_terminal_holds_nobody() {
    let lab = Lab::new();
    for run in both(&lab) {
        let script = "setsid sh -c 'trap \"\" HUP TERM; exec yes' & trap '' HUP; sleep 1000 & echo over";
        let mut at = start(&run, &lab, &["bash", "-c", script]);
        at.expect("over");
        at.ends_with(0);
    }
}

#[test]
fn every_end_restores_the_modes() {
    let lab = Lab::new();
    for (script, signal, code) in [
        ("echo ready; exit 3", None, 3),
        ("stty raw -echo; echo ready; kill -KILL $$", None, 137),
        ("exec cat", Some(Signal::TERM), 143),
        ("exec cat", Some(Signal::INT), 130),
        ("exec cat", Some(Signal::QUIT), 131),
        ("exec cat", Some(Signal::HUP), 129),
    ] {
        let mut shell = Shell::start(&quiet(lab.awf()), &lab, &["bash", "-c", script]);
        shell.type_line("@; echo code=$?; stty -a | tr ' ;' '\\n\\n' | grep -E '^-?(echo|icanon|opost|isig|icrnl)$' | xargs echo modes:");
        match signal {
            None => drop(shell.expect("ready")),
            Some(signal) => {
                shell.send("ready\n");
                shell.expect("ready\r\nready\r\n");
                shell.awf_bpf(signal);
            }
        }
        shell.expect(&format!("code={code}"));
        let modes = shell.expect_line("modes:");
        for mode in ["echo", "icanon", "opost", "isig", "icrnl"] {
            assert!(modes.split(' ').any(|word| word == mode), "{script} {signal:?}: {modes}");
        }
        shell.send("exit\n");
        shell.terminal.end();
    }
}

#[test]
fn the_time_limit_restores_too() {
    let lab = Lab::new();
    let at = start(&quiet(lab.awf()).args(["--agent-timeout", "1s"]), &lab, &["cat"]);
    let (status, _) = at.end();
    assert_eq!(status.code(), Some(124));
}

#[test]
fn a_command_that_does_not_exist_is_said_on_a_sane_terminal() {
    let lab = Lab::new();
    let shown = start(&quiet(lab.awf()), &lab, &["no-such-command", "x"]).ends_with(127);
    assert!(shown.contains("not found\r\n"), "{}", shown.escape_debug());
}

#[test]
fn a_terminal_that_is_gone_hangs_the_command_up() {
    let lab = Lab::new();
    for run in both(&lab) {
        let witness = lab.dir().work().join("hung-up");
        let script =
            "trap 'echo $((++n)) >> hung-up; exit 9' HUP; echo ready; while :; do read -t 1000 x; done";
        let mut at = start(&run, &lab, &["bash", "-c", script]);
        at.expect("ready");
        at.hang_up();
        at.wait();
        assert_eq!(std::fs::read_to_string(&witness).expect("the trap ran"), "1\n");
        std::fs::remove_file(witness).expect("remove the witness");
    }
}

#[test]
fn words_of_our_own_end_in_cr_lf_while_it_is_raw() {
    let lab = Lab::new();
    let run = lab.awf().args(["--log-level", "debug"]);
    let mut at = start(&run, &lab, &["bash", "-c", "echo ready; curl -s http://denied.test/; echo over"]);
    at.expect("ready");
    let shown = at.expect("over");
    assert!(!shown.replace("\r\n", "").contains('\n'), "{}", shown.escape_debug());
    at.ends_with(0);
}
