//! HTTP/2 and gRPC, deadlines, and bodies of any size, with real clients.

use std::{fs, time::Duration};

use harness::{Lab, Output};

const LONG: Duration = Duration::from_secs(500);
/// One body's bytes, and what awf-bpf may hold while six of them pass: a fraction of one.
const BODY: u64 = 512 << 20;
const MEMORY: u64 = 96 << 20;

const CURL: [&str; 5] =
    ["curl", "-sS", "--http2-prior-knowledge", "-w", "\nHTTP/%{http_version} %{http_code}\n"];

#[track_caller]
fn requested(out: &Output, decision: &str, url: &str) {
    let fields = [("event", "request"), ("decision", decision), ("url", url)];
    let found = out.records(&fields.map(|(name, value)| (name, value.into())));
    out.check(!found.is_empty(), || format!("{url} on record: {decision}"));
}

/// Dialled, and inside a CONNECT: curl speaks HTTP/2 through a proxy only in a tunnel.
#[test]
fn clear_text_http2_is_judged() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test");
    for (run, tunnel) in [(run.clone(), "-p"), (run.no_proxy_env(), "-s")] {
        let out = run.run(&[&CURL[..], &[tunnel, "http://allowed.test/"]].concat());
        out.ok().stdout_contains("hello from allowed.test").stdout_contains("HTTP/2 200");
        requested(&out, "allow", "http://allowed.test/");
    }
    assert!(lab.requests().all().iter().all(|request| request.version == hyper::Version::HTTP_2));
    let run = lab.awf().allow("allowed.test").no_proxy_env();
    let forged = ["--connect-to", "denied.test:80:allowed.test:80", "http://denied.test/"];
    let out = run.run(&[&CURL[..], &forged].concat());
    out.ok().stdout_contains("HTTP/2 403").stdout_contains("\"reason\":\"not_in_allowlist\"");
    let out = run.run(&["nghttp", "-v", "http://allowed.test/"]);
    out.ok().stdout_contains("hello from allowed.test").stdout_contains(":status: 200");
    lab.assert_not_dialled("denied.test");
}

/// `channel` is how to get to the host at `{}`.
fn grpc(lab: &Lab, channel: &str, name: &str, explicit: bool) -> Output {
    let script = format!(
        "import grpc\n\
         pem = open('{}', 'rb').read()\n\
         channel = {channel}\n\
         say = channel.unary_unary('/lab.Echo/Say')\n\
         print(say(b'unary', timeout=20))\n\
         stream = channel.stream_stream('/lab.Echo/Say')\n\
         print(list(stream(iter([b'one', b'two', b'three']), timeout=20)))\n\
         print(list(channel.unary_stream('/lab.Echo/Say')(b'streamed', timeout=20)))\n",
        lab.ca_file().display()
    );
    let run = lab.awf().allow("allowed.test");
    let run = if explicit { run } else { run.no_proxy_env() };
    run.run(&["/usr/bin/python3", "-c", &script.replace("{}", name)])
}

const CLEAR: &str = "grpc.insecure_channel('{}:80')";
const TLS: &str = "grpc.secure_channel('{}:443', grpc.ssl_channel_credentials(pem))";

#[test]
fn grpc_works_in_clear_text_and_over_tls() {
    for channel in [CLEAR, TLS] {
        for explicit in [true, false] {
            let lab = Lab::new();
            let out = grpc(&lab, channel, "allowed.test", explicit);
            out.ok().stdout_contains("b'unary'").stdout_contains("[b'one', b'two', b'three']");
            out.stdout_contains("[b'streamed']");
            if channel == CLEAR {
                requested(&out, "allow", "http://allowed.test/lab.Echo/Say");
            }
        }
    }
}

/// A channel to an allowed address that names another host: the call fails with the reason.
#[test]
fn a_refused_grpc_call_shows_its_reason() {
    let lab = Lab::new();
    let channel = "grpc.insecure_channel('allowed.test:80', [('grpc.default_authority', 'denied.test')])";
    for explicit in [true, false] {
        let out = grpc(&lab, channel, "allowed.test", explicit);
        out.fails().stderr_contains("PERMISSION_DENIED").stderr_contains("blocked by awf-bpf: ");
    }
    lab.assert_not_dialled("denied.test");
    assert!(lab.requests().all().is_empty());
}

#[test]
fn deadlines_end_what_is_idle_or_old_with_their_reason() {
    let lab = Lab::new();
    for (deadline, reason) in [("idle=500ms", "idle_timeout"), ("lifetime=500ms", "lifetime_exceeded")] {
        let run = lab
            .awf()
            .allow("allowed.test")
            .allow("tcp://allowed.test:5432")
            .args(["--deadline", deadline])
            .no_proxy_env();
        for (script, proto) in [
            ("exec 3<>/dev/tcp/allowed.test/5432; cat <&3", "tcp"),
            ("curl -sSN http://allowed.test/events", "http"),
        ] {
            let out = run.sh(script);
            out.fails();
            let fields =
                [("event", "connection"), ("decision", "allow"), ("reason", reason), ("proto", proto)];
            let found = out.records(&fields.map(|(name, value)| (name, value.into())));
            out.check(found.len() == 1, || format!("a connection that ended by {reason}"));
        }
    }
}

#[test]
fn a_deadline_that_is_none_is_a_mistake() {
    let lab = Lab::new();
    let out = lab.awf().args(["--deadline", "sleep=1s,idle=0s"]).run(&["true"]);
    out.code(125).stderr_contains("names no deadline").stderr_contains("\"idle=0s\" has a bad time");
}

/// Three gigabytes, down and up, in clear text and by TLS, in HTTP/1 and HTTP/2.
#[test]
fn large_bodies_pass_in_constant_memory() {
    let lab = Lab::new();
    let run = lab.awf().allow("allowed.test").no_proxy_env().limit(LONG);
    let script = format!(
        "set -e -o pipefail\n\
         for how in 'http:--http1.1' 'http:--http2-prior-knowledge' 'https:--http1.1'; do\n\
           curl -sS ${{how#*:}} ${{how%%:*}}://allowed.test/bytes/{BODY} | wc -c\n\
           head -c {BODY} /dev/zero | curl -sS ${{how#*:}} -T - ${{how%%:*}}://allowed.test/upload\n\
         done\n\
         echo all done; read -r _"
    );
    let process = run.spawn(&["bash", "-c", &script]);
    let said = process.wait_for_stdout("all done", LONG);
    assert_eq!(said.matches(&BODY.to_string()).count(), 6, "{said}");
    let status = format!("/proc/{}/status", process.pid().as_raw_nonzero());
    let status = fs::read_to_string(status).expect("awf-bpf runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(peak << 10 < MEMORY, "awf-bpf held {peak} KiB at its peak");
    process.signal(rustix::process::Signal::TERM);
    drop(process);
}

/// Linux makes segments of more than 64 KiB on the loopback of IPv6, with a header of its own in them: refused as
/// options, they held an upload up for good.
#[test]
fn uploads_over_ipv6_are_not_held_up() {
    let lab = Lab::new();
    for run in [lab.awf(), lab.awf().host_network()] {
        let run = run.allow("allowed.test").no_proxy_env().limit(LONG);
        let script = "for i in 1 2 3 4 5 6 7 8; do \
                      head -c 20000000 /dev/zero | curl -6 -m 20 -sS -T - http://allowed.test/upload; done";
        let out = run.sh(script);
        out.ok();
        assert_eq!(out.stdout().matches("20000000").count(), 8, "{out}");
        let refused = out.records(&[("reason", "packet_refused".into())]);
        out.check(refused.is_empty(), || "no packet refused".into());
    }
}
