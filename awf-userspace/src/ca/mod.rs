//! The run's certificate authority, the certificates that it makes for the names that are intercepted, and what makes
//! programs trust it.
//!
//! ```text
//! authority     the CA: made for the run, or an organisation's own. Its key is in memory only.
//! leaves        one certificate a name, made when it is first dialled, kept for the next
//! gather        what the machine and the caller trust; places: where that is looked for
//! trust         the files and variables of the run, from both; variables: the table of these
//! programs      which program reads what; settings: files of theirs that beat it
//! bundle        certificates in a row, from and to PEM
//! jks           Java's key stores
//! nss           the data base of NSS, which is one of SQLite
//! subject_hash  OpenSSL's name for a CA in a directory
//! ```

mod authority;
mod bundle;
mod gather;
mod jks;
mod leaves;
mod nss;
mod places;
mod programs;
mod settings;
mod sqlite;
mod subject_hash;
mod trust;
mod variables;

pub use authority::{Authority, CaError};
pub use bundle::{Bundle, Contents};
pub use gather::{Caller, Found};
pub use leaves::{LeafError, Leaves};
pub use nss::{DATA_BASE, FILE as DATA_BASE_FILE};
pub use programs::{PROGRAMS, Program, option_of, program_of};
pub use settings::{Setting, settings};
pub use trust::{More, Over, Trust};
pub use variables::{BUNDLE, CA, DIRECTORY, EXTRA, Effect, OF_JVMS, PLACE, STORE, VARIABLES, environment};
