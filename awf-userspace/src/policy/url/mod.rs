//! Which URLs of a host may be asked for, with which methods.
//!
//! ```text
//! request -> target (normalised: what is sent) -> readings (what servers may take it for) -> every one matches a rule
//! text    -> parse -> UrlRule (glob: path, query; its readings) -> Urls (index) -> judge
//! ```

mod glob;
mod index;
mod judge;
mod parse;
mod readings;
mod rule;
mod target;

#[cfg(test)]
mod tests;

pub(super) use index::Urls;
pub use judge::{UrlPass, UrlRequest};
pub use rule::UrlRule;
pub use target::{RequestTarget, TargetError};
