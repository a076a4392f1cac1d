//! Keys that signal, and a shell outside in which awf-bpf is a job.

use harness::Lab;
use rustix::process::Signal;

use super::{Shell, both, quiet, start};

/// Counts each SIGINT and SIGQUIT; `end` ends it.
const COUNTER: &str = "import os, signal, sys\n\
    def got(n, _): os.write(1, b'got %d\\n' % n)\n\
    for n in (2, 3, 10): signal.signal(n, got)\n\
    print('ready', flush=True)\n\
    for line in sys.stdin:\n \
     print('read', line.strip(), flush=True)\n \
     if line == 'end\\n': break";

#[test]
fn each_key_signals_once() {
    let lab = Lab::new();
    for run in both(&lab) {
        let mut at = start(&run, &lab, &["/usr/bin/python3", "-c", COUNTER]);
        at.expect("ready");
        at.send("\x03");
        at.expect("got 2");
        at.send("\x1c");
        at.expect("got 3");
        // A second one of either would have been shown before this.
        at.signal(Signal::USR1);
        assert!(!at.expect("got 10").contains("got"));
        at.send("end\n");
        at.expect("read end");
        at.ends_with(0);
    }
}

#[test]
fn ctrl_c_ends_cat_and_ctrl_d_its_input() {
    let lab = Lab::new();
    for run in both(&lab) {
        let mut at = start(&run, &lab, &["cat"]);
        at.send("x\n");
        at.expect("x\r\nx\r\n");
        at.send("\x03");
        at.ends_with(130);
        let mut at = start(&run, &lab, &["cat"]);
        at.send("y\n");
        at.expect("y\r\ny\r\n");
        at.send("\x04");
        at.ends_with(0);
    }
}

#[test]
fn ctrl_z_stops_and_fg_continues() {
    let lab = Lab::new();
    for run in both(&lab) {
        let mut shell = Shell::start(&run, &lab, &["/usr/bin/python3", "-c", COUNTER]);
        let cooked = shell.terminal.modes();
        shell.type_line("@");
        shell.expect("ready");
        assert_ne!(shell.terminal.modes(), cooked, "it is raw");
        for _ in 0..2 {
            shell.send("\x1a");
            shell.expect("Stopped");
            shell.expect("outer> ");
            shell.send("stty -a | tr ' ' '\\n' | grep -x -e isig -e -isig; echo shell=$?\n");
            shell.expect("\r\nisig\r\nshell=0");
            shell.expect("outer> ");
            shell.terminal.resize(30, 100);
            shell.send("fg\n");
            shell.send("again\n");
            shell.expect("read again");
        }
        shell.send("end\n");
        shell.expect("read end");
        shell.expect("outer> ");
        shell.send("echo code=$?\n");
        shell.expect("code=0");
        shell.send("exit\n");
        shell.terminal.ends_with(0);
    }
}

#[test]
fn in_the_background_it_writes_and_stops_when_it_reads() {
    let lab = Lab::new();
    for run in both(&lab) {
        let mut shell = Shell::start(&run, &lab, &["/usr/bin/python3", "-c", COUNTER]);
        shell.type_line("@ &");
        shell.expect("ready");
        shell.expect("Stopped");
        shell.send("echo shell $((40 + 2))\n");
        shell.expect("shell 42");
        shell.expect("outer> ");
        shell.send("fg\n");
        shell.send("end\n");
        shell.expect("read end");
        shell.expect("outer> ");
        shell.send("echo code=$?; exit\n");
        shell.expect("code=0");
        shell.terminal.ends_with(0);
    }
}

#[test]
fn bg_lets_it_run_on() {
    let lab = Lab::new();
    let script = "trap 'echo conti''nued' CONT; echo ready; while :; do read -t 0.1 <> <(:) ; [ -e go ] && break; done; echo over";
    let mut shell = Shell::start(&quiet(lab.awf()), &lab, &["bash", "-c", script]);
    shell.type_line("@");
    shell.expect("ready");
    shell.send("\x1a");
    shell.expect("Stopped");
    shell.expect("outer> ");
    shell.send("bg\n");
    shell.expect("continued");
    shell.send("touch go\n");
    shell.expect("over");
    shell.expect("Done");
    shell.send("exit\n");
    shell.terminal.ends_with(0);
}

#[test]
fn in_a_pipeline_others_keep_the_terminal() {
    let lab = Lab::new();
    let mut shell = Shell::start(&quiet(lab.awf()), &lab, &["/usr/bin/python3", "-c", COUNTER]);
    // `cat` writes to the terminal while the command reads it: its line ends are right.
    // Each line is one write: the echo reaches the terminal by another way than `cat`.
    shell.type_line("@ | cat");
    shell.expect("ready\r\n");
    shell.send("one\n");
    shell.expect("read one\r\n");
    shell.send("end\n");
    shell.expect("read end\r\n");
    shell.expect("outer> ");
    shell.send("exit\n");
    shell.terminal.ends_with(0);
    // Ctrl-C is for the whole pipeline.
    let mut shell = Shell::start(&quiet(lab.awf()), &lab, &["cat"]);
    shell.type_line("@ | cat");
    shell.send("two\n");
    shell.expect("two\r\ntwo\r\n");
    shell.send("\x03");
    shell.expect("outer> ");
    shell.send("echo codes=${PIPESTATUS[*]}\n");
    shell.expect("codes=130 130");
    shell.send("exit\n");
    shell.terminal.end();
}

#[test]
fn a_script_around_it_stops_with_it() {
    let lab = Lab::new();
    let mut shell = Shell::start(&quiet(lab.awf()), &lab, &["cat"]);
    shell.type_line("(@; echo after)");
    shell.send("x\n");
    shell.expect("x\r\nx\r\n");
    shell.send("\x1a");
    shell.expect("Stopped");
    shell.expect("outer> ");
    shell.send("fg\n");
    shell.send("y\n");
    shell.expect("y\r\ny\r\n");
    shell.send("\x04");
    shell.expect("after");
    shell.expect("outer> ");
    shell.send("exit\n");
    shell.terminal.ends_with(0);
}

#[test]
fn without_a_shell_nobody_is_stopped_for_ever() {
    let lab = Lab::new();
    for run in both(&lab) {
        let script = "kill -STOP $$; echo went on; kill -TSTP $$; echo and on";
        let mut at = start(&run, &lab, &["bash", "-c", script]);
        at.expect("went on");
        at.expect("and on");
        at.ends_with(0);
    }
}

#[test]
fn what_it_wrote_is_shown_before_it_stops() {
    let lab = Lab::new();
    let script = "for i in 1 2 3; do printf '%02000d\n' $i; kill -TSTP $$; done";
    let mut shell = Shell::start(&quiet(lab.awf()), &lab, &["bash", "-c", script]);
    shell.type_line("@");
    for number in ["1", "2", "3"] {
        let before = shell.expect(&format!("000{number}\r\n"));
        assert!(!before.contains("Stopped"), "{}", before.escape_debug());
        shell.expect("Stopped");
        shell.expect("outer> ");
        shell.send("fg\n");
    }
    shell.expect("outer> ");
    shell.send("exit\n");
    shell.terminal.ends_with(0);
}
