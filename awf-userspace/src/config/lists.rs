//! Lists of rules and ports: comma-separated texts, and files of one rule a line.

use std::{ops::RangeInclusive, path::Path};

use bytes::Bytes;

use super::{ConfigError, PolicyArgs, rules::Mistakes};
use crate::policy::{
    Builder, List,
    host_ports::{self, Grant, PortProblem},
};

/// The rules of a file: one a line or separated by commas, comments from `#` to the end of the line.
pub(super) fn file(
    flag: &'static str,
    path: &Path,
    bytes: &Bytes,
    list: List,
    builder: &mut Builder,
    mistakes: &mut Mistakes,
) {
    let mut sheet = builder.sheet(&path.display().to_string(), list, bytes.clone());
    let mut start = 0;
    for (index, line) in bytes.split(|&b| b == b'\n').enumerate() {
        let (number, mut at) = (index + 1, start);
        start += line.len() + 1;
        let Ok(line) = str::from_utf8(line) else {
            mistakes.push(ConfigError::NotUtf8 { flag, path: path.to_owned(), line: number });
            continue;
        };
        // Editors of some systems mark UTF-8 files at their start.
        let marked = if index == 0 { line.trim_start_matches('\u{feff}') } else { line };
        at += line.len() - marked.len();
        let line = marked.split('#').next().unwrap_or_default();
        for part in line.split(',') {
            let entry = part.trim_start();
            let from = at + part.len() - entry.len();
            let entry = entry.trim_end();
            at += part.len() + 1;
            if entry.is_empty() {
                continue;
            }
            if let Err(error) = sheet.entry(from..from + entry.len(), number) {
                mistakes.push(error.into());
            }
        }
    }
}

/// Ports of the host's loopback, by flags.
pub(super) fn host_ports(args: &PolicyArgs, errors: &mut Vec<ConfigError>) -> Vec<Grant> {
    let (ports, services) = ("--allow-host-ports", "--allow-host-service-ports");
    let mut grants = Vec::new();
    let mut add = |flag, text: &str, parsed: Result<RangeInclusive<u16>, PortProblem>| match parsed {
        Ok(parsed) => grants.push(Grant::by_flag(flag, parsed)),
        Err(problem) => errors.push(ConfigError::HostPort { flag, text: text.to_owned(), problem }),
    };
    for text in items(args.allow_host_ports.iter().flat_map(|value| value.split(','))) {
        add(ports, text, host_ports::parse_ports(text));
    }
    for text in items(args.allow_host_service_ports.iter().flat_map(|value| value.split(','))) {
        add(services, text, host_ports::parse_service_port(text).map(|port| port..=port));
    }
    for port in [80, 443].into_iter().filter(|_| args.enable_host_access) {
        grants.push(Grant::by_flag("--enable-host-access", port..=port));
    }
    grants
}

/// Commas at the end and blank lines are nobody's mistake.
pub(super) fn items<'a>(parts: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    parts.map(str::trim).filter(|text| !text.is_empty())
}
