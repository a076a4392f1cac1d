//! The only home of `unsafe` in userspace: each file wraps one mechanism of the kernel that rustix does not
//! offer, and returns `io::Result`.

pub mod async_fd;
#[cfg(not(awf_fuzz))]
pub mod birth;
pub mod clone;
pub mod environment;
pub mod exec;
pub mod fork;
pub mod ifaddrs;
pub mod inherit;
pub mod landlock;
#[cfg(not(awf_fuzz))]
pub mod loopback;
pub mod mount_attr;
pub mod namespace;
#[cfg(not(awf_fuzz))]
pub mod pod;
pub mod priority;
pub mod proc_stat;
pub mod route;
pub mod signalfd;
pub mod terminal;
