//! What may be reached: names, patterns, address classes and rules, compiled into a [`Policy`] that turns a
//! [`Target`] into a [`Verdict`]. Pure: no sockets, no clock, no files, no root.
//!
//! ```text
//! text -> parse (parse_name, parse_net; suffix) -> Rule -> Builder -> Policy (index) -> judge -> Verdict (explain)
//! file -> plain                                 -> lines ->
//! text -> url -> UrlRule ->                                         judge_url
//! ```

pub mod address;
mod builder;
mod chosen;
mod decide;
mod engine;
mod entries;
mod explain;
mod host;
mod host_grants;
pub mod host_ports;
mod index;
mod lines;
pub mod live;
pub mod name;
mod narrow;
mod nearest;
mod outline;
mod parse;
mod parse_name;
mod parse_net;
mod pattern;
mod plain;
mod problem;
pub mod reason;
mod records;
mod rule;
mod source;
mod suffix;
mod url;
pub mod verdict;

#[cfg(any(test, awf_fuzz))]
pub mod fuzzing;
#[cfg(test)]
pub(crate) mod tests;

pub use address::{AddressClass, ends_at};
pub use builder::{Builder, Sheet};
pub use chosen::Chosen;
pub use decide::Route;
pub use engine::Policy;
pub use entries::entries;
pub use host::Host;
pub use live::LivePolicy;
pub use name::{DomainName, NameError};
pub use outline::Outline;
pub use problem::{Problem, RuleError};
pub use reason::Reason;
pub use records::RecordRule;
pub use rule::{List, Note, Place, Rule};
pub use source::{Change, Edit, EditError, PolicySource};
pub use url::{RequestTarget, TargetError, UrlPass, UrlRequest, UrlRule};
pub use verdict::{Allowed, Denied, Protocol, Target, Verdict};
