//! The run's certificate authority, and the certificates that it makes for the names that are intercepted.
//!
//! ```text
//! authority   the CA: made for the run, or an organisation's own. Its key is in memory only.
//! leaves      one certificate a name, made when it is first dialled, kept for the next
//! ```

mod authority;
mod leaves;

pub use authority::{Authority, CaError};
pub use leaves::{LeafError, Leaves};
