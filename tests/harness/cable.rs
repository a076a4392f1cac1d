//! Whether the lab's cable carries: the kernel switches a new veth pair on some time after both ends are up
//! (net/core/link_watch.c), and drops without a word what is sent before.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    hosts::{GATEWAY_V4, GATEWAY_V6},
    ns::Namespace,
    patience::stretch,
};

/// How long the kernel may take; a guard against hangs.
const LIMIT: Duration = Duration::from_secs(10);

/// Waits until the gateway answers the machine's echo requests, by IPv4 and IPv6.
///
/// # Panics
/// If it does not.
pub(crate) fn wait_until_it_carries(machine: &Namespace) {
    machine.within(|| [IpAddr::V4(GATEWAY_V4), IpAddr::V6(GATEWAY_V6)].into_iter().for_each(wait_for_echo));
}

fn wait_for_echo(gateway: IpAddr) {
    // Type, code, checksum, identifier, sequence; the kernel writes the checksum of ICMPv6.
    let (domain, protocol, request, answer, header): (_, _, [u8; 8], u8, usize) = match gateway {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, [8, 0, 0xf7, 0xfd, 0, 1, 0, 1], 0, 20),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, [128, 0, 0, 0, 0, 1, 0, 1], 129, 0),
    };
    let socket =
        Socket::new(domain, Type::RAW, Some(protocol)).expect("open a raw socket (the tests need root)");
    socket.set_read_timeout(Some(Duration::from_millis(10))).expect("set a timeout");
    let end = Instant::now() + stretch(LIMIT);
    let mut packet = [0; 256];
    while Instant::now() < end {
        // Refused as long as the kernel has no route or no source address yet.
        let _ = socket.send_to(&request, &SocketAddr::from((gateway, 0)).into());
        while let Ok(length) = std::io::Read::read(&mut &socket, &mut packet) {
            if packet[..length].get(header) == Some(&answer) {
                return;
            }
        }
    }
    panic!("{gateway} did not answer in {LIMIT:?}: the lab's cable does not carry");
}
