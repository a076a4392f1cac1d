//! TLS that ends in the proxy (`--tls on`, `deny-only`): what real clients make of it, and what is said where one
//! of them, or a server, is not to be trusted.

mod authority;
mod clients;
mod elsewhere;
mod handshakes;
mod hostile;
mod modes;
mod names;
mod paths;
mod removed;
mod servers;
mod setup;

use harness::{Lab, Output, Run, output::FAST, patience::stretch};
use serde_json::Value;

/// What the lab's origins answer to `GET /`, before their name.
const HELLO: &str = "hello from ";

/// A run with `--tls on` to which these hosts are allowed.
fn on<'lab>(lab: &'lab Lab, hosts: &str) -> Run<'lab> {
    lab.awf().allow(hosts).args(["--tls", "on"])
}

/// By the record's own measure: how long a JVM takes to begin is not ours to say.
fn over_at_once(record: &Value) -> bool {
    record["ms"].as_u64().is_some_and(|ms| u128::from(ms) < stretch(FAST).as_millis())
}

/// Some request to `host` is on record, which nobody could know of without having looked inside.
#[track_caller]
fn seen_inside(out: &Output, host: &str) {
    let requests = out.records(&[
        ("event", "request".into()),
        ("host", host.into()),
        ("proto", "https".into()),
        ("decision", "allow".into()),
    ]);
    let with = |field: &str, text: &str| requests.iter().any(|r| r[field].as_str() == Some(text));
    let url = format!("https://{host}/");
    let urls = requests.iter().all(|r| r["url"].as_str().is_some_and(|known| known.starts_with(&url)));
    out.check(!requests.is_empty() && urls && (with("method", "GET") || with("method", "POST")), || {
        format!("records of requests below {url}")
    });
}

/// `get URL`, in the working directory, prints what net/http gets.
fn build_go_client(lab: &Lab) {
    let program = lab.dir().file(
        "get.go",
        "package main
import (\"io\"; \"net/http\"; \"os\")
func main() {
    response, err := http.Get(os.Args[1])
    if err != nil { println(err.Error()); os.Exit(1) }
    io.Copy(os.Stdout, response.Body)
}",
    );
    let built = lab.dir().work().join("get");
    let build = format!("go build -o {} {}", built.display(), program.display());
    lab.bare().env("GOTOOLCHAIN", "local").sh(&build).ok();
}
