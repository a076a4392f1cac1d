//! What nobody reads stays with the kernel and the sender, however many do it at once, in each kind of conversation.

use std::net::TcpListener;

use harness::{Lab, Run, hosts, soak::raise_descriptors};

use crate::hostile::{web, withstand};

/// In KiB, for each connection of a debug build that holds what it may, in clear and with TLS on both sides, which
/// cannot hold less than a record to be read and one to be sent; and for the few with large buffers.
const EACH: u64 = 64;
const EACH_TLS: u64 = 144;
const FEW: u64 = 96 << 10;

/// As many as this machine has descriptors for, `most` at best: two sockets each, in three processes.
fn count(most: usize) -> usize {
    let count = raise_descriptors(3 * most + 2000).saturating_sub(100) / 2;
    assert!(count > 1000, "this machine's descriptors do for {count} connections: raise ulimit -Hn");
    count.min(most)
}

/// The kernel's buffers are full soon: what is measured are awf-bpf's.
fn shrink_kernel_buffers(lab: &Lab) {
    for place in [lab.machine(), lab.world()] {
        place.within(|| {
            for name in ["tcp_wmem", "tcp_rmem"] {
                std::fs::write(format!("/proc/sys/net/ipv4/{name}"), "4096 16384 32768").expect(name);
            }
        });
    }
}

/// A server that the kernel answers for: it is never read.
fn deaf(port: u16) -> TcpListener {
    TcpListener::bind((hosts::v4("allowed.test"), port)).expect("listen in the world")
}

#[track_caller]
fn fits(lab: &Lab, run: Run<'_>, most: usize, load: &str) {
    fits_into(lab, run, most, load, most as u64 * EACH + FEW);
}

#[track_caller]
fn fits_tls(lab: &Lab, load: &str) {
    let most = count(1000);
    fits_into(lab, web(lab).args(["--tls", "on"]), most, load, most as u64 * EACH_TLS + FEW);
}

#[track_caller]
fn fits_into(lab: &Lab, run: Run<'_>, most: usize, load: &str, memory: u64) {
    shrink_kernel_buffers(lab);
    let load = format!("MOST = {most}\n{load}\nstand()\nfor s in deaf: reset(s)\n");
    withstand(lab, &run.host_network(), &load, memory);
}

/// Asks on each of `deaf`, and reads nothing of the answer.
const DOWNLOAD: &str = r#"
for s in deaf: s.sendall(b"GET /bytes/1000000000 HTTP/1.1\r\nHost: allowed.test\r\n\r\n")
for s in deaf:
    p = select.poll()
    p.register(s, select.POLLIN)
    assert p.poll(60_000), "no answer"
"#;

#[test]
fn three_thousand_downloads_fit_into_memory() {
    let lab = Lab::new();
    let load = format!("deaf = [dial(80, small=True) for n in range(MOST)]{DOWNLOAD}");
    fits(&lab, web(&lab), count(3000), &load);
}

/// TLS to a port, as `curl` speaks it.
const TLS: &str = r#"
import ssl
context = ssl.create_default_context()
def secure(port, small=False):
    s = dial(port, small=small)
    s.settimeout(60)
    return context.wrap_socket(s, server_hostname="allowed.test")
"#;

#[test]
fn intercepted_downloads_fit_into_memory() {
    let lab = Lab::new();
    let load = format!("{TLS}deaf = [secure(443, small=True) for n in range(MOST)]{DOWNLOAD}");
    fits_tls(&lab, &load);
}

/// Sends into each of `deaf` until a second passed in which none took any more.
const FILL: &str = r#"
for s in deaf: s.setblocking(False)
ready = select.poll()
for s in deaf: ready.register(s, select.POLLOUT)
by = {s.fileno(): s for s in deaf}
sent = 0
while some := ready.poll(1000):
    for fd, _ in some:
        try: sent += by[fd].send(b"x" * 65536)
        except BlockingIOError: pass
assert sent > len(deaf) * 16384, sent
"#;

#[test]
fn two_thousand_uploads_fit_into_memory() {
    let lab = Lab::new();
    let _server = lab.world().within(|| deaf(9997));
    let load = r#"
deaf = [dial(9997) for n in range(MOST)]
for s in deaf: s.sendall(b"POST / HTTP/1.1\r\nHost: allowed.test:9997\r\nContent-Length: 1000000000\r\n\r\n")
"#;
    fits(&lab, web(&lab).allow("http://allowed.test:9997"), count(2000), &format!("{load}{FILL}"));
}

#[test]
fn intercepted_uploads_fit_into_memory() {
    let lab = Lab::new();
    let load = r#"
deaf = [secure(443) for n in range(MOST)]
for s in deaf: s.sendall(b"POST /deaf HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 1000000000\r\n\r\n")
"#;
    let fill = FILL.replace("BlockingIOError", "(BlockingIOError, ssl.SSLWantWriteError)");
    fits_tls(&lab, &format!("{TLS}{load}{fill}"));
}

#[test]
fn two_thousand_tunnels_fit_into_memory() {
    let lab = Lab::new();
    let _server = lab.world().within(|| deaf(9998));
    let load = "deaf = [dial(9998) for n in range(MOST)]\nfor s in deaf: s.sendall(b'\\0hello')\n";
    fits(&lab, web(&lab).allow("tcp://allowed.test:9998"), count(2000), &format!("{load}{FILL}"));
}

/// Four with large windows, 124 with small ones, of one server each here; the others are refused.
#[test]
fn a_hundred_and_fifty_http2_connections_fit_into_memory() {
    let lab = Lab::new();
    let load = r#"
def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
# RFC 9113, RFC 7541: windows as large as can be; GET, http, :path and :authority as literals.
path, host = b"/bytes/1000000000", b"allowed.test"
head = b"\x82\x86\x04" + bytes([len(path)]) + path + b"\x01" + bytes([len(host)]) + host
def greedy():
    s = dial(80, small=True)
    flight = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"\0\4" + (2**31 - 1).to_bytes(4, "big"))
    flight += frame(8, 0, 0, (2**31 - 1 - 65535).to_bytes(4, "big"))
    for n in range(30): flight += frame(1, 5, 2 * n + 1, head)
    s.sendall(flight)
    return s
deaf = [greedy() for n in range(MOST)]
for s in deaf:
    p = select.poll()
    p.register(s, select.POLLIN)
    assert p.poll(60_000), "no answer"
# What others get meanwhile is time enough for the windows to fill.
for n in range(5): served()
"#;
    fits_into(&lab, web(&lab), 150, load, (4 * 26 + 124 * 2) << 10);
}
