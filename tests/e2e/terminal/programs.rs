//! What people run on terminals.

use harness::Lab;

use super::{both, quiet, start};

#[test]
fn the_command_has_a_terminal_of_its_own() {
    let lab = Lab::new();
    for run in both(&lab) {
        let script = "tty; test -t 0 && test -t 1 && test -t 2 && echo all; stty size; echo hi >/dev/tty; ls -1 /dev/pts; \
                      ls -l /dev/pts/0 | cut -d' ' -f1,3; stat -c %t:%T /dev/tty";
        let shown = start(&run, &lab, &["bash", "-c", script]).ends_with(0);
        let owner = harness::machine::USER;
        let expected = format!("/dev/pts/0\nall\n24 80\nhi\n0\nptmx\ncrw--w---- {owner}\n5:0\n");
        assert_eq!(shown.replace("\r\n", "\n"), expected);
    }
}

/// Says when it begins and when it is continued: by then it is in front, if it shall be.
const JOB: &str = "import os, signal; \
    signal.signal(signal.SIGCONT, lambda *_: os.write(1, b\"again\\n\")); \
    os.write(1, b\"go\\n\")\nwhile True: signal.pause()";

#[test]
fn bash_controls_its_jobs() {
    let lab = Lab::new();
    for run in both(&lab) {
        let run = run.env("PS1", "inner> ");
        let mut at = start(&run, &lab, &["bash", "--norc", "--noprofile", "-i"]);
        at.expect("inner> ");
        at.send("bind 'set enable-bracketed-paste off'\n");
        at.expect("inner> ");
        at.send(&format!("/usr/bin/python3 -c '{JOB}'\n"));
        at.expect("go\r\n");
        at.send("\x1a");
        at.expect("Stopped");
        at.expect("inner> ");
        at.send("fg\n");
        at.expect("again\r\n");
        at.send("\x1a");
        at.expect("Stopped");
        at.expect("inner> ");
        at.send("bg\n");
        at.expect("again\r\n");
        at.send("jobs\n");
        at.expect("Running");
        at.expect("inner> ");
        at.send("kill %1; wait %1; echo ended=$?\n");
        at.expect("ended=143");
        at.expect("inner> ");
        at.send("echo go; cat\n");
        at.expect("go\r\n");
        at.send("one\n");
        at.expect("one\r\none\r\n");
        at.send("\x03");
        at.expect("inner> ");
        at.send("echo interrupted=$?\n");
        at.expect("interrupted=130");
        at.send("exit 7\n");
        at.ends_with(7);
    }
}

#[test]
fn vim_edits_a_file() {
    let lab = Lab::new();
    let run = quiet(lab.awf());
    let mut at = start(&run, &lab, &["vim", "-u", "NONE", "-N", "note"]);
    at.expect("\"note\"");
    at.send("ihello from vim\x1b:set lines? columns?\r");
    at.expect("columns=80");
    at.send("\r:wq\r");
    at.ends_with(0);
    let note = std::fs::read_to_string(lab.dir().work().join("note")).expect("read the note");
    assert_eq!(note, "hello from vim\n");
}

#[test]
fn less_pages_what_it_is_given_and_what_is_piped_to_it() {
    let lab = Lab::new();
    let run = quiet(lab.awf());
    let text: String = (1..=200).map(|n| format!("line {n}\n")).collect();
    lab.dir().file("text", &text);
    for script in ["less text", "cat text | less"] {
        let mut at = start(&run, &lab, &["bash", "-c", script]);
        at.expect("line 23");
        at.send(" ");
        at.expect("line 46");
        at.send("G");
        at.expect("line 200");
        at.send("q");
        at.ends_with(0);
    }
}

#[test]
fn python_talks() {
    let lab = Lab::new();
    let run = quiet(lab.awf()).env("PYTHON_BASIC_REPL", "1").env("PYTHONSTARTUP", "");
    let mut at = start(&run, &lab, &["/usr/bin/python3", "-i", "-q"]);
    at.expect(">>> ");
    at.send("6 * 7\r");
    at.expect("42\r\n");
    at.expect(">>> ");
    at.send("import time; print('run' + 'ning'); time.sleep(1000)\r");
    at.expect("running\r\n");
    at.send("\x03");
    at.expect("KeyboardInterrupt");
    at.expect(">>> ");
    at.send("import getpass; getpass.getpass('wo' 'rd? ')\r");
    at.expect("word? ");
    at.send("not shown\r");
    at.expect("'not shown'");
    at.expect(">>> ");
    at.send("\x04");
    at.ends_with(0);
}

#[test]
fn sizes_follow() {
    let lab = Lab::new();
    for run in both(&lab) {
        let script = "import os, signal\n\
            def say(*_): os.write(1, b'size %d %d\\n' % os.get_terminal_size())\n\
            signal.signal(signal.SIGWINCH, say)\n\
            say()\n\
            while True: signal.pause()";
        let mut at = start(&run, &lab, &["/usr/bin/python3", "-c", script]);
        at.expect("size 80 24");
        at.resize(50, 132);
        at.expect("size 132 50");
        at.resize(0, 0);
        at.expect("size 80 24");
        at.resize(3, 500);
        at.expect("size 500 3");
        at.send("\x1c");
        at.ends_with(131);
    }
}
