//! The properties that fuzzers try to break (`cargo xtask fuzz`), by name; built for them and for tests only.
//!
//! What they broke once is kept in `fuzz/findings`, and tried by the tests on every toolchain.

use crate::{dns, policy, proxy};

/// Panics where it does not hold of these bytes.
pub type Property = fn(&[u8]);

/// All of them; `fuzz/seeds` has a directory of the same name with inputs to begin with.
pub const PROPERTIES: &[(&str, Property)] = &[
    ("chunked_body", proxy::fuzzing::body),
    ("client_hello", proxy::fuzzing::client_hello),
    ("dns_message", dns::fuzzing::message),
    ("handshake", proxy::fuzzing::handshake),
    ("host", policy::fuzzing::host),
    ("request", proxy::fuzzing::request),
    ("request_head", proxy::fuzzing::head),
    ("rule", policy::fuzzing::rule),
    ("rules", policy::fuzzing::rules),
    ("url", policy::fuzzing::url),
];

/// The property of that name.
#[must_use]
pub fn property(name: &str) -> Option<Property> {
    PROPERTIES.iter().find(|(known, _)| *known == name).map(|(_, property)| *property)
}

#[cfg(test)]
mod tests;
