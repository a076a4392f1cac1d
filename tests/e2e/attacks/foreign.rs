//! What no hook of the internet families sees: other families, and unix sockets to somebody who could help.

use harness::canary::Filter;

use crate::{
    attack::{Attack, attacks},
    outside,
};

const UDP: u8 = 17;

attacks! {
    packet_dgram: Attack::heard4(UDP).root();
    packet_raw: Attack::heard4(UDP).root();
    packet_old: Attack::heard4(UDP).root();
    smc_family: Attack::heard4(6).absent_without("CONFIG_SMC");
    smc_protocol: Attack::heard4(6).absent_without("CONFIG_SMC");
    vsock: Attack::opened().absent_without("CONFIG_VSOCKETS");
    alg: Attack::opened().absent_without("CONFIG_CRYPTO_USER_API");
    can: Attack::opened().absent_without("CONFIG_CAN");
    tipc: Attack::opened().absent_without("CONFIG_TIPC");
    rxrpc: Attack::opened().absent_without("CONFIG_AF_RXRPC");
    xdp: Attack::opened().root().absent_without("CONFIG_XDP_SOCKETS");
    netlink: Attack::opened();
    families: Attack::opened();
    uring_raw_socket: Attack::opened();
}

mod unix {
    use super::*;

    attacks! {
        scm_rights: Attack::heard4(UDP).prepare(outside::passer_abstract);
        unix_service: Attack::heard4(UDP).prepare(outside::service_abstract);
    }

    mod passed_by_path {
        use super::*;
        attacks! {
            scm_rights: Attack::heard4(UDP).prepare(outside::passer_path);
        }
    }

    mod nscd {
        use super::*;
        attacks! {
            unix_service: Attack::heard(Filter::any().marked(true)).words(&["say=nscd"]).prepare(outside::service_nscd);
        }
    }

    mod resolved {
        use super::*;
        attacks! {
            unix_service: Attack::heard4(UDP).words(&["say=varlink"]).prepare(outside::service_resolved);
        }
    }

    mod docker {
        use super::*;
        attacks! {
            unix_service: Attack::heard4(UDP).prepare(outside::service_docker);
        }
    }
}
