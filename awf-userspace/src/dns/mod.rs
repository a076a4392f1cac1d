//! Name resolution for the command: a stub ([`DnsStub`]) that answers every query itself, and a resolver
//! ([`Upstream`]) that asks the host's servers for allowed names only.
//!
//! ```text
//! serve (sockets) -> wire::read -> stub: local, policy -> refusal | upstream (cache, budget) -> answer, svcb -> wire::write
//! ```

mod answer;
mod budget;
mod error;
mod given;
mod local;
mod note;
mod refusal;
mod repeats;
mod serve;
mod servers;
mod source;
mod stand_in;
mod stub;
mod svcb;
mod upstream;
mod wire;

pub use error::DnsError;
pub use serve::Limits;
pub use servers::{HostServers, PORT, parse_resolv_conf};
pub use source::QuerySource;
pub use stand_in::StandIns;
pub use stub::DnsStub;
#[cfg(any(test, awf_fuzz))]
pub use stub::fuzzing;
pub use upstream::Upstream;

#[cfg(test)]
mod tests;
