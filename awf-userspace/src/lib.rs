//! awf-bpf runs a command behind a kernel-forced, in-process egress proxy.
//!
//! The modules and who may use whom (`cargo xtask tidy` checks it):
//!
//! ```text
//! cli -> config -> policy
//! cli -> doctor -> {session, bpf, cgroup, dns, ca}
//! cli -> hook -> {config, session, cgroup}
//! cli -> session -> {cgroup, netns, bpf, proxy, dns, launch} -> {policy, audit, sys}
//! {proxy, dns} -> resolve -> policy
//! {config, proxy} -> upstream_proxy -> policy
//! ```
//!
//! * [`policy`] is pure: names, patterns, address classes, rules -> a verdict with its reason.
//! * [`proxy`] and [`dns`] enforce it on connections and queries; they name neither [`bpf`] nor each other: the
//!   traits in [`proxy::seam`], [`dns::QuerySource`] and [`resolve`] are joined by [`session`].
//! * [`launch`] is the parent side of the command's start, [`jail`] the child side.
//! * [`sys`] is the only home of `unsafe`.
//!
//! `cargo xtask fuzz` sets `awf_fuzz` and builds only what its targets are about.

pub mod audit;
#[cfg(not(awf_fuzz))]
pub mod bpf;
pub mod ca;
#[cfg(not(awf_fuzz))]
pub mod cgroup;
#[cfg(not(awf_fuzz))]
pub mod cli;
#[cfg(not(awf_fuzz))]
pub mod config;
pub mod dns;
#[cfg(not(awf_fuzz))]
pub mod doctor;
#[cfg(any(test, awf_fuzz))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(not(awf_fuzz))]
pub mod hook;
#[cfg(not(awf_fuzz))]
pub mod jail;
#[cfg(not(awf_fuzz))]
pub mod launch;
#[cfg(not(awf_fuzz))]
pub mod netns;
pub mod policy;
#[cfg(not(awf_fuzz))]
pub mod preflight;
pub mod proxy;
pub mod resolve;
#[cfg(not(awf_fuzz))]
pub mod session;
pub mod sys;
pub mod upstream_proxy;
