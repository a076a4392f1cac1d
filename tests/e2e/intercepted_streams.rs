//! What flows through TLS that ends in the proxy: WebSocket, gRPC, events, bodies of any size, trailers.

use std::{fs, time::Duration};

use harness::{Lab, Output, Process, Run, origin::Received};
use rustix::process::Signal;

const FAST: Duration = Duration::from_secs(8);
const LONG: Duration = Duration::from_secs(300);

fn intercepting(lab: &Lab) -> [Run<'_>; 2] {
    let run = lab.awf().allow("allowed.test").args(["--tls", "on"]);
    [run.clone(), run.no_proxy_env()]
}

#[track_caller]
fn requested(out: &Output, method: &str, url: &str) {
    let fields = [("event", "request"), ("decision", "allow"), ("method", method), ("url", url)];
    let found = out.records(&fields.map(|(name, value)| (name, value.into())));
    out.check(!found.is_empty(), || format!("{method} {url} on record"));
}

#[test]
fn a_websocket_works() {
    let lab = Lab::new();
    let script = "import asyncio, websockets\n\
        async def main():\n\
        \x20   async with websockets.connect('wss://allowed.test/ws') as ws:\n\
        \x20       for text in ['one', 'x' * 300000, 'three']:\n\
        \x20           await ws.send(text)\n\
        \x20           assert await ws.recv() == text\n\
        \x20   print('closed', ws.close_code)\n\
        asyncio.run(main())\n";
    for run in intercepting(&lab) {
        let out = run.run(&["/usr/bin/python3", "-c", script]);
        out.ok().stdout_is("closed 1000\n");
        requested(&out, "GET", "https://allowed.test/ws");
        let found = out.records(&[("method", "GET".into()), ("status", 101.into())]);
        out.check(!found.is_empty(), || "the switch on record".into());
        let up = found[0]["bytes_up"].as_u64().unwrap_or_default();
        out.check(up > 300_000, || format!("more than {up} bytes up"));
    }
}

#[test]
fn grpc_works() {
    let script = "import grpc\n\
        channel = grpc.secure_channel('allowed.test:443', grpc.ssl_channel_credentials())\n\
        print(channel.unary_unary('/lab.Echo/Say')(b'unary', timeout=20))\n\
        stream = channel.stream_stream('/lab.Echo/Say')\n\
        print(list(stream(iter([b'one', b'two', b'three']), timeout=20)))\n";
    let lab = Lab::new();
    for run in intercepting(&lab) {
        let out = run.run(&["/usr/bin/python3", "-c", script]);
        out.ok().stdout_is("b'unary'\n[b'one', b'two', b'three']\n");
        requested(&out, "POST", "https://allowed.test/lab.Echo/Say");
    }
}

#[test]
fn server_sent_events_are_not_held_back() {
    let lab = Lab::new();
    let mut nth = 0;
    for version in ["--http1.1", "--http2"] {
        for run in intercepting(&lab) {
            nth += 1;
            let stream = run.spawn(&["curl", "-sSN", version, "https://allowed.test/events"]);
            let streams = |seen: &[Received]| seen.iter().filter(|request| request.path == "/events").count();
            let open = lab.requests().wait_until(FAST, |seen| (streams(seen) == nth).then_some(()));
            assert!(open.is_some(), "the stream is open");
            lab.bare().run(&["curl", "-sS", "http://allowed.test/events/next"]).ok();
            stream.wait_for_stdout("data: tick", FAST);
        }
    }
}

#[test]
fn bodies_pass_both_ways_unchanged() {
    let lab = Lab::new();
    let body: Vec<u8> = (0..10_000_000_u32).map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    lab.dir().file("body", &body);
    for version in ["--http1.1", "--http2"] {
        for length in ["Content-Length: 10000000", "Transfer-Encoding: chunked"] {
            for run in intercepting(&lab) {
                let url = "https://allowed.test/echo";
                let out = run.run(&["curl", "-sS", version, "-H", length, "--data-binary", "@body", url]);
                out.ok().check(out.stdout_bytes() == body, || "the body that was sent".into());
            }
        }
    }
}

/// A client that waits for `100 Continue` gets it, from a server that answers behind the body; on HTTP/2, where curl is told
/// nothing, it need not wait (RFC 9110 section 10.1.1).
#[test]
fn continue_is_said() {
    let lab = Lab::new();
    for (version, wait) in [("--http1.1", "20"), ("--http2", "0.1")] {
        for run in intercepting(&lab) {
            let argv = ["curl", "-sSv", version, "-H", "Expect: 100-continue", "--expect100-timeout", wait];
            let out = run.run(&[&argv[..], &["-d", "body", "https://allowed.test/upload"]].concat());
            out.ok().stdout_is("4\n");
            if version == "--http1.1" {
                out.stderr_contains("< HTTP/1.1 100 Continue");
            }
        }
    }
}

/// One body's bytes, and what awf-bpf may hold while four of them pass: a fraction of one.
const BODY: u64 = 256 << 20;
const MEMORY: u64 = 96 << 20;

#[test]
fn large_bodies_pass_in_constant_memory() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test").args(["--tls", "on"]).no_proxy_env().limit(LONG);
    let script = format!(
        "set -e -o pipefail\n\
         for how in --http1.1 --http2; do\n\
           curl -sS $how https://allowed.test/bytes/{BODY} | wc -c\n\
           head -c {BODY} /dev/zero | curl -sS $how -T - https://allowed.test/upload\n\
         done\n\
         echo all done; read -r _"
    );
    let process = run.spawn(&["bash", "-c", &script]);
    let said = process.wait_for_stdout("all done", LONG);
    assert_eq!(said.matches(&BODY.to_string()).count(), 4, "{said}");
    let status = format!("/proc/{}/status", process.pid().as_raw_nonzero());
    let status = fs::read_to_string(status).expect("awf-bpf runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(peak << 10 < MEMORY, "awf-bpf held {peak} KiB at its peak");
    process.signal(Signal::TERM);
    drop(process);
}

/// Where the kernel writes core files into the directory of who crashes, one without a key shows that it would.
#[test]
fn the_key_is_in_no_core_dump() {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").expect("a pattern");
    let lab = Lab::new();
    for tls in ["off", "on"] {
        let dir = lab.dir().work().join(tls);
        fs::create_dir(&dir).expect("make a directory");
        let run = lab.awf().args(["--tls", tls, "--user", "nobody"]).cwd(&dir);
        let inner = run.command(&["bash", "-c", "echo ready; read -r _"]);
        let mut command = std::process::Command::new("/bin/bash");
        command.args(["-c", "ulimit -c unlimited; exec \"$@\"", "bash"]);
        command.arg(inner.get_program()).args(inner.get_args()).current_dir(&dir).env_clear();
        command.env("PATH", harness::tools::PATH);
        let process = lab.machine().within(|| Process::spawn(&mut command, Vec::new()));
        process.wait_for_stdout("ready", FAST);
        process.signal(Signal::ABORT);
        assert!(process.wait_exit(FAST), "it is gone");
        let cores = fs::read_dir(&dir).expect("read it").count();
        if tls == "on" || !pattern.starts_with(['/', '|']) {
            assert_eq!(cores, usize::from(tls == "off"), "--tls {tls}");
        }
    }
}
