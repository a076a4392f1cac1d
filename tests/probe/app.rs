//! Lies told to the proxy: a forged SNI, a spoofed Host, names that disagree, and words in no protocol.

use std::net::SocketAddr;

use crate::Vector;
use crate::outcome::{Attempt, Done, Step, Stop};
use crate::target::{self, MARKER, Target, tcp_for};

pub(crate) const VECTORS: &[Vector] = &[
    ("sni_forged4", |t| tls_as(t, t.at4(), allowed(t))),
    ("sni_forged6", |t| tls_as(t, t.at6(), allowed(t))),
    ("sni_denied", |t| tls_as(t, t.at4(), denied(t))),
    ("sni_none", sni_none),
    ("host_spoof4", |t| spoof(t, (t.v4, http_port(t)).into())),
    ("host_spoof6", |t| spoof(t, (t.v6, http_port(t)).into())),
    ("host_two", host_two),
    ("host_absolute", host_absolute),
    ("connect_sni", connect_sni),
    ("connect_plain", connect_plain),
    ("after_allowed", after_allowed),
];

fn allowed(t: &Target) -> &str {
    t.extra("allowed").unwrap_or("allowed.test")
}

fn denied(t: &Target) -> &str {
    t.extra("name").unwrap_or("denied.test")
}

fn http_port(t: &Target) -> u16 {
    t.extra("http").and_then(|port| port.parse().ok()).unwrap_or(80)
}

fn say(to: SocketAddr, bytes: &[u8]) -> Attempt {
    let socket = tcp_for(&to)?;
    socket.connect(&to.into()).step("connect")?;
    target::talk(&socket, bytes)
}

/// A TLS 1.2 ClientHello (RFC 5246, 7.4.1.2) with server_name (RFC 6066) and the marker in its session id.
fn client_hello(name: Option<&str>) -> Vec<u8> {
    let mut hello = vec![3, 3];
    hello.extend_from_slice(&[0x5a; 32]);
    hello.push(u8::try_from(MARKER.len()).expect("16"));
    hello.extend_from_slice(MARKER.as_bytes());
    hello.extend_from_slice(&[0, 2, 0xc0, 0x2b, 1, 0]);
    let mut extensions = Vec::new();
    if let Some(name) = name {
        let length = u16::try_from(name.len()).expect("a name is short");
        extensions.extend_from_slice(&[0, 0]);
        extensions.extend_from_slice(&(length + 5).to_be_bytes());
        extensions.extend_from_slice(&(length + 3).to_be_bytes());
        extensions.push(0);
        extensions.extend_from_slice(&length.to_be_bytes());
        extensions.extend_from_slice(name.as_bytes());
    }
    extensions.extend_from_slice(&[0, 10, 0, 4, 0, 2, 0, 23]);
    extensions.extend_from_slice(&[0, 13, 0, 4, 0, 2, 4, 3]);
    hello.extend_from_slice(&u16::try_from(extensions.len()).expect("short").to_be_bytes());
    hello.extend_from_slice(&extensions);
    let length = u16::try_from(hello.len()).expect("short");
    let mut record = vec![22, 3, 1];
    record.extend_from_slice(&(length + 4).to_be_bytes());
    record.extend_from_slice(&[1, 0]);
    record.extend_from_slice(&length.to_be_bytes());
    record.extend_from_slice(&hello);
    record
}

/// Says `name` in the handshake to somebody else's address, then the payload as if the handshake were done.
fn tls_as(t: &Target, to: SocketAddr, name: &str) -> Attempt {
    say(to, &[client_hello(Some(name)), t.payload()].concat())
}

fn sni_none(t: &Target) -> Attempt {
    say(t.at4(), &[client_hello(None), t.payload()].concat())
}

fn request(t: &Target, head: &str) -> Vec<u8> {
    format!("{head}X-Marker: {MARKER} {}\r\nConnection: close\r\n\r\n", t.vector).into_bytes()
}

fn spoof(t: &Target, to: SocketAddr) -> Attempt {
    say(to, &request(t, &format!("GET / HTTP/1.1\r\nHost: {}\r\n", allowed(t))))
}

fn host_two(t: &Target) -> Attempt {
    let head = format!("GET / HTTP/1.1\r\nHost: {}\r\nHost: {}\r\n", allowed(t), denied(t));
    say((t.v4, http_port(t)).into(), &request(t, &head))
}

fn host_absolute(t: &Target) -> Attempt {
    let head = format!("GET http://{}/ HTTP/1.1\r\nHost: {}\r\n", denied(t), allowed(t));
    say((t.v4, http_port(t)).into(), &request(t, &head))
}

/// The proxy as the environment names it; with no proxy there is nobody to lie to but the target itself.
fn proxy() -> Attempt<Option<SocketAddr>> {
    let url = ["https_proxy", "HTTPS_PROXY"].iter().find_map(|name| std::env::var(name).ok());
    let Some(url) = url else {
        return Ok(None);
    };
    let at = url.trim_start_matches("http://").trim_end_matches('/');
    at.parse().map(Some).map_err(|_| Stop::Impossible(format!("https_proxy={url:?} is no address")))
}

/// CONNECT to what is allowed, SNI of what is not.
fn connect_sni(t: &Target) -> Attempt {
    after_connect(t, &client_hello(Some(denied(t))))
}

/// CONNECT to what is allowed, then bytes that are no TLS.
fn connect_plain(t: &Target) -> Attempt {
    after_connect(t, b"")
}

fn after_connect(t: &Target, first: &[u8]) -> Attempt {
    let head = format!("CONNECT {0}:443 HTTP/1.1\r\nHost: {0}:443\r\n\r\n", allowed(t));
    let Some(to) = proxy()? else {
        return say(t.at4(), &[head.as_bytes(), first, &t.payload()].concat());
    };
    let socket = tcp_for(&to)?;
    socket.connect(&to.into()).step("connect to the proxy")?;
    target::send_all(&socket, head.as_bytes())?;
    let answer = read_head(&socket)?;
    if !answer.starts_with("HTTP/1.1 200") && !answer.starts_with("HTTP/1.0 200") {
        return Ok(Done::Answered(answer));
    }
    target::talk(&socket, &[first, &t.payload()].concat())
}

fn read_head(socket: &socket2::Socket) -> Attempt<String> {
    let mut head = Vec::new();
    let mut reader = socket;
    let mut byte = [0_u8; 1];
    while head.len() < 4096 && !head.ends_with(b"\r\n\r\n") {
        if std::io::Read::read(&mut reader, &mut byte).step("read")? == 0 {
            break;
        }
        head.push(byte[0]);
    }
    if head.is_empty() { Err(Stop::Closed("read")) } else { Ok(String::from_utf8_lossy(&head).into_owned()) }
}

/// A keep-alive connection: an allowed request opens the door, a denied one follows through it.
fn after_allowed(t: &Target) -> Attempt {
    let first = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", allowed(t)).into_bytes();
    let second = request(t, &format!("GET / HTTP/1.1\r\nHost: {}\r\n", denied(t)));
    say((t.v4, http_port(t)).into(), &[first, second].concat())
}
