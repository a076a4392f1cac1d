//! One attack: how the probe is run, what the canary must hear of it without awf-bpf, and the verdict with it.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    process::Command,
    time::Duration,
};

use harness::{
    Canary, Lab, Output, Process, Run,
    canary::Filter,
    hosts::{self, CANARY_V4, CANARY_V6, DNS_V4, DNS_V6, GATEWAY_V4, GATEWAY_V6},
    output::FAST,
    patience::stretch,
};
use serde_json::Value;

use crate::{
    kernel,
    outside::{Kept, Setting},
};

/// A line of the table: name, and how it differs from "the lab's user sends a marked packet to the canary".
macro_rules! attacks {
    ($($(#[$attribute:meta])* $name:ident: $attack:expr;)+) => {$(
        mod $name {
            use super::*;

            #[test]
            fn without_enforcement() {
                $attack.without_enforcement(stringify!($name));
            }

            $(#[$attribute])*
            #[test]
            fn isolated() {
                $attack.behind(stringify!($name), |run| run);
            }

            $(#[$attribute])*
            #[test]
            fn host_network() {
                $attack.behind(stringify!($name), |run| run.host_network().machine_files());
            }
        }
    )+};
}
pub(crate) use attacks;

/// What shows, without enforcement, that the attack is one.
#[derive(Clone, Debug)]
enum Proof {
    /// The canary hears such a packet.
    Heard(Filter),
    /// The probe reports that the door stood open.
    Opened,
}

/// Prepares the lab and adds words to the probe's command line.
type Prepare = fn(&mut Setting<'_>) -> Kept;

/// One attack; see [`attacks`].
#[derive(Clone, Debug)]
pub(crate) struct Attack {
    proof: Proof,
    root: bool,
    absent_without: Option<&'static str>,
    words: Vec<&'static str>,
    words_bare: Vec<&'static str>,
    wrap_bare: Vec<&'static str>,
    prepare: Vec<Prepare>,
    inherit: Option<i32>,
    expected: Vec<Filter>,
    may_wait: bool,
    may_open: bool,
    limit: Duration,
}

impl Attack {
    fn new(proof: Proof) -> Self {
        let dns = [Filter::any().to(DNS_V4), Filter::any().to(DNS_V6)];
        Self {
            proof,
            root: false,
            absent_without: None,
            words: vec!["443"],
            words_bare: Vec::new(),
            wrap_bare: Vec::new(),
            prepare: Vec::new(),
            inherit: None,
            expected: dns.map(|filter| filter.port(53).marked(false)).to_vec(),
            may_wait: false,
            may_open: false,
            limit: FAST,
        }
    }

    /// Without enforcement the canary hears a marked packet of this protocol at its IPv4 address.
    pub(crate) fn heard4(proto: u8) -> Self {
        Self::heard(Filter::any().proto(proto).to(CANARY_V4).marked(true))
    }

    /// As [`Self::heard4`], at its IPv6 address.
    pub(crate) fn heard6(proto: u8) -> Self {
        Self::heard(Filter::any().proto(proto).to(CANARY_V6).marked(true))
    }

    pub(crate) fn heard(filter: Filter) -> Self {
        Self::new(Proof::Heard(filter))
    }

    /// Without enforcement the probe finds the door open; the canary has no part in that.
    pub(crate) fn opened() -> Self {
        Self::new(Proof::Opened)
    }

    /// Without enforcement the attack needs root.
    pub(crate) fn root(self) -> Self {
        Self { root: true, ..self }
    }

    /// A kernel built without this option cannot show it; the refusal inside is checked all the same.
    pub(crate) fn absent_without(self, option: &'static str) -> Self {
        Self { absent_without: Some(option), ..self }
    }

    /// Words of the probe's command line, in place of port 443.
    pub(crate) fn words(self, words: &[&'static str]) -> Self {
        Self { words: words.to_vec(), ..self }
    }

    /// Words only without it.
    pub(crate) fn words_bare(self, words: &[&'static str]) -> Self {
        Self { words_bare: words.to_vec(), ..self }
    }

    /// Without enforcement the probe is started by this command.
    pub(crate) fn wrap_bare(self, words: &[&'static str]) -> Self {
        Self { wrap_bare: words.to_vec(), ..self }
    }

    pub(crate) fn prepare(mut self, prepare: Prepare) -> Self {
        self.prepare.push(prepare);
        self
    }

    /// A UDP socket made outside becomes this descriptor of the process started.
    pub(crate) fn inherit(self, fd: i32) -> Self {
        Self { inherit: Some(fd), ..self }
    }

    /// What else may come into the world behind awf-bpf.
    pub(crate) fn expect(mut self, filters: impl IntoIterator<Item = Filter>) -> Self {
        self.expected.extend(filters);
        self
    }

    /// The origin of allowed.test may get anything: it is allowed.
    pub(crate) fn may_reach_allowed(self) -> Self {
        self.expect(hosts::host("allowed.test").addrs().map(|addr| Filter::any().to(addr)))
    }

    /// Being dialled means waiting: no answer is a refusal, and the world gets its resets.
    pub(crate) fn may_wait(self) -> Self {
        let resets = [Filter::any().to(GATEWAY_V4), Filter::any().to(GATEWAY_V6)];
        Self { may_wait: true, ..self }.expect(resets.map(|filter| filter.marked(false)))
    }

    /// The door may open: nothing leaves by it.
    pub(crate) fn may_open(self) -> Self {
        Self { may_open: true, ..self }
    }

    /// A bound other than [`FAST`], for loads.
    pub(crate) fn limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// The attack must succeed here, or its silence behind awf-bpf proves nothing.
    #[track_caller]
    pub(crate) fn without_enforcement(&self, vector: &str) {
        let lab = Lab::new();
        let canary = Canary::new(&lab);
        let run = if self.root { lab.bare().as_root() } else { lab.bare() };
        let out = self.run(&lab, run, vector, false);
        let report = report(&out);
        if report["result"] == "impossible" {
            return self.excuse(vector, &report);
        }
        canary.settle(std::os::fd::AsFd::as_fd(lab.machine()));
        match &self.proof {
            Proof::Heard(filter) => {
                let heard = canary.seen(filter);
                let shown = || format!("the canary to hear {filter:?}; it heard {:#?}", summary(&canary));
                out.check(!heard.is_empty(), shown);
            }
            Proof::Opened => {
                let open = ["opened", "reached"].iter().any(|result| report["result"] == *result);
                out.check(open, || "the door to stand open without enforcement".to_owned());
            }
        }
    }

    /// A kernel may lack the protocol, and then has to say so itself.
    #[track_caller]
    fn excuse(&self, vector: &str, report: &Value) {
        let option = self.absent_without.unwrap_or_else(|| panic!("{vector} cannot be tried here: {report}"));
        let built = kernel::has(option);
        assert_ne!(built, Some(true), "{vector}: the kernel has {option}, yet: {report}");
        eprintln!(
            "{vector}: NOT SHOWN on this kernel, built without {option}; the refusal inside is tested: {report}"
        );
    }

    /// The attack must fail fast, and the canary hear nothing.
    #[track_caller]
    pub(crate) fn behind(&self, vector: &str, network: impl Fn(Run<'_>) -> Run<'_>) {
        let lab = Lab::new();
        let canary = Canary::new(&lab);
        let run = network(lab.awf().allow("allowed.test"));
        let out = self.run(&lab, run, vector, true);
        canary.assert_silent_except(&lab, &self.expected);
        let limit = stretch(self.limit);
        out.check(out.elapsed() < limit, || format!("an end in less than {limit:?}"));
        if self.inherit.is_some() && out.exit_code() == 125 {
            // awf-bpf refuses the descriptor, and says so, before it starts anything.
            return;
        }
        let report = report(&out);
        let result = report["result"].as_str().unwrap_or_default();
        out.check(result != "reached", || "no answer of the canary".to_owned());
        out.check(self.may_open || result != "opened", || "the door to be shut".to_owned());
        out.check(self.may_wait || result != "silent", || "a refusal, not a hang".to_owned());
    }

    fn run(&self, lab: &Lab, run: Run<'_>, vector: &str, firewalled: bool) -> Output {
        let probe = lab.dir().install(Path::new(env!("CARGO_BIN_EXE_probe")));
        let (wrap, more) =
            if firewalled { (&[][..], &[][..]) } else { (&self.wrap_bare[..], &self.words_bare[..]) };
        let mut words: Vec<String> = wrap.iter().map(ToString::to_string).collect();
        words.extend([probe.display().to_string(), vector.to_owned()]);
        words.extend(targets());
        words.extend(self.words.iter().chain(more).map(ToString::to_string));
        let mut setting = Setting { lab, probe: &probe, firewalled, words };
        let kept: Vec<Kept> = self.prepare.iter().map(|prepare| prepare(&mut setting)).collect();
        let words: Vec<&str> = setting.words.iter().map(String::as_str).collect();
        let run = run.limit(self.limit + Duration::from_secs(30));
        let mut command = run.command(&words);
        if let Some(fd) = self.inherit {
            hand_down(lab, &mut command, fd);
        }
        let process = lab.machine().within(|| Process::spawn(&mut command, Vec::new()));
        let out = run.finish(process);
        drop(kept);
        out
    }
}

/// The canary's addresses, and the namespace the probe must never send from: this machine's own.
fn targets() -> [String; 3] {
    let (v4, v6): (Ipv4Addr, Ipv6Addr) = (CANARY_V4, CANARY_V6);
    let own = std::fs::metadata("/proc/self/ns/net").expect("stat this process's network namespace");
    [v4.to_string(), v6.to_string(), format!("never={}", own.ino())]
}

fn hand_down(lab: &Lab, command: &mut Command, fd: i32) {
    let bind = || std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("bind a socket");
    let socket = lab.machine().within(bind);
    let duplicate = move || {
        use std::os::fd::AsRawFd;
        // SAFETY: dup2 is async-signal-safe, both descriptors are plain numbers, and the copy is not close-on-exec.
        if unsafe { libc::dup2(socket.as_raw_fd(), fd) } < 0 {
            Err(std::io::Error::last_os_error())
        } else {
            Ok(())
        }
    };
    // SAFETY: the closure only calls dup2 and reads errno.
    unsafe { command.pre_exec(duplicate) };
}

/// The probe's line.
#[track_caller]
fn report(out: &Output) -> Value {
    let stdout = out.stdout();
    let line = stdout.lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|e| panic!("no report of the probe ({e})\n{out}"))
}

fn summary(canary: &Canary) -> Vec<String> {
    canary.seen(&Filter::any()).iter().map(ToString::to_string).take(40).collect()
}
