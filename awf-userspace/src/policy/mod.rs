//! What may be reached: names, patterns, address classes and rules, compiled into a [`Policy`] that turns a
//! [`Target`] into a [`Verdict`]. Pure: no sockets, no clock, no files, no root.

pub mod name;
pub mod reason;
pub mod verdict;

pub use name::{DomainName, NameError};
pub use reason::Reason;
pub use verdict::{Allowed, Denied, Host, Protocol, Target, Verdict};
