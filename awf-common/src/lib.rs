//! Types that cross the boundary between the kernel programs and userspace, and the decisions of the
//! kernel programs as pure functions. `no_std`; feature `user` adds the `aya::Pod` impls.
#![cfg_attr(not(test), no_std)]

pub mod addr;
pub mod birth;
pub mod config;
pub mod decide;
pub mod event;
pub mod stack;

pub use addr::{Addr, Origin, SockKey};
pub use config::{Globals, PortSet};
pub use event::{Event, EventKind, Image, Refusal};

#[cfg(test)]
mod decide_tests;
#[cfg(test)]
mod stack_tests;
