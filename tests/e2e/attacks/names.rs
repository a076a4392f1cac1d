//! Lies: names as a channel, forged names, and more connections than any table holds.

use std::time::Duration;

use harness::{canary::Filter, hosts};

use crate::attack::{Attack, attacks};

const TCP: u8 = 6;
const UDP: u8 = 17;

attacks! {
    dns_udp4: Attack::heard4(UDP);
    dns_udp6: Attack::heard6(UDP);
    dns_udp_txt: Attack::heard4(UDP);
    dns_udp_null: Attack::heard4(UDP);
    dns_tcp4: Attack::heard4(TCP);
    dns_tcp6: Attack::heard6(TCP);
    dns_resolv_conf: Attack::heard(Filter::any().to(hosts::DNS_V4).port(53).marked(true));
    dns_two_questions: Attack::heard4(UDP);
    dns_trailing_bytes: Attack::heard4(UDP);
    dns_getaddrinfo: Attack::heard(Filter::any().to(hosts::DNS_V4).port(53).marked(true));
}

attacks! {
    sni_forged4: Attack::heard4(TCP).may_reach_allowed();
    sni_forged6: Attack::heard6(TCP).may_reach_allowed();
    sni_denied: Attack::heard4(TCP);
    sni_none: Attack::heard4(TCP);
    host_spoof4: Attack::heard4(TCP).may_reach_allowed();
    host_spoof6: Attack::heard6(TCP).may_reach_allowed();
    host_two: Attack::heard4(TCP).may_reach_allowed();
    host_absolute: Attack::heard4(TCP).may_reach_allowed();
    connect_sni: Attack::heard4(TCP).may_reach_allowed();
    connect_plain: Attack::heard4(TCP).may_reach_allowed();
    after_allowed: Attack::heard4(TCP).may_reach_allowed();
}

const LOAD: Duration = Duration::from_secs(60);

attacks! {
    flood_connect: Attack::heard4(TCP).words_bare(&["count=200"]).limit(LOAD);
    flood_udp: Attack::heard4(UDP).words_bare(&["count=200"]).limit(LOAD);
    port_reuse: Attack::heard4(TCP).words(&["443", "first=203.0.113.10:80"]).words_bare(&["count=50"])
        .may_reach_allowed().limit(LOAD);
}
