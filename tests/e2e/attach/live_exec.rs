//! The rules of a run of `exec`, changed while it goes on.

use std::{fs, process::Command};

use harness::{Lab, Process, Run, tools};
use serde_json::Value;

use super::{SOON, attach, lab, runs};

/// A command behind the firewall that does what it is told one line after another.
struct Told<'lab> {
    run: Run<'lab>,
    process: Process,
    orders: fs::File,
    number: u32,
}

impl<'lab> Told<'lab> {
    fn start(lab: &'lab Lab, run: Run<'lab>) -> Self {
        let fifo = lab.dir().work().join("orders");
        tools::succeed(Command::new("mkfifo").args(["-m", "666"]).arg(&fifo));
        let script = "exec 3<>orders; echo up.; while read -r order <&3; do eval \"$order\"; done";
        let process = run.spawn(&["bash", "-c", script]);
        process.wait_for_stdout("up.", SOON);
        let orders = fs::OpenOptions::new().write(true).open(fifo).expect("open the FIFO");
        Self { run, process, orders, number: 0 }
    }

    fn sh(&mut self, line: &str) -> i32 {
        self.number += 1;
        let order = format!("{line}; echo \"done {} $?.\"\n", self.number);
        std::io::Write::write_all(&mut self.orders, order.as_bytes()).expect("order it");
        let said = self.process.wait_for_stdout(&format!("done {} ", self.number), SOON);
        let said = format!("{said}{}", self.process.wait_for_stdout(".\n", SOON));
        let after = said.rsplit_once(&format!("done {} ", self.number)).expect("it was waited for").1;
        after.split_once('.').expect("a code").0.parse().expect("a code")
    }

    fn curl(&mut self, url: &str) -> i32 {
        self.sh(&format!("curl -fsS -m 20 -o /dev/null {url}"))
    }

    #[track_caller]
    fn status(&mut self, path: &str, status: u16) {
        let asked = format!("curl -s -m 20 -o /dev/null -w '%{{http_code}}' https://allowed.test{path}");
        assert_eq!(self.sh(&format!("[ $({asked}) = {status} ]")), 0, "{path}");
    }

    fn end(mut self) -> harness::Output {
        std::io::Write::write_all(&mut self.orders, b"exit 0\n").expect("order it");
        self.run.finish(self.process)
    }
}

fn policy(lab: &Lab, words: &[&str]) -> harness::Output {
    lab.awf().subcommand(&[&["policy"], words].concat())
}

#[test]
fn the_rules_of_exec_change_while_it_goes_on() {
    let lab = lab();
    // It begins with nothing: names are found all the same when there are rules for them.
    let mut told = Told::start(&lab, lab.awf());
    let listed = runs(&lab);
    let [run] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!(
        (&run["attached"], &run["target"], &run["alive"]),
        (&false.into(), &"exec".into(), &true.into())
    );
    assert!(run["processes"].as_u64() >= Some(1) && run["daemon"].as_u64() > Some(1), "{run}");
    let id = run["id"].as_str().expect("a string").to_owned();
    assert_ne!(told.curl("https://allowed.test/"), 0);
    policy(&lab, &["allow", "allowed.test"]).ok();
    assert_eq!(told.curl("https://allowed.test/"), 0);
    policy(&lab, &["deny", "--run", &id, "allowed.test"]).ok();
    assert_ne!(told.curl("https://allowed.test/"), 0);
    policy(&lab, &["allow", "https://other.test/x/**"]).code(1).stderr_contains("--tls on");
    policy(&lab, &["allow", "localhost:3000"]).code(1);
    lab.awf().subcommand(&["detach", &id]).code(1).stderr_contains("it ends with its command");
    lab.awf().subcommand(&["detach", "--all"]).ok();
    let shown: Value = serde_json::from_str(&policy(&lab, &["show", "--json"]).ok().stdout()).expect("JSON");
    assert_eq!((shown["run"].as_str(), shown["open"].as_bool()), (Some(&*id), Some(true)));
    let out = told.end();
    let changes = out.ok().audit().into_iter().filter(|record| record["event"] == "policy").count();
    assert_eq!(changes, 2);
    assert_eq!(runs(&lab), Vec::<Value>::new());
    harness::leftovers::assert_none(&lab, &id);
}

#[test]
fn a_run_that_looks_into_tls_takes_rules_for_urls() {
    let lab = lab();
    let mut told = Told::start(&lab, lab.awf().args(["--tls", "on", "-d", "other.test"]));
    assert_ne!(told.curl("https://allowed.test/open/x"), 0);
    policy(&lab, &["allow", "https://allowed.test/open/**"]).ok();
    told.status("/open/x", 404);
    told.status("/shut/x", 403);
    told.end().ok();
}

/// A host with rules for URLs is looked into, whatever was excluded: it is not opened as a whole instead.
#[test]
fn a_rule_for_urls_counts_where_interception_was_excluded() {
    let lab = lab();
    let flags = ["--tls", "on", "--tls-exclude", "allowed.test", "-d", "other.test"];
    let mut told = Told::start(&lab, lab.awf().args(flags));
    policy(&lab, &["allow", "https://allowed.test/open/**"]).ok();
    told.status("/open/x", 404);
    told.status("/shut/x", 403);
    told.end().ok();
}

/// Edits that race are each whole, and each on record.
#[test]
fn edits_at_once_are_all_made() {
    let lab = lab();
    let mut told = Told::start(&lab, lab.awf().allow("other.test"));
    std::thread::scope(|scope| {
        for number in 0..8 {
            let lab = &lab;
            scope.spawn(move || {
                let (one, two) = (format!("a{number}.test"), format!("b{number}.test"));
                policy(lab, &["allow", &one, &two]).ok();
                policy(lab, &["allow", "--remove", &two]).ok();
            });
        }
    });
    for hostile in
        ["a.test\n*.com", "*", "\u{1b}[2J.test", "../x", "https://u:p@a.test/", &"a".repeat(100_000)]
    {
        policy(&lab, &["allow", hostile]).code(1).stderr_lacks("\u{1b}");
    }
    let shown: Value = serde_json::from_str(&policy(&lab, &["show", "--json"]).ok().stdout()).expect("JSON");
    let mut rules: Vec<_> = shown["rules"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| row["rule"].as_str().expect("text"))
        .collect();
    rules.sort_unstable();
    let made: Vec<_> = (0..8).map(|number| format!("a{number}.test")).chain(["other.test".into()]).collect();
    assert_eq!(rules, made);
    assert_eq!(told.curl("https://other.test/"), 0);
    let out = told.end();
    let changes = out.ok().audit().into_iter().filter(|record| record["event"] == "policy").count();
    assert_eq!(changes, 8 * 3);
}

/// Uid 0 of a sandbox is not the machine's root, by whichever run it would change.
#[test]
fn who_is_behind_a_run_changes_none() {
    let lab = lab();
    let shell = super::Shell::start_as(&lab, &lab.bare().as_root());
    let run = attach(&lab, &["--pid", &shell.pid().to_string(), "-d", "allowed.test"]);
    let awf = tools::awf_bpf().display().to_string();
    for words in ["policy allow denied.test", &format!("detach {}", run.id)] {
        let said = shell.sh(&format!("{awf} {words}"));
        assert!(said.code == 1 && said.text.contains("who is behind a run"), "{said:?}");
    }
    assert_eq!(shell.sh(&format!("{awf} policy show")).code, 0, "to look is free");
    for inner in [lab.awf(), lab.awf().machine_files()] {
        let ask = "import glob, socket, sys\n\
            for path in glob.glob(\"/run/awf-bpf/*/control\") or sys.exit(\"none\"):\n    \
            s = socket.socket(socket.AF_UNIX); s.connect(path)\n    \
            s.sendall(b\"{\\\"policy\\\":{\\\"edit\\\":{\\\"list\\\":\\\"allow\\\",\\\"remove\\\":false,\\\"entries\\\":[\\\"denied.test\\\"]}}}\\n\")\n    \
            print(s.recv(10000))\n";
        let out = inner.args(["--user", "root"]).run(&["/usr/bin/python3", "-c", ask]);
        let said = format!("{} {}", out.stdout(), out.stderr());
        assert!(said.contains("none") || said.contains("PermissionError"), "{said}");
    }
    run.detach().ok();
}
