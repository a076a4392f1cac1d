//! The hooks of a self-hosted GitHub Actions runner: put in place, taken away, and looked at.
//!
//! ```text
//! account  the runner's user
//! tools    programs of the machine that know better than we do: getent, id, visudo, sudo, systemctl
//! install  what `hook install` changes, and how it is undone
//! job      what the hooks do
//! escapes  what leads out of a job's cgroup all the same
//! ```

pub mod account;
pub mod escapes;
pub mod install;
pub mod job;
pub mod tools;
