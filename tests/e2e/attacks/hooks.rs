//! What the cgroup hooks stop: every internet socket, in every spelling.

use harness::{
    canary::Filter,
    hosts::{CANARY_V4, CANARY_V6, GATEWAY_V4},
};

use crate::{
    attack::{Attack, attacks},
    host, outside,
};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;
const UDPLITE: u8 = 136;
const DCCP: u8 = 33;
const EXPERIMENTAL: u8 = 253;

attacks! {
    tcp4: Attack::heard4(TCP);
    tcp6: Attack::heard6(TCP);
    tcp_mapped: Attack::heard4(TCP);
    tcp6_only: Attack::heard6(TCP);
    tcp4_nonblock: Attack::heard4(TCP);
    tcp6_nonblock: Attack::heard6(TCP);
    tcp_reconnect: Attack::heard4(TCP).words(&["443", "first=203.0.113.10:443"]).may_reach_allowed();
    tcp_connect_unspec: Attack::heard4(TCP);
    tcp4_fastopen_msg: Attack::heard4(TCP);
    tcp6_fastopen_msg: Attack::heard6(TCP);
    tcp4_fastopen_connect: Attack::heard4(TCP);
    tcp6_fastopen_connect: Attack::heard6(TCP);
    tcp_fastopen_unspec: Attack::heard4(TCP);
    mptcp4: Attack::heard(Filter::any().multipath().to(CANARY_V4)).absent_without("CONFIG_MPTCP");
    mptcp6: Attack::heard(Filter::any().multipath().to(CANARY_V6)).absent_without("CONFIG_MPTCP_IPV6");
    bind_any: Attack::heard4(TCP);
    bind_freebind: Attack::heard6(UDP);
    bind_transparent: Attack::heard4(UDP).root();
    bind_device_tcp: Attack::heard4(TCP);
    bind_device_udp: Attack::heard4(UDP);
    uring_connect4: Attack::heard4(TCP);
    uring_connect6: Attack::heard6(TCP);
    uring_socket4: Attack::heard4(TCP);
    uring_socket6: Attack::heard6(TCP);
    uring_sendmsg: Attack::heard4(UDP);
    uring_send_to: Attack::heard6(UDP);
}

attacks! {
    udp4_connected: Attack::heard4(UDP);
    udp6_connected: Attack::heard6(UDP);
    udp_mapped_connected: Attack::heard4(UDP);
    udp4_sendto: Attack::heard4(UDP);
    udp6_sendto: Attack::heard6(UDP);
    udp_mapped_sendto: Attack::heard4(UDP);
    udp4_on_v6_socket: Attack::heard4(UDP);
    udp4_sendmmsg: Attack::heard4(UDP);
    udp6_sendmmsg: Attack::heard6(UDP);
    udp_msg_more: Attack::heard4(UDP);
    udp_cork: Attack::heard6(UDP);
    udp_unspec: Attack::heard4(UDP);
    udp_reused: Attack::heard4(UDP);
    udp53_raw4: Attack::heard4(UDP);
    udp53_raw6: Attack::heard6(UDP);
    udp53_connected: Attack::heard4(UDP);
    quic4: Attack::heard4(UDP);
    quic6: Attack::heard6(UDP);
    multicast4: Attack::heard(Filter::any().ipv4().proto(UDP).marked(true));
    multicast6: Attack::heard(Filter::any().ipv6().proto(UDP).marked(true));
    broadcast: Attack::heard(Filter::any().ipv4().proto(UDP).marked(true));
    udplite4_connected: Attack::heard4(UDPLITE);
    udplite6_connected: Attack::heard6(UDPLITE);
    udplite4_sendto: Attack::heard4(UDPLITE);
    udplite6_sendto: Attack::heard6(UDPLITE);
}

attacks! {
    ping4: Attack::heard4(ICMP).prepare(outside::ping_for_all);
    ping6: Attack::heard6(ICMPV6).prepare(outside::ping_for_all);
    raw_icmp4: Attack::heard4(ICMP).root();
    raw_icmp6: Attack::heard6(ICMPV6).root();
    raw4: Attack::heard4(EXPERIMENTAL).root();
    raw6: Attack::heard6(EXPERIMENTAL).root();
    raw4_hdrincl: Attack::heard4(UDP).root();
    // Only the INIT arrives, without data to mark: the world has SCTP too, and nobody there listens.
    sctp_stream: Attack::heard(Filter::any().proto(SCTP).to(CANARY_V4)).absent_without("CONFIG_IP_SCTP");
    sctp_seqpacket: Attack::heard(Filter::any().proto(SCTP).to(CANARY_V6)).absent_without("CONFIG_IP_SCTP");
    inet_types: Attack::opened();
    dccp: Attack::heard4(DCCP).absent_without("CONFIG_IP_DCCP");
}

attacks! {
    rthdr6_sockopt_udp: Attack::heard6(UDP);
    // Its SYN is dropped by the packet hook, which no connect() hears of: who asks for a routing header waits.
    rthdr6_sockopt_tcp: Attack::heard(Filter::any().ipv6().source_routed().to(CANARY_V6)).may_wait();
    rthdr6_cmsg: Attack::heard6(UDP).absent_without("CONFIG_IPV6_MIP6");
    rthdr6_cmsg_type2: Attack::heard6(UDP).absent_without("CONFIG_IPV6_MIP6");
    srcroute4_sockopt_udp: Attack::heard4(UDP).root();
    srcroute4_sockopt_tcp: Attack::heard(Filter::any().ipv4().source_routed().to(CANARY_V4)).root();
    srcroute4_cmsg: Attack::heard4(UDP).root();
}

/// A marked packet on the cable, whatever address it bears.
fn on_the_cable() -> Attack {
    Attack::heard(Filter::any().marked(true))
}

attacks! {
    device_bound4: on_the_cable();
    device_bound6: on_the_cable();
    device_chosen4: on_the_cable();
    device_chosen6: on_the_cable();
    device_pktinfo4: on_the_cable();
    device_pktinfo6: on_the_cable();
    device_scope6: on_the_cable();
    device_from_loopback6: on_the_cable();
    device_fastopen4: on_the_cable();
    device_fastopen6: on_the_cable();
    device_dns4: on_the_cable();
    device_dns6: on_the_cable();
    device_dns_pktinfo4: on_the_cable();
    device_dns_pktinfo6: on_the_cable();
    group4: Attack::opened();
    group6: Attack::opened();
}

attacks! {
    host_loopback4: Attack::heard4(UDP).prepare(host::service);
    host_loopback6: Attack::heard4(UDP).prepare(host::service);
    host_loopback_mapped: Attack::heard4(UDP).prepare(host::service);
    host_loopback_any: Attack::heard4(UDP).prepare(host::service);
    host_own_address4: Attack::heard4(UDP).prepare(host::service);
    host_own_address6: Attack::heard4(UDP).prepare(host::service);
    host_loopback_udp4: Attack::heard4(UDP).prepare(host::service);
    host_loopback_udp6: Attack::heard4(UDP).prepare(host::service);
    host_own_address_udp: Attack::heard4(UDP).prepare(host::service);
}

attacks! {
    listen4: Attack::heard(Filter::any().proto(TCP).to(GATEWAY_V4).marked(true))
        .words(&["4444"]).prepare(outside::dial_in_tcp).may_wait();
    listen6: Attack::heard(Filter::any().ipv6().proto(TCP).marked(true))
        .words(&["4444"]).prepare(outside::dial_in_tcp).may_wait();
    listen_unbound: Attack::heard(Filter::any().proto(TCP).to(GATEWAY_V4).marked(true))
        .prepare(outside::dial_in_reported).may_wait();
    udp_answer: Attack::heard(Filter::any().proto(UDP).to(GATEWAY_V4).marked(true))
        .words(&["4444"]).prepare(outside::dial_in_udp).may_wait();
}
