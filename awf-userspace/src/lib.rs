//! awf-bpf runs a command behind a kernel-forced, in-process egress proxy.
//!
//! The modules and who may use whom (`cargo xtask tidy` checks it):
//!
//! ```text
//! cli -> config -> policy
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

pub mod audit;
pub mod bpf;
pub mod ca;
pub mod cgroup;
pub mod cli;
pub mod config;
pub mod dns;
pub mod jail;
pub mod launch;
pub mod netns;
pub mod policy;
pub mod preflight;
pub mod proxy;
pub mod resolve;
pub mod session;
pub mod sys;
pub mod upstream_proxy;
