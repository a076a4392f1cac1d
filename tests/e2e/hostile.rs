//! A command that tries to make the firewall fall over, or to make it useless to others: memory stays bounded,
//! another client is served meanwhile, limits refuse with a reason. In debug builds too.

use std::{net::TcpListener, time::Duration};

use harness::{
    Lab, Output, Run, hosts,
    soak::{raise_descriptors, sample::peak_kib},
};

/// What the load may take to be there.
const SOON: Duration = Duration::from_secs(80);
/// What a debug build takes of memory when it does nothing, and room for what is bounded anyway, in KiB.
const BASE: u64 = 40 << 10;

/// In front of every load: `stand()` proves that others are served while it stands, and waits to be released.
const TOOLS: &str = r#"
import os, select, socket, ssl, struct, subprocess, sys
# Asked for once, so that the address has a name where a connection brings none.
WEB = socket.gethostbyname("allowed.test")
def dial(port=80, small=False):
    s = socket.socket()
    if small: s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect((WEB, port))
    return s
def served():
    for url in "http://allowed.test/", "https://allowed.test/":
        subprocess.run(["curl", "-sSf", "-o", "/dev/null", url], check=True)
def stand():
    served()
    print("standing", flush=True)
    while not os.path.exists("release"): select.select([], [], [], 0.02)
def answer(s):
    s.settimeout(60)
    got = b""
    try:
        while part := s.recv(65536): got += part
    except ConnectionResetError: pass
    return got
def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
"#;

/// Runs `load` behind `run`; while it stands and at its end, awf-bpf may have taken `most` KiB beyond [`BASE`].
#[track_caller]
pub(crate) fn withstand(lab: &Lab, run: &Run<'_>, load: &str, most: u64) -> Output {
    let process = run.spawn(&["python3", "-c", &format!("{TOOLS}{load}\nserved()\nprint('over')")]);
    process.wait_for_stdout("standing\n", SOON);
    let peak = peak_kib(process.pid());
    lab.dir().file("release", "");
    let out = run.finish(process);
    out.ok().stdout_contains("over");
    out.check(peak < BASE + most, || format!("at most {most} KiB beyond {BASE}, but {peak}"));
    out
}

pub(crate) fn web(lab: &Lab) -> Run<'_> {
    lab.awf().allow("allowed.test").no_proxy_env().args(["--summary", "never"])
}

#[test]
fn two_thousand_slow_clients_are_late_and_others_are_not() {
    let lab = Lab::new();
    let run = web(&lab).args(["--deadline", "head=20s,first-byte=20s"]);
    let load = r#"
slow = [dial(80) for n in range(1000)] + [dial(443) for n in range(1000)]
for n, s in enumerate(slow): s.send(b"GET / HTTP/1.1\r\nHost: allowed.test\r\nX: " if n < 1000 else b"\x16\x03\x01\x02\x00\x01")
stand()
for s in slow[:1000]: s.send(b"y")
late = sum(answer(s).startswith(b"HTTP/1.1 408 ") for s in slow[:1000])
assert late == 1000, late
for s in slow[1000:]: reset(s)
"#;
    let out = withstand(&lab, &run, load, 64 << 10);
    let late = out.records(&[("reason", "head_timeout".into()), ("event", "request".into())]).len();
    out.check(late == 1000, || format!("1000 late requests on record, not {late}"));
}

#[test]
fn endless_heads_are_refused_and_not_kept() {
    let lab = Lab::new();
    let load = r#"
def big(line, count):
    s = dial()
    s.settimeout(60)
    try:
        s.sendall(b"GET / HTTP/1.1\r\nHost: allowed.test\r\n")
        for n in range(count // 1000): s.sendall(line * 1000)
    except (BrokenPipeError, ConnectionResetError): pass
    return s
million = big(b"X: 1\r\n", 1_000_000)
mebibyte = big(b"x" * 1024, 1024)
endless = [dial() for n in range(200)]
for s in endless: s.sendall(b"GET /" + b"a" * 16000)
endless_tls = [dial(443) for n in range(200)]
for s in endless_tls: s.sendall(b"\x16\x03\x01\x40\x00\x01\x00\xff\x00" + b"a" * 15000)
stand()
for s in million, mebibyte:
    try: got = s.recv(65536)
    except ConnectionResetError: got = b"HTTP/1.1 431 "
    assert got.startswith(b"HTTP/1.1 431 "), got
"#;
    let out = withstand(&lab, &web(&lab), load, 32 << 10);
    let refused = out.records(&[("reason", "limit_exceeded".into()), ("event", "request".into())]);
    out.check(refused.len() == 2, || format!("two refusals on record, not {refused:?}"));
}

#[test]
fn ten_thousand_idle_connections_and_then_too_many() {
    // All of them, unless this machine has no descriptors for that: then as many as there may be.
    let most = raise_descriptors(20_000).saturating_sub(100).min(10_000);
    assert!(most > 1000, "this machine's descriptors do for {most} connections: raise ulimit -Hn");
    let lab = Lab::new();
    let load = r#"
idle = [dial(443 if n % 2 else 80) for n in range(MOST)]
stand()
refused = 0
while not refused and len(idle) < 17_000:
    try: idle += [dial(443) for n in range(500)]
    # It may be refused before connect() has returned.
    except ConnectionResetError: refused = 1
    refused += sum(gone(s) for s in idle[-500:])
assert refused, "no limit"
for s in idle: reset(s)
"#;
    let gone = r#"
def gone(s):
    p = select.poll()
    p.register(s, select.POLLIN | select.POLLHUP)
    return any(what & (select.POLLHUP | select.POLLERR) for _, what in p.poll(0))
"#;
    let out = withstand(&lab, &web(&lab), &format!("MOST = {most}\n{gone}{load}"), 160 << 10);
    out.reason("limit_exceeded");
}

#[test]
fn a_client_that_never_reads_costs_others_nothing() {
    let lab = Lab::new();
    let load = r#"
deaf = [dial(80, small=True) for n in range(60)]
for s in deaf: s.sendall(b"GET /bytes/1000000000 HTTP/1.1\r\nHost: allowed.test\r\n\r\n")
for s in deaf: select.select([s], [], [], 60)
stand()
for s in deaf: reset(s)
"#;
    withstand(&lab, &web(&lab), load, 64 << 10);
}

#[test]
fn a_server_that_never_reads_costs_others_nothing() {
    let lab = Lab::new();
    // Nobody accepts what the kernel has accepted: it is never read.
    let deaf = |port| TcpListener::bind((hosts::v4("allowed.test"), port)).expect("listen in the world");
    let _servers = lab.world().within(|| [deaf(9997), deaf(9998)]);
    let run = web(&lab).allow("http://allowed.test:9997,tcp://allowed.test:9998");
    let load = r#"
full = []
for n in range(60):
    s = dial(9997 if n % 2 else 9998)
    s.sendall(b"POST / HTTP/1.1\r\nHost: allowed.test:9997\r\nContent-Length: 1000000000\r\n\r\n" if n % 2 else b"\x00hello")
    s.setblocking(False)
    full.append(s)
sent = 0
while ready := select.select([], full, [], 1)[1]:
    for s in ready:
        try: sent += s.send(b"x" * 65536)
        except BlockingIOError: pass
print(sent, "bytes went in")
stand()
for s in full: reset(s)
"#;
    withstand(&lab, &run, load, 64 << 10);
}

#[test]
fn a_flood_of_connections_is_survived() {
    let lab = Lab::new();
    let load = r#"
for n in range(20_000):
    s = socket.socket()
    s.setblocking(False)
    try: s.connect((WEB, 443 if n % 2 else 80))
    except BlockingIOError: pass
    if n % 3: reset(s)
    else: s.close()
stand()
"#;
    withstand(&lab, &web(&lab), load, 64 << 10);
}

/// The same client, each of its records cut into records of one byte; and cut off after any of them.
#[test]
fn a_hello_in_records_of_one_byte_is_understood_and_may_end_anywhere() {
    let lab = Lab::new();
    let load = r#"
context = ssl.create_default_context()
def hello(name):
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(into, out, server_hostname=name)
    try: session.do_handshake()
    except ssl.SSLWantReadError: pass
    flight = out.read()
    return session, into, out, b"".join(flight[:3] + b"\x00\x01" + flight[n:n + 1] for n in range(5, len(flight)))
def handshake(name):
    session, into, out, flight = hello(name)
    s = dial(443)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.settimeout(60)
    for n in range(0, len(flight), 6): s.sendall(flight[n:n + 6])
    while True:
        try:
            session.do_handshake()
            s.sendall(out.read())
            return True
        except ssl.SSLWantReadError:
            part = s.recv(65536)
            if not part: return False
            into.write(part)
assert handshake("allowed.test")
try: assert not handshake("denied.test"), "denied.test is served"
except ssl.SSLError as error: assert "ALERT" in str(error).upper(), error
_, _, _, flight = hello("allowed.test")
for n in range(0, len(flight), 5):
    s = dial(443)
    s.sendall(flight[:n])
    if n % 2: reset(s)
    else: s.close()
stand()
"#;
    let out = withstand(&lab, &web(&lab), load, 48 << 10);
    out.denied("denied.test", "not_in_allowlist");
    lab.assert_not_dialled("denied.test");
}
