//! Ports of the host's loopback, from flags and the configuration file. Pure.

use std::ops::RangeInclusive;

use super::{ConfigError, PolicyArgs, file::ConfigFile, lists};
use crate::policy::{
    Place,
    host_ports::{Grant, PortProblem, parse_ports, parse_service_port},
};

type Parse = fn(&str) -> Result<RangeInclusive<u16>, PortProblem>;

/// What is opened; what is wrong is left out.
pub(super) fn grants(args: &PolicyArgs, config: &ConfigFile, errors: &mut Vec<ConfigError>) -> Vec<Grant> {
    let single: Parse = |text| parse_service_port(text).map(|port| port..=port);
    let lists = [
        ("allow_host_ports", "--allow-host-ports", &args.allow_host_ports, parse_ports as Parse),
        ("allow_host_service_ports", "--allow-host-service-ports", &args.allow_host_service_ports, single),
    ];
    let mut grants = Vec::new();
    for (key, flag, typed, parse) in lists {
        // A variable that was not set, as in --allow-host-ports "$PORTS".
        for empty in typed.iter().filter(|value| lists::items(value.split(',')).next().is_none()) {
            let (place, text) = (Place::Flag(flag), empty.clone());
            errors.push(ConfigError::HostPort { place, text, problem: PortProblem::NotPorts });
        }
        for (text, place) in config.texts(key, flag, typed) {
            match parse(text) {
                Ok(ports) => grants.push(Grant::by_flag(flag, ports)),
                Err(problem) => {
                    errors.push(ConfigError::HostPort { place, text: text.to_owned(), problem });
                }
            }
        }
    }
    for port in [80, 443].into_iter().filter(|_| args.enable_host_access) {
        grants.push(Grant::by_flag("--enable-host-access", port..=port));
    }
    grants
}
