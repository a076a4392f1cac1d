//! The resolver that the proxy will ask, and IPv6.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    path::Path,
    time::{Duration, Instant},
};

use super::{Finding, Level, read};
use crate::dns;

const RESOLV: &str = "/etc/resolv.conf";
/// glibc waits 5 s; who is asked here is near.
const PATIENCE: Duration = Duration::from_secs(3);
/// What answers for a command that is not in a jail, whatever the policy says of names.
const SERVICES: [(&str, &str); 3] = [
    ("/run/systemd/resolve/io.systemd.Resolve", "systemd-resolved"),
    ("/run/nscd/socket", "nscd"),
    ("/var/run/nscd/socket", "nscd"),
];

pub(super) fn look() -> Vec<Finding> {
    let services: Vec<_> =
        SERVICES.iter().filter(|(path, _)| Path::new(path).exists()).map(|(_, name)| *name).collect();
    let mut findings = vec![resolver(std::fs::read_to_string(RESOLV), answers)];
    if let Some(name) = services.first() {
        findings.push(Finding::ok(
            "name services",
            format!("{name} answers on a unix socket: hidden from what exec runs in its jail, not from what is attached"),
        ));
    }
    let enabled = read("/proc/sys/net/ipv6/conf/lo/disable_ipv6");
    findings.push(ipv6(enabled.as_deref(), read("/proc/net/if_inet6").as_deref()));
    findings
}

/// `answers` says why a server did not.
pub(super) fn resolver(text: io::Result<String>, answers: impl Fn(SocketAddr) -> io::Result<()>) -> Finding {
    const CHECK: &str = "resolver";
    let remedy = "name the servers: --dns-servers ADDRESS";
    let bad = |found: String| Finding::bad(CHECK, Level::Degraded, found, remedy);
    let text = match text {
        Ok(text) => text,
        Err(e) => return bad(format!("{RESOLV}: {e}")),
    };
    let host = dns::parse_resolv_conf(&text, RESOLV);
    if host.servers.is_empty() {
        return bad(format!("{RESOLV} names no server that can be asked"));
    }
    let silent: Vec<_> = host
        .servers
        .iter()
        .filter_map(|server| Some(format!("{server}: {}", answers(*server).err()?)))
        .collect();
    let shown: Vec<_> = host.servers.iter().map(ToString::to_string).collect();
    match silent.len() {
        0 => Finding::ok(CHECK, format!("{} answers", shown.join(", "))),
        _ => bad(silent.join("; ")),
    }
}

/// Asks for the name servers of the root (RFC 1035, 4.1); whatever comes back with our number is an answer.
fn answers(server: SocketAddr) -> io::Result<()> {
    let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    let mut query = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
    rustix::rand::getrandom(&mut query[..2], rustix::rand::GetRandomFlags::empty())?;
    socket.send(&query)?;
    let deadline = Instant::now() + PATIENCE;
    let mut answer = [0; 512];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {PATIENCE:?}")));
        }
        socket.set_read_timeout(Some(left))?;
        match socket.recv(&mut answer) {
            // The number, and the bit that says that it is an answer.
            Ok(12..) if answer[..2] == query[..2] && answer[2] & 0x80 != 0 => return Ok(()),
            Err(e) if !matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(e);
            }
            _ => {}
        }
    }
}

/// The sysctl of lo, and the table of addresses; neither is there in a kernel without IPv6.
pub(super) fn ipv6(disabled: Option<&str>, addresses: Option<&str>) -> Finding {
    const CHECK: &str = "ipv6";
    match (disabled, addresses) {
        (None, _) => Finding::ok(CHECK, "not in this kernel: IPv6 sockets are refused, IPv4 is enforced"),
        (Some("0"), Some(table)) if table.lines().any(|line| line.ends_with("lo")) => {
            Finding::ok(CHECK, "on lo, too")
        }
        _ => Finding::bad(
            CHECK,
            Level::Degraded,
            "lo has no ::1",
            "sysctl -w net.ipv6.conf.lo.disable_ipv6=0; without it only IPv4 works with --network host, and when attached",
        ),
    }
}
