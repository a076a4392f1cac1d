//! The demonstration: two HTTPS origins in a private lab, one allowed and one not, `curl` against both over IPv4
//! and IPv6, and what passed, what was refused and the audit record of each. Fails if anything is not as promised.

use std::process::ExitCode;

use harness::{Lab, Output, hosts};
use serde_json::Value;

const ALLOWED: &str = "allowed.test";
const DENIED: &str = "denied.test";

/// One command and what must come of it.
struct Step {
    about: &'static str,
    curl: Vec<String>,
    host: &'static str,
    passes: bool,
}

fn main() -> ExitCode {
    if !rustix::process::geteuid().is_root() {
        eprintln!("demo: needs root (network namespaces, eBPF): sudo cargo xtask run");
        return ExitCode::FAILURE;
    }
    let lab = Lab::new();
    println!(
        "Two HTTPS servers in a private network, {ALLOWED} and {DENIED}, each on IPv4 and IPv6, and a DNS server."
    );
    println!("curl runs behind awf-bpf without any setting: no proxy variable, no certificate, no option.\n");
    let mut kept = true;
    for step in steps() {
        kept &= show(&lab, &step);
    }
    kept &= show_world(&lab);
    println!("{}", if kept { "Every promise was kept." } else { "NOT AS PROMISED." });
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn steps() -> Vec<Step> {
    let curl = |args: &[&str]| [&["curl", "-sS"], args].concat().into_iter().map(str::to_owned).collect();
    let (allowed, denied) = (format!("https://{ALLOWED}/"), format!("https://{DENIED}/"));
    // A client that knows the address asks no resolver: the connection itself must be refused.
    let v4 = format!("{DENIED}:443:{}", hosts::v4(DENIED));
    let v6 = format!("{DENIED}:443:[{}]", hosts::v6(DENIED));
    let step = |about, args: &[&str], host, passes| Step { about, curl: curl(args), host, passes };
    vec![
        step(
            "An allowed name, dialled by curl over IPv4. awf-bpf itself looks the name up and dials it anew.",
            &["-4", &allowed],
            ALLOWED,
            true,
        ),
        step("The same, dialled by curl over IPv6.", &["-6", &allowed], ALLOWED, true),
        step("A name that is not allowed: it is not even looked up.", &[&denied], DENIED, false),
        step("Its IPv4 address, without asking DNS.", &["--resolve", &v4, &denied], DENIED, false),
        step("Its IPv6 address, without asking DNS.", &["--resolve", &v6, &denied], DENIED, false),
    ]
}

/// Runs one step and prints what came of it; whether that was what must.
fn show(lab: &Lab, step: &Step) -> bool {
    println!("# {}", step.about);
    println!("$ awf-bpf exec --allow-domains {ALLOWED} --proxy-env none -- {}", step.curl.join(" "));
    let argv: Vec<&str> = step.curl.iter().map(String::as_str).collect();
    let run = lab.awf().machine_dns().allow(ALLOWED).no_proxy_env();
    let out = run.run(&argv);
    let passed = out.exit_code() == 0 && out.stdout() == format!("hello from {}\n", step.host);
    let said = if passed { out.stdout() } else { out.stderr() };
    let took = out.elapsed().as_millis();
    println!("  {} ({took} ms)", if passed { "passed" } else { "refused" });
    said.lines().for_each(|line| println!("  | {line}"));
    let record = record(&out, step);
    println!("  audit: {}\n", record.as_ref().map_or("no record".into(), |record| out.audit_line(record)));
    let kept = passed == step.passes && record.is_some();
    if !kept {
        println!("  wanted {}; all of it:\n{out}\n", if step.passes { "it to pass" } else { "a refusal" });
    }
    kept
}

/// The record of the connection; of the query, if it ended there.
fn record(out: &Output, step: &Step) -> Option<Value> {
    let decision = if step.passes { "allow" } else { "deny" };
    let wanted = [("host", step.host.into()), ("decision", decision.into())];
    let records = out.records(&wanted);
    records.iter().find(|record| record["event"] == "connection").or(records.first()).cloned()
}

fn show_world(lab: &Lab) -> bool {
    let count = |name: &str| {
        let addrs: Vec<_> = hosts::host(name).addrs().collect();
        lab.connections().all().iter().filter(|conn| addrs.contains(&conn.to.ip())).count()
    };
    let asked = lab.queries().all().iter().filter(|query| query.name == DENIED).count();
    let (allowed, denied) = (count(ALLOWED), count(DENIED));
    println!(
        "The servers saw {allowed} connections to {ALLOWED}, {denied} to {DENIED}; the DNS server {asked} queries for {DENIED}."
    );
    (allowed, denied, asked) == (2, 0, 0)
}
