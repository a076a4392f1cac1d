//! Which streams are the terminal, and `--tty`.

use std::{fs::File, io::Read, process::Stdio};

use harness::{
    Lab,
    terminal::{ALL, Streams, Terminal},
};

use super::{both, quiet};

const WHICH: &str = "for n in 0 1 2; do test -t $n && echo $n >/dev/tty; done; echo end >/dev/tty";

#[test]
fn streams_that_are_no_terminal_stay_what_they_are() {
    let lab = Lab::new();
    for run in both(&lab) {
        for (streams, expected) in [
            (Streams { stdin: false, ..ALL }, "1\r\n2\r\nend"),
            (Streams { stdout: false, ..ALL }, "0\r\n2\r\nend"),
            (Streams { stdin: false, stdout: false, stderr: true }, "2\r\nend"),
            (Streams { stdin: false, stdout: false, stderr: false }, "end"),
        ] {
            let mut command = run.command(&["bash", "-c", WHICH]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let at = lab.machine().within(|| Terminal::start_with(command, streams));
            // A terminal that the command has not read adds its own CR, which shows nothing.
            assert_eq!(at.ends_with(0).replace("\r\r", "\r").trim_end(), expected, "{streams:?}");
        }
    }
}

#[test]
fn a_piped_stdout_is_the_pipe_byte_for_byte() {
    let lab = Lab::new();
    let mut command =
        quiet(lab.awf()).command(&["bash", "-c", "printf 'a\\nb\\r\\n'; read line; printf \"$line\\n\""]);
    let (mut read, write) = std::io::pipe().expect("make a pipe");
    command.stdout(write);
    let at = lab.machine().within(|| Terminal::start_with(command, Streams { stdout: false, ..ALL }));
    at.send("typed\n");
    at.ends_with(0);
    let mut all = String::new();
    read.read_to_string(&mut all).expect("read the pipe");
    assert_eq!(all, "a\nb\r\ntyped\n");
}

#[test]
fn dev_null_as_stdin_is_its_end() {
    let lab = Lab::new();
    let mut command = quiet(lab.awf()).command(&["cat"]);
    command.stdin(Stdio::null());
    let at = lab.machine().within(|| Terminal::start_with(command, Streams { stdin: false, ..ALL }));
    at.ends_with(0);
}

#[test]
fn tty_gives_a_terminal_where_there_is_none() {
    let lab = Lab::new();
    let script =
        "tty; test -t 0 && test -t 1 && test -t 2 && stty size; echo $FORCE_COLOR $TERM $COLUMNS; echo e >&2";
    let run = lab.awf().args(["--tty", "-q"]);
    let expected = "/dev/pts/0\r\n24 120\r\n1 xterm-256color 120\r\ne\r\n";
    run.run(&["bash", "-c", script]).ok().stdout_is(expected);
    run.machine_files().run(&["bash", "-c", script]).ok().stdout_is(expected);
    let set = lab.awf().args(["--tty", "-q", "-e", "TERM=vt100", "-e", "COLUMNS=5"]);
    set.run(&["bash", "-c", "echo $TERM $COLUMNS"]).ok().stdout_is("vt100 5\r\n");
    lab.awf().sh("tty || true; echo 1 $FORCE_COLOR").ok().stdout_is("not a tty\n1\n");
}

#[test]
fn tty_with_a_pipe_reads_it_to_its_end() {
    let lab = Lab::new();
    let run = lab.awf().args(["--tty", "-q"]);
    run.clone().stdin("one\ntwo\n").run(&["cat"]).ok().stdout_is("one\r\ntwo\r\n");
    run.clone().stdin("no line end").run(&["cat"]).ok().stdout_is("no line end");
    run.clone().run(&["cat"]).ok().stdout_is("");
    let lines: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
    run.stdin(lines).sh("sleep 0.2; wc -l").ok().stdout_is("20000\r\n");
}

#[test]
fn tty_from_a_file_to_a_closed_pipe_ends() {
    let lab = Lab::new();
    let path = lab.dir().file("input", "from a file\n");
    let mut command = lab.awf().args(["--tty", "-q"]).command(&["bash", "-c", "cat; exec yes"]);
    let (mut read, write) = std::io::pipe().expect("make a pipe");
    command.stdin(File::open(path).expect("open the input")).stdout(write).stderr(Stdio::null());
    let mut child = lab.machine().within(|| command.spawn()).expect("start awf-bpf");
    drop(command);
    let mut first = [0; 13];
    read.read_exact(&mut first).expect("read the beginning");
    assert_eq!(&first, b"from a file\r\n");
    drop(read);
    assert_eq!(child.wait().expect("reap it").code(), Some(129), "SIGHUP, as from a terminal that is gone");
}
