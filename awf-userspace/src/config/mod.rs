//! From what was typed, the files it names and the caller's environment to a [`SessionPlan`]: everything about
//! a run that is known before it starts.
//!
//! ```text
//! argv -> args -> inputs (reads files, environment) -> resolve (pure) -> SessionPlan + notices | all errors
//! ```

pub mod args;
mod attach;
mod compat;
mod deadlines;
mod env;
mod env_file;
mod env_names;
mod error;
mod file;
mod hook;
mod host_ports;
mod inputs;
mod jail;
mod lists;
mod name_servers;
mod outbound_args;
mod plan;
mod policy_args;
mod resolve;
mod rules;
mod ruleset;
mod runner;
mod tls;
mod toolchain;
mod upstream;
mod values;

#[cfg(test)]
mod tests;

pub use args::ExecArgs;
pub use attach::{AttachArgs, AttachTo, ResolvedAttach, resolve_attach};
pub use deadlines::Deadlines;
pub use env::{EnvPlan, RunFacts};
pub use error::{ConfigError, ConfigErrors};
pub use file::{schema, starter};
pub use hook::HookSettings;
pub use inputs::Inputs;
pub use jail::{Chroot, JailPlan, Mount, MountError};
pub use plan::{
    IdentitySource, LogLevel, Mode, NetworkMode, Notice, ProxyEnv, Resolved, SessionPlan, SummaryMode,
};
pub use policy_args::PolicyArgs;
pub use resolve::{resolve, resolve_policy};
pub use tls::{Exclude, TlsMode, TlsPlan};
