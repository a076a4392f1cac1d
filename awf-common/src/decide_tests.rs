//! Every branch of [`crate::decide`].

use core::net::IpAddr;

use crate::{Addr, Globals, decide::*};

const OWN: Globals = Globals { proxy_port: 1021, dns_port: 53, shared_netns: 0, reserved: [0; 3], netns: 0 };
const SHARED: Globals =
    Globals { proxy_port: 40_001, dns_port: 40_002, shared_netns: 1, reserved: [0; 3], netns: 7 };

fn go(dst: &str, port: u16, transport: Transport, globals: &Globals) -> Action {
    destination(&Addr::from(dst.parse::<IpAddr>().unwrap()), port, transport, false, globals)
}

fn go_to_host_port(dst: &str, port: u16, transport: Transport, globals: &Globals) -> Action {
    destination(&Addr::from(dst.parse::<IpAddr>().unwrap()), port, transport, true, globals)
}

#[test]
fn only_tcp_and_udp_sockets_are_created() {
    for family in [AF_INET, AF_INET6] {
        assert!(socket(family, SOCK_STREAM, IPPROTO_TCP));
        assert!(socket(family, SOCK_DGRAM, IPPROTO_UDP));
        // UDP-Lite, ICMP, ICMPv6, MPTCP, SCTP, DCCP, and TCP or UDP under the wrong type.
        for (socket_type, protocol) in [
            (2, 136),
            (2, 1),
            (2, 58),
            (1, 262),
            (1, 132),
            (5, 132),
            (6, 33),
            (3, 6),
            (3, 255),
            (2, 6),
            (1, 17),
        ] {
            assert!(!socket(family, socket_type, protocol), "{family} {socket_type} {protocol}");
        }
    }
    assert!(!socket(17, SOCK_STREAM, IPPROTO_TCP));
}

#[test]
fn tcp_goes_to_the_proxy_whatever_its_family() {
    for globals in [&OWN, &SHARED] {
        for dst in
            ["203.0.113.1", "2001:db8::1", "::ffff:203.0.113.1", "169.254.169.254", "fe80::1", "224.0.0.1"]
        {
            assert_eq!(go(dst, 443, Transport::Tcp, globals), Action::Proxy, "{dst}");
        }
    }
}

#[test]
fn port_53_goes_to_the_stub_even_on_loopback() {
    for globals in [&OWN, &SHARED] {
        for dst in ["203.0.113.1", "2001:db8::1", "127.0.0.53", "::1", "::ffff:127.0.0.1", "0.0.0.0"] {
            for transport in [Transport::Tcp, Transport::Udp] {
                assert_eq!(go(dst, 53, transport, globals), Action::Resolver, "{dst}");
            }
        }
    }
}

#[test]
fn udp_to_anything_else_is_refused() {
    for globals in [&OWN, &SHARED] {
        for dst in ["203.0.113.1", "2001:db8::1", "::ffff:203.0.113.1", "255.255.255.255", "ff02::1"] {
            assert_eq!(go(dst, 443, Transport::Udp, globals), Action::Refuse { errno: ENETUNREACH }, "{dst}");
        }
    }
}

#[test]
fn only_sockets_of_no_device_or_of_loopback_reach_us() {
    assert!(device(0) && device(1));
    assert!(!device(2) && !device(u32::MAX));
}

#[test]
fn own_loopback_is_direct() {
    for dst in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "::ffff:0.0.0.0"] {
        for transport in [Transport::Tcp, Transport::Udp] {
            assert_eq!(go(dst, 8080, transport, &OWN), Action::Direct, "{dst}");
        }
    }
}

#[test]
fn loopback_of_the_host_is_refused() {
    for dst in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::"] {
        assert_eq!(go(dst, 6379, Transport::Tcp, &SHARED), Action::Refuse { errno: ECONNREFUSED }, "{dst}");
        assert_eq!(go(dst, 6379, Transport::Udp, &SHARED), Action::Refuse { errno: ENETUNREACH }, "{dst}");
    }
}

#[test]
fn open_ports_of_the_hosts_loopback_go_to_the_proxy_and_nothing_else_does() {
    for globals in [&OWN, &SHARED] {
        for dst in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "::ffff:0.0.0.0"] {
            assert_eq!(go_to_host_port(dst, 6379, Transport::Tcp, globals), Action::Proxy, "{dst}");
            assert_eq!(go_to_host_port(dst, 53, Transport::Tcp, globals), Action::Resolver, "{dst}");
            let proxy = globals.proxy_port;
            assert_eq!(go_to_host_port(dst, proxy, Transport::Tcp, globals), Action::Direct, "{dst}");
            let udp = go_to_host_port(dst, 6379, Transport::Udp, globals);
            assert_eq!(udp, go(dst, 6379, Transport::Udp, globals), "{dst}");
        }
        // The rest of 127.0.0.0/8 is the command's own, or refused.
        for dst in ["127.0.0.2", "127.0.0.53", "::ffff:127.0.0.53"] {
            let open = go_to_host_port(dst, 6379, Transport::Tcp, globals);
            assert_eq!(open, go(dst, 6379, Transport::Tcp, globals), "{dst}");
            assert_ne!(open, Action::Proxy, "{dst}");
        }
        let elsewhere = go_to_host_port("203.0.113.1", 6379, Transport::Udp, globals);
        assert_eq!(elsewhere, Action::Refuse { errno: ENETUNREACH });
    }
}

#[test]
fn our_listeners_are_reached_directly() {
    assert_eq!(go("127.0.0.1", SHARED.proxy_port, Transport::Tcp, &SHARED), Action::Direct);
    assert_eq!(go("::1", SHARED.proxy_port, Transport::Tcp, &SHARED), Action::Direct);
    assert_eq!(go("127.0.0.1", SHARED.dns_port, Transport::Udp, &SHARED), Action::Direct);
    assert_eq!(
        go("127.0.0.1", SHARED.proxy_port, Transport::Udp, &SHARED),
        Action::Refuse { errno: ENETUNREACH }
    );
    // The same port elsewhere is not ours.
    assert_eq!(go("203.0.113.1", SHARED.proxy_port, Transport::Tcp, &SHARED), Action::Proxy);
}

#[test]
fn answers_of_the_stub_are_known_by_address_and_port() {
    let lo = Addr::LOOPBACK4;
    assert!(from_resolver(&lo, 53, &OWN));
    assert!(from_resolver(&Addr::LOOPBACK6, 53, &OWN));
    assert!(!from_resolver(&lo, 54, &OWN));
    assert!(!from_resolver(&Addr::from("203.0.113.1".parse::<IpAddr>().unwrap()), 53, &OWN));
    assert!(from_listener(&lo, OWN.proxy_port, &OWN));
    assert!(!from_listener(&lo, 8080, &OWN));
}

fn words<const N: usize>(bytes: &[u8]) -> Header<N> {
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = u32::from_ne_bytes(bytes.try_into().unwrap());
    }
    Header(words)
}

fn v4(first: u8, src: [u8; 4], dst: [u8; 4], protocol: u8, ports: (u16, u16)) -> Header4 {
    let mut h = [0; 24];
    h[0] = first;
    h[9] = protocol;
    h[12..16].copy_from_slice(&src);
    h[16..20].copy_from_slice(&dst);
    h[20..22].copy_from_slice(&ports.0.to_be_bytes());
    h[22..24].copy_from_slice(&ports.1.to_be_bytes());
    words(&h)
}

fn v6(next: u8, src: &str, dst: &str, ports: (u16, u16)) -> Header6 {
    let mut h = [0; 44];
    h[0] = 0x60;
    h[6] = next;
    h[8..24].copy_from_slice(&src.parse::<std::net::Ipv6Addr>().unwrap().octets());
    h[24..40].copy_from_slice(&dst.parse::<std::net::Ipv6Addr>().unwrap().octets());
    h[40..42].copy_from_slice(&ports.0.to_be_bytes());
    h[42..44].copy_from_slice(&ports.1.to_be_bytes());
    words(&h)
}

const LO: [u8; 4] = [127, 0, 0, 1];

#[test]
fn packets_stay_on_own_loopback() {
    for direction in [Direction::Egress, Direction::Ingress] {
        let pass4 = |header: &Header4| packet4(header, direction, &OWN);
        let pass6 = |header: &Header6| packet6(header, direction, &OWN);
        assert!(pass4(&v4(0x45, LO, [127, 3, 2, 1], 6, (1000, 2000))));
        assert!(pass4(&v4(0x45, LO, LO, 1, (0, 0))), "ICMP errors of own servers");
        assert!(!pass4(&v4(0x46, LO, LO, 6, (1, 2))), "options: a source route");
        assert!(!pass4(&v4(0x65, LO, LO, 6, (1, 2))), "not IPv4");
        assert!(!pass4(&v4(0x45, LO, [203, 0, 113, 1], 6, (1, 2))));
        assert!(!pass4(&v4(0x45, [203, 0, 113, 1], LO, 6, (1, 2))));
        assert!(pass6(&v6(6, "::1", "::1", (1, 2))));
        assert!(pass6(&v6(17, "::1", "::1", (1, 2))));
        assert!(!pass6(&v6(43, "::1", "::1", (1, 2))), "a routing header");
        assert!(!pass6(&v6(0, "::1", "::1", (1, 2))), "hop-by-hop options");
        assert!(!pass6(&v6(6, "::1", "2001:db8::1", (1, 2))));
        assert!(!pass6(&v6(6, "2001:db8::1", "::1", (1, 2))));
        assert!(!pass6(&v6(6, "::2", "::1", (1, 2))));
        let mut other = v6(6, "::1", "::1", (1, 2));
        other.0[0] = u32::from_ne_bytes([0x45, 0, 0, 0]);
        assert!(!pass6(&other), "not IPv6");
    }
}

/// A segment of more than 64 KiB on loopback is the command's as any other; what only looks like one is not.
#[test]
fn big_tcp_passes_as_what_is_inside() {
    let big = |next: u8, word: [u8; 4], dst: &str, length: u16| {
        let mut header = v6(next, "::1", dst, (0, 0));
        let [a, b] = length.to_be_bytes();
        header.0[1] = u32::from_ne_bytes([a, b, next, 64]);
        header.0[10] = u32::from_ne_bytes(word);
        header
    };
    let jumbo = big(0, [6, 0, 0xc2, 4], "::1", 0);
    assert!(is_big_tcp(&jumbo));
    let ports =
        |port: u16| u32::from_ne_bytes([[0x13, 0x88], port.to_be_bytes()].concat().try_into().unwrap());
    let plain = plain_tcp(jumbo, ports(443));
    assert_eq!(Ends::of6(&plain).dst, End { addr: Addr::from("::1".parse::<IpAddr>().unwrap()), port: 443 });
    assert_eq!(Ends::of6(&plain).src.port, 5000);
    assert!(packet6(&plain, Direction::Egress, &OWN));
    assert!(!packet6(&plain, Direction::Egress, &SHARED), "not our port");
    assert!(packet6(&plain_tcp(jumbo, ports(SHARED.proxy_port)), Direction::Egress, &SHARED));
    let abroad = big(0, [6, 0, 0xc2, 4], "2001:db8::1", 0);
    assert!(!packet6(&plain_tcp(abroad, ports(443)), Direction::Egress, &OWN));
    for other in [
        big(0, [17, 0, 0xc2, 4], "::1", 0),
        big(0, [43, 0, 0xc2, 4], "::1", 0),
        big(0, [6, 1, 0xc2, 4], "::1", 0),
        big(0, [6, 0, 0x05, 2], "::1", 0),
        big(0, [6, 0, 0xc2, 4], "::1", 8),
        big(43, [6, 0, 0xc2, 4], "::1", 0),
        big(60, [6, 0, 0xc2, 4], "::1", 0),
    ] {
        assert!(!is_big_tcp(&other) && !packet6(&other, Direction::Egress, &OWN), "{other:?}");
    }
}

#[test]
fn packets_in_the_hosts_namespace_have_a_listener_of_ours_as_peer() {
    let (proxy, dns) = (SHARED.proxy_port, SHARED.dns_port);
    let egress4 = |h: &Header4| packet4(h, Direction::Egress, &SHARED);
    let ingress4 = |h: &Header4| packet4(h, Direction::Ingress, &SHARED);
    let egress6 = |h: &Header6| packet6(h, Direction::Egress, &SHARED);
    assert!(egress4(&v4(0x45, LO, LO, 6, (5000, proxy))));
    assert!(ingress4(&v4(0x45, LO, LO, 6, (proxy, 5000))));
    assert!(egress6(&v6(17, "::1", "::1", (5000, dns))));
    assert!(packet6(&v6(17, "::1", "::1", (dns, 5000)), Direction::Ingress, &SHARED));
    assert!(!egress4(&v4(0x45, LO, LO, 6, (proxy, 6379))), "our port as source is no pass");
    assert!(!ingress4(&v4(0x45, LO, LO, 6, (6379, proxy))));
    assert!(!egress6(&v6(6, "::1", "::1", (5000, 6379))));
    assert!(!egress4(&v4(0x45, LO, LO, 17, (5000, proxy))), "UDP to the proxy's port");
    assert!(!egress4(&v4(0x45, LO, LO, 1, (5000, dns))), "ICMP");
    let mut fragment = v4(0x45, LO, LO, 17, (5000, dns));
    fragment.0[1] = u32::from_ne_bytes([0, 0, 0, 1]);
    assert!(!egress4(&fragment), "a later fragment has no ports");
    fragment.0[1] = u32::from_ne_bytes([0, 0, 0x20, 0]);
    assert!(egress4(&fragment), "the first one has");
}

#[test]
fn datagrams_to_the_stub_are_queries() {
    assert!(is_query(&Ends::of4(&v4(0x45, LO, LO, 17, (5000, 53))), &OWN));
    assert!(is_query(&Ends::of6(&v6(17, "::1", "::1", (5001, 53))), &OWN));
    assert!(!is_query(&Ends::of4(&v4(0x45, LO, LO, 6, (5000, 53))), &OWN));
    assert!(!is_query(&Ends::of4(&v4(0x45, LO, LO, 17, (53, 5000))), &OWN));
    assert!(!is_query(&Ends::of6(&v6(6, "::1", "::1", (5000, 53))), &OWN));
}

#[test]
fn the_peer_is_the_other_end() {
    let ends = Ends::of4(&v4(0x45, LO, [127, 0, 0, 2], 17, (1, 2)));
    assert_eq!(ends.peer(Direction::Egress), ends.dst);
    assert_eq!(ends.peer(Direction::Ingress), ends.src);
    assert_eq!((ends.src.port, ends.dst.port, ends.protocol), (1, 2, 17));
    assert_eq!(ends.dst.addr, Addr::from("127.0.0.2".parse::<IpAddr>().unwrap()));
}

#[test]
fn refused_connects_are_told_apart() {
    assert_eq!(connect_refusal(Transport::Udp), crate::Refusal::UdpConnect);
    assert_eq!(connect_refusal(Transport::Tcp), crate::Refusal::HostPort);
    assert_eq!(transport(132), None);
}

#[test]
fn another_network_is_its_loopback_alone() {
    assert!(is_elsewhere(8, &SHARED) && !is_elsewhere(7, &SHARED));
    assert!(!is_elsewhere(8, &OWN), "a namespace of its own has no other");
    for inside in ["127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1"] {
        assert_eq!(elsewhere(&Addr::from(inside.parse::<IpAddr>().unwrap())), Action::Direct, "{inside}");
    }
    for outside in ["198.51.100.1", "10.0.0.1", "224.0.0.1", "2001:db8::1", "fe80::1", "::ffff:198.51.100.1"]
    {
        assert_eq!(
            elsewhere(&Addr::from(outside.parse::<IpAddr>().unwrap())),
            Action::Refuse { errno: ENETUNREACH },
            "{outside}"
        );
    }
}
